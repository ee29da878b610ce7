// SPDX-License-Identifier: GPL-2.0-or-later
/* Virtual addresses of a range: order, borders, exhaustion, random use against a plain
 * model. */
#include "lb/vip.h"

#include "plugin/base/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

static int owner; /* its address */

static void set_range(struct vip_pool *p, const char *text)
{
	struct cidr range;

	assert_int_equal(cidr_parse(text, &range), 0);
	vip_pool_set_range(p, &range);
}

static struct addr address(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

/* "" for a failure. */
static const char *next(struct vip_pool *p)
{
	static char text[ADDR_TEXT_SIZE];
	struct addr a = {0};

	if (vip_pool_take_next(p, &owner, &a) < 0)
		a = (struct addr){0};
	return addr_format(&a, text);
}

static void test_borders(void **state)
{
	static const struct {
		const char *range;
		uint64_t capacity;
		const char *first;
		const char *usable; /* addresses at the edges */
		const char *refused;
	} cases[] = {
		{"10.1.0.192/26", 62, "10.1.0.193", "10.1.0.254", "10.1.0.255"},
		{"10.1.0.200/26", 62, "10.1.0.193", "10.1.0.193", "10.1.0.192"},
		{"10.1.0.192/30", 2, "10.1.0.193", "10.1.0.194", "10.1.0.195"},
		{"10.1.0.192/31", 1, "10.1.0.192", "10.1.0.192", "10.1.0.193"},
		{"10.1.0.192/32", 0, "", NULL, "10.1.0.192"},
		{"10.0.0.0/8", 16777214, "10.0.0.1", "10.255.255.254", "11.0.0.0"},
		{"0.0.0.0/0", 4294967294, "0.0.0.1", "255.255.255.254", "fd00::1"},
		{"fd00::100/120", 255, "fd00::101", "fd00::1ff", "fd00::100"},
		{"fd00::10/128", 1, "fd00::10", "fd00::10", "fd00::11"},
		{"fd00::10/127", 2, "fd00::10", "fd00::11", "fd00::12"},
		{"fd00::/64", UINT64_MAX - 1, "fd00::1", "fd00::ffff:ffff:ffff:fffe",
		 "fd00::"},
		{"fd00::/8", UINT64_MAX - 1, "fd00::1", "fd00::2", "fc00::1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vip_pool p = {0};
		struct addr a = address(cases[i].refused);

		print_message("%s\n", cases[i].range);
		set_range(&p, cases[i].range);
		assert_int_equal(vip_pool_capacity(&p), cases[i].capacity);
		assert_string_equal(next(&p), cases[i].first);
		assert_false(vip_pool_usable(&p, &a));
		if (cases[i].usable) {
			a = address(cases[i].usable);
			assert_true(vip_pool_usable(&p, &a));
		}
		vip_pool_fini(&p);
	}
}

static void test_no_range(void **state)
{
	struct vip_pool p = {0};
	struct addr a = address("10.1.0.1");
	struct addr none = {0};

	(void)state;
	assert_int_equal(vip_pool_capacity(&p), 0);
	assert_string_equal(next(&p), "");
	assert_false(vip_pool_usable(&p, &a));
	assert_false(vip_pool_usable(&p, &none));
	vip_pool_give(&p, &a);
	vip_pool_fini(&p);
}

static void test_goes_round(void **state)
{
	struct vip_pool p = {0};
	struct addr a = address("10.1.0.2");

	(void)state;
	set_range(&p, "10.1.0.0/29"); /* .1 to .6 */
	assert_string_equal(next(&p), "10.1.0.1");
	assert_string_equal(next(&p), "10.1.0.2");
	vip_pool_give(&p, &a);
	assert_string_equal(next(&p), "10.1.0.3");
	assert_string_equal(next(&p), "10.1.0.4");
	assert_string_equal(next(&p), "10.1.0.5");
	assert_string_equal(next(&p), "10.1.0.6");
	assert_string_equal(next(&p), "10.1.0.2");
	assert_string_equal(next(&p), "");
	assert_int_equal(vip_pool_take_next(&p, &owner, &a), -ENOSPC);
	vip_pool_fini(&p);
}

static void test_explicit(void **state)
{
	struct vip_pool p = {0};
	struct addr a = address("10.1.0.1");
	int other;

	(void)state;
	set_range(&p, "10.1.0.0/29");
	assert_null(vip_pool_owner(&p, &a));
	assert_int_equal(vip_pool_take(&p, &a, &other), 0);
	assert_ptr_equal(vip_pool_owner(&p, &a), &other);
	assert_int_equal(vip_pool_take(&p, &a, &owner), -EEXIST);
	assert_string_equal(next(&p), "10.1.0.2");
	vip_pool_give(&p, &a);
	vip_pool_give(&p, &a);
	assert_int_equal(p.used, 1);
	assert_null(vip_pool_owner(&p, &a));
	vip_pool_fini(&p);
}

static void test_range_moves(void **state)
{
	struct vip_pool p = {0};

	(void)state;
	set_range(&p, "10.1.0.0/29");
	for (unsigned int i = 0; i < 6; i++)
		(void)next(&p);
	assert_int_equal(p.used, 6);
	/* What lies outside does not fill the new range, and stays taken. */
	set_range(&p, "10.1.0.4/30");
	assert_int_equal(p.used, 2);
	assert_string_equal(next(&p), "");
	set_range(&p, "10.1.0.8/29");
	assert_int_equal(p.used, 0);
	assert_string_equal(next(&p), "10.1.0.9");
	set_range(&p, "10.1.0.0/28");
	assert_int_equal(p.used, 7);
	assert_string_equal(next(&p), "10.1.0.7");
	assert_string_equal(next(&p), "10.1.0.8");
	assert_string_equal(next(&p), "10.1.0.10");
	vip_pool_fini(&p);
}

static void test_random_use(void **state)
{
	bool taken[64] = {false}; /* by the last byte */
	struct vip_pool p = {0};
	unsigned int seed = 20240607;
	unsigned int count = 0;
	struct addr a;

	(void)state;
	print_message("seed %u\n", seed);
	set_range(&p, "10.1.0.0/26");
	for (unsigned int i = 0; i < 20000; i++) {
		unsigned int n = (unsigned int)rand_r(&seed) % 64;
		int r;

		switch (rand_r(&seed) % 3) {
		case 0:
			r = vip_pool_take_next(&p, &owner, &a);
			assert_int_equal(r, count < 62 ? 0 : -ENOSPC);
			if (r < 0)
				break;
			assert_true(vip_pool_usable(&p, &a));
			assert_false(taken[a.bytes[3]]);
			taken[a.bytes[3]] = true;
			count++;
			break;
		case 1:
			a = address("10.1.0.0");
			a.bytes[3] = (uint8_t)n;
			if (!vip_pool_usable(&p, &a))
				break;
			r = vip_pool_take(&p, &a, &owner);
			assert_int_equal(r, taken[n] ? -EEXIST : 0);
			count += !taken[n];
			taken[n] = true;
			break;
		default:
			a = address("10.1.0.0");
			a.bytes[3] = (uint8_t)n;
			vip_pool_give(&p, &a);
			count -= taken[n];
			taken[n] = false;
			break;
		}
		assert_int_equal(p.used, count);
	}
	vip_pool_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_borders),	    cmocka_unit_test(test_no_range),
		cmocka_unit_test(test_goes_round),  cmocka_unit_test(test_explicit),
		cmocka_unit_test(test_range_moves), cmocka_unit_test(test_random_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
