// SPDX-License-Identifier: GPL-2.0-or-later
/* Sorted lists of addresses and their differences. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lb/addrlist.h"
#include "plugin/base/mem.h"

/* "3=1 1=2": addresses 10.0.0.3 with number 1 and 10.0.0.1 with number 2. */
static struct addrlist list_new(const char *text)
{
	struct addrlist l = {0};

	for (const char *p = text; *p; p += p[3] ? 4 : 3) {
		struct addr a = {.family = AF_INET, .bytes = {10, 0, 0, 0}};

		a.bytes[3] = (uint8_t)(p[0] - '0');
		assert_int_equal(addrlist_add(&l, &a, (uint32_t)(p[2] - '0')), 0);
	}
	addrlist_sort(&l);
	return l;
}

static int write_difference(void *ctx, const struct addrlist_item *old,
			    const struct addrlist_item *new_item)
{
	char *buf = ctx;

	if (strlen(buf) > 20)
		return -E2BIG;
	(void)sprintf(buf + strlen(buf), "%c%u ",
		      !old	  ? '+'
		      : !new_item ? '-'
				  : '~',
		      (old ? old : new_item)->addr.bytes[3]);
	return 0;
}

static void test_diff(void **state)
{
	static const struct {
		const char *old;
		const char *new_list;
		const char *want;
	} cases[] = {
		{"", "", ""},
		{"", "1=1", "+1 "},
		{"1=1", "", "-1 "},
		{"1=1 2=1", "2=1 1=1", ""},
		{"1=1 2=1", "2=3 1=1", "~2 "},
		{"5=1 1=1 3=1", "2=1 3=2 6=1", "-1 +2 ~3 -5 +6 "},
		{"1=1 1=1 1=2", "1=1", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addrlist a = list_new(cases[i].old);
		struct addrlist b = list_new(cases[i].new_list);
		char got[64] = "";

		assert_int_equal(addrlist_diff(&a, &b, write_difference, got), 0);
		assert_string_equal(got, cases[i].want);
		addrlist_fini(&a);
		addrlist_fini(&b);
	}
}

static void test_diff_ends_at_an_error(void **state)
{
	struct addrlist a = list_new("1=1 2=1 3=1 4=1 5=1 6=1 7=1 8=1 9=1");
	struct addrlist none = {0};
	char got[64] = "";

	(void)state;
	assert_int_equal(addrlist_diff(&a, &none, write_difference, got), -E2BIG);
	assert_int_equal(strlen(got), 21);
	addrlist_fini(&a);
}

static void test_find(void **state)
{
	struct addrlist l = list_new("7=1 3=2 5=3");
	struct addrlist none = {0};
	struct addr a = {.family = AF_INET, .bytes = {10, 0, 0, 5}};

	(void)state;
	assert_int_equal(addrlist_find(&l, &a)->number, 3);
	assert_null(addrlist_find(&none, &a));
	a.bytes[3] = 4;
	assert_null(addrlist_find(&l, &a));
	addrlist_fini(&l);
}

static void test_backends_of_a_view(void **state)
{
	struct lb_view *v = lb_view_new(3);
	struct addrlist l = {0};

	(void)state;
	assert_non_null(v);
	assert_int_equal(addr_parse("10.0.0.9", &v->backends[0].addr4), 0);
	assert_int_equal(addr_parse("10.0.0.2", &v->backends[2].addr4), 0);
	assert_int_equal(addr_parse("fd00::2", &v->backends[1].addr6), 0);
	v->backends[0].weight = 4;
	assert_int_equal(addrlist_add_backends(&l, v, AF_INET), 0);
	assert_int_equal(l.count, 0); /* no VIP */
	assert_int_equal(addr_parse("10.0.0.1", &v->vip4), 0);
	assert_ptr_equal(addrlist_vip(v, AF_INET), &v->vip4);
	assert_null(addrlist_vip(v, AF_INET6));
	assert_null(addrlist_vip(NULL, AF_INET));
	assert_int_equal(addrlist_add_backends(&l, v, AF_INET), 0);
	assert_int_equal(l.count, 2);
	assert_int_equal(l.items[0].addr.bytes[3], 2);
	assert_int_equal(l.items[1].number, 4);
	v->dnsrr = true;
	assert_null(addrlist_vip(v, AF_INET));
	addrlist_fini(&l);
	lb_view_put(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_diff),
		cmocka_unit_test(test_diff_ends_at_an_error),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_backends_of_a_view),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
