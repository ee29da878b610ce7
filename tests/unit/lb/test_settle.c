// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which VIP a service gets, keeps and gives up: by its name, by the wishes of its
 * backends, and in a range that is full.
 */
#include "tests/unit/lb/fixture.h"

#include "plugin/base/log.h"

#include <errno.h>

#define FIXED(addr) " fairlead.vip=" addr

static void test_network_without_range(void **state)
{
	struct fixture *f = *state;

	add_network(f, NET, NULL, NULL);
	add_endpoint(f, NET, "e1", "10.1.0.2", "fairlead.service=web");
	assert_true(view(f, NET, "", "web")->dnsrr);
	assert_error(f, NET, "web", "no VIP: the IPAM driver is not fairlead");
	fixture_restart(f);
	check_witness(f);
	/* It gets one: so does the service. */
	add_network(f, NET, "10.1.0.192/26", NULL);
	assert_vip(view(f, NET, "", "web"), "10.1.0.193", "");
	assert_false(view(f, NET, "", "web")->dnsrr);
	assert_no_error(f, NET, "web");
	/* The range moves: the service keeps its VIP. */
	add_network(f, NET, "10.1.0.128/26", NULL);
	assert_vip(view(f, NET, "", "web"), "10.1.0.193", "");
	assert_error(f, NET, "web", "VIP 10.1.0.193 is outside");
	fixture_restart(f);
	check_witness(f);
}

static void test_vip_is_kept_by_name(void **state)
{
	struct fixture *f = with_web(state, 2);

	add_endpoint(f, NET, "x", "10.1.0.8", "fairlead.service=other");
	del_endpoint(f, "e1");
	del_endpoint(f, "e2");
	assert_backends(web(f), "");
	assert_vip(web(f), "10.1.0.193", "");
	fixture_restart(f);
	check_witness(f);
	add_endpoint(f, NET, "e3", "10.1.0.2", NULL);
	run(f, "e3", WEB);
	assert_backends(web(f), "e3:1");
	assert_vip(web(f), "10.1.0.193", "");
	assert_int_equal(web(f)->mark, LB_MARK_FIRST);
	check_witness(f);
}

static void test_fixed_vip(void **state)
{
	struct fixture *f = with_web(state, 1);

	run(f, "e1", WEB " fairlead.vip=10.1.0.200");
	assert_vip(web(f), "10.1.0.200", "");
	add_endpoint(f, NET, "x", "10.1.0.8",
		     "fairlead.service=x fairlead.vip=10.1.0.200");
	assert_vip(view(f, NET, "", "x"), "10.1.0.194", "");
	assert_error(f, NET, "x",
		     "VIP 10.1.0.200: service x asks for it, service web.shop has it");
	fixture_restart(f);
	check_witness(f);
	assert_error(f, NET, "x",
		     "VIP 10.1.0.200: service x asks for it, service web.shop has it");
	/* It comes free: x moves there. */
	run(f, "e1", WEB " fairlead.vip=10.1.0.201");
	assert_vip(view(f, NET, "", "x"), "10.1.0.200", "");
	assert_no_error(f, NET, "x");
	fixture_restart(f);
	check_witness(f);
}

static void test_bad_fixed_vip(void **state)
{
	static const struct {
		const char *vip;
		const char *error;
	} cases[] = {
		{"10.1.0.191", "VIP 10.1.0.191: not in the network's VIP range "
			       "10.1.0.192/26"},
		{"10.1.0.1", "VIP 10.1.0.1: not in the network's VIP range"},
		{"192.0.2.1", "VIP 192.0.2.1: not in the network's VIP range"},
		{"0.0.0.0", "VIP 0.0.0.0: not in the network's VIP range"},
		{"10.1.0.192", "VIP 10.1.0.192: first or last address of the VIP range"},
		{"10.1.0.255", "VIP 10.1.0.255: first or last address of the VIP range"},
		{"fd00::1", "VIP fd00::1: the network has no VIP range for it"},
		{"10.1.0", "must be an IPv4 or IPv6 address"},
		{"", "must be an IPv4 or IPv6 address"},
	};
	struct fixture *f = with_web(state, 1);
	char labels[256];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)snprintf(labels, sizeof(labels), WEB " fairlead.vip=%s",
			       cases[i].vip);
		run(f, "e1", labels);
		assert_vip(web(f), "10.1.0.193", "");
		assert_error(f, NET, "web", cases[i].error);
	}
}

static void test_range_is_full(void **state)
{
	struct fixture *f = *state;

	/* Two usable addresses: .249 and .250. */
	add_network(f, NET, "10.1.0.248/30", NULL);
	add_named(f, "a");
	add_named(f, "b");
	add_named(f, "c");
	assert_true(view(f, NET, "", "c")->dnsrr);
	assert_error(f, NET, "c",
		     "no VIP: the range 10.1.0.248/30 is full, services have all of its "
		     "2 addresses");
	/* Which it is no longer when another service ends. */
	del_endpoint(f, "a");
	assert_null(view(f, NET, "", "a"));
	assert_vip(view(f, NET, "", "c"), "10.1.0.249", "");
	assert_no_error(f, NET, "c");
	check_witness(f);
	/* The longest unused one goes. */
	del_endpoint(f, "b");
	del_endpoint(f, "c");
	fixture_restart(f);
	add_named(f, "d");
	assert_null(view(f, NET, "", "b"));
	assert_vip(view(f, NET, "", "d"), "10.1.0.250", "");
	assert_non_null(view(f, NET, "", "c"));
	/* One that is used again has not been unused for long. */
	add_named(f, "c");
	add_named(f, "e");
	assert_vip(view(f, NET, "", "c"), "10.1.0.249", "");
	assert_error(f, NET, "e", "is full");
	check_witness(f);
}

static void test_rename_in_a_full_range(void **state)
{
	struct fixture *f = *state;

	add_network(f, NET, "10.1.0.254/31", NULL);
	add_endpoint(f, NET, "e1", "10.1.0.2", "fairlead.service=old");
	assert_vip(view(f, NET, "", "old"), "10.1.0.254", "");
	add_endpoint(f, NET, "e1", "10.1.0.2", "fairlead.service=new");
	assert_null(view(f, NET, "", "old"));
	assert_vip(view(f, NET, "", "new"), "10.1.0.254", "");
	fixture_restart(f);
	check_witness(f);
}

static void test_unused_but_wanted_again(void **state)
{
	struct fixture *f = *state;

	add_network(f, NET, "10.1.0.248/30", NULL);
	add_named(f, "a");
	add_named(f, "b");
	del_endpoint(f, "a");
	del_endpoint(f, "b");
	assert_int_equal(try_network(f, NET, "10.1.0.248/30", NULL, "fairlead.enable=no"),
			 0);
	add_named(f, "new");
	add_named(f, "a");
	add_named(f, "b");
	/* Now all three at once: the new one, although first, must not take the VIP of
	 * one that is used again. */
	add_network(f, NET, "10.1.0.248/30", NULL);
	assert_vip(view(f, NET, "", "a"), "10.1.0.249", "");
	assert_vip(view(f, NET, "", "b"), "10.1.0.250", "");
	assert_error(f, NET, "new", "is full");
	check_witness(f);
	fixture_restart(f);
	check_witness(f);
}

/* --- wishes of several backends --------------------------------------------------- */

static void test_fixed_of_both_families(void **state)
{
	struct fixture *f = *state;

	add_network(f, NET, "10.1.0.192/26", "fd00::100/120");
	add_endpoint(f, NET, "e1", "10.1.0.2", NULL);
	run(f, "e1", WEB FIXED("10.1.0.200,fd00::1aa"));
	assert_vip(web(f), "10.1.0.200", "fd00::1aa");
	run(f, "e1", WEB FIXED("fd00::1bb,10.1.0.201"));
	assert_vip(web(f), "10.1.0.201", "fd00::1bb");
	/* A bad list is refused as a whole; without a wish all stays. */
	run(f, "e1", WEB FIXED("10.1.0.202,10.1.0.203"));
	assert_vip(web(f), "10.1.0.201", "fd00::1bb");
	assert_error(f, NET, "web", "has two addresses of one IP version");
	fixture_restart(f);
	check_witness(f);
	assert_vip(web(f), "10.1.0.201", "fd00::1bb");
}

static void test_first_wish_counts(void **state)
{
	struct fixture *f = with_web(state, 3);

	run(f, "e1", WEB FIXED("10.1.0.200"));
	assert_no_error(f, NET, "web"); /* one that asks for nothing agrees */
	run(f, "e2", WEB FIXED("10.1.0.201"));
	run(f, "e3", WEB FIXED("10.1.0.201"));
	assert_vip(web(f), "10.1.0.200", "");
	assert_error(
		f, NET, "web",
		"container c-e2 asks for VIP 10.1.0.201, but 10.1.0.200 of container "
		"c-e1 counts");
	assert_error(f, NET, "web", "container c-e3 asks for VIP 10.1.0.201");
	assert_backends(web(f), "e1:1 e2:1 e3:1");
	fixture_restart(f);
	check_witness(f);
	assert_vip(web(f), "10.1.0.200", "");
	/* The last one with the old wish goes. */
	del_endpoint(f, "e1");
	assert_vip(web(f), "10.1.0.201", "");
	assert_no_error(f, NET, "web");
	fixture_restart(f);
	check_witness(f);
}

static void test_held_wish_counts(void **state)
{
	struct fixture *f = with_web(state, 2);

	/* The younger one's wish was there first, and another one shares it. */
	run(f, "e2", WEB FIXED("10.1.0.201"));
	assert_vip(web(f), "10.1.0.201", "");
	run(f, "e1", WEB FIXED("10.1.0.200"));
	assert_vip(web(f), "10.1.0.201", "");
	assert_error(f, NET, "web", "container c-e1 asks for VIP 10.1.0.200");
	add_endpoint(f, NET, "e3", "10.1.0.4", NULL);
	run(f, "e3", WEB FIXED("10.1.0.201"));
	del_endpoint(f, "e2");
	assert_vip(web(f), "10.1.0.201", "");
	del_endpoint(f, "e3");
	assert_vip(web(f), "10.1.0.200", "");
	assert_no_error(f, NET, "web");
	/* Nobody asks any more: it stays. */
	run(f, "e1", WEB);
	assert_vip(web(f), "10.1.0.200", "");
	check_witness(f);
}

static void test_wish_before_its_container(void **state)
{
	struct fixture *f = *state;

	add_network(f, NET, "10.1.0.192/26", NULL);
	add_endpoint(f, NET, "e1", "10.1.0.2",
		     "fairlead.service=web" FIXED("10.1.0.200"));
	add_endpoint(f, NET, "e2", "10.1.0.3",
		     "fairlead.service=web" FIXED("10.1.0.201"));
	assert_vip(view(f, NET, "", "web"), "10.1.0.200", "");
	assert_error(
		f, NET, "web",
		"endpoint e2 asks for VIP 10.1.0.201, but 10.1.0.200 of endpoint e1");
	run(f, "e1", WEB);
	run(f, "e2", WEB);
	assert_error(
		f, NET, "web",
		"container c-e2 asks for VIP 10.1.0.201, but 10.1.0.200 of container "
		"c-e1");
}

static void test_second_wish_is_no_way_out(void **state)
{
	struct fixture *f = with_web(state, 2);

	add_endpoint(f, NET, "db", "10.1.0.9", "fairlead.service=db" FIXED("10.1.0.200"));
	run(f, "e1", WEB FIXED("10.1.0.200"));
	run(f, "e2", WEB FIXED("10.1.0.201"));
	assert_vip(web(f), "10.1.0.193", "");
	assert_error(f, NET, "web",
		     "VIP 10.1.0.200: service web.shop asks for it, service db has it");
	assert_error(f, NET, "web", "container c-e2 asks for VIP 10.1.0.201");
	/* As soon as nobody is behind db it is web's; db comes too late then. */
	del_endpoint(f, "db");
	assert_vip(web(f), "10.1.0.200", "");
	assert_null(view(f, NET, "", "db"));
	check_witness(f);
	add_endpoint(f, NET, "db", "10.1.0.9", "fairlead.service=db" FIXED("10.1.0.200"));
	assert_error(f, NET, "db",
		     "VIP 10.1.0.200: service db asks for it, service web.shop has it");
	fixture_restart(f);
	check_witness(f);
}

static void test_wish_without_a_vip(void **state)
{
	struct fixture *f = with_web(state, 1);

	run(f, "e1", WEB FIXED("10.1.0.200,fd00::1") " fairlead.mode=dnsrr");
	assert_vip(web(f), "", "");
	assert_error(f, NET, "web",
		     "VIP 10.1.0.200: not given, the service has mode dnsrr");
	assert_error(f, NET, "web", "VIP fd00::1: not given, the service has mode dnsrr");
	run(f, "e1", WEB FIXED("10.1.0.200"));
	assert_vip(web(f), "10.1.0.200", "");
	assert_no_error(f, NET, "web");
}

static void test_wish_wins_over_a_memory(void **state)
{
	struct fixture *f = with_web(state, 1);

	del_endpoint(f, "e1");
	assert_vip(web(f), "10.1.0.193", "");
	add_endpoint(f, NET, "db", "10.1.0.9", "fairlead.service=db" FIXED("10.1.0.193"));
	assert_vip(view(f, NET, "", "db"), "10.1.0.193", "");
	assert_no_error(f, NET, "db");
	assert_null(web(f));
	check_witness(f);
	fixture_restart(f);
	add_endpoint(f, NET, "e2", "10.1.0.2", NULL);
	run(f, "e2", WEB);
	assert_vip(web(f), "10.1.0.194", "");
	check_witness(f);
}

/* Three services want each other's addresses: all get what they ask for in the end. */
static void test_addresses_wander(void **state)
{
	struct fixture *f = *state;

	add_network(f, NET, "10.1.0.192/26", NULL);
	add_named(f, "a");
	add_named(f, "b");
	add_named(f, "c");
	add_endpoint(f, NET, "a", "10.1.0.2", "fairlead.service=a" FIXED("10.1.0.194"));
	add_endpoint(f, NET, "b", "10.1.0.2", "fairlead.service=b" FIXED("10.1.0.195"));
	assert_error(f, NET, "a", "service b has it");
	assert_error(f, NET, "b", "service c has it");
	add_endpoint(f, NET, "c", "10.1.0.2", "fairlead.service=c" FIXED("10.1.0.200"));
	assert_vip(view(f, NET, "", "a"), "10.1.0.194", "");
	assert_vip(view(f, NET, "", "b"), "10.1.0.195", "");
	assert_vip(view(f, NET, "", "c"), "10.1.0.200", "");
	assert_no_error(f, NET, "a");
	assert_no_error(f, NET, "b");
	check_witness(f);
	fixture_restart(f);
	check_witness(f);
}

/* --- how full a range is ------------------------------------------------------------ */

static void assert_use(struct fixture *f, int family, uint64_t capacity, uint64_t used,
		       uint64_t kept)
{
	struct registry_vips vips;

	assert_int_equal(registry_vips(f->registry, NET, family, &vips), 0);
	assert_int_equal(vips.capacity, capacity);
	assert_int_equal(vips.used, used);
	assert_int_equal(vips.kept, kept);
}

static void test_use_of_a_range(void **state)
{
	struct fixture *f = with_web(state, 2);
	struct registry_vips vips;

	assert_int_equal(registry_vips(f->registry, "nothing", AF_INET, &vips), -ENOENT);
	assert_use(f, AF_INET, 62, 1, 0);
	assert_use(f, AF_INET6, 0, 0, 0);
	add_named(f, "a");
	del_endpoint(f, "a");
	assert_use(f, AF_INET, 62, 1, 1);
	fixture_restart(f);
	assert_use(f, AF_INET, 62, 1, 1);
	/* What lies outside of a range that was moved does not count. */
	add_network(f, NET, "10.1.0.128/26", NULL);
	assert_use(f, AF_INET, 62, 0, 0);
}

static void name_number(char buf[16], unsigned int n)
{
	(void)snprintf(buf, 16, "s%u", n);
}

static void test_memory_is_bounded(void **state)
{
	struct fixture *f = *state;
	char id[16];

	add_network(f, NET, "10.16.0.0/16", NULL);
	for (unsigned int i = 0; i < REGISTRY_KEPT_MAX + 3; i++) {
		name_number(id, i);
		add_named(f, id);
		del_endpoint(f, id);
	}
	assert_use(f, AF_INET, 65534, 0, REGISTRY_KEPT_MAX);
	assert_null(view(f, NET, "", "s2")); /* the longest unused */
	assert_vip(view(f, NET, "", "s3"), "10.16.0.4", "");
	/* One that is used again is none of them; without a VIP nobody is pushed out. */
	add_named(f, "s3");
	add_endpoint(f, NET, "x", "10.1.0.2", "fairlead.service=x fairlead.mode=dnsrr");
	del_endpoint(f, "x");
	assert_use(f, AF_INET, 65534, 1, REGISTRY_KEPT_MAX - 1);
	fixture_restart(f);
	check_witness(f);
	assert_use(f, AF_INET, 65534, 1, REGISTRY_KEPT_MAX - 1);
	assert_non_null(view(f, NET, "", "s4"));
	del_endpoint(f, "s3");
	add_named(f, "new");
	del_endpoint(f, "new");
	assert_null(view(f, NET, "", "s4"));
	assert_non_null(view(f, NET, "", "s5"));
	assert_non_null(view(f, NET, "", "s3"));
	check_witness(f);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_network_without_range),
		T(test_vip_is_kept_by_name),
		T(test_fixed_vip),
		T(test_bad_fixed_vip),
		T(test_range_is_full),
		T(test_rename_in_a_full_range),
		T(test_unused_but_wanted_again),
		T(test_fixed_of_both_families),
		T(test_first_wish_counts),
		T(test_held_wish_counts),
		T(test_wish_before_its_container),
		T(test_second_wish_is_no_way_out),
		T(test_wish_without_a_vip),
		T(test_wish_wins_over_a_memory),
		T(test_addresses_wander),
		T(test_use_of_a_range),
		T(test_memory_is_bounded),
	};

	/* Errors of users are meant here. */
	assert_int_equal(log_setup("error"), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
