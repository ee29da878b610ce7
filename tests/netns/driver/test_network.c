// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A network's sandbox in the kernel: what is made, that making it again changes nothing
 * and completes what is missing, that removing it leaves nothing, and that links of
 * others are left alone.
 */
#include "tests/netns/driver/fixture.h"

#include <limits.h>

#define ID	 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define UPLINK	 "flu0123456789ab"
#define ENDPOINT "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define NEAR	 "flvfedcba987654"
#define PORT	 "flpfedcba987654"

static struct network_config config(void)
{
	struct network_config c = {.id = ID};

	add_subnet(&c, "10.1.0.1/24", "10.1.0.192/26");
	add_subnet(&c, "fd00:1::1/64", "fd00:1::c000:0:0:0/66");
	return c;
}

static struct network_sandbox apply(const struct network_config *c)
{
	struct network_sandbox sb = {.nsfd = -1};

	assert_ok(network_apply(run_dir, host, c, &sb, &fixture_err));
	assert_true(sb.nsfd >= 0);
	assert_non_null(sb.links);
	return sb;
}

static void remove_network(struct network_sandbox *sb)
{
	assert_ok(network_remove(run_dir, host, ID, sb, &fixture_err));
	assert_int_equal(sb->nsfd, -1);
	assert_null(sb->links);
	assert_int_equal(access(sandbox_path(ID), F_OK), -1);
}

static void test_names(void **state)
{
	static const struct {
		const char *id;
		const char *name;
	} cases[] = {
		{ID, UPLINK},
		{"3fyrajy3dxmt8asfnbo16y5e0", "flu3fyrajy3dxmt"},
		{"short", "flushort"},
	};
	char name[IFNAMSIZ];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		network_link_name('u', cases[i].id, name);
		assert_string_equal(name, cases[i].name);
	}
}

static void test_apply(void **state)
{
	static const struct {
		bool in_host;
		const char *command;
		const char *shows[2];
	} cases[] = {
		/* a new port forwards at once */
		{false, "ip -d link show br0", {"mtu 1400", "stp_state 0"}},
		{false, "ip -br addr", {"10.1.0.1/24", "fd00:1::1/64"}},
		{false, "ip route show table local", {"local 10.1.0.192/26 dev lo"}},
		{false,
		 "ip -6 route show table local",
		 {"local fd00:1:0:0:c000::/66 dev lo"}},
		{false,
		 "ip route show default; ip -6 route show default",
		 {"default via 169.254.0.1 dev up0",
		  "default via fd66:6169:7200::1 dev up0"}},
		{false, "ip -br link show up0", {"UP,LOWER_UP"}},
		{false,
		 "ip neigh show dev up0 nud permanent",
		 {"169.254.0.1", "fd66:6169:7200::1"}},
		{true, "ip -d link show " UPLINK, {"mtu 1400", "LOWER_UP"}},
		{true, "ip addr show dev " UPLINK, {"169.254.0.1/32 scope link"}},
		{true,
		 "ip route; ip -6 route",
		 {"10.1.0.0/24 via 169.254.0.2 dev " UPLINK,
		  "fd00:1::/64 via fd66:6169:7200::2 dev " UPLINK}},
	};
	struct network_config c = config();
	struct network_sandbox sb = apply(&c);

	(void)state;
	assert_int_equal(sb.mtu, OUTSIDE_MTU);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		must(cases[i].in_host ? HOST : sandbox_path(ID), "%s", cases[i].command);
		for (size_t k = 0; k < ARRAY_SIZE(cases[i].shows); k++)
			if (cases[i].shows[k])
				assert_output(cases[i].shows[k]);
	}
	remove_network(&sb);
}

static void test_sysctls(void **state)
{
	static const struct {
		bool in_host;
		const char *key;
		const char *value;
		bool optional;
	} cases[] = {
		{false, "net/ipv4/ip_forward", "1", false},
		{false, "net/ipv6/conf/all/forwarding", "1", false},
		{false, "net/ipv4/conf/all/send_redirects", "0", false},
		{false, "net/ipv4/conf/br0/send_redirects", "0", false},
		{false, "net/ipv4/conf/all/rp_filter", "0", false},
		{false, "net/ipv4/conf/up0/rp_filter", "0", false},
		{false, "net/ipv6/conf/br0/accept_ra", "0", false},
		{false, "net/bridge/bridge-nf-call-iptables", "0", true},
		{false, "net/bridge/bridge-nf-call-ip6tables", "0", true},
		{false, "net/bridge/bridge-nf-call-arptables", "0", true},
		{true, "net/ipv4/ip_forward", "1", false},
		{true, "net/ipv6/conf/all/forwarding", "1", false},
		{true, "net/ipv6/conf/out0/accept_ra", "2", false},
		{true, "net/ipv6/conf/lo/accept_ra", "1", false},
		{true, "net/ipv6/conf/" UPLINK "/accept_ra", "0", false},
		{true, "net/ipv4/conf/" UPLINK "/route_localnet", "1", false},
		{true, "net/ipv4/conf/out0/route_localnet", "0", false},
	};
	struct network_config c = config();
	struct network_sandbox sb;
	char value[32];
	int own;

	(void)state;
	must(HOST, "echo 0 >/proc/sys/net/ipv4/ip_forward;"
		   "echo 0 >/proc/sys/net/ipv6/conf/all/forwarding;"
		   "echo 1 >/proc/sys/net/ipv6/conf/out0/accept_ra;"
		   "echo 1 >/proc/sys/net/ipv6/conf/lo/accept_ra;"
		   "echo 1 >/proc/sys/net/ipv4/conf/default/send_redirects");
	sb = apply(&c);
	own = ns_open_own(&fixture_err);
	assert_true(own >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = ns_sysctl_get(cases[i].in_host ? own : sb.nsfd, cases[i].key,
				      value, sizeof(value), &fixture_err);

		print_message("%s\n", cases[i].key);
		if (r == -ENOENT && cases[i].optional)
			continue;
		assert_int_equal(r, 0);
		assert_string_equal(value, cases[i].value);
	}
	(void)close(own);
	remove_network(&sb);
}

/* Twice is once: the same links (by index), addresses, routes. */
static void test_again(void **state)
{
	struct network_config c = config();
	struct network_sandbox first = apply(&c);
	struct network_sandbox second;
	char before[OUTPUT_SIZE];
	char before_host[OUTPUT_SIZE];
	int bridge = link_index(first.links, NETWORK_BRIDGE, NULL);
	int uplink = link_index(host, UPLINK, NULL);

	(void)state;
	assert_true(bridge > 0 && uplink > 0);
	(void)snprintf(before, sizeof(before), "%s", dump(sandbox_path(ID)));
	(void)snprintf(before_host, sizeof(before_host), "%s", dump(HOST));
	second = apply(&c);
	assert_true(ns_same(first.nsfd, second.nsfd));
	assert_int_equal(second.mtu, first.mtu);
	assert_int_equal(link_index(second.links, NETWORK_BRIDGE, NULL), bridge);
	assert_int_equal(link_index(host, UPLINK, NULL), uplink);
	assert_dump(sandbox_path(ID), before);
	assert_dump(HOST, before_host);
	network_close(&first);
	network_close(&first);
	remove_network(&second);
}

static void test_internal(void **state)
{
	struct network_config c = config();
	struct network_sandbox sb;

	(void)state;
	c.internal = true;
	sb = apply(&c);
	assert_int_equal(link_index(sb.links, NETWORK_UPLINK, NULL), 0);
	assert_true(link_index(sb.links, NETWORK_BRIDGE, NULL) > 0);
	must(sandbox_path(ID), "ip route show default; ip -6 route show default");
	assert_string_equal(fixture.output, "");
	must(sandbox_path(ID), "ip route show table local");
	assert_output("local 10.1.0.192/26 dev lo");
	assert_dump(HOST, host_at_start);
	remove_network(&sb);
}

static void test_one_family(void **state)
{
	struct network_config c = {.id = ID};
	struct network_sandbox sb;

	(void)state;
	add_subnet(&c, "10.1.0.1/24", "");
	sb = apply(&c);
	must(HOST, "ip -6 addr show dev " UPLINK " scope global");
	assert_string_equal(fixture.output, "");
	remove_network(&sb);
	memset(&c.subnets, 0, sizeof(c.subnets));
	c.subnet_count = 0;
	add_subnet(&c, "fd00:1::1/64", "");
	sb = apply(&c);
	must(HOST, "ip -4 addr show dev " UPLINK);
	assert_string_equal(fixture.output, "");
	must(HOST, "ip -6 route");
	assert_output("fd00:1::/64 via fd66:6169:7200::2");
	remove_network(&sb);
}

/* Several pools of a family, one without a gateway. */
static void test_pools(void **state)
{
	struct network_config c = config();
	struct network_sandbox sb;

	(void)state;
	add_subnet(&c, "10.2.0.1/16", "10.2.128.0/17");
	add_subnet(&c, "10.3.0.1/31", "");
	c.subnets[3].gateway = address("");
	sb = apply(&c);
	must(HOST, "ip route");
	assert_output("10.1.0.0/24 via 169.254.0.2");
	assert_output("10.2.0.0/16 via 169.254.0.2");
	must(sandbox_path(ID), "ip -br addr show br0; ip route show table local");
	assert_output("10.2.0.1/16");
	assert_no_output("10.3.0");
	assert_output("local 10.2.128.0/17 dev lo");
	remove_network(&sb);
}

static void test_mtu(void **state)
{
	struct network_config c = config();
	struct network_sandbox sb;

	(void)state;
	c.mtu = 1280;
	sb = apply(&c);
	assert_int_equal(sb.mtu, 1280);
	assert_int_equal(link_mtu(sb.links, NETWORK_BRIDGE, &fixture_err), 1280);
	assert_int_equal(link_mtu(sb.links, NETWORK_UPLINK, &fixture_err), 1280);
	assert_int_equal(link_mtu(host, UPLINK, &fixture_err), 1280);
	remove_network(&sb);
	/* The way out changes: who has containers already keeps what they have. */
	c.mtu = 0;
	sb = apply(&c);
	assert_int_equal(sb.mtu, OUTSIDE_MTU);
	must(HOST, "ip link set out0 mtu 1300");
	network_close(&sb);
	sb = apply(&c);
	assert_int_equal(sb.mtu, OUTSIDE_MTU);
	remove_network(&sb);
	sb = apply(&c);
	assert_int_equal(sb.mtu, 1300);
	remove_network(&sb);
	must(HOST, "ip route del default; ip -6 route del default");
	sb = apply(&c);
	assert_int_equal(sb.mtu, 1500);
	remove_network(&sb);
	must(HOST, "ip link set out0 mtu 1400; ip route add default via 192.0.2.2;"
		   "ip -6 route add default via 2001:db8::2");
}

/* Whatever is missing or different is put right by applying once more. */
static void test_half_made(void **state)
{
	static const struct {
		bool in_host;
		const char *damage;
	} cases[] = {
		{false, "ip link del br0"},
		{false, "ip link set br0 down"},
		{false, "ip link set lo down"},
		{false, "ip addr flush dev br0"},
		{false, "ip addr del 10.1.0.1/24 dev br0"},
		{false, "ip -6 addr del fd00:1::1/64 dev br0"},
		{false, "ip route del local 10.1.0.192/26 table local"},
		{false, "ip -6 route del local fd00:1:0:0:c000::/66 table local"},
		{false, "ip link del up0"},
		{false, "ip link set up0 down"},
		{false, "ip link set up0 mtu 1300"},
		{false, "ip route del default"},
		{false, "ip -6 route del default"},
		{false, "ip route replace default dev br0"},
		{false, "ip neigh del 169.254.0.1 dev up0"},
		{false, "ip neigh replace 169.254.0.1 dev up0 lladdr 02:00:00:00:00:01"},
		{false, "ip -6 addr del fd66:6169:7200::2/128 dev up0"},
		{true, "ip link del " UPLINK},
		{true, "ip link set " UPLINK " down"},
		{true, "ip link set " UPLINK " address 02:00:00:00:00:02"},
		{true, "ip addr del 169.254.0.1/32 dev " UPLINK},
		{true, "ip -6 addr del fd66:6169:7200::1/128 dev " UPLINK},
		{true, "ip route del 10.1.0.0/24"},
		{true, "ip -6 route del fd00:1::/64"},
		{true, "ip neigh del 169.254.0.2 dev " UPLINK},
	};
	struct network_config c = config();
	struct network_sandbox sb = apply(&c);
	char whole[OUTPUT_SIZE];
	char whole_host[OUTPUT_SIZE];

	(void)state;
	(void)snprintf(whole, sizeof(whole), "%s", dump(sandbox_path(ID)));
	(void)snprintf(whole_host, sizeof(whole_host), "%s", dump(HOST));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("%s\n", cases[i].damage);
		must(cases[i].in_host ? HOST : sandbox_path(ID), "%s", cases[i].damage);
		network_close(&sb);
		sb = apply(&c);
		assert_dump(sandbox_path(ID), whole);
		assert_dump(HOST, whole_host);
	}
	remove_network(&sb);
}

/* The namespace itself is gone, or was never finished. Its links may be there for a
 * while: the kernel clears it in its own time. */
static void test_no_namespace(void **state)
{
	struct network_config c = config();
	struct network_sandbox sb = apply(&c);
	char whole[OUTPUT_SIZE];

	(void)state;
	(void)snprintf(whole, sizeof(whole), "%s", dump(sandbox_path(ID)));
	network_close(&sb);
	must(HOST, "umount %s", sandbox_path(ID)); /* leaves an empty file */
	sb = apply(&c);
	assert_dump(sandbox_path(ID), whole);
	network_close(&sb);
	must(HOST, "umount %s; rm %s", sandbox_path(ID), sandbox_path(ID));
	sb = apply(&c);
	assert_dump(sandbox_path(ID), whole);
	remove_network(&sb);
}

static void test_remove(void **state)
{
	struct network_config c = config();
	struct network_sandbox sb = apply(&c);
	struct network_sandbox closed = {.nsfd = -1};

	(void)state;
	network_close(&sb);
	must(HOST, "ip link del " UPLINK); /* half of it is gone already */
	remove_network(&closed);
	remove_network(&closed);
	assert_dump(HOST, host_at_start);
}

static void test_bad_place(void **state)
{
	char deep[PATH_MAX + 8];
	struct network_config c = config();
	struct network_sandbox sb = {.nsfd = -1};

	(void)state;
	memset(deep, 'x', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	assert_int_equal(network_apply(deep, host, &c, &sb, &fixture_err), -ENAMETOOLONG);
	assert_int_equal(network_remove(deep, host, ID, &sb, &fixture_err),
			 -ENAMETOOLONG);
	assert_int_equal(network_apply("/nowhere", host, &c, &sb, &fixture_err), -ENOENT);
	assert_non_null(strstr(fixture_err.text, "network 0123456789ab"));
	assert_int_equal(sb.nsfd, -1);
}

/* A link of somebody else that has our name is his. */
static void test_foreign_uplink(void **state)
{
	struct network_config c = config();
	struct network_sandbox sb = {.nsfd = -1};

	(void)state;
	must(HOST, "ip link add " UPLINK " type bridge");
	assert_int_equal(network_apply(run_dir, host, &c, &sb, &fixture_err), -EEXIST);
	assert_non_null(strstr(fixture_err.text, "network 0123456789ab"));
	assert_non_null(strstr(fixture_err.text, UPLINK));
	assert_int_equal(sb.nsfd, -1);
	must(HOST, "ip -d link show " UPLINK);
	assert_output("bridge forward_delay");
	must(HOST, "ip link del " UPLINK);
	sb = apply(&c); /* what was made of it is completed */
	remove_network(&sb);
}

static void test_foreign_bridge(void **state)
{
	struct network_config c = config();
	struct network_sandbox sb = {.nsfd = -1};
	int fd = ns_create(sandbox_path(ID), &fixture_err);

	(void)state;
	assert_true(fd >= 0);
	must(sandbox_path(ID), "ip link add br0 type veth peer name other");
	assert_int_equal(network_apply(run_dir, host, &c, &sb, &fixture_err), -EEXIST);
	assert_non_null(strstr(fixture_err.text, "br0"));
	(void)close(fd);
	remove_network(&sb);
}

/* --- endpoints --------------------------------------------------------------------- */

static const struct network_endpoint endpoint = {
	.id = ENDPOINT, .mac = {2, 0x42, 10, 1, 0, 2}, .has_mac = true};

static void join(const struct network_sandbox *sb)
{
	char name[IFNAMSIZ] = "";

	assert_ok(network_endpoint_join(host, sb, &endpoint, name, &fixture_err));
	assert_string_equal(name, NEAR);
}

static void test_endpoint(void **state)
{
	struct network_config c = config();
	struct network_sandbox sb = apply(&c);
	int index;

	(void)state;
	join(&sb);
	must(HOST, "ip -d link show " NEAR);
	assert_output("02:42:0a:01:00:02");
	assert_output("mtu 1400");
	assert_output("state DOWN"); /* Docker sets it up, inside */
	must(sandbox_path(ID), "ip -d link show " PORT);
	assert_output("master br0");
	assert_output("mtu 1400");
	assert_output("BROADCAST,MULTICAST,UP");
	assert_no_output("LOWER_UP");
	index = link_index(host, NEAR, NULL);
	join(&sb);
	assert_int_equal(link_index(host, NEAR, NULL), index);
	assert_ok(network_endpoint_del(host, &sb, ENDPOINT, &fixture_err));
	assert_int_equal(link_index(host, NEAR, NULL), 0);
	assert_int_equal(link_index(sb.links, PORT, NULL), 0);
	assert_ok(network_endpoint_del(host, &sb, ENDPOINT, &fixture_err));
	remove_network(&sb);
}

/* Docker has moved and renamed its end; then its namespace dies, or we do. */
static void test_endpoint_moved(void **state)
{
	struct network_config c = config();
	struct network_sandbox sb = apply(&c);
	struct network_sandbox none = {.nsfd = -1};
	int task = fixture_add();

	(void)state;
	join(&sb);
	must(HOST, "ip link set " NEAR " netns %s name eth0", fixture.path[task]);
	must(fixture.path[task], "ip link set eth0 up");
	must(sandbox_path(ID), "ip -br link show " PORT);
	assert_output("LOWER_UP");
	assert_ok(network_endpoint_del(host, &sb, ENDPOINT, &fixture_err));
	assert_int_not_equal(shell(fixture.path[task], "ip link show eth0"), 0);
	/* The sandbox is not open: by the end that Docker gave back. */
	join(&sb);
	assert_ok(network_endpoint_del(host, &none, ENDPOINT, &fixture_err));
	assert_int_equal(link_index(sb.links, PORT, NULL), 0);
	join(&sb);
	remove_network(&sb); /* takes the endpoint's link along */
	wait_link_gone(NEAR);
}

/* Half of a veth cannot be: either it is made or it is of others. */
static void test_endpoint_collision(void **state)
{
	struct network_config c = config();
	struct network_sandbox sb = apply(&c);
	char name[IFNAMSIZ];

	(void)state;
	must(HOST, "ip link add " NEAR " type bridge");
	assert_int_equal(network_endpoint_join(host, &sb, &endpoint, name, &fixture_err),
			 -EEXIST);
	assert_non_null(strstr(fixture_err.text, "endpoint fedcba987654"));
	assert_non_null(strstr(fixture_err.text, NEAR));
	assert_int_equal(link_index(sb.links, PORT, NULL), 0);
	must(HOST, "ip link del " NEAR);
	must(sandbox_path(ID), "ip link add " PORT " type bridge");
	assert_int_equal(network_endpoint_join(host, &sb, &endpoint, name, &fixture_err),
			 -EEXIST);
	assert_int_equal(link_index(host, NEAR, NULL), 0);
	remove_network(&sb);
}

#define with_host(test) cmocka_unit_test_setup_teardown(test, host_setup, host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		with_host(test_apply),
		with_host(test_sysctls),
		with_host(test_again),
		with_host(test_internal),
		with_host(test_one_family),
		with_host(test_pools),
		with_host(test_mtu),
		with_host(test_half_made),
		with_host(test_no_namespace),
		with_host(test_remove),
		with_host(test_bad_place),
		with_host(test_foreign_uplink),
		with_host(test_foreign_bridge),
		with_host(test_endpoint),
		with_host(test_endpoint_moved),
		with_host(test_endpoint_collision),
	};

	if (fixture_enter() < 0)
		return 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
