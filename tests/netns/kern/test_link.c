// SPDX-License-Identifier: GPL-2.0-or-later
/* Links, addresses, routes and events through the kernel, and what ip(8) shows. */
#include "tests/netns/kern/fixture.h"

#include "driver/kern/link.h"
#include "plugin/base/addr.h"
#include "plugin/base/mem.h"

static struct link_sock *sock;	/* into namespace host */
static struct link_sock *other; /* into namespace task */
static int host;
static int task;

static const uint8_t mac_a[MAC_SIZE] = {0x02, 0x42, 0x0a, 0x00, 0x00, 0x01};
static const uint8_t mac_b[MAC_SIZE] = {0x02, 0x42, 0x0a, 0x00, 0x00, 0x02};

static int setup(void **state)
{
	if (fixture_setup(state) < 0)
		return -1;
	host = fixture_add();
	task = fixture_add();
	if (link_open(fixture.fd[host], &sock, &fixture_err) < 0 ||
	    link_open(fixture.fd[task], &other, &fixture_err) < 0) {
		print_error("%s\n", fixture_err.text);
		return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	link_close(sock);
	link_close(other);
	sock = NULL;
	other = NULL;
	return fixture_teardown(state);
}

static struct link_veth veth(const char *name, const char *peer, int peer_nsfd)
{
	return (struct link_veth){.name = name,
				  .mac = mac_a,
				  .peer = peer,
				  .peer_mac = mac_b,
				  .peer_nsfd = peer_nsfd,
				  .mtu = 1400};
}

static struct cidr net_of(const char *text)
{
	struct cidr c;

	assert_int_equal(cidr_parse(text, &c), 0);
	return c;
}

static struct addr addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

#define refused(expr, want, named)                                                     \
	do {                                                                           \
		struct err e = {0};                                                    \
		int r_ = (expr);                                                       \
		if (r_ != (want) || e.code != (want) || !strstr(e.text, (named)))      \
			fail_msg("%s: %d instead of %d: %s", #expr, r_, want, e.text); \
	} while (0)

static void bridge_is_adopted_and_adjusted(void **state)
{
	uint8_t mac[MAC_SIZE];

	(void)state;
	assert_ok(link_bridge_add(sock, "br0", NULL, 0, &fixture_err));
	assert_ok(link_bridge_add(sock, "br0", mac_a, 1450, &fixture_err));
	assert_ok(link_bridge_add(sock, "br0", mac_a, 1450, &fixture_err));
	assert_int_equal(link_mtu(sock, "br0", NULL), 1450);
	assert_ok(link_mac(sock, "br0", mac, &fixture_err));
	assert_memory_equal(mac, mac_a, MAC_SIZE);
	assert_int_equal(fixture_run(host, "ip -d link show br0"), 0);
	assert_output("link/ether 02:42:0a:00:00:01");
	assert_output("\n    bridge ");
	refused(link_bridge_add(sock, "lo", NULL, 0, &e), -EEXIST, "lo");
	refused(link_bridge_add(sock, "a-name-of-sixteen", NULL, 0, &e), -EINVAL,
		"a-name-of-sixteen");
}

static void veth_spans_namespaces(void **state)
{
	struct link_veth v = veth("up0", "flu0", fixture.fd[task]);
	uint8_t mac[MAC_SIZE];

	(void)state;
	assert_ok(link_veth_add(sock, &v, &fixture_err));
	assert_ok(link_veth_add(sock, &v, &fixture_err)); /* adopted */
	assert_int_equal(link_mtu(sock, "up0", NULL), 1400);
	assert_int_equal(link_mtu(other, "flu0", NULL), 1400);
	assert_ok(link_mac(sock, "up0", mac, &fixture_err));
	assert_memory_equal(mac, mac_a, MAC_SIZE);
	assert_ok(link_mac(other, "flu0", mac, &fixture_err));
	assert_memory_equal(mac, mac_b, MAC_SIZE);
	assert_int_equal(link_index(sock, "flu0", NULL), 0);
	v.mtu = 1300;
	assert_ok(link_veth_add(sock, &v, &fixture_err)); /* adopted and changed */
	assert_int_equal(link_mtu(sock, "up0", NULL), 1300);
	assert_int_equal(link_mtu(other, "flu0", NULL), 1300);
	/* The same from the other side. */
	v = veth("flu0", "up0", fixture.fd[host]);
	assert_ok(link_veth_add(other, &v, &fixture_err));
}

static void veth_within_one_namespace(void **state)
{
	struct link_veth v = veth("a0", "a1", -1);

	(void)state;
	assert_ok(link_veth_add(sock, &v, &fixture_err));
	assert_ok(link_veth_add(sock, &v, &fixture_err));
	assert_true(link_index(sock, "a0", NULL) > 0);
	assert_true(link_index(sock, "a1", NULL) > 0);
}

static void veth_of_others_is_not_taken(void **state)
{
	struct link_veth first = veth("up0", "flu0", fixture.fd[task]);
	struct link_veth wrong_peer = veth("up0", "flu1", fixture.fd[task]);
	struct link_veth wrong_end = veth("up1", "flu0", fixture.fd[task]);
	struct link_veth crossed = veth("up0", "flu2", fixture.fd[task]);
	struct link_veth second = veth("up2", "flu2", fixture.fd[task]);
	struct link_veth bridge = veth("br0", "flu3", fixture.fd[task]);
	struct link_veth nowhere = veth("up4", "flu4", fixture.fd[task]);

	(void)state;
	assert_ok(link_veth_add(sock, &first, &fixture_err));
	assert_ok(link_veth_add(sock, &second, &fixture_err));
	assert_ok(link_bridge_add(sock, "br0", NULL, 0, &fixture_err));
	refused(link_veth_add(sock, &wrong_peer, &e), -EEXIST, "up0");
	refused(link_veth_add(sock, &wrong_end, &e), -EEXIST, "flu0");
	refused(link_veth_add(sock, &crossed, &e), -EEXIST, "up0");
	refused(link_veth_add(sock, &bridge, &e), -EEXIST, "br0");
	nowhere.peer_nsfd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	refused(link_veth_add(sock, &nowhere, &e), -EINVAL, "up4");
	close(nowhere.peer_nsfd);
	assert_int_equal(link_index(sock, "up1", NULL), 0);
	assert_int_equal(link_index(other, "flu1", NULL), 0);
}

static void up_enslaves_and_reports_carrier(void **state)
{
	struct link_veth v = veth("p0", "eth0", fixture.fd[task]);
	bool running = true;

	(void)state;
	assert_ok(link_veth_add(sock, &v, &fixture_err));
	assert_ok(link_bridge_add(sock, "br0", NULL, 0, &fixture_err));
	assert_ok(link_up(sock, "br0", NULL, &fixture_err));
	assert_ok(link_up(sock, "p0", "br0", &fixture_err));
	assert_ok(link_up(sock, "p0", "br0", &fixture_err));
	assert_true(link_index(sock, "p0", &running) > 0);
	assert_false(running);
	assert_ok(link_up(other, "eth0", NULL, &fixture_err));
	assert_true(link_index(sock, "p0", &running) > 0);
	assert_true(running);
	assert_int_equal(fixture_run(host, "ip link show p0"), 0);
	assert_output("master br0");
	refused(link_up(sock, "none", NULL, &e), -ENODEV, "none");
	refused(link_up(sock, "p0", "none", &e), -ENODEV, "none");
	refused(link_up(sock, "p0", "lo", &e), -EOPNOTSUPP, "p0");
}

static void delete_is_idempotent(void **state)
{
	struct link_veth v = veth("p0", "eth0", fixture.fd[task]);

	(void)state;
	assert_ok(link_veth_add(sock, &v, &fixture_err));
	assert_ok(link_del(other, "eth0", &fixture_err));
	assert_int_equal(link_index(sock, "p0", NULL), 0);
	assert_ok(link_del(sock, "p0", &fixture_err));
	refused(link_del(sock, "lo", &e), -EOPNOTSUPP, "lo");
	refused(link_mtu(sock, "p0", &e), -ENODEV, "p0");
	refused(link_mac(sock, "p0", (uint8_t[MAC_SIZE]){0}, &e), -ENODEV, "p0");
}

static void delete_listed(void *ctx, const char *name)
{
	++*(int *)ctx;
	assert_int_equal(strncmp(name, "fl", 2), 0);
	assert_ok(link_del(sock, name, &fixture_err)); /* the socket is free */
}

static void listing_is_by_prefix(void **state)
{
	char name[IFNAMSIZ];
	int seen = 0;
	int i;

	(void)state;
	for (i = 0; i < 200; i++) {
		(void)snprintf(name, sizeof(name), "%s%d", i % 2 ? "fl" : "br", i);
		assert_ok(link_bridge_add(sock, name, NULL, 0, &fixture_err));
	}
	assert_ok(link_list(sock, "fl", delete_listed, &seen, &fixture_err));
	assert_int_equal(seen, 100);
	assert_ok(link_list(sock, "fl", delete_listed, &seen, &fixture_err));
	assert_int_equal(seen, 100);
	assert_true(link_index(sock, "br0", NULL) > 0);
}

static void addresses_are_idempotent(void **state)
{
	struct cidr v4 = net_of("10.1.0.1/24");
	struct cidr v6 = net_of("fd00::1/64");
	struct cidr ll = net_of("169.254.77.1/30");
	struct cidr bad = net_of("127.0.0.1/8");
	struct addr got;
	char text[ADDR_TEXT_SIZE];
	int i;

	(void)state;
	assert_ok(link_bridge_add(sock, "br0", NULL, 0, &fixture_err));
	assert_ok(link_up(sock, "br0", NULL, &fixture_err));
	assert_ok(link_addr_get(sock, "br0", AF_INET, &got, &fixture_err));
	assert_int_equal(got.family, 0);
	for (i = 0; i < 2; i++) {
		assert_ok(link_addr_add(sock, "br0", &ll, LINK_SCOPE_LINK, &fixture_err));
		assert_ok(
			link_addr_add(sock, "br0", &v4, LINK_SCOPE_GLOBAL, &fixture_err));
		assert_ok(
			link_addr_add(sock, "br0", &v6, LINK_SCOPE_GLOBAL, &fixture_err));
	}
	assert_ok(link_addr_get(sock, "br0", AF_INET, &got, &fixture_err));
	assert_string_equal(addr_format(&got, text), "10.1.0.1");
	assert_ok(link_addr_get(sock, "br0", AF_INET6, &got, &fixture_err));
	assert_string_equal(addr_format(&got, text), "fd00::1");
	assert_int_equal(fixture_run(host, "ip addr show br0"), 0);
	assert_output("inet 169.254.77.1/30 scope link br0");
	assert_output("inet 10.1.0.1/24 scope global br0");
	assert_output("inet6 fd00::1/64 scope global nodad \n");
	refused(link_addr_add(sock, "none", &v4, LINK_SCOPE_GLOBAL, &e), -ENODEV, "none");
	refused(link_addr_get(sock, "none", AF_INET, &got, &e), -ENODEV, "none");
	bad.prefix = 40;
	refused(link_addr_add(sock, "br0", &bad, LINK_SCOPE_GLOBAL, &e), -EINVAL,
		"127.0.0.1/40 to br0");
}

static void routes_are_replaced(void **state)
{
	struct cidr own = net_of("10.1.0.1/24");
	struct cidr own6 = net_of("fd00::1/64");
	struct link_route list[] = {
		{.dst = net_of("0.0.0.0/0"), .via = addr_of("10.1.0.254"), .dev = "br0"},
		{.dst = net_of("10.2.0.0/16"), .via = addr_of("10.1.0.2")},
		{.dst = net_of("10.3.0.0/16"), .dev = "br0"},
		{.dst = net_of("10.1.0.192/26"),
		 .dev = "lo",
		 .local = true,
		 .src = addr_of("10.1.0.1")},
		{.dst = net_of("10.4.0.0/16"),
		 .via = addr_of("169.254.1.1"),
		 .dev = "br0",
		 .onlink = true},
		{.dst = net_of("::/0"), .via = addr_of("fd00::fe"), .dev = "br0"},
		{.dst = net_of("fd00::c000/114"), .dev = "lo", .local = true},
	};
	static const char *const texts[] = {
		"default via 10.1.0.254 dev br0 proto static",
		"10.2.0.0/16 via 10.1.0.2 dev br0 proto static",
		"10.3.0.0/16 dev br0 proto static scope link",
		("local 10.1.0.192/26 dev lo table local proto static scope host src "
		 "10.1.0.1"),
		"10.4.0.0/16 via 169.254.1.1 dev br0 proto static onlink",
		"default via fd00::fe dev br0 proto static",
		"local fd00::c000/114 dev lo table local proto static",
	};
	size_t i;
	int round;

	(void)state;
	assert_ok(link_bridge_add(sock, "br0", NULL, 0, &fixture_err));
	assert_ok(link_up(sock, "br0", NULL, &fixture_err));
	assert_ok(link_up(sock, "lo", NULL, &fixture_err));
	assert_ok(link_addr_add(sock, "br0", &own, LINK_SCOPE_GLOBAL, &fixture_err));
	assert_ok(link_addr_add(sock, "br0", &own6, LINK_SCOPE_GLOBAL, &fixture_err));
	for (round = 0; round < 2; round++)
		for (i = 0; i < ARRAY_SIZE(list); i++)
			assert_ok(link_route_set(sock, &list[i], &fixture_err));
	assert_int_equal(
		fixture_run(host, "ip route show table all; ip -6 route show table all"),
		0);
	for (i = 0; i < ARRAY_SIZE(list); i++)
		assert_output(texts[i]);
	list[1].via = addr_of("10.1.0.3");
	assert_ok(link_route_set(sock, &list[1], &fixture_err));
	assert_int_equal(fixture_run(host, "ip route show 10.2.0.0/16"), 0);
	assert_string_equal(fixture.output,
			    "10.2.0.0/16 via 10.1.0.3 dev br0 proto static \n");
	for (round = 0; round < 2; round++)
		for (i = 0; i < ARRAY_SIZE(list); i++)
			assert_ok(link_route_del(sock, &list[i], &fixture_err));
	assert_int_equal(
		fixture_run(host, "ip route show table all; ip -6 route show table all"),
		0);
	assert_no_output("proto static");
}

static void route_errors_name_the_route(void **state)
{
	struct link_route unreachable = {.dst = net_of("10.2.0.0/16"),
					 .via = addr_of("10.9.0.2")};
	struct link_route no_device = {.dst = net_of("10.2.0.0/16"), .dev = "none"};

	(void)state;
	refused(link_route_set(sock, &unreachable, &e), -ENETUNREACH,
		"10.2.0.0/16 via 10.9.0.2");
	refused(link_route_set(sock, &no_device, &e), -ENODEV, "10.2.0.0/16 dev none");
	assert_ok(link_route_del(sock, &no_device, &fixture_err));
}

static void kernel_words_are_kept(void **state)
{
	struct link_route bad = {.dst = net_of("10.2.0.0/16"),
				 .via = addr_of("10.9.0.2")};
	struct err e = {0};

	(void)state;
	assert_int_equal(link_route_set(sock, &bad, &e), -ENETUNREACH);
	assert_non_null(strstr(e.text, "Nexthop has invalid gateway"));
}

static void neighbours_are_permanent(void **state)
{
	struct addr v4 = addr_of("10.1.0.9");
	struct addr v6 = addr_of("fd00::9");

	(void)state;
	assert_ok(link_bridge_add(sock, "br0", NULL, 0, &fixture_err));
	assert_ok(link_up(sock, "br0", NULL, &fixture_err));
	assert_ok(link_neigh_set(sock, "br0", &v4, mac_a, &fixture_err));
	assert_ok(link_neigh_set(sock, "br0", &v4, mac_b, &fixture_err));
	assert_ok(link_neigh_set(sock, "br0", &v6, mac_b, &fixture_err));
	assert_int_equal(fixture_run(host, "ip neigh show dev br0"), 0);
	assert_output("10.1.0.9 lladdr 02:42:0a:00:00:02 PERMANENT");
	assert_output("fd00::9 lladdr 02:42:0a:00:00:02 PERMANENT");
	refused(link_neigh_set(sock, "none", &v4, mac_a, &e), -ENODEV, "none");
}

static void outside_mtu_is_of_the_default_route(void **state)
{
	struct cidr own = net_of("10.1.0.1/24");
	struct link_route route = {.dst = net_of("0.0.0.0/0"),
				   .via = addr_of("10.1.0.254")};
	struct link_route route6 = {
		.dst = net_of("::/0"), .via = addr_of("fd00::fe"), .dev = "br6"};
	struct cidr own6 = net_of("fd00::1/64");
	unsigned int mtu = 0;

	(void)state;
	assert_ok(link_outside_mtu(sock, &mtu, &fixture_err));
	assert_int_equal(mtu, 1500);
	assert_ok(link_bridge_add(sock, "br6", NULL, 1380, &fixture_err));
	assert_ok(link_up(sock, "br6", NULL, &fixture_err));
	assert_ok(link_addr_add(sock, "br6", &own6, LINK_SCOPE_GLOBAL, &fixture_err));
	assert_ok(link_route_set(sock, &route6, &fixture_err));
	assert_ok(link_outside_mtu(sock, &mtu, &fixture_err));
	assert_int_equal(mtu, 1380);
	assert_ok(link_bridge_add(sock, "br0", NULL, 1420, &fixture_err));
	assert_ok(link_up(sock, "br0", NULL, &fixture_err));
	assert_ok(link_addr_add(sock, "br0", &own, LINK_SCOPE_GLOBAL, &fixture_err));
	assert_ok(link_route_set(sock, &route, &fixture_err));
	assert_ok(link_outside_mtu(sock, &mtu, &fixture_err));
	assert_int_equal(mtu, 1420);
}

/* --- events --- */

struct watch {
	const char *name;
	bool running;
	bool gone;
	bool lost;
	unsigned int total;
};

static void on_event(void *ctx, const struct link_event *ev)
{
	struct watch *w = ctx;

	w->total++;
	if (!ev->name) {
		w->lost = true;
		return;
	}
	if (strcmp(ev->name, w->name) != 0)
		return;
	w->running = ev->running;
	w->gone = ev->gone;
}

static bool turn(sd_event *event, const bool *flag)
{
	uint64_t end = clock_us() + 5000000;

	while (!*flag && clock_us() < end)
		if (sd_event_run(event, 100000) < 0)
			return false;
	return *flag;
}

static void monitor_sees_up_and_gone(void **state)
{
	struct link_veth v = veth("p0", "eth0", -1);
	struct watch w = {.name = "p0"};
	struct link_monitor *m;
	sd_event *event;

	(void)state;
	assert_int_equal(sd_event_new(&event), 0);
	assert_ok(link_monitor_new(fixture.fd[host], event, on_event, &w, &m,
				   &fixture_err));
	assert_ok(link_veth_add(sock, &v, &fixture_err));
	assert_ok(link_up(sock, "p0", NULL, &fixture_err));
	assert_int_equal(
		fixture_run(host, "ip link set eth0 netns %s", fixture.path[task]), 0);
	assert_true(sd_event_run(event, 1000000) >= 0);
	assert_false(w.running);
	assert_ok(link_up(other, "eth0", NULL, &fixture_err));
	assert_true(turn(event, &w.running));
	assert_false(w.gone);
	assert_int_equal(fixture_run(host, "ip link set p0 netns %s", fixture.path[task]),
			 0);
	assert_true(turn(event, &w.gone));
	assert_false(w.running);
	link_monitor_free(m);
	sd_event_unref(event);
}

/* A port that leaves its bridge is not gone, although the bridge says "deleted". */
static void monitor_knows_ports_of_bridges(void **state)
{
	struct link_veth v = veth("p0", "eth0", fixture.fd[task]);
	struct watch w = {.name = "p0"};
	struct link_monitor *m;
	sd_event *event;

	(void)state;
	assert_ok(link_veth_add(sock, &v, &fixture_err));
	assert_ok(link_bridge_add(sock, "br0", NULL, 0, &fixture_err));
	assert_ok(link_up(sock, "p0", "br0", &fixture_err));
	assert_int_equal(sd_event_new(&event), 0);
	assert_ok(link_monitor_new(fixture.fd[host], event, on_event, &w, &m,
				   &fixture_err));
	assert_int_equal(fixture_run(host, "ip link set p0 nomaster"), 0);
	assert_true(sd_event_run(event, 1000000) > 0);
	assert_true(w.total > 0);
	assert_false(w.gone);
	link_monitor_free(m);
	sd_event_unref(event);
}

static void monitor_tells_of_losses(void **state)
{
	struct watch w = {.name = "br0"};
	struct link_monitor *m;
	sd_event *event;

	(void)state;
	assert_ok(link_bridge_add(sock, "br0", NULL, 0, &fixture_err));
	assert_int_equal(sd_event_new(&event), 0);
	assert_ok(link_monitor_new(fixture.fd[host], event, on_event, &w, &m,
				   &fixture_err));
	assert_int_equal(fixture_run(host,
				     "for i in $(seq 2000); do echo link set br0 up; "
				     "echo link set br0 down; done | ip -batch -"),
			 0);
	assert_true(turn(event, &w.lost));
	while (sd_event_run(event, 0) > 0)
		; /* the queue is full until it was read */
	/* It goes on. */
	w.gone = false;
	assert_ok(link_del(sock, "br0", &fixture_err));
	assert_true(turn(event, &w.gone));
	link_monitor_free(m);
	sd_event_unref(event);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(bridge_is_adopted_and_adjusted),
		TEST(veth_spans_namespaces),
		TEST(veth_within_one_namespace),
		TEST(veth_of_others_is_not_taken),
		TEST(up_enslaves_and_reports_carrier),
		TEST(delete_is_idempotent),
		TEST(listing_is_by_prefix),
		TEST(addresses_are_idempotent),
		TEST(routes_are_replaced),
		TEST(route_errors_name_the_route),
		TEST(kernel_words_are_kept),
		TEST(neighbours_are_permanent),
		TEST(outside_mtu_is_of_the_default_route),
		TEST(monitor_sees_up_and_gone),
		TEST(monitor_knows_ports_of_bridges),
		TEST(monitor_tells_of_losses),
	};

	return fixture_enter() < 0 ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
