// SPDX-License-Identifier: GPL-2.0-or-later
/* What the node does when its database is full for a while. */
#include "tests/unit/plugin/node_fixture.h"

#define RETRY_LEAST_MS 900

static atomic_bool something_due; /* for ever */
static atomic_uint expiries;

uint64_t __wrap_registry_deadline(const struct registry *r);
int __wrap_registry_expire(struct registry *r, uint64_t now_ms, struct err *e);

uint64_t __wrap_registry_deadline(const struct registry *r)
{
	(void)r;
	return something_due ? 1 : UINT64_MAX;
}

int __wrap_registry_expire(struct registry *r, uint64_t now_ms, struct err *e)
{
	(void)r;
	(void)now_ms;
	(void)e;
	if (++expiries == 3)
		something_due = false;
	return 0;
}

static int arm(struct node *node, void *arg)
{
	(void)arg;
	node_arm_expiry(node);
	return 0;
}

static void test_expiry_waits_for_the_database(void **state)
{
	struct fixture *f = *state;
	uint64_t begin;

	expiries = 0;
	something_due = true;
	database_full = true;
	begin = clock_ms();
	assert_int_equal(in_store(f, arm, NULL), -ENOSPC);
	turn_until_count(f, &expiries, 2);
	assert_true(clock_ms() - begin >= RETRY_LEAST_MS);
	database_full = false;
	turn_until_count(f, &expiries, 3);
	assert_false(something_due);
}

static bool has_left(const void *arg)
{
	return in_store((struct fixture *)arg, count_joined, NULL) == 0;
}

static void test_lost_endpoint_is_not_forgotten(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(in_store(f, make_network, "n1"), 0);
	assert_int_equal(in_store(f, make_endpoint, NULL), 0);
	assert_int_equal(in_store(f, count_joined, NULL), 1);
	database_full = true;
	hooks.endpoint_lost(hooks.ctx, "e1");
	turn_until_count(f, &failed_commits, 2); /* it tries again */
	database_full = false;
	turn_until(f, has_left, f);
}

static void test_lost_endpoint_at_the_end(void **state)
{
	struct fixture *f = *state;

	database_full = true;
	hooks.endpoint_lost(hooks.ctx, "e1");
	turn_until_count(f, &failed_commits, 1); /* teardown frees what waits */
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_expiry_waits_for_the_database),
		TEST(test_lost_endpoint_is_not_forgotten),
		TEST(test_lost_endpoint_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
