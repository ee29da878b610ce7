// SPDX-License-Identifier: GPL-2.0-or-later
/* What the node does when its database is full for a while. */
#include "plugin/sweep.h"

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

/* --- sweeping: what the desired state says is due --------------------------------- */

static atomic_int due; /* looks that find something */
static atomic_uint sweeps;
static atomic_int engine_synced;

bool __wrap_desired_sweep_due(struct desired *d, uint64_t now_ms);
int __wrap_desired_sweep(struct desired *d, uint64_t now_ms, struct desired_swept *ret,
			 struct err *e);
void __wrap_desired_engine_synced(struct desired *d, bool synced, uint64_t now_ms);

bool __wrap_desired_sweep_due(struct desired *d, uint64_t now_ms)
{
	assert_non_null(d);
	assert_true(now_ms > 0);
	return due > 0;
}

int __wrap_desired_sweep(struct desired *d, uint64_t now_ms, struct desired_swept *ret,
			 struct err *e)
{
	(void)d;
	(void)now_ms;
	(void)e;
	sweeps++;
	if (database_full)
		return 0;
	ret->more = --due > 0;
	ret->count = 1;
	(void)str_copy(ret->list[0].id, sizeof(ret->list[0].id), "e1");
	(void)str_copy(ret->list[0].network, sizeof(ret->list[0].network), "n1");
	return 0;
}

void __wrap_desired_engine_synced(struct desired *d, bool synced, uint64_t now_ms)
{
	assert_non_null(d);
	assert_true(now_ms > 0);
	engine_synced = synced;
}

static int nothing(struct node *node, void *arg)
{
	(void)node;
	(void)arg;
	return 0;
}

/* Links of what was dropped are removed, but not before the database has it. */
static void test_sweep(void **state)
{
	struct fixture *f = *state;

	sweeps = 0;
	database_full = true;
	due = 2;
	turn_until_count(f, &failed_commits, 2);
	assert_int_equal(deleted_links, 0);
	database_full = false;
	turn_until_count(f, &deleted_links, 2);
	assert_true(sweeps >= 4);
	assert_int_equal(due, 0);
}

static void test_engine_synced(void **state)
{
	struct fixture *f = *state;

	sweep_engine_synced(f->node, true);
	assert_int_equal(in_store(f, nothing, NULL), 0);
	assert_true(engine_synced);
	database_full = true;
	sweep_engine_synced(f->node, false);
	assert_int_equal(in_store(f, nothing, NULL), -ENOSPC);
	assert_false(engine_synced);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_expiry_waits_for_the_database),
		TEST(test_lost_endpoint_is_not_forgotten),
		TEST(test_lost_endpoint_at_the_end),
		TEST(test_sweep),
		TEST(test_engine_synced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
