// SPDX-License-Identifier: GPL-2.0-or-later
/* The host's table after others have had their hands in it: what is noticed, and that a
 * network goes with what is left of it. */
#include "tests/netns/kern/fixture.h"

#include "driver/firewall.h"
#include "plugin/base/mem.h"

#include <netinet/in.h>

static struct firewall *fw;
static int host; /* the program's own namespace */
static struct network_config nets[2];
static const struct network_config *const networks[] = {&nets[0], &nets[1]};
static struct firewall_port ports[2];

static struct addr addr_of(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static void fill_network(struct network_config *c, const char *id, const char *pool4,
			 const char *pool6)
{
	memset(c, 0, sizeof(*c));
	(void)snprintf(c->id, sizeof(c->id), "%s", id);
	c->subnet_count = 2;
	assert_int_equal(cidr_parse(pool4, &c->subnets[0].pool), 0);
	assert_int_equal(cidr_parse(pool6, &c->subnets[1].pool), 0);
}

static int setup(void **state)
{
	if (unshare(CLONE_NEWNET) < 0 || fixture_setup(state) < 0)
		return -1;
	host = fixture.count++;
	(void)snprintf(fixture.path[host], sizeof(fixture.path[host]), "/proc/%d/ns/net",
		       (int)getpid());
	fill_network(&nets[0], "aaaaaaaaaaaa", "10.1.0.0/24", "fd00:1::/64");
	fill_network(&nets[1], "bbbbbbbbbbbb", "10.1.1.0/24", "fd00:2::/64");
	ports[0] = (struct firewall_port){.proto = IPPROTO_TCP,
					  .host_port = 8080,
					  .target4 = addr_of("10.1.0.200"),
					  .target6 = addr_of("fd00:1::200"),
					  .target_port = 80};
	ports[1] = ports[0];
	ports[1].proto = IPPROTO_UDP;
	ports[1].host_addr = addr_of("192.0.2.1");
	return firewall_open(&fw, &fixture_err);
}

static int teardown(void **state)
{
	(void)state;
	firewall_close(fw);
	fw = NULL;
	fixture.count = 0;
	return rmdir(fixture_dir);
}

static void run_on_host(const char *cmd)
{
	if (fixture_run(host, "%s", cmd) != 0)
		fail_msg("%s: %s", cmd, fixture.output);
}

static int check(void)
{
	struct err e = {0};
	int r = firewall_check(fw, networks, 2, ports, 2, &e);

	if (r < 0)
		fail_msg("%s", e.text);
	return r;
}

#define T "inet fairlead "

static void every_difference_is_noticed(void **state)
{
	static const char *const changes[] = {
		"nft delete element " T "pools4 { 10.1.0.0/24 }",
		"nft delete element " T "pools6 { fd00:2::/64 }",
		"nft add element " T "pools4 { 10.9.0.0/24 }",
		"nft add element " T "pools4 { 10.9.0.1-10.9.0.2 }",
		"nft delete element " T "pools4 { 10.1.0.0/24 }; "
		"nft add element " T "pools4 { 10.1.0.0/25 }",
		"nft flush set " T "pools6",
		"nft delete element " T "uplinks { flubbbbbbbbbbbb }",
		"nft delete element " T "publish4 { tcp . 8080 }",
		"nft delete element " T "publish4 { tcp . 8080 }; "
		"nft add element " T "publish4 { tcp . 8080 : 10.1.0.201 . 80 }",
		"nft delete element " T "publish6 { tcp . 8080 }; "
		"nft add element " T "publish6 { tcp . 8081 : fd00:1::200 . 80 }",
		"nft delete element " T "publish4-addr { 192.0.2.1 . udp . 8080 }",
		"nft flush chain " T "forward",
		"nft delete table " T,
		"nft flush ruleset",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		assert_ok(firewall_sync(fw, networks, 2, ports, 2, &fixture_err));
		assert_int_equal(check(), 1);
		print_message("%s\n", changes[i]);
		run_on_host(changes[i]);
		assert_int_equal(check(), 0);
	}
	assert_ok(firewall_sync(fw, networks, 2, ports, 2, &fixture_err));
	assert_int_equal(check(), 1);
}

static void a_network_goes_with_what_is_left(void **state)
{
	static const char *const changes[] = {
		"true",
		"nft delete element " T "pools4 { 10.1.0.0/24 }",
		"nft flush set " T "pools6",
		"nft delete element " T "uplinks { fluaaaaaaaaaaaa }",
		"nft delete element " T "uplinks { fluaaaaaaaaaaaa }; "
		"nft delete chain " T "hairpin-aaaaaaaaaaaa; "
		"nft delete element " T "pools4 { 10.1.0.0/24 }; "
		"nft delete element " T "pools6 { fd00:1::/64 }",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		assert_ok(firewall_sync(fw, networks, 2, NULL, 0, &fixture_err));
		print_message("%s\n", changes[i]);
		run_on_host(changes[i]);
		assert_ok(firewall_network_del(fw, &nets[0], &fixture_err));
		run_on_host("nft list table " T);
		assert_no_output("aaaaaaaaaaaa");
		assert_no_output("10.1.0.0/24");
		assert_no_output("fd00:1::");
		assert_output("flubbbbbbbbbbbb");
		assert_output("10.1.1.0/24");
		assert_ok(firewall_network_del(fw, &nets[0], &fixture_err));
	}
	run_on_host("nft flush ruleset");
	assert_ok(firewall_network_del(fw, &nets[0], &fixture_err));
}

/* One that could not be added has nothing: the pool is the other one's. */
static void the_pool_of_another_stays(void **state)
{
	struct network_config c = nets[0];

	(void)state;
	assert_ok(firewall_sync(fw, networks, 2, NULL, 0, &fixture_err));
	memcpy(c.id, "cccccccccccc", 12);
	assert_ok(firewall_network_del(fw, &c, &fixture_err));
	assert_int_equal(firewall_check(fw, networks, 2, NULL, 0, &fixture_err), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(every_difference_is_noticed),
		TEST(a_network_goes_with_what_is_left),
		TEST(the_pool_of_another_stays),
	};

	return fixture_enter() < 0 ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
