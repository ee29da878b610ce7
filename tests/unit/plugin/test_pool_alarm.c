// SPDX-License-Identifier: GPL-2.0-or-later
/* When a pool that runs full is told of, and when again. */
#include "plugin/pool_alarm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "plugin/base/mem.h"

static void test_levels(void **state)
{
	static const struct {
		const char *title;
		uint64_t capacity;
		unsigned int count;
		struct {
			uint64_t used;
			unsigned int told;
		} steps[8];
	} cases[] = {
		{"once at each level",
		 1000,
		 7,
		 {{0, 0}, {799, 0}, {800, 80}, {801, 0}, {949, 0}, {950, 95}, {1000, 0}}},
		{"80 again only from below 75",
		 1000,
		 6,
		 {{800, 80}, {750, 0}, {800, 0}, {749, 0}, {799, 0}, {800, 80}}},
		{"95 again only from below 90",
		 1000,
		 6,
		 {{950, 95}, {900, 0}, {950, 0}, {899, 0}, {949, 0}, {950, 95}}},
		{"from far below: both again",
		 1000,
		 4,
		 {{1000, 95}, {0, 0}, {800, 80}, {950, 95}}},
		{"at once full", 4, 3, {{3, 0}, {4, 95}, {5, 0}}},
		{"beyond its capacity", 4, 3, {{9, 95}, {2, 0}, {4, 95}}},
		{"no capacity", 0, 2, {{0, 0}, {1, 0}}},
		{"as large as can be",
		 UINT64_MAX,
		 4,
		 {{1, 0}, {UINT64_MAX, 95}, {0, 0}, {UINT64_MAX / 10 * 9, 80}}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pool_alarm *alarms = NULL;

		for (unsigned int k = 0; k < cases[i].count; k++) {
			unsigned int told = pool_alarm_check(
				&alarms, "p", cases[i].steps[k].used, cases[i].capacity);

			if (told != cases[i].steps[k].told)
				fail_msg("%s: step %u: %u", cases[i].title, k, told);
		}
		pool_alarm_fini(&alarms);
	}
}

static void test_pools_are_apart(void **state)
{
	struct pool_alarm *alarms = NULL;
	char id[200];

	(void)state;
	assert_int_equal(pool_alarm_check(&alarms, "a", 80, 100), 80);
	assert_int_equal(pool_alarm_check(&alarms, "b", 80, 100), 80);
	assert_int_equal(pool_alarm_check(&alarms, "a", 95, 100), 95);
	assert_int_equal(pool_alarm_check(&alarms, "b", 81, 100), 0);
	/* A new one of the same name is another one. */
	pool_alarm_forget(&alarms, "b");
	pool_alarm_forget(&alarms, "c");
	assert_int_equal(pool_alarm_check(&alarms, "b", 81, 100), 80);
	assert_int_equal(pool_alarm_check(&alarms, "a", 95, 100), 0);
	/* One with room takes no memory; a name too long is not kept. */
	pool_alarm_fini(&alarms);
	assert_null(alarms);
	assert_int_equal(pool_alarm_check(&alarms, "a", 79, 100), 0);
	assert_null(alarms);
	memset(id, 'x', sizeof(id));
	id[sizeof(id) - 1] = '\0';
	assert_int_equal(pool_alarm_check(&alarms, id, 80, 100), 80);
	assert_null(alarms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_pools_are_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
