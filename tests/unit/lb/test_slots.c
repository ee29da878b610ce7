// SPDX-License-Identifier: GPL-2.0-or-later
/* The slot layout of the nft balancer: shares, stability, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb/slots.h"
#include "plugin/base/mem.h"

static struct lb_view *view_new(enum lb_scheduler s, unsigned int count,
				const uint32_t *weights)
{
	struct lb_view *v = lb_view_new(count);

	assert_non_null(v);
	assert_int_equal(addr_parse("10.0.0.1", &v->vip4), 0);
	assert_int_equal(addr_parse("fd00::1", &v->vip6), 0);
	v->scheduler = s;
	for (unsigned int i = 0; i < count; i++) {
		v->backends[i].addr4 = addr_add(&v->vip4, i + 1);
		v->backends[i].addr6 = addr_add(&v->vip6, i + 1);
		v->backends[i].weight = weights ? weights[i] : 1;
	}
	return v;
}

/* "bcb|a": the usable slots by letter of the backend, "|", the quiet ones. */
static void slots_text(const struct lb_view *v, uint8_t family, char *buf, size_t size)
{
	const struct addr *first = family == AF_INET ? &v->vip4 : &v->vip6;
	struct slots s;
	size_t n = 0;

	assert_int_equal(slots_from_view(v, family, &s), 0);
	assert_true(s.usable <= s.count && s.count + 2 <= size);
	for (unsigned int i = 0; i < s.count; i++) {
		if (i == s.usable)
			buf[n++] = '|';
		buf[n++] = (char)('a' - 1 + (int)addr_offset(first, &s.list[i]));
	}
	buf[n] = '\0';
	slots_fini(&s);
}

static void test_layout(void **state)
{
	static const struct {
		const char *name;
		enum lb_scheduler scheduler;
		unsigned int count;
		uint32_t weights[4];
		const char *want;
	} cases[] = {
		{"none", LB_SCHEDULER_RR, 0, {0}, ""},
		{"one", LB_SCHEDULER_RR, 1, {1}, "a"},
		{"rr has no weights", LB_SCHEDULER_RR, 3, {1, 5, 200}, "abc"},
		{"rr, first is quiet", LB_SCHEDULER_RR, 3, {0, 1, 1}, "cb|a"},
		{"rr, middle is quiet", LB_SCHEDULER_RR, 4, {1, 0, 1, 1}, "adc|b"},
		{"rr, last is quiet", LB_SCHEDULER_RR, 3, {1, 1, 0}, "ab|c"},
		{"rr, two quiet", LB_SCHEDULER_RR, 4, {0, 1, 0, 0}, "b|acd"},
		{"rr, all quiet", LB_SCHEDULER_RR, 2, {0, 0}, "|ab"},
		{"wrr spreads", LB_SCHEDULER_WRR, 2, {3, 1}, "abaa"},
		{"wrr, common divisor", LB_SCHEDULER_WRR, 2, {256, 128}, "aba"},
		{"wrr, equal weights", LB_SCHEDULER_WRR, 3, {7, 7, 7}, "abc"},
		{"wrr, one quiet", LB_SCHEDULER_WRR, 3, {2, 0, 1}, "aca|b"},
		{"sh has weights", LB_SCHEDULER_SH, 2, {1, 2}, "abb"},
		{"random has weights", LB_SCHEDULER_RANDOM, 2, {1, 2}, "abb"},
	};
	char got[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct lb_view *v =
			view_new(cases[i].scheduler, cases[i].count, cases[i].weights);

		slots_text(v, AF_INET, got, sizeof(got));
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: %s, not %s", cases[i].name, got, cases[i].want);
		slots_text(v, AF_INET6, got, sizeof(got));
		assert_string_equal(got, cases[i].want);
		lb_view_put(v);
	}
}

static void test_without_vip(void **state)
{
	struct lb_view *v = view_new(LB_SCHEDULER_RR, 2, NULL);
	char got[8];

	(void)state;
	v->vip6 = (struct addr){0};
	slots_text(v, AF_INET6, got, sizeof(got));
	assert_string_equal(got, "");
	v->backends[0].addr4 = (struct addr){0};
	slots_text(v, AF_INET, got, sizeof(got));
	assert_string_equal(got, "b");
	v->dnsrr = true;
	slots_text(v, AF_INET, got, sizeof(got));
	assert_string_equal(got, "");
	lb_view_put(v);
}

/* A backend that leaves (replaced by the last one) or goes quiet moves one other. */
static void test_others_keep_their_slots(void **state)
{
	const unsigned int count = 100;

	(void)state;
	for (unsigned int gone = 0; gone < count; gone += 9) {
		struct lb_view *all = view_new(LB_SCHEDULER_RR, count, NULL);
		struct lb_view *rest = view_new(LB_SCHEDULER_RR, count - 1, NULL);
		struct slots a;
		struct slots b;
		unsigned int moved = 0;

		if (gone < count - 1)
			rest->backends[gone] = all->backends[count - 1];
		assert_int_equal(slots_from_view(all, AF_INET, &a), 0);
		assert_int_equal(slots_from_view(rest, AF_INET, &b), 0);
		for (unsigned int i = 0; i < b.usable; i++)
			moved += !addr_equal(&a.list[i], &b.list[i]);
		assert_true(moved <= 1);
		slots_fini(&b);
		all->backends[gone].weight = 0;
		assert_int_equal(slots_from_view(all, AF_INET, &b), 0);
		assert_int_equal(b.usable, count - 1);
		slots_fini(&a);
		assert_int_equal(slots_from_view(rest, AF_INET, &a), 0);
		for (unsigned int i = 0; i < a.usable; i++)
			assert_true(addr_equal(&a.list[i], &b.list[i]));
		slots_fini(&a);
		slots_fini(&b);
		lb_view_put(all);
		lb_view_put(rest);
	}
}

static void test_limits(void **state)
{
	struct lb_view *v = view_new(LB_SCHEDULER_WRR, LB_BACKENDS_MAX, NULL);
	struct lb_view *more = view_new(LB_SCHEDULER_RR, LB_BACKENDS_MAX + 1, NULL);
	struct slots s;
	unsigned int first = 0;
	unsigned int last = 0;

	(void)state;
	for (unsigned int i = 0; i < v->count; i++)
		v->backends[i].weight = i % 2 ? LB_WEIGHT_MAX : LB_WEIGHT_MAX - 1;
	v->backends[0].weight = 1;
	assert_int_equal(slots_from_view(v, AF_INET, &s), 0);
	assert_in_range(s.usable, LB_BACKENDS_MAX, SLOTS_USABLE_MAX);
	assert_int_equal(s.count, s.usable);
	for (unsigned int i = 0; i < s.usable; i++) {
		first += addr_equal(&s.list[i], &v->backends[0].addr4);
		last += addr_equal(&s.list[i], &v->backends[v->count - 1].addr4);
	}
	assert_int_equal(first, 1);
	assert_true(last >= 3);
	slots_fini(&s);
	assert_int_equal(slots_from_view(more, AF_INET, &s), -E2BIG);
	lb_view_put(v);
	lb_view_put(more);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_without_vip),
		cmocka_unit_test(test_others_keep_their_slots),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
