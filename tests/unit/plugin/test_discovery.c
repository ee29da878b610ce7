// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Observations that reach the database, and those that do not: whether the engine is
 * asked again, and which endpoints are given up once it has told all that runs.
 */
#include "plugin/discovery.h"

#include "tests/unit/plugin/node_fixture.h"

#define C1 "c1"

static atomic_uint lost; /* how often the engine was to be asked again */

static void on_lost(void *ctx)
{
	(void)ctx;
	lost++;
}

static struct discovery discovery_of(struct fixture *f)
{
	lost = 0;
	return (struct discovery){.node = f->node, .lost = on_lost};
}

/* Container c1 with the endpoint e1, a backend of web. */
static void see(struct discovery *d)
{
	const struct engine_label label = {"fairlead.service", "web"};
	const struct engine_endpoint endpoint = {"n1", "net", "e1"};
	const struct engine_container c = {.id = C1,
					   .name = "web1",
					   .running = true,
					   .stop_signal = 15,
					   .stop_timeout_s = 10,
					   .label_count = 1,
					   .labels = &label,
					   .endpoint_count = 1,
					   .endpoints = &endpoint};

	discovery_container(d, &c);
}

static void tell_running(struct discovery *d, unsigned int count)
{
	const char ids[1][ENGINE_ID_SIZE] = {C1};
	const struct engine_running running = {ids, count, true};

	discovery_running(d, &running);
}

static int weight(struct node *node, void *arg)
{
	const struct lb_view *v = registry_endpoint_service(
		desired_registry(node_desired(node)), "e1", NULL);

	(void)arg;
	return v && v->count == 1 ? (int)v->backends[0].weight : -ENOENT;
}

static void make_backend(struct fixture *f, struct discovery *d)
{
	assert_int_equal(in_store(f, make_network, "n1"), 0);
	assert_int_equal(in_store(f, make_endpoint, NULL), 0);
	see(d);
	assert_int_equal(in_store(f, weight, NULL), 1);
}

static bool has_left(const void *arg)
{
	return in_store((struct fixture *)arg, count_joined, NULL) == 0;
}

static void test_lost_event(void **state)
{
	struct fixture *f = *state;
	struct discovery d = discovery_of(f);

	make_backend(f, &d);
	database_full = true;
	discovery_event(&d, C1, ENGINE_EVENT_DIE, 0, ENGINE_HEALTH_NONE);
	turn_until_count(f, &lost, 1);
	database_full = false;
	assert_int_equal(in_store(f, weight, NULL), 1); /* it is lost */
	tell_running(&d, 0);
	turn_until(f, has_left, f);
	turn_until_count(f, &left_in_the_kernel, 1);
	assert_int_equal(in_store(f, weight, NULL), -ENOENT);
	assert_int_equal(lost, 1);
}

static void test_lost_container(void **state)
{
	struct fixture *f = *state;
	struct discovery d = discovery_of(f);

	assert_int_equal(in_store(f, make_network, "n1"), 0);
	assert_int_equal(in_store(f, make_endpoint, NULL), 0);
	database_full = true;
	see(&d);
	turn_until_count(f, &lost, 1);
	tell_running(&d, 1);
	turn_until_count(f, &lost, 2);
	database_full = false;
	see(&d);
	tell_running(&d, 1);
	assert_int_equal(in_store(f, weight, NULL), 1);
	assert_int_equal(in_store(f, count_joined, NULL), 1);
	assert_int_equal(left_in_the_kernel, 0);
}

static void test_end_with_a_loss(void **state)
{
	struct fixture *f = *state;
	static struct discovery d; /* outlives the node */

	d = discovery_of(f);
	database_full = true;
	see(&d);
	discovery_event(&d, C1, ENGINE_EVENT_DIE, 0, ENGINE_HEALTH_NONE);
	tell_running(&d, 1);
	assert_int_equal(in_store(f, count_joined, NULL), -ENOSPC);
	assert_int_equal(lost, 0); /* the loop has not turned, and will not */
}

static void test_bad_one_is_not_asked_for_again(void **state)
{
	struct fixture *f = *state;
	struct discovery d = discovery_of(f);
	const struct engine_container c = {.id = "", .name = ""};

	discovery_container(&d, &c);
	assert_int_equal(in_store(f, count_joined, NULL), 0);
	while (sd_event_run(f->event, 0) > 0)
		;
	assert_int_equal(lost, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lost_event),
		TEST(test_lost_container),
		TEST(test_end_with_a_loss),
		TEST(test_bad_one_is_not_asked_for_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
