// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sets of addresses: edges by hand, everything else against a naive array of flags
 * with random operations (the seed is printed; FAIRLEAD_SEED repeats a run).
 */
#include "ipam/addrset.h"

#include "plugin/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define WIDTH	   300
#define OPERATIONS 200000

static void test_numbers(void **state)
{
	static const char *const texts[] = {"0.0.0.1",		"10.1.2.3",
					    "255.255.255.255",	"::1",
					    "fd00::ffff:0:0:1", "ffff:ffff::"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct addr a;
		struct addr back;

		assert_int_equal(addr_parse(texts[i], &a), 0);
		back = addrnum_addr(a.family, addrnum_get(&a));
		assert_true(addr_equal(&a, &back));
	}
}

static void add(struct addrset *s, addrnum n)
{
	assert_int_equal(addrset_reserve(s), 0);
	addrset_add(s, n);
}

static void del(struct addrset *s, addrnum n)
{
	assert_int_equal(addrset_reserve(s), 0);
	addrset_del(s, n);
}

/* The ends of the number range and the line between the halves of a number. */
static void test_edges(void **state)
{
	const addrnum max = ~(addrnum)0;
	const addrnum middle = (addrnum)1 << 64;
	const addrnum all[] = {0, 1, middle - 1, middle, middle + 1, max - 1, max};
	struct addrset s = {0};
	addrnum n;

	(void)state;
	assert_false(addrset_has(&s, 0));
	assert_false(addrset_next_used(&s, 0, max, &n));
	del(&s, 5);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		add(&s, all[i]);
		add(&s, all[i]);
		assert_true(addrset_has(&s, all[i]));
	}
	assert_int_equal(s.count, ARRAY_SIZE(all));
	assert_true(addrset_next_free(&s, 0, max, &n));
	assert_true(n == 2);
	assert_false(addrset_next_free(&s, 0, 1, &n));
	assert_false(addrset_next_free(&s, max - 1, max, &n));
	assert_true(addrset_next_used(&s, 2, max, &n));
	assert_true(n == middle - 1);
	assert_false(addrset_next_used(&s, 2, middle - 2, &n));
	del(&s, middle);
	assert_true(addrset_next_free(&s, middle - 1, max, &n));
	assert_true(n == middle);
	assert_true(addrset_has(&s, middle + 1) && addrset_has(&s, middle - 1));
	addrset_fini(&s);
	assert_int_equal(s.count, 0);
	assert_null(s.root);
	addrset_fini(&s);
}

static unsigned int test_seed(void)
{
	const char *text = getenv("FAIRLEAD_SEED");
	unsigned int seed =
		text ? (unsigned int)strtoul(text, NULL, 10) : (unsigned int)time(NULL);

	print_message("FAIRLEAD_SEED=%u\n", seed);
	return seed;
}

static void check_searches(const struct addrset *s, const bool *flags, unsigned int first,
			   unsigned int last)
{
	unsigned int free_at = first;
	unsigned int used_at = first;
	addrnum n = 0;

	while (free_at <= last && flags[free_at])
		free_at++;
	while (used_at <= last && !flags[used_at])
		used_at++;
	assert_int_equal(addrset_next_free(s, first, last, &n), free_at <= last);
	if (free_at <= last)
		assert_int_equal((unsigned int)n, free_at);
	assert_int_equal(addrset_next_used(s, first, last, &n), used_at <= last);
	if (used_at <= last)
		assert_int_equal((unsigned int)n, used_at);
}

static void test_random(void **state)
{
	unsigned int seed = test_seed();
	bool flags[WIDTH] = {false};
	struct addrset s = {0};
	uint64_t count = 0;

	(void)state;
	for (int i = 0; i < OPERATIONS; i++) {
		unsigned int n = (unsigned int)rand_r(&seed) % WIDTH;
		/* Phases in which the set fills up and empties. */
		bool adding = rand_r(&seed) % 10 < (i / 5000 % 2 ? 3 : 7);

		if (adding)
			add(&s, n);
		else
			del(&s, n);
		count += adding && !flags[n];
		count -= !adding && flags[n];
		flags[n] = adding;
		assert_int_equal(s.count, count);
		assert_int_equal(addrset_has(&s, n), adding);
		check_searches(&s, flags, n, (n + i % WIDTH) % WIDTH);
		check_searches(&s, flags, n, WIDTH - 1);
	}
	for (unsigned int n = 0; n < WIDTH; n++)
		assert_int_equal(addrset_has(&s, n), flags[n]);
	addrset_fini(&s);
}

/* The worst case, no two neighbours: must stay a tree, not become a list. */
static void test_many_runs(void **state)
{
	struct addrset s = {0};
	const uint64_t runs = 200000;
	addrnum n;

	(void)state;
	for (uint64_t i = 0; i < runs; i++)
		add(&s, i * 2);
	assert_int_equal(s.count, runs);
	for (uint64_t i = 0; i < runs; i += 997) {
		assert_true(addrset_next_free(&s, i * 2, runs * 2, &n));
		assert_true(n == i * 2 + 1);
	}
	for (uint64_t i = 0; i < runs - 1; i++)
		add(&s, i * 2 + 1);
	assert_true(addrset_next_free(&s, 0, runs * 2, &n));
	assert_true(n == runs * 2 - 1);
	addrset_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_many_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
