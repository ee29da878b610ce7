// SPDX-License-Identifier: GPL-2.0-or-later
/* Resting addresses against a plain array, and the shape of the tree when it is large. */
#include "ipam/rest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define WIDTH	   96
#define OPERATIONS 40000

static void add(struct rest *r, addrnum n, uint64_t stamp)
{
	assert_int_equal(rest_reserve(r), 0);
	rest_add(r, n, stamp);
}

static void test_edges(void **state)
{
	const addrnum top = ~(addrnum)0;
	struct rest r = {0};
	uint64_t stamp = 0;
	addrnum n = 0;

	(void)state;
	assert_false(rest_oldest(&r, 0, top, &n, NULL));
	rest_del(&r, 5);
	add(&r, top, 7);
	add(&r, 0, 8);
	add(&r, (addrnum)1 << 64, 6);
	assert_int_equal(r.count, 3);
	assert_true(rest_has(&r, top));
	assert_false(rest_has(&r, top - 1));
	assert_true(rest_oldest(&r, 0, top, &n, &stamp));
	assert_true(n == (addrnum)1 << 64);
	assert_int_equal(stamp, 6);
	assert_true(rest_oldest(&r, ((addrnum)1 << 64) + 1, top, &n, &stamp));
	assert_true(n == top);
	assert_true(rest_oldest(&r, 0, 0, &n, NULL));
	assert_true(n == 0);
	assert_false(rest_oldest(&r, 1, 2, &n, NULL));
	rest_del(&r, (addrnum)1 << 64);
	assert_true(rest_oldest(&r, 0, top, &n, &stamp));
	assert_int_equal(stamp, 7);
	rest_fini(&r);
	assert_int_equal(r.count, 0);
	assert_false(rest_has(&r, 0));
}

static void check_oldest(const struct rest *r, const uint64_t stamps[WIDTH],
			 unsigned int first, unsigned int last)
{
	uint64_t want = UINT64_MAX;
	uint64_t stamp = 0;
	addrnum n = 0;
	bool found = rest_oldest(r, first, last, &n, &stamp);

	for (unsigned int i = first; i <= last && i < WIDTH; i++)
		if (stamps[i] && stamps[i] < want)
			want = stamps[i];
	assert_int_equal(found, want != UINT64_MAX);
	if (!found)
		return;
	assert_int_equal(stamp, want);
	assert_true(n >= first && n <= last);
	assert_int_equal(stamps[n], want);
}

static void test_random(void **state)
{
	const char *text = getenv("FAIRLEAD_SEED");
	unsigned int seed =
		text ? (unsigned int)strtoul(text, NULL, 10) : (unsigned int)time(NULL);
	uint64_t stamps[WIDTH] = {0}; /* 0: not in */
	struct rest r = {0};
	uint64_t count = 0;

	(void)state;
	print_message("FAIRLEAD_SEED=%u\n", seed);
	for (int i = 1; i <= OPERATIONS; i++) {
		unsigned int n = (unsigned int)rand_r(&seed) % WIDTH;
		unsigned int other = (unsigned int)rand_r(&seed) % WIDTH;

		assert_int_equal(rest_has(&r, n), stamps[n] != 0);
		if (stamps[n]) {
			rest_del(&r, n);
			stamps[n] = 0;
			count--;
		} else if (rand_r(&seed) % 10 < (i / 3000 % 2 ? 9 : 2)) {
			stamps[n] = (uint64_t)rand_r(&seed) % 500 + 1;
			add(&r, n, stamps[n]);
			count++;
		}
		assert_int_equal(r.count, count);
		check_oldest(&r, stamps, n < other ? n : other, n < other ? other : n);
		check_oldest(&r, stamps, 0, WIDTH * 2);
	}
	rest_fini(&r);
}

/* Given back in order of address: it must stay a tree, not become a list. */
static void test_many(void **state)
{
	const uint64_t many = 300000;
	struct rest r = {0};
	addrnum n;

	(void)state;
	for (uint64_t i = 0; i < many; i++)
		add(&r, i, i + 1);
	for (uint64_t i = 0; i < many; i += 3) {
		assert_true(rest_oldest(&r, i, many, &n, NULL));
		assert_true(n == i);
		rest_del(&r, i);
	}
	for (uint64_t i = 0; i < many; i++) {
		if (i % 3 == 0)
			continue;
		assert_true(rest_oldest(&r, 0, many, &n, NULL));
		assert_true(n == i);
		rest_del(&r, n);
	}
	assert_int_equal(r.count, 0);
	rest_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
