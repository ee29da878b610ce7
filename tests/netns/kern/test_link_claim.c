// SPDX-License-Identifier: GPL-2.0-or-later
/* Routes in a namespace of others: when one is made, and what stands against it. */
#include "tests/netns/kern/fixture.h"

#include "driver/kern/link.h"
#include "plugin/base/addr.h"
#include "plugin/base/mem.h"

static struct link_sock *sock;
static int host;

/* eth0 is in two subnets of the host, wg0 a tunnel, flu0 our uplink, flv0 another. */
static const char *const frame[] = {
	"for i in eth wg flu flv; do ip link add ${i}0 type veth peer name ${i}1; done",
	"for i in lo eth0 eth1 wg0 wg1 flu0 flu1 flv0 flv1; do "
	"ip link set $i addrgenmode none; ip link set $i up; done",
	"ip addr add 192.0.2.1/24 dev eth0",
	"ip -6 addr add 2001:db8:2::1/64 dev eth0 nodad",
	"ip route add default via 192.0.2.9",
	"ip route add 0.0.0.0/1 dev wg0",
};

static int setup(void **state)
{
	if (fixture_setup(state) < 0)
		return -1;
	host = fixture_add();
	for (size_t i = 0; i < ARRAY_SIZE(frame); i++)
		if (fixture_run(host, "%s", frame[i]) != 0)
			fail_msg("%s: %s", frame[i], fixture.output);
	return link_open(fixture.fd[host], &sock, &fixture_err);
}

static int teardown(void **state)
{
	link_close(sock);
	sock = NULL;
	return fixture_teardown(state);
}

static struct link_route route_of(const char *dst)
{
	struct link_route route = {.dev = "flu0", .onlink = true};

	assert_int_equal(cidr_parse(dst, &route.dst), 0);
	assert_int_equal(
		addr_parse(route.dst.addr.family == AF_INET ? "169.254.0.2" : "fd66::2",
			   &route.via),
		0);
	return route;
}

/* What the kernel adds later by itself, once a link has a carrier, is left out. */
static void list_routes(char ret[OUTPUT_SIZE])
{
	assert_int_equal(fixture_run(host,
				     "{ ip route show table all; "
				     "ip -6 route show table all; } | "
				     "grep -v -e fe80: -e ff00: | sed \"s/ linkdown//\""),
			 0);
	memcpy(ret, fixture.output, OUTPUT_SIZE);
}

static void what_stands_against_a_route(void **state)
{
	static const struct {
		const char *there; /* a command, or NULL */
		const char *dst;
		const char *text; /* NULL: it is made */
	} cases[] = {
		{NULL, "10.128.3.0/24", NULL},
		{NULL, "192.0.3.0/24", NULL},
		{NULL, "2001:db8:3::/64", NULL},
		/* a subnet of the host: equal, shorter, longer */
		{NULL, "192.0.2.0/24", "192.0.2.0/24 is routed already: dev eth0"},
		{NULL, "192.0.0.0/16",
		 "192.0.0.0/16 overlaps a route of this host: 192.0.2.0/24 dev eth0"},
		{NULL, "192.0.2.64/26",
		 "192.0.2.64/26 overlaps a route of this host: 192.0.2.0/24 dev eth0"},
		{NULL, "2001:db8:2::/64", "2001:db8:2::/64 is routed already: dev eth0"},
		{NULL, "2001:db8:2::8000/113", "2001:db8:2::/64 dev eth0"},
		/* as network managers make it */
		{"ip addr add 10.3.0.1/16 dev eth0 noprefixroute; ip route add "
		 "10.3.0.0/16 "
		 "dev eth0 proto dhcp src 10.3.0.1 metric 100",
		 "10.3.7.0/24", "10.3.0.0/16 dev eth0"},
		{"ip addr add 10.3.0.1/32 dev eth0", "10.3.0.0/24",
		 "10.3.0.0/24 has an address of this host in it: 10.3.0.1/32 dev eth0"},
		{NULL, "127.5.0.0/16", "127.0.0.0/8 dev lo"},
		/* equal, another metric too */
		{"ip route add 10.3.0.0/24 via 192.0.2.9", "10.3.0.0/24",
		 "10.3.0.0/24 is routed already: via 192.0.2.9 dev eth0"},
		{"ip route add 10.3.0.0/24 dev wg0", "10.3.0.0/24",
		 "10.3.0.0/24 is routed already: dev wg0"},
		{"ip route add 10.3.0.0/24 dev wg0 metric 500", "10.3.0.0/24", "dev wg0"},
		{"ip route add blackhole 10.3.0.0/24", "10.3.0.0/24",
		 "10.3.0.0/24 is routed already"},
		{"ip route add 10.3.0.0/24 dev flv0", "10.3.0.0/24", "dev flv0"},
		{"ip -6 route add fd00:3::/64 dev wg0", "fd00:3::/64",
		 "fd00:3::/64 is routed already: dev wg0"},
		/* longer */
		{"ip route add 10.3.0.5/32 dev wg0", "10.3.0.0/24",
		 "10.3.0.0/24 overlaps a route of this host: 10.3.0.5/32 dev wg0"},
		/* shorter, not the host's own subnet */
		{"ip route add 10.0.0.0/8 via 192.0.2.9", "10.3.0.0/24", NULL},
		{"ip route add 10.0.0.0/8 dev wg0", "10.3.0.0/24", NULL},
		/* in another table */
		{"ip route add 10.3.0.0/24 dev wg0 table 52", "10.3.0.0/24", NULL},
		{NULL, "0.0.0.0/0",
		 "0.0.0.0/0 is routed already: via 192.0.2.9 dev eth0"},
	};
	static char before[OUTPUT_SIZE];
	static char after[OUTPUT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct link_route route = route_of(cases[i].dst);
		struct err e = {0};
		int r;

		if (cases[i].there &&
		    fixture_run(host, "set -e; %s", cases[i].there) != 0)
			fail_msg("%s: %s", cases[i].there, fixture.output);
		list_routes(before);
		r = link_route_claim(sock, &route, &e);
		print_message("%s: %d %s\n", cases[i].dst, r, e.text);
		list_routes(after);
		if (cases[i].text) {
			assert_int_equal(r, -EEXIST);
			assert_non_null(strstr(e.text, cases[i].text));
			assert_string_equal(before, after);
		} else {
			assert_int_equal(r, 0);
			assert_string_not_equal(before, after);
			assert_ok(link_route_claim(sock, &route, &fixture_err));
		}
		assert_ok(link_route_del(sock, &route, NULL));
		assert_int_equal(fixture_run(host,
					     "ip route flush root 10.0.0.0/8; "
					     "ip -6 route flush root fd00:3::/64; "
					     "ip route flush table 52; "
					     "ip addr flush dev eth0 to 10.0.0.0/8"),
				 0);
	}
}

static void own_route_is_adopted_whatever_came_later(void **state)
{
	const struct link_route route = route_of("10.3.0.0/24");
	const struct link_route route6 = route_of("fd00:3::/64");

	(void)state;
	assert_ok(link_route_claim(sock, &route, &fixture_err));
	assert_ok(link_route_claim(sock, &route6, &fixture_err));
	assert_int_equal(fixture_run(host, "ip route add 10.3.0.0/32 dev wg0; "
					   "ip route add 10.3.0.0/24 dev wg0 metric 7; "
					   "ip route add 10.3.0.0/25 dev flu0; "
					   "ip -6 route add fd00:3::/80 dev wg0"),
			 0);
	assert_ok(link_route_claim(sock, &route, &fixture_err));
	assert_ok(link_route_claim(sock, &route6, &fixture_err));
	assert_int_equal(fixture_run(host, "ip route show dev flu0"), 0);
	assert_output("10.3.0.0/24 via 169.254.0.2");
}

struct seen {
	char text[1024];
};

static void note_route(void *ctx, const struct link_route_use *use)
{
	struct seen *seen = ctx;
	char text[CIDR_TEXT_SIZE];
	size_t len = strlen(seen->text);

	(void)snprintf(seen->text + len, sizeof(seen->text) - len, "%s%s%s%s%s\n",
		       use->own ? "own " : "", cidr_format(&use->dst, text), use->way,
		       use->on_link ? " on-link" : "", use->main ? " main" : "");
}

static void expect_routes(const char *within, const char *want)
{
	struct seen seen = {""};
	struct cidr prefix;

	assert_int_equal(cidr_parse(within, &prefix), 0);
	assert_ok(link_route_each(sock, &prefix, note_route, &seen, &fixture_err));
	assert_string_equal(seen.text, want);
}

static void routes_of_all_tables_are_told(void **state)
{
	(void)state;
	assert_int_equal(fixture_run(host,
				     "ip route del 0.0.0.0/1;"
				     "ip route add 10.1.0.0/16 via 192.0.2.9;"
				     "ip route add 10.2.0.0/16 dev wg0 table 51820;"
				     "ip route add 10.3.0.0/16 dev wg0 table 7;"
				     "ip route add blackhole 10.4.0.0/16;"
				     "ip route add 8.0.0.0/7 dev wg0;"
				     "ip addr add 10.5.0.1/32 dev eth0;"
				     "ip -6 route add fd00:3::/64 dev wg0 table 51820"),
			 0);
	expect_routes("10.2.0.0/16", "10.2.0.0/16 dev wg0 on-link\n");
	expect_routes("10.3.0.0/16", "10.3.0.0/16 dev wg0 on-link\n");
	expect_routes("10.1.7.0/24", "10.1.0.0/16 via 192.0.2.9 dev eth0 main\n");
	expect_routes("10.4.0.0/15", "own 10.5.0.1/32 dev eth0\n");
	expect_routes("9.0.0.0/8", "8.0.0.0/7 dev wg0 on-link main\n");
	expect_routes("fd00::/16", "fd00:3::/64 dev wg0\n");
}

static void a_claim_needs_its_device(void **state)
{
	struct link_route route = route_of("10.3.0.0/24");
	struct err e = {0};

	(void)state;
	route.dev = "none";
	assert_int_equal(link_route_claim(sock, &route, &e), -ENODEV);
	assert_non_null(strstr(e.text, "10.3.0.0/24"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(what_stands_against_a_route),
		TEST(own_route_is_adopted_whatever_came_later),
		TEST(a_claim_needs_its_device),
		TEST(routes_of_all_tables_are_told),
	};

	return fixture_enter() < 0 ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
