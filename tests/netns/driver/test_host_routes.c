// SPDX-License-Identifier: GPL-2.0-or-later
/* A network's sandbox and uplink in namespaces of the test's own: what the host keeps. */
#include "tests/netns/kern/fixture.h"

#include "driver/network.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <sys/stat.h>

#define ID  "aaaaaaaaaaaa0000"
#define UP  "fluaaaaaaaaaaaa"
#define PIN "fl-aaaaaaaaaaaa"

static struct link_sock *host_links;
static int host; /* the program's own namespace: sysctls of the host are set in it */

static int setup(void **state)
{
	char path[128];

	if (unshare(CLONE_NEWNET) < 0 || fixture_setup(state) < 0)
		return -1;
	host = fixture.count++;
	(void)snprintf(fixture.path[host], sizeof(fixture.path[host]), "/proc/%d/ns/net",
		       (int)getpid());
	fixture.fd[host] = ns_open_own(&fixture_err);
	(void)snprintf(path, sizeof(path), "%s/ns", fixture_dir);
	if (fixture.fd[host] < 0 || mkdir(path, 0700) < 0)
		return -1;
	return link_open(-1, &host_links, &fixture_err);
}

static int teardown(void **state)
{
	char path[128];

	link_close(host_links);
	host_links = NULL;
	(void)close(fixture.fd[host]);
	fixture.count = 0;
	(void)snprintf(path, sizeof(path), "%s/netns", fixture_dir);
	(void)rmdir(path);
	return fixture_teardown(state);
}

static struct network_config config(const char *gateway)
{
	struct network_config c = {.id = ID, .mtu = 1500, .subnet_count = 1};
	struct cidr subnet;

	assert_int_equal(cidr_parse(gateway, &subnet), 0);
	c.subnets[0].pool = cidr_network(&subnet);
	c.subnets[0].gateway = subnet.addr;
	return c;
}

static void run_on_host(const char *cmd)
{
	if (fixture_run(host, "%s", cmd) != 0)
		fail_msg("%s: %s", cmd, fixture.output);
}

static void make_lan(void)
{
	run_on_host("ip link add eth0 type veth peer name eth1; ip link set lo up; "
		    "ip link set eth0 up; ip link set eth1 up; "
		    "ip addr add 192.0.2.1/24 dev eth0; "
		    "ip route add 10.77.0.0/24 via 192.0.2.9");
}

static void the_hosts_routes_stay(void **state)
{
	static const struct {
		const char *gateway;
		const char *text;
		const char *route;
	} cases[] = {
		{"192.0.2.1/24", "192.0.2.0/24 is routed already: dev eth0",
		 "192.0.2.0/24 dev eth0 proto kernel"},
		{"10.77.0.1/24", "10.77.0.0/24 is routed already: via 192.0.2.9 dev eth0",
		 "10.77.0.0/24 via 192.0.2.9 dev eth0"},
	};

	(void)state;
	make_lan();
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct network_config c = config(cases[i].gateway);
		struct network_sandbox sb = {.nsfd = -1};
		struct err e = {0};

		assert_int_equal(network_apply(fixture_dir, host_links, &c, &sb, &e),
				 -EEXIST);
		assert_non_null(strstr(e.text, cases[i].text));
		run_on_host("ip route");
		assert_output(cases[i].route);
		assert_no_output("flu");
		assert_ok(network_remove(fixture_dir, host_links, ID, &sb, &fixture_err));
		run_on_host("ip route; ip -o link");
		assert_output(cases[i].route);
		assert_no_output("flu");
	}
}

static void completing_finds_its_route_again(void **state)
{
	const struct network_config c = config("10.78.0.1/24");
	struct network_sandbox sb = {.nsfd = -1};

	(void)state;
	make_lan();
	assert_ok(network_apply(fixture_dir, host_links, &c, &sb, &fixture_err));
	run_on_host("ip route add 10.78.0.7/32 via 192.0.2.9");
	assert_ok(network_complete(host_links, &sb, &c, &fixture_err));
	run_on_host("ip route");
	assert_output("10.78.0.0/24 via 169.254.0.2 dev " UP);
	/* Lost with its link, made again. */
	run_on_host("ip route del 10.78.0.7/32; ip link set " UP " down");
	assert_ok(network_complete(host_links, &sb, &c, &fixture_err));
	run_on_host("ip route");
	assert_output("10.78.0.0/24 via 169.254.0.2 dev " UP);
	assert_ok(network_remove(fixture_dir, host_links, ID, &sb, &fixture_err));
	run_on_host("ip route; ip -o link");
	assert_no_output("flu");
}

static void the_namespace_goes_without_its_uplink(void **state)
{
	const struct network_config c = config("10.78.0.1/24");
	struct network_sandbox sb = {.nsfd = -1};
	char pin[128];
	struct err e = {0};

	(void)state;
	assert_ok(network_apply(fixture_dir, host_links, &c, &sb, &fixture_err));
	(void)snprintf(pin, sizeof(pin), "%s/netns/" PIN, fixture_dir);
	assert_int_equal(access(pin, F_OK), 0);
	/* A link of our name that the kernel does not delete. */
	run_on_host("ip link del " UP "; ip link set lo down; ip link set lo name " UP);
	assert_int_equal(network_remove(fixture_dir, host_links, ID, &sb, &e),
			 -EOPNOTSUPP);
	assert_non_null(strstr(e.text, UP));
	assert_int_equal(access(pin, F_OK), -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(the_hosts_routes_stay),
		TEST(completing_finds_its_route_again),
		TEST(the_namespace_goes_without_its_uplink),
	};

	return fixture_enter() < 0 ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
