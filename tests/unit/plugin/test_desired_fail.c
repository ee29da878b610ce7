// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Requests that fail half-way: a commit, the n-th statement, the n-th allocation, and all
 * of it at random (FAIRLEAD_SEED repeats a run). A request that fails has done nothing,
 * what was told is what the database says, and the next request works.
 */
#include "tests/unit/plugin/desired_fixture.h"

#include "plugin/base/db.h"
#include "plugin/base/log.h"

#include <time.h>

#define NET	 "net1"
#define POOL	 "10.1.0.1/24"
#define TRIES	 2000 /* more than any request has statements or allocations */
#define REQUESTS 600

/* --- what fails ----------------------------------------------------------------------
 */

static struct {
	bool commit;
	int statement; /* countdown; 0: none */
	int memory;
	bool persist; /* and all that follow */
	bool fired;
} failing;

static bool is_due(int *countdown)
{
	if (*countdown == 0 || --*countdown > 0)
		return false;
	if (failing.persist)
		*countdown = 1;
	failing.fired = true;
	return true;
}

static void all_works(void)
{
	memset(&failing, 0, sizeof(failing));
}

int __real_db_commit(struct db *db, struct err *e);
int __wrap_db_commit(struct db *db, struct err *e);
int __real_db_run(struct db_stmt *st, struct err *e);
int __wrap_db_run(struct db_stmt *st, struct err *e);
int __real_db_step(struct db_stmt *st, struct err *e);
int __wrap_db_step(struct db_stmt *st, struct err *e);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);
void __wrap_log_write(enum log_level level, const char *module, const char *fmt, ...);

int __wrap_db_commit(struct db *db, struct err *e)
{
	if (!failing.commit)
		return __real_db_commit(db, e);
	failing.fired = true;
	return err_set(e, -EIO, "commit: no luck");
}

int __wrap_db_run(struct db_stmt *st, struct err *e)
{
	if (!is_due(&failing.statement))
		return __real_db_run(st, e);
	db_reset(st);
	return err_set(e, -EIO, "statement: no luck");
}

int __wrap_db_step(struct db_stmt *st, struct err *e)
{
	if (!is_due(&failing.statement))
		return __real_db_step(st, e);
	return err_set(e, -EIO, "statement: no luck");
}

void *__wrap_malloc(size_t size)
{
	return is_due(&failing.memory) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return is_due(&failing.memory) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return is_due(&failing.memory) ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *text)
{
	return is_due(&failing.memory) ? NULL : __real_strdup(text);
}

/* Thousands of errors that are meant to be. */
void __wrap_log_write(enum log_level level, const char *module, const char *fmt, ...)
{
	(void)level;
	(void)module;
	(void)fmt;
}

/* --- each request, failing everywhere -------------------------------------------------
 */

static struct net_request net = {.id = NET,
				 .pools = {POOL, "fd00:1::1/64"},
				 .options = {"vip-range",
					     "10.1.0.128/25,fd00:1::8000/113",
					     "fairlead.scheduler", "random"}};
static struct net_request new_net = {.id = "net2", .pools = {"10.2.0.1/24"}};
static struct ep_request ghost = {.network = NET,
				  .id = "e9",
				  .addr4 = "10.1.0.2",
				  .addr6 = "fd00:1::9",
				  .options = {"fairlead.service", "db"}};
static struct join_request join_e4 = {.network = NET, .id = "e4", .key = "/k4"};
static struct join_request join_again = {.network = NET, .id = "e1", .key = "/k9"};
static struct publish_request ports = {.id = "e2",
				       .count = 3,
				       .map = {{.proto = IPPROTO_TCP,
						.host_port = 8443,
						.host_port_end = 8443,
						.port = 443},
					       {.proto = IPPROTO_UDP, .port = 53},
					       {.proto = IPPROTO_TCP,
						.host_port = 8080,
						.host_port_end = 8080,
						.port = 80}}};
static struct seen_request seen = {.container = "c2",
				   .endpoints = {"e2", "e3"},
				   .labels = {"com.docker.compose.service", "db"}};

static const struct scenario {
	const char *name;
	verb_fn verb;
	void *arg;
} scenarios[] = {
	{"new network", verb_network_create, &new_net},
	{"network again", verb_network_create, &net},
	{"network delete", verb_network_delete, NET},
	{"endpoint create, two ghosts", verb_endpoint_create, &ghost},
	{"join", verb_join, &join_e4},
	{"join again", verb_join, &join_again},
	{"leave", verb_leave, "e1"},
	{"endpoint delete", verb_endpoint_delete, "e1"},
	{"publish", verb_publish, &ports},
	{"unpublish", verb_unpublish, "e1"},
	{"container", verb_seen, &seen},
};

/* Two services, a shared port and one that is waited for, clients, an endpoint that has
 * not joined. */
static void prepare(struct fixture *f)
{
	static const char *const ids[] = {"e1", "e2", "e3", "e4"};
	static const char *const v4[] = {"10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5"};
	static const char *const v6[] = {"fd00:1::2", "fd00:1::9", "", ""};

	assert_run(run(f, verb_pool, "10.1.0.0/24"));
	assert_run(run(f, verb_network_create, &net));
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		struct ep_request ep = {
			.network = NET, .id = ids[i], .addr4 = v4[i], .addr6 = v6[i]};

		if (i == 3) {
			ep.options[0] = "fairlead.service";
			ep.options[1] = "late";
		}
		assert_run(run(f, verb_endpoint_create, &ep));
		if (i < 3)
			assert_run(join(f, NET, ids[i], ids[i]));
	}
	assert_run(label(f, "c1", "e1", "p", "web"));
	assert_run(label(f, "c2", "e2", "p", "web"));
	assert_run(publish(f, "e1", 8080, 80));
	assert_run(publish(f, "e2", 8080, 80));
	assert_run(publish(f, "e3", 8080, 81));
}

/* Something else, there and back. */
static void next_request(struct fixture *f)
{
	assert_run(create_network(f, "other", "10.9.0.1/24"));
	assert_run(create_endpoint(f, "other", "o1", "10.9.0.2"));
	assert_run(join(f, "other", "o1", "/o1"));
	assert_run(publish(f, "o1", 9090, 90));
	assert_run(run(f, verb_network_delete, "other"));
}

static struct fixture *start(bool lenient)
{
	void *state = NULL;
	struct fixture *f;

	all_works(); /* an earlier test may have ended half-way */
	assert_int_equal(setup(&state), 0);
	f = state;
	f->follower.lenient = lenient;
	prepare(f);
	return f;
}

static void stop(struct fixture *f)
{
	void *state = f;

	assert_int_equal(teardown(&state), 0);
}

/* Lets the n-th thing fail, for n = 1 .. until the request does not come so far. */
static void fail_everywhere(const struct scenario *s, int *countdown)
{
	struct fixture *f = start(countdown == &failing.memory);
	struct err e;
	int n;
	int r;

	for (n = 1; n < TRIES; n++) {
		memset(&e, 0, sizeof(e));
		*countdown = n;
		r = batch(f, s->verb, s->arg, &e);
		if (!failing.fired)
			break;
		all_works();
		if (r < 0)
			assert_true(e.code < 0 && e.text[0]);
		check_database(f);
		if (n % 8 == 0)
			next_request(f);
		if (r < 0)
			continue;
		stop(f); /* it could do without */
		f = start(countdown == &failing.memory);
	}
	all_works();
	print_message("%s: %d\n", s->name, n - 1);
	assert_int_equal(r, 0);
	assert_in_range(n, 1, TRIES - 1);
	check_database(f);
	next_request(f);
	stop(f);
}

static void test_statements(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		fail_everywhere(&scenarios[i], &failing.statement);
}

static void test_memory(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		fail_everywhere(&scenarios[i], &failing.memory);
}

static void look(struct fixture *f, struct follower *ret)
{
	struct desired *d = open_desired(f, ret);

	follow_visit(ret, d);
	desired_free(d);
}

/* From the n-th allocation on there is no memory, not even to put things right; when
 * there is some again, they are. */
static void fail_for_good(const struct scenario *s)
{
	static struct follower before;
	static struct follower after;
	struct fixture *f = start(true);
	struct err e;

	look(f, &before);
	for (int n = 1; n < TRIES; n++) {
		bool fired;
		int r;

		memset(&e, 0, sizeof(e));
		failing.memory = n;
		failing.persist = true;
		r = batch(f, s->verb, s->arg, &e);
		fired = failing.fired;
		all_works();
		if (!fired)
			break;
		look(f, &after);
		if (r < 0)
			assert_same(&before, &after);
		follower_fini(&after);
		memset(&e, 0, sizeof(e));
		if (batch(f, verb_unpublish, "nobody", &e) < 0)
			fail_msg("%s %d: %s", s->name, n, e.text);
		if (r == 0)
			break;
	}
	follower_fini(&before);
	restart(f);
	next_request(f);
	stop(f);
}

static void test_no_memory(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		fail_for_good(&scenarios[i]);
}

/* The whole batch is lost, after each of its requests was content. */
static void test_lost_batch(void **state)
{
	struct fixture *f = start(false);
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
		memset(&e, 0, sizeof(e));
		failing.commit = true;
		assert_int_equal(batch(f, scenarios[i].verb, scenarios[i].arg, &e), -EIO);
		all_works();
		check_database(f);
		next_request(f);
	}
	/* All of them in one. */
	memset(&e, 0, sizeof(e));
	assert_int_equal(desired_batch_begin(f->d, &e), 0);
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
		memset(&e, 0, sizeof(e));
		assert_int_equal(desired_attempt_begin(f->d, &e), 0);
		(void)desired_attempt_end(
			f->d, scenarios[i].verb(f->d, scenarios[i].arg, &e), &e);
	}
	failing.commit = true;
	assert_int_equal(desired_batch_end(f->d, &e), -EIO);
	all_works();
	check_database(f);
	assert_string_equal(port_leads_to(f, 8443), "");
	next_request(f);
	stop(f);
}

/* A restart cannot be read: an error, no half of a state. */
static void test_open_fails(void **state)
{
	struct desired_config config = {.ipam = {.default_size4 = 24},
					.schedulers = ~0U,
					.balancer = "nft",
					.changes = on_changes};
	struct fixture *f = start(false);
	int *const countdowns[] = {&failing.statement, &failing.memory};

	(void)state;
	config.state_dir = f->dir;
	config.ctx = &f->follower;
	for (size_t i = 0; i < ARRAY_SIZE(countdowns); i++) {
		for (int n = 1; n < TRIES; n++) {
			struct desired *d = NULL;
			struct err e = {0};
			int r;

			*countdowns[i] = n;
			r = desired_new(&config, &d, &e);
			if (r == 0) {
				desired_free(d);
				break;
			}
			assert_null(d);
			assert_true(failing.fired && e.text[0]);
			all_works();
		}
		all_works();
	}
	check_database(f);
	stop(f);
}

/* --- at random ------------------------------------------------------------------------
 */

static const char *const net_ids[] = {"n0", "n1"};
static const char *const net_pools[] = {"10.1.0.1/24", "10.2.0.1/24"};
static const char *const ep_ids[] = {"e0", "e1", "e2", "e3", "e4", "e5"};
static const char *const ep_keys[] = {"/k0", "/k1", "/k2"};
static const char *const containers[] = {"c0", "c1", "c2"};
static const char *const services[] = {"web", "db", ""};

#define PICK(list, seed) ((list)[(unsigned int)rand_r(seed) % ARRAY_SIZE(list)])

static int random_request(struct fixture *f, unsigned int *seed, struct err *e)
{
	char addr[ADDR_TEXT_SIZE];
	unsigned int i = (unsigned int)rand_r(seed) % ARRAY_SIZE(net_ids);
	const char *ep_id = PICK(ep_ids, seed);
	struct net_request rq = {.id = net_ids[i], .pools = {net_pools[i]}};
	struct ep_request ep = {.network = net_ids[i], .id = ep_id, .addr4 = addr};
	struct join_request jn = {
		.network = net_ids[i], .id = ep_id, .key = PICK(ep_keys, seed)};
	struct publish_request pb = {.id = ep_id,
				     .count = (unsigned int)rand_r(seed) % 3};
	struct seen_request sn = {.container = PICK(containers, seed),
				  .endpoints = {ep_id, PICK(ep_ids, seed)},
				  .labels = {"fairlead.service", PICK(services, seed),
					     "fairlead.mode",
					     rand_r(seed) % 4 ? "vip" : "dnsrr"}};

	(void)snprintf(addr, sizeof(addr), "10.%u.0.%d", i + 1, 2 + rand_r(seed) % 5);
	for (unsigned int k = 0; k < pb.count; k++)
		pb.map[k] = map("", (uint16_t)(8080 + rand_r(seed) % 3), 8082, 80);
	if (rand_r(seed) % 3 == 0) {
		rq.options[0] = "vip-range";
		rq.options[1] = "none";
	}
	switch (rand_r(seed) % 16) {
	case 0:
		return batch(f, verb_network_delete, (void *)net_ids[i], e);
	case 1:
	case 2:
		return batch(f, verb_network_create, &rq, e);
	case 3:
		return batch(f, verb_endpoint_delete, (void *)ep_id, e);
	case 4:
		return batch(f, verb_leave, (void *)ep_id, e);
	case 5:
	case 6:
		return batch(f, verb_endpoint_create, &ep, e);
	case 7:
	case 8:
	case 9:
		return batch(f, verb_join, &jn, e);
	case 10:
		return batch(f, verb_unpublish, (void *)ep_id, e);
	case 11:
	case 12:
		return batch(f, verb_publish, &pb, e);
	default:
		return batch(f, verb_seen, &sn, e);
	}
}

static void test_random(void **state)
{
	const char *text = getenv("FAIRLEAD_SEED");
	unsigned int seed =
		text ? (unsigned int)strtoul(text, NULL, 10) : (unsigned int)time(NULL);
	struct fixture *f = *state;
	unsigned int failed = 0;

	print_message("FAIRLEAD_SEED=%u\n", seed);
	assert_run(run(f, verb_pool, "10.1.0.0/24"));
	assert_run(run(f, verb_pool, "10.2.0.0/24"));
	for (int i = 0; i < REQUESTS; i++) {
		struct err e = {0};
		int r;

		if (rand_r(&seed) % 4 == 0)
			failing.statement = 1 + rand_r(&seed) % 30;
		failing.commit = rand_r(&seed) % 10 == 0;
		r = random_request(f, &seed, &e);
		failed += r == -EIO;
		if (r == -EIO)
			assert_true(failing.fired);
		all_works();
		/* If even reading anew has failed, the next request does it. */
		assert_run(run(f, verb_unpublish, "nobody"));
	}
	print_message("%u of %u failed\n", failed, REQUESTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statements),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_lost_batch),
		cmocka_unit_test(test_open_fails),
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
