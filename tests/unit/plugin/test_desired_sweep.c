// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Endpoints and addresses that Docker forgot, and releases of it that come late. Time is
 * told to the desired state; it begins where the clock is, as the address management has
 * read that at its start.
 */
#include "tests/unit/plugin/desired_fixture.h"

#include "plugin/base/clock.h"

#define NET	   "net1"
#define GATEWAY	   "10.1.0.1/24"
#define POOL	   "10.1.0.0/24"
#define POOL_ID	   IPAM_SPACE_LOCAL "/" POOL
#define FOREIGN	   "10.2.0.0/24" /* of a network that another driver has */
#define FOREIGN_ID IPAM_SPACE_LOCAL "/" FOREIGN

static uint64_t now_ms;

/* --- verbs ------------------------------------------------------------------------- */

static int verb_address(struct desired *d, void *arg, struct err *e)
{
	const struct ipam_address_request rq = {
		.pool_id = POOL_ID, .address = arg, .now_ms = now_ms};
	struct cidr c;

	return ipam_address_request(desired_ipam(d), &rq, &c, e);
}

static int verb_release(struct desired *d, void *arg, struct err *e)
{
	return desired_address_release(d, POOL_ID, arg, now_ms, e);
}

static int verb_release_anything(struct desired *d, void *arg, struct err *e)
{
	const char *const *what = arg;

	return desired_address_release(d, what[0], what[1], now_ms, e);
}

static int verb_pool_release(struct desired *d, void *arg, struct err *e)
{
	return desired_pool_release(d, arg, e);
}

static int verb_foreign_address(struct desired *d, void *arg, struct err *e)
{
	const struct ipam_address_request rq = {
		.pool_id = FOREIGN_ID, .address = arg, .now_ms = now_ms};
	struct cidr c;

	return ipam_address_request(desired_ipam(d), &rq, &c, e);
}

static int verb_replay(struct desired *d, void *arg, struct err *e)
{
	(void)arg;
	return ipam_replay_begin(desired_ipam(d), now_ms, e);
}

static int verb_sweep(struct desired *d, void *arg, struct err *e)
{
	return desired_sweep(d, now_ms, arg, e);
}

/* Looks, and sweeps if there is anything. */
static unsigned int sweep(struct fixture *f)
{
	static struct desired_swept swept;

	memset(&swept, 0, sizeof(swept));
	if (desired_sweep_due(f->d, now_ms))
		assert_run(run(f, verb_sweep, &swept));
	for (unsigned int i = 0; i < swept.count; i++)
		assert_string_equal(swept.list[i].network, NET);
	return swept.count;
}

static void wait_ms(uint64_t ms)
{
	now_ms += ms;
}

struct used {
	const char *id;
	uint64_t used;
};

static void note_used(void *ctx, const struct ipam_pool_info *info)
{
	struct used *u = ctx;

	if (!strcmp(info->id, u->id))
		u->used = info->used;
}

/* Leases of a pool; -1: there is no such pool. */
static int used_of(struct fixture *f, const char *id)
{
	struct used u = {id, UINT64_MAX};

	ipam_pool_list(desired_ipam(f->d), note_used, &u);
	return (int)u.used;
}

static int used(struct fixture *f)
{
	return used_of(f, POOL_ID);
}

/* The network with its pool and gateway; the engine is there from now on. */
static void begin(struct fixture *f)
{
	now_ms = clock_ms() + 1000;
	assert_run(run(f, verb_pool, POOL));
	assert_run(run(f, verb_address, "10.1.0.1"));
	assert_run(create_network(f, NET, GATEWAY));
	desired_engine_synced(f->d, true, now_ms);
	assert_int_equal(used(f), 1);
}

static void start_container(struct fixture *f, const char *id, const char *addr4)
{
	assert_run(run(f, verb_address, (void *)(uintptr_t)addr4));
	assert_run(create_endpoint(f, NET, id, addr4));
}

/* --- endpoints --------------------------------------------------------------------- */

static void test_silent_endpoints(void **state)
{
	struct fixture *f = *state;

	begin(f);
	start_container(f, "never", "10.1.0.2");
	start_container(f, "left", "10.1.0.3");
	start_container(f, "runs", "10.1.0.4");
	assert_run(join(f, NET, "left", "/ns/left"));
	assert_run(join(f, NET, "runs", "/ns/runs"));
	assert_int_equal(used(f), 4);
	assert_int_equal(sweep(f), 0);
	wait_ms(1000);
	assert_run(run(f, verb_leave, "left"));
	assert_int_equal(sweep(f), 0);
	wait_ms(DESIRED_SILENCE_MS - 1001);
	assert_int_equal(sweep(f), 0);
	wait_ms(1);
	assert_int_equal(sweep(f), 1); /* the one that has never joined */
	assert_int_equal(used(f), 3);
	wait_ms(999);
	assert_int_equal(sweep(f), 0);
	wait_ms(1);
	assert_int_equal(sweep(f), 1);
	assert_int_equal(used(f), 2);
	wait_ms(10 * DESIRED_SILENCE_MS);
	assert_int_equal(sweep(f), 0);
	assert_int_equal(used(f), 2);
	follow_visit(&f->follower, f->d);
	assert_int_equal(f->follower.endpoint_count, 1);
}

static void test_endpoint_that_comes_back(void **state)
{
	struct fixture *f = *state;

	begin(f);
	start_container(f, "ep", "10.1.0.2");
	assert_int_equal(sweep(f), 0);
	wait_ms(DESIRED_SILENCE_MS - 1);
	assert_run(join(f, NET, "ep", "/ns/ep"));
	assert_run(run(f, verb_leave, "ep"));
	wait_ms(1);
	assert_int_equal(sweep(f), 0);
	wait_ms(DESIRED_SILENCE_MS - 1);
	assert_int_equal(sweep(f), 0);
	wait_ms(1);
	assert_int_equal(sweep(f), 1);
}

/* Its silence tells nothing while the engine is away. */
static void test_engine_away(void **state)
{
	struct fixture *f = *state;

	begin(f);
	start_container(f, "ep", "10.1.0.2");
	assert_int_equal(sweep(f), 0);
	wait_ms(DESIRED_SILENCE_MS - 1);
	desired_engine_synced(f->d, false, now_ms);
	wait_ms(DESIRED_SILENCE_MS);
	assert_int_equal(sweep(f), 0);
	desired_engine_synced(f->d, true, now_ms);
	wait_ms(DESIRED_SILENCE_MS - 1);
	desired_engine_synced(f->d, true, now_ms); /* said once more */
	assert_int_equal(sweep(f), 0);
	wait_ms(1);
	assert_int_equal(sweep(f), 1);
}

static void test_many_silent_ones(void **state)
{
	struct fixture *f = *state;
	char id[16];
	char addr4[16];

	begin(f);
	for (int i = 0; i < DESIRED_SWEEP_MAX + 3; i++) {
		(void)snprintf(id, sizeof(id), "ep%d", i);
		(void)snprintf(addr4, sizeof(addr4), "10.1.0.%d", i + 2);
		start_container(f, id, addr4);
	}
	assert_int_equal(sweep(f), 0);
	wait_ms(DESIRED_SILENCE_MS);
	assert_int_equal(sweep(f), DESIRED_SWEEP_MAX);
	assert_int_equal(sweep(f), 3);
	assert_int_equal(sweep(f), 0);
	assert_int_equal(used(f), 1);
}

/* Addresses that are not ours to give back. */
static void test_silent_endpoint_elsewhere(void **state)
{
	struct fixture *f = *state;
	struct net_request foreign = {
		.id = NET, .pools = {"10.3.0.1/24"}, .space = "LocalDefault"};

	now_ms = clock_ms() + 1000;
	desired_engine_synced(f->d, true, now_ms);
	assert_run(run(f, verb_network_create, &foreign));
	assert_run(create_endpoint(f, NET, "ep", "10.3.0.2"));
	assert_int_equal(sweep(f), 0);
	wait_ms(DESIRED_SILENCE_MS);
	assert_int_equal(sweep(f), 1);
}

/* --- late releases ----------------------------------------------------------------- */

/* The address of an endpoint that was dropped has been given to another since. */
static void test_late_release(void **state)
{
	struct fixture *f = *state;

	begin(f);
	start_container(f, "ghost", "10.1.0.2");
	assert_int_equal(sweep(f), 0);
	wait_ms(DESIRED_SILENCE_MS);
	assert_int_equal(sweep(f), 1);
	assert_run(run(f, verb_release, "10.1.0.2"));
	start_container(f, "new", "10.1.0.2");
	assert_run(run(f, verb_release, "10.1.0.2"));
	assert_int_equal(used(f), 2);
	assert_run(join(f, NET, "new", "/ns/new"));
	assert_run(run(f, verb_endpoint_delete, "ghost"));
	assert_run(run(f, verb_release, "10.1.0.2"));
	assert_int_equal(used(f), 2);
	assert_int_equal(run(f, verb_address, "10.1.0.2"), -EEXIST);
	/* As it should be: first the endpoint, then its address. */
	assert_run(run(f, verb_leave, "new"));
	assert_run(run(f, verb_endpoint_delete, "new"));
	assert_run(run(f, verb_release, "10.1.0.2"));
	assert_int_equal(used(f), 1);
}

/* It comes between RequestAddress and CreateEndpoint of the new owner. */
static void test_late_release_before_endpoint(void **state)
{
	struct fixture *f = *state;

	begin(f);
	assert_run(run(f, verb_address, "10.1.0.2"));
	assert_run(run(f, verb_release, "10.1.0.2"));
	assert_int_equal(used(f), 1);
	assert_run(create_endpoint(f, NET, "new", "10.1.0.2"));
	assert_int_equal(used(f), 2);
	assert_int_equal(run(f, verb_address, "10.1.0.2"), -EEXIST);
	assert_run(run(f, verb_release, "10.1.0.2"));
	assert_int_equal(used(f), 2);
	restart(f);
	assert_int_equal(used(f), 2);
	assert_run(run(f, verb_release, "10.1.0.2"));
	assert_int_equal(used(f), 2);
}

/* Other pools, and what is no address at all. */
static void test_other_releases(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *what[2];
		int want;
	} cases[] = {
		{{IPAM_SPACE_GLOBAL "/" POOL, "10.1.0.2"}, 0},
		{{POOL_ID "/10.1.0.0/25", "10.1.0.2"}, 0},
		{{IPAM_SPACE_LOCAL "/10.1.0.0/2", "10.1.0.2"}, 0},
		{{"", "10.1.0.2"}, 0},
		{{NULL, "10.1.0.2"}, 0},
		{{POOL_ID, "10.1.0.99"}, 0},
		{{POOL_ID, ""}, -EINVAL},
		{{POOL_ID, NULL}, -EINVAL},
		{{POOL_ID, "x"}, -EINVAL},
	};

	begin(f);
	start_container(f, "ep", "10.1.0.2");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(
			run(f, verb_release_anything, (void *)(uintptr_t)cases[i].what),
			cases[i].want);
		assert_int_equal(used(f), 2);
	}
}

/* --- after a replay ---------------------------------------------------------------- */

static void test_unconfirmed(void **state)
{
	struct fixture *f = *state;

	begin(f);
	assert_run(run(f, verb_pool, "10.2.0.0/24"));
	assert_run(run(f, verb_pool, "10.3.0.0/24"));
	assert_run(create_network(f, "net3", "10.3.0.1/24"));
	start_container(f, "runs", "10.1.0.2");
	assert_run(join(f, NET, "runs", "/ns/runs"));
	assert_run(run(f, verb_address, "10.1.0.3"));
	assert_run(run(f, verb_address, "10.1.0.4"));
	assert_int_equal(used(f), 4);
	wait_ms(1000000);
	assert_int_equal(sweep(f), 0);
	assert_int_equal(used(f), 4);

	desired_engine_synced(f->d, false, now_ms);
	assert_run(run(f, verb_replay, NULL));
	assert_run(run(f, verb_pool, POOL));
	assert_run(run(f, verb_address, "10.1.0.1"));
	assert_run(run(f, verb_address, "10.1.0.3"));
	wait_ms(2000);
	desired_engine_synced(f->d, true, now_ms);
	wait_ms(DESIRED_SILENCE_MS - 1);
	assert_int_equal(sweep(f), 0);
	assert_int_equal(used(f), 4);
	wait_ms(1);
	assert_int_equal(sweep(f), 0);
	assert_int_equal(used(f), 3);
	assert_int_equal(used_of(f, IPAM_SPACE_LOCAL "/10.2.0.0/24"), -1);
	assert_int_equal(used_of(f, IPAM_SPACE_LOCAL "/10.3.0.0/24"), 0);
	assert_false(desired_sweep_due(f->d, now_ms));
	restart(f);
	assert_int_equal(used(f), 3);
}

/* A network with the same subnet is refused, and Docker gives back what it got for it. */
static void test_twin_is_refused(void **state)
{
	struct fixture *f = *state;

	begin(f);
	start_container(f, "runs", "10.1.0.2");
	assert_run(join(f, NET, "runs", "/ns/runs"));
	assert_run(run(f, verb_replay, NULL));
	assert_run(run(f, verb_pool, POOL));
	assert_run(run(f, verb_address, "10.1.0.1"));
	assert_int_equal(create_network(f, "twin", GATEWAY), -EEXIST);
	assert_run(run(f, verb_release, "10.1.0.1"));
	assert_run(run(f, verb_pool_release, POOL_ID));
	assert_int_equal(used(f), 2);
	assert_int_equal(run(f, verb_address, "10.1.0.1"), -EEXIST);
	/* As it should be. */
	assert_run(run(f, verb_leave, "runs"));
	assert_run(run(f, verb_endpoint_delete, "runs"));
	assert_run(run(f, verb_release, "10.1.0.2"));
	assert_run(run(f, verb_release, "10.1.0.1"));
	assert_int_equal(used(f), 0);
	assert_run(run(f, verb_pool_release, POOL_ID));
	assert_int_equal(used(f), -1);
	assert_run(run(f, verb_pool_release, POOL_ID));
	assert_run(run(f, verb_pool_release, NULL));
}

/* Who lives in another driver's pool we cannot know. */
static void test_foreign_pool_stays(void **state)
{
	struct fixture *f = *state;

	begin(f);
	assert_run(run(f, verb_pool, FOREIGN));
	assert_run(run(f, verb_foreign_address, "10.2.0.1"));
	assert_run(run(f, verb_foreign_address, "10.2.0.2"));
	for (int confirmed = 0; confirmed < 2; confirmed++) {
		assert_run(run(f, verb_replay, NULL));
		assert_run(run(f, verb_pool, POOL));
		if (confirmed)
			assert_run(run(f, verb_pool, FOREIGN));
		wait_ms(DESIRED_SILENCE_MS + 2000);
		assert_int_equal(sweep(f), 0);
		assert_int_equal(used_of(f, FOREIGN_ID), 2);
	}
	assert_false(desired_sweep_due(f->d, now_ms));
}

/* --- */

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_silent_endpoints),
		TEST(test_endpoint_that_comes_back),
		TEST(test_engine_away),
		TEST(test_many_silent_ones),
		TEST(test_silent_endpoint_elsewhere),
		TEST(test_late_release),
		TEST(test_late_release_before_endpoint),
		TEST(test_other_releases),
		TEST(test_unconfirmed),
		TEST(test_twin_is_refused),
		TEST(test_foreign_pool_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
