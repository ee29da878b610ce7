// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The address management over time: reopened databases, lost transactions, statements
 * that fail, rows that are not ours, and random requests against a naive model (the
 * seed is printed; FAIRLEAD_SEED repeats a run).
 */
#include "ipam/ipam.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define LOC IPAM_SPACE_LOCAL
#define GLO IPAM_SPACE_GLOBAL

/* --- one instance on a database file ---------------------------------------------- */

struct fixture {
	char folder[64];
	char path[96];
	struct db *db;
	struct ipam *m;
	uint32_t rest_s;
	uint64_t now_ms;
};

static void start(struct fixture *f)
{
	struct ipam_config config = {
		.rest_s = f->rest_s, .default_size4 = 24, .default_size6 = 64};
	struct err e = {0};

	assert_int_equal(cidr_parse("10.128.0.0/9", &config.default_pools4), 0);
	assert_int_equal(cidr_parse("fd00:42::/48", &config.default_pools6), 0);
	if (db_open(f->path, &f->db, &e) < 0 ||
	    ipam_new(f->db, &config, f->now_ms, &f->m, &e) < 0)
		fail_msg("%s", e.text);
}

static void stop(struct fixture *f)
{
	ipam_free(f->m);
	db_close(f->db);
	f->m = NULL;
	f->db = NULL;
}

static int setup(void **state)
{
	const char *base = getenv("TMPDIR");
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	(void)snprintf(f->folder, sizeof(f->folder), "%s/ipam.XXXXXX",
		       base && strlen(base) < 40 ? base : "/tmp");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->path, sizeof(f->path), "%s/db", f->folder);
	start(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	struct fixture *f = *state;
	char path[112];

	stop(f);
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", f->path, suffixes[i]);
		(void)unlink(path);
	}
	assert_int_equal(rmdir(f->folder), 0);
	free(f);
	return 0;
}

static void run_sql(struct fixture *f, const char *text)
{
	struct db_stmt **st;
	struct err e = {0};

	if (db_prepare(f->db, &text, 1, &st, &e) < 0 || db_run(st[0], &e) < 0)
		fail_msg("%s: %s", text, e.text);
	db_finalize(st, 1);
}

static int pool_add(struct fixture *f, const char *space, const char *pool,
		    const char *sub)
{
	struct ipam_pool_request rq = {.space = space, .pool = pool, .sub_pool = sub};
	struct ipam_pool_answer answer;

	rq.vip_range = "none";
	return ipam_pool_request(f->m, &rq, &answer, NULL);
}

/* The answer is in text, or "" and the error is returned. */
static int ask(struct fixture *f, const char *id, const char *address,
	       char text[CIDR_TEXT_SIZE])
{
	struct ipam_address_request rq = {
		.pool_id = id, .address = address, .now_ms = f->now_ms};
	struct cidr c;
	int r = ipam_address_request(f->m, &rq, &c, NULL);

	text[0] = '\0';
	if (r == 0)
		cidr_format(&c, text);
	return r;
}

static void assert_ask(struct fixture *f, const char *id, const char *address,
		       const char *want)
{
	char text[CIDR_TEXT_SIZE];

	assert_int_equal(ask(f, id, address, text), 0);
	assert_string_equal(text, want);
}

static void assert_refused(struct fixture *f, const char *id, const char *address,
			   int want)
{
	char text[CIDR_TEXT_SIZE];

	assert_int_equal(ask(f, id, address, text), want);
}

static bool nobody_has_address(void *ctx, const struct ipam_place *at)
{
	(void)ctx;
	(void)at;
	return false;
}

static bool nobody_has_pool(void *ctx, const char *space, const struct cidr *pool)
{
	(void)ctx;
	(void)space;
	(void)pool;
	return false;
}

/* --- reopen, lose, fail ------------------------------------------------------------ */

static void test_reopen(void **state)
{
	struct fixture *f = *state;
	struct cidr pool;
	struct cidr range;

	assert_int_equal(pool_add(f, LOC, "10.0.0.0/24", ""), 0);
	assert_int_equal(pool_add(f, LOC, "10.1.0.0/24", "10.1.0.128/25"), 0);
	assert_int_equal(pool_add(f, LOC, "fd00::/64", ""), 0);
	assert_int_equal(pool_add(f, GLO, "10.0.0.0/24", ""), 0);
	assert_ask(f, LOC "/10.0.0.0/24", "", "10.0.0.1/24");
	assert_ask(f, LOC "/10.0.0.0/24", "", "10.0.0.2/24");
	assert_ask(f, LOC "/10.0.0.0/24", "", "10.0.0.3/24");
	assert_int_equal(
		ipam_address_release(f->m, LOC "/10.0.0.0/24", "10.0.0.2", 0, NULL), 0);
	assert_ask(f, LOC "/10.1.0.0/24/10.1.0.128/25", "10.1.0.5", "10.1.0.5/24");
	assert_ask(f, LOC "/fd00::/64", "fd00::5", "fd00::5/64");
	assert_ask(f, GLO "/10.0.0.0/24", "", "10.0.0.1/24");
	assert_int_equal(cidr_parse("10.1.0.0/24", &pool), 0);
	assert_int_equal(ipam_vip_range_set(f->m, LOC, &pool, "10.1.0.0/28", NULL),
			 -EEXIST);
	assert_int_equal(ipam_vip_range_set(f->m, LOC, &pool, "10.1.0.16/28", NULL), 0);
	stop(f);
	start(f);

	assert_refused(f, LOC "/10.0.0.0/24", "10.0.0.3", -EEXIST);
	assert_refused(f, LOC "/10.1.0.0/24/10.1.0.128/25", "10.1.0.5", -EEXIST);
	assert_refused(f, LOC "/10.1.0.0/24/10.1.0.128/25", "10.1.0.17", -ERANGE);
	assert_refused(f, LOC "/fd00::/64", "fd00::5", -EEXIST);
	assert_int_equal(ipam_vip_range(f->m, LOC, &pool, &range), 0);
	assert_int_equal(range.prefix, 28);
	/* Addresses go on going round, not back to the one just released. */
	assert_ask(f, LOC "/10.0.0.0/24", "", "10.0.0.4/24");
	assert_int_equal(pool_add(f, LOC, "10.0.0.0/25", ""), -EEXIST);
	/* The global space begins anew. */
	assert_refused(f, GLO "/10.0.0.0/24", "", -ENOENT);
	assert_int_equal(pool_add(f, GLO, "10.0.0.0/16", ""), 0);
	assert_ask(f, GLO "/10.0.0.0/16", "", "10.0.0.1/16");
}

/* Docker comes back after both have died: all is asked for once more. */
static void test_reopen_in_replay(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(pool_add(f, LOC, "10.0.0.0/24", ""), 0);
	assert_ask(f, LOC "/10.0.0.0/24", "", "10.0.0.1/24");
	assert_ask(f, LOC "/10.0.0.0/24", "", "10.0.0.2/24");
	assert_int_equal(ipam_replay_begin(f->m, 0, NULL), 0);
	assert_int_equal(pool_add(f, LOC, "10.0.0.0/24", ""), 0);
	assert_ask(f, LOC "/10.0.0.0/24", "10.0.0.1", "10.0.0.1/24");
	stop(f);
	start(f);
	assert_int_equal(pool_add(f, LOC, "10.0.0.0/24", ""), -EEXIST);
	assert_refused(f, LOC "/10.0.0.0/24", "10.0.0.1", -EEXIST);
	assert_ask(f, LOC "/10.0.0.0/24", "10.0.0.2", "10.0.0.2/24");
	assert_refused(f, LOC "/10.0.0.0/24", "10.0.0.2", -EEXIST);
}

static void give_back(struct fixture *f, const char *id, const char *address)
{
	assert_int_equal(ipam_address_release(f->m, id, address, f->now_ms, NULL), 0);
}

/* The rest goes on over a restart, and over one of the machine (its clock begins anew)
 * it is never shorter. */
static void test_reopen_at_rest(void **state)
{
	static const char *const id = LOC "/10.0.0.0/29";
	struct fixture *f = *state;
	bool more;

	stop(f);
	f->rest_s = 60;
	f->now_ms = 5000000;
	start(f);
	assert_int_equal(pool_add(f, LOC, "10.0.0.0/29", ""), 0);
	assert_ask(f, id, "", "10.0.0.1/29");
	assert_ask(f, id, "", "10.0.0.2/29");
	assert_ask(f, id, "10.0.0.6", "10.0.0.6/29");
	give_back(f, id, "10.0.0.2");
	f->now_ms += 20000;
	give_back(f, id, "10.0.0.1");
	stop(f);
	f->now_ms += 39999;
	start(f);
	assert_ask(f, id, "", "10.0.0.3/29"); /* on from where it was */
	assert_ask(f, id, "", "10.0.0.4/29");
	assert_ask(f, id, "", "10.0.0.5/29");
	f->now_ms += 1;
	assert_ask(f, id, "", "10.0.0.2/29");
	f->now_ms += 10000;
	assert_ask(f, id, "10.0.0.1", "10.0.0.1/29");
	give_back(f, id, "10.0.0.4");
	stop(f);

	f->now_ms = 59000; /* of the machine's next life */
	start(f);
	give_back(f, id, "10.0.0.1");
	assert_ask(f, id, "", "10.0.0.4/29"); /* the older one, before its time */
	give_back(f, id, "10.0.0.5");
	assert_ask(f, id, "", "10.0.0.1/29");
	give_back(f, id, "10.0.0.1");
	stop(f);

	f->rest_s = 0;
	start(f);
	assert_ask(f, id, "", "10.0.0.5/29");
	assert_ask(f, id, "", "10.0.0.1/29");
	give_back(f, id, "10.0.0.5");
	assert_ask(f, id, "", "10.0.0.5/29");
	assert_int_equal(ipam_tidy(f->m, f->now_ms, &more, NULL), 0);
	assert_false(more);
	assert_refused(f, id, "", -ENOSPC);
}

/* Rows go in batches of a limited size; none of an address that is held. */
static void test_tidy(void **state)
{
	static const char *const id = LOC "/10.0.0.0/16";
	const int count = 3 * IPAM_TIDY_MAX;
	struct fixture *f = *state;
	char text[CIDR_TEXT_SIZE];
	unsigned int batches = 0;
	bool more = true;

	stop(f);
	f->rest_s = 60;
	f->now_ms = 5000000;
	start(f);
	assert_int_equal(pool_add(f, LOC, "10.0.0.0/16", ""), 0);
	assert_int_equal(db_begin(f->db, NULL), 0);
	for (int i = 0; i < count; i++)
		assert_int_equal(ask(f, id, "", text), 0);
	for (int i = 0; i < count; i++) {
		int n = (i * 7 + 11) % count + 1; /* not in order */

		(void)snprintf(text, sizeof(text), "10.0.%d.%d", n / 256, n % 256);
		give_back(f, id, text);
	}
	assert_false(ipam_tidy_due(f->m, f->now_ms + 59000));
	f->now_ms += 61000;
	assert_true(ipam_tidy_due(f->m, f->now_ms));
	assert_ask(f, id, "10.0.1.0", "10.0.1.0/16");
	for (; more; batches++)
		assert_int_equal(ipam_tidy(f->m, f->now_ms, &more, NULL), 0);
	assert_int_equal(batches, 3);
	assert_int_equal(db_commit(f->db, NULL), 0);
	run_sql(f, "CREATE TEMP TABLE t(n CHECK (n = 1))");
	run_sql(f, "INSERT INTO t SELECT count(*) FROM ipam_lease");
	assert_refused(f, id, "10.0.1.0", -EEXIST);
	assert_int_equal(ipam_reload(f->m, NULL), 0);
	assert_refused(f, id, "10.0.1.0", -EEXIST);
	assert_ask(f, id, "10.0.1.1", "10.0.1.1/16");
}

/* More leases than are looked at in one go, and a batch that is lost in between. */
static void test_drop_many(void **state)
{
	static const char *const id = LOC "/10.0.0.0/16";
	const struct ipam_users nobody = {nobody_has_address, nobody_has_pool, NULL};
	const int count = 5000;
	struct fixture *f = *state;
	char text[CIDR_TEXT_SIZE];
	int calls = 0;

	assert_int_equal(pool_add(f, LOC, "10.0.0.0/16", ""), 0);
	assert_int_equal(db_begin(f->db, NULL), 0);
	for (int i = 0; i < count; i++)
		assert_int_equal(ask(f, id, "", text), 0);
	assert_int_equal(ipam_replay_begin(f->m, f->now_ms, NULL), 0);
	assert_int_equal(pool_add(f, LOC, "10.0.0.0/16", ""), 0);
	assert_ask(f, id, "10.0.19.136", "10.0.19.136/16");
	assert_int_equal(db_commit(f->db, NULL), 0);
	f->now_ms += IPAM_GRACE_MS;

	assert_int_equal(db_begin(f->db, NULL), 0);
	assert_int_equal(ipam_drop_unconfirmed(f->m, &nobody, f->now_ms, NULL), 0);
	db_rollback(f->db);
	assert_int_equal(ipam_reload(f->m, NULL), 0);
	run_sql(f, "CREATE TEMP TABLE t(n CHECK (n IN (5000, 1)))");
	run_sql(f, "INSERT INTO t SELECT count(*) FROM ipam_lease WHERE released = 0");
	for (; ipam_drop_unconfirmed_due(f->m, f->now_ms); calls++)
		assert_int_equal(ipam_drop_unconfirmed(f->m, &nobody, f->now_ms, NULL),
				 0);
	assert_in_range(calls, 2, 5);
	run_sql(f, "DELETE FROM t");
	run_sql(f, "INSERT INTO t SELECT count(*) FROM ipam_lease WHERE released = 0");
	assert_ask(f, id, "10.0.0.1", "10.0.0.1/16");
	assert_ask(f, id, "10.0.19.135", "10.0.19.135/16");
	assert_refused(f, id, "10.0.19.136", -EEXIST);
}

static void test_rollback(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(pool_add(f, LOC, "10.0.0.0/24", ""), 0);
	assert_ask(f, LOC "/10.0.0.0/24", "", "10.0.0.1/24");
	assert_int_equal(db_begin(f->db, NULL), 0);
	assert_ask(f, LOC "/10.0.0.0/24", "", "10.0.0.2/24");
	assert_int_equal(
		ipam_address_release(f->m, LOC "/10.0.0.0/24", "10.0.0.1", 0, NULL), 0);
	assert_int_equal(pool_add(f, LOC, "10.1.0.0/24", ""), 0);
	assert_int_equal(ipam_replay_begin(f->m, 0, NULL), 0);
	db_rollback(f->db);
	assert_int_equal(ipam_reload(f->m, NULL), 0);

	assert_refused(f, LOC "/10.0.0.0/24", "10.0.0.1", -EEXIST);
	assert_ask(f, LOC "/10.0.0.0/24", "", "10.0.0.2/24");
	assert_refused(f, LOC "/10.1.0.0/24", "", -ENOENT);
	assert_int_equal(pool_add(f, LOC, "10.0.0.0/24", ""), -EEXIST);
	assert_int_equal(pool_add(f, LOC, "10.1.0.0/24", ""), 0);
}

/* One statement fails: that request fails, nothing has changed, the next one works. */
static void test_failing_statements(void **state)
{
	struct fixture *f = *state;
	const char *shared = LOC "/10.0.0.0/24/10.0.0.64/26";

	assert_int_equal(pool_add(f, LOC, "10.0.0.0/24", "10.0.0.0/26"), 0);
	assert_int_equal(pool_add(f, LOC, "10.0.0.0/24", "10.0.0.64/26"), 0);
	assert_ask(f, shared, "", "10.0.0.64/24");
	run_sql(f, "CREATE TEMP TRIGGER no_lease BEFORE INSERT ON ipam_lease"
		   " BEGIN SELECT RAISE(ABORT, 'no'); END");
	assert_refused(f, shared, "", -EIO);
	assert_refused(f, shared, "10.0.0.70", -EIO);
	run_sql(f, "DROP TRIGGER no_lease");
	assert_ask(f, shared, "", "10.0.0.65/24");
	assert_ask(f, shared, "10.0.0.70", "10.0.0.70/24");

	run_sql(f, "CREATE TEMP TRIGGER no_gone BEFORE DELETE ON ipam_lease"
		   " BEGIN SELECT RAISE(ABORT, 'no'); END");
	assert_int_equal(ipam_address_release(f->m, shared, "10.0.0.70", 0, NULL), -EIO);
	assert_int_equal(ipam_pool_release(f->m, shared, NULL), -EIO);
	assert_refused(f, shared, "10.0.0.70", -EEXIST);
	assert_refused(f, shared, "10.0.0.64", -EEXIST);
	run_sql(f, "DROP TRIGGER no_gone");
	assert_int_equal(ipam_address_release(f->m, shared, "10.0.0.70", 0, NULL), 0);
	assert_ask(f, shared, "10.0.0.70", "10.0.0.70/24");

	run_sql(f, "CREATE TEMP TRIGGER no_pool BEFORE INSERT ON ipam_pool"
		   " BEGIN SELECT RAISE(ABORT, 'no'); END");
	assert_int_equal(pool_add(f, LOC, "10.1.0.0/24", ""), -EIO);
	run_sql(f, "DROP TRIGGER no_pool");
	assert_int_equal(pool_add(f, LOC, "10.1.0.0/16", ""), 0);
	assert_int_equal(ipam_pool_release(f->m, shared, NULL), 0);
	assert_refused(f, shared, "", -ENOENT);
}

/* Rows change under us: found out at the next write, healed by reading anew. */
static void test_memory_heals(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(pool_add(f, LOC, "10.0.0.0/24", ""), 0);
	assert_ask(f, LOC "/10.0.0.0/24", "", "10.0.0.1/24");
	run_sql(f, "UPDATE ipam_lease SET addr = x'0a000002'");
	assert_refused(f, LOC "/10.0.0.0/24", "", -EEXIST);
	assert_ask(f, LOC "/10.0.0.0/24", "", "10.0.0.3/24");
	assert_ask(f, LOC "/10.0.0.0/24", "10.0.0.1", "10.0.0.1/24");
	run_sql(f, "DELETE FROM ipam_lease WHERE addr = x'0a000003'");
	assert_refused(f, LOC "/10.0.0.0/24", "10.0.0.3", -ENOENT);
	assert_ask(f, LOC "/10.0.0.0/24", "10.0.0.3", "10.0.0.3/24");
}

static void test_unsound_rows(void **state)
{
	static const char *const changes[] = {
		"UPDATE ipam_pool SET space = 'elsewhere'",
		"UPDATE ipam_pool SET id = 'fairlead-local/10.0.0.0/25'",
		"UPDATE ipam_pool SET prefix = 77",
		"UPDATE ipam_pool SET set_number = 5",
		"UPDATE ipam_lease SET pool = 77",
		"UPDATE ipam_lease SET set_number = 77",
		"UPDATE ipam_lease SET addr = x'0b000001'",
		"UPDATE ipam_lease SET addr = x''",
		"DELETE FROM ipam_state",
	};
	struct fixture *f = *state;

	assert_int_equal(pool_add(f, LOC, "10.0.0.0/24", ""), 0);
	assert_ask(f, LOC "/10.0.0.0/24", "", "10.0.0.1/24");
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct err e = {0};

		assert_int_equal(db_begin(f->db, NULL), 0);
		run_sql(f, changes[i]);
		if (ipam_reload(f->m, &e) != -EUCLEAN)
			fail_msg("%s: %s", changes[i], e.text);
		assert_refused(f, LOC "/10.0.0.0/24", "", -EUCLEAN);
		db_rollback(f->db);
		/* No reload by hand: it is tried before the next request. */
		assert_refused(f, LOC "/10.0.0.0/24", "10.0.0.1", -EEXIST);
	}
}

static void test_full_names_the_pool(void **state)
{
	struct fixture *f = *state;
	struct ipam_address_request rq = {.pool_id = LOC "/10.0.0.0/22", .address = ""};
	struct cidr c;
	struct err e;

	assert_int_equal(pool_add(f, LOC, "10.0.0.0/22", ""), 0);
	assert_int_equal(db_begin(f->db, NULL), 0);
	for (int i = 0; i < 1022; i++)
		assert_int_equal(ipam_address_request(f->m, &rq, &c, &e), 0);
	assert_int_equal(ipam_address_request(f->m, &rq, &c, &e), -ENOSPC);
	assert_string_equal(e.text,
			    "pool fairlead-local/10.0.0.0/22 is full: 1022 leases");
	/* The one that is released is found, wherever it is. */
	for (int i = 0; i < 1022; i += 73) {
		char text[ADDR_TEXT_SIZE];

		(void)snprintf(text, sizeof(text), "10.0.%d.%d", (i + 1) / 256,
			       (i + 1) % 256);
		assert_int_equal(ipam_address_release(f->m, rq.pool_id, text, 0, NULL),
				 0);
		assert_int_equal(ipam_address_request(f->m, &rq, &c, &e), 0);
		assert_string_equal(addr_format(&c.addr, (char[ADDR_TEXT_SIZE]){0}),
				    text);
		assert_int_equal(ipam_address_request(f->m, &rq, &c, &e), -ENOSPC);
	}
	assert_int_equal(db_commit(f->db, NULL), 0);
}

/* --- a naive model ----------------------------------------------------------------- */

#define HOSTS	   64 /* of the model: the last byte of an address */
#define OPERATIONS 30000
#define OWNERS	   3

/* Every PoolID of the model; base and sub are first host and number of hosts. */
static const struct wish {
	const char *space;
	const char *pool;
	const char *sub;
	const char *vip;
	int first, count;
	int sub_first, sub_count;
	int vip_first, vip_count;
} wishes[] = {
	{LOC, "10.0.0.0/28", "", "none", 0, 16, 0, 16, 0, 0},
	{LOC, "10.0.0.0/28", "10.0.0.0/29", "none", 0, 16, 0, 8, 0, 0},
	{LOC, "10.0.0.0/28", "10.0.0.8/30", "none", 0, 16, 8, 4, 0, 0},
	{LOC, "10.0.0.0/27", "", "10.0.0.24/30", 0, 32, 0, 32, 24, 4},
	{LOC, "10.0.0.0/27", "10.0.0.24/29", "10.0.0.28/31", 0, 32, 24, 8, 28, 2},
	{LOC, "10.0.0.4/31", "", "", 4, 2, 4, 2, 0, 0},
	{LOC, "10.0.0.16/28", "10.0.0.16/29", "none", 16, 16, 16, 8, 0, 0},
	{LOC, "10.0.0.40/32", "", "", 40, 1, 40, 1, 0, 0},
	{GLO, "10.0.0.0/28", "", "10.0.0.4/30", 0, 16, 0, 16, 4, 4},
	{GLO, "10.0.0.0/28", "10.0.0.8/29", "none", 0, 16, 8, 8, 0, 0},
	{GLO, "10.0.0.0/27", "", "none", 0, 32, 0, 32, 0, 0},
};
#define WISHES ((int)ARRAY_SIZE(wishes))

struct model_lease {
	bool held;
	uint64_t rests_from; /* 1 more than the time in order of releases; 0: does not */
	uint64_t rests_until;
	int pool;
	int round;
	int owner; /* 0: none */
};

struct model {
	int round;
	uint64_t now_ms;
	uint64_t releases;
	bool held[WISHES];
	int rounds[WISHES];
	struct model_lease leases[WISHES][HOSTS]; /* by the first wish of the set */
};

static const char *const owners[OWNERS] = {"", "web", "db"};

static bool is_global(int w)
{
	return !strcmp(wishes[w].space, GLO);
}

static bool same_pool(int a, int b)
{
	return is_global(a) == is_global(b) && !strcmp(wishes[a].pool, wishes[b].pool);
}

static int set_of(int w)
{
	int set = 0;

	while (!same_pool(set, w))
		set++;
	return set;
}

static bool meets(int first, int count, int other_first, int other_count)
{
	return first < other_first + other_count && other_first < first + count;
}

static bool conflicts(int a, int b)
{
	const struct wish *x = &wishes[a];
	const struct wish *y = &wishes[b];

	if (is_global(a) != is_global(b) ||
	    !meets(x->first, x->count, y->first, y->count))
		return false;
	if (!*x->sub)
		return true;
	return !same_pool(a, b) &&
	       meets(x->sub_first, x->sub_count, y->sub_first, y->sub_count);
}

static void model_drop(struct model *md, int w)
{
	md->held[w] = false;
	for (int i = 0; i < HOSTS; i++)
		if (md->leases[set_of(w)][i].pool == w)
			md->leases[set_of(w)][i] = (struct model_lease){.pool = -1};
}

static int model_pool(struct model *md, int w)
{
	if (md->held[w]) {
		if (md->rounds[w] == md->round && !is_global(w))
			return -EEXIST;
		md->rounds[w] = md->round;
		return 0;
	}
	for (int i = 0; i < WISHES; i++)
		if (md->held[i] && conflicts(w, i) &&
		    (!is_global(i) || md->rounds[i] == md->round))
			return -EEXIST;
	for (int i = 0; i < WISHES; i++)
		if (md->held[i] && conflicts(w, i))
			model_drop(md, i);
	md->held[w] = true;
	md->rounds[w] = md->round;
	return 0;
}

static bool in_range(int n, int first, int count)
{
	return n >= first && n < first + count;
}

static bool is_reserved(int w, int host)
{
	const struct wish *x = &wishes[w];

	return x->count > 2 && (host == x->first || host == x->first + x->count - 1);
}

/* Could host be chosen for w now? */
static bool model_free(const struct model *md, int w, int host)
{
	const struct wish *x = &wishes[w];

	return in_range(host, x->sub_first, x->sub_count) && !is_reserved(w, host) &&
	       !in_range(host, x->vip_first, x->vip_count) &&
	       !md->leases[set_of(w)][host].held;
}

/* Has host to be left out as long as there are others? */
static bool model_rests(const struct model *md, int w, int host)
{
	const struct model_lease *l = &md->leases[set_of(w)][host];

	return l->rests_from && md->now_ms < l->rests_until;
}

static void model_give(struct model *md, int w, int host, int owner)
{
	md->leases[set_of(w)][host] = (struct model_lease){
		.held = true, .pool = w, .round = md->round, .owner = owner};
}

static int model_explicit(struct model *md, int w, int host, int owner)
{
	struct model_lease *l = &md->leases[set_of(w)][host];
	const struct wish *x = &wishes[w];

	if (!md->held[w])
		return -ENOENT;
	if (!in_range(host, x->first, x->count))
		return -ERANGE;
	if (is_reserved(w, host))
		return -EINVAL;
	if (!l->held) {
		if (in_range(host, x->vip_first, x->vip_count) && !is_global(w))
			return -ERANGE;
		model_give(md, w, host, owner);
		return 0;
	}
	if (l->pool != w || ((l->round == md->round || md->rounds[w] != md->round) &&
			     !is_global(w) && (!owner || owner != l->owner)))
		return -EEXIST;
	if (l->round < md->round && owner)
		l->owner = owner;
	l->round = md->round;
	return 0;
}

static void wish_id(int w, char id[IPAM_POOL_ID_SIZE])
{
	assert_int_equal(str_printf(id, IPAM_POOL_ID_SIZE, "%s/%s%s%s", wishes[w].space,
				    wishes[w].pool, *wishes[w].sub ? "/" : "",
				    wishes[w].sub),
			 0);
}

static void try_pool(struct fixture *f, struct model *md, int w)
{
	struct ipam_pool_request rq = {.space = wishes[w].space,
				       .pool = wishes[w].pool,
				       .sub_pool = wishes[w].sub,
				       .vip_range = wishes[w].vip};
	struct ipam_pool_answer answer;
	char id[IPAM_POOL_ID_SIZE];
	struct err e = {0};
	int r = ipam_pool_request(f->m, &rq, &answer, &e);
	int want = model_pool(md, w);

	if (r != want)
		fail_msg("pool %s %s: %d %s, want %d", rq.pool, rq.sub_pool, r, e.text,
			 want);
	wish_id(w, id);
	if (r == 0)
		assert_string_equal(answer.id, id);
}

static void try_choose(struct fixture *f, struct model *md, int w, int owner)
{
	struct ipam_address_request rq = {.address = "", .owner = owners[owner]};
	char id[IPAM_POOL_ID_SIZE];
	uint64_t oldest = UINT64_MAX;
	struct cidr c;
	int room = 0;
	int rested = 0;
	int r;

	wish_id(w, id);
	rq.pool_id = id;
	rq.gateway = owner == 1;
	rq.now_ms = md->now_ms;
	r = ipam_address_request(f->m, &rq, &c, NULL);
	for (int i = 0; i < HOSTS; i++) {
		const struct model_lease *l = &md->leases[set_of(w)][i];

		room += model_free(md, w, i);
		rested += model_free(md, w, i) && !model_rests(md, w, i);
		if (model_free(md, w, i) && l->rests_from && l->rests_from < oldest)
			oldest = l->rests_from;
	}
	if (!md->held[w] || !room) {
		assert_int_equal(r, md->held[w] ? -ENOSPC : -ENOENT);
		return;
	}
	assert_int_equal(r, 0);
	assert_true(c.addr.bytes[3] < HOSTS);
	assert_true(model_free(md, w, c.addr.bytes[3]));
	if (rested)
		assert_false(model_rests(md, w, c.addr.bytes[3]));
	else
		assert_int_equal(md->leases[set_of(w)][c.addr.bytes[3]].rests_from,
				 oldest);
	model_give(md, w, c.addr.bytes[3], owner);
}

static void try_explicit(struct fixture *f, struct model *md, int w, int host, int owner)
{
	struct ipam_address_request rq = {.owner = owners[owner]};
	char id[IPAM_POOL_ID_SIZE];
	char address[ADDR_TEXT_SIZE];
	struct err e = {0};
	struct cidr c;
	int want = model_explicit(md, w, host, owner);
	int r;

	wish_id(w, id);
	(void)snprintf(address, sizeof(address), "10.0.0.%d", host);
	rq.pool_id = id;
	rq.address = address;
	r = ipam_address_request(f->m, &rq, &c, &e);
	if (r != want)
		fail_msg("%s in %s: %d %s, want %d", address, id, r, e.text, want);
	if (r == 0)
		assert_int_equal(c.addr.bytes[3], host);
}

static void try_release(struct fixture *f, struct model *md, int w, int host)
{
	char id[IPAM_POOL_ID_SIZE];
	char address[ADDR_TEXT_SIZE];
	struct model_lease *l = &md->leases[set_of(w)][host];

	wish_id(w, id);
	(void)snprintf(address, sizeof(address), "10.0.0.%d", host);
	assert_int_equal(ipam_address_release(f->m, id, address, md->now_ms, NULL), 0);
	if (!md->held[w] || !l->held || l->pool != w)
		return;
	l->held = false;
	l->rests_from = f->rest_s ? ++md->releases : 0;
	l->rests_until = md->now_ms + f->rest_s * 1000UL;
}

static void try_drop(struct fixture *f, struct model *md, int w)
{
	char id[IPAM_POOL_ID_SIZE];

	wish_id(w, id);
	assert_int_equal(ipam_pool_release(f->m, id, NULL), 0);
	if (md->held[w])
		model_drop(md, w);
}

struct tally {
	const struct model *model;
	int pools;
};

static void check_pool(void *ctx, const struct ipam_pool_info *info)
{
	struct tally *t = ctx;
	uint64_t used = 0;
	char id[IPAM_POOL_ID_SIZE];
	int w;

	for (w = 0; w < WISHES; w++) {
		wish_id(w, id);
		if (!strcmp(id, info->id))
			break;
	}
	assert_true(w < WISHES && t->model->held[w]);
	for (int i = 0; i < HOSTS; i++)
		used += t->model->leases[set_of(w)][i].held &&
			t->model->leases[set_of(w)][i].pool == w;
	assert_int_equal(info->used, used);
	t->pools++;
}

static void check_all(struct fixture *f, const struct model *md)
{
	struct tally t = {.model = md};
	int pools = 0;

	for (int w = 0; w < WISHES; w++)
		pools += md->held[w];
	ipam_pool_list(f->m, check_pool, &t);
	assert_int_equal(t.pools, pools);
}

static void forget_global(struct model *md)
{
	for (int w = 0; w < WISHES; w++)
		if (md->held[w] && is_global(w))
			model_drop(md, w);
}

/* One random request; both must agree on the answer. */
static void try_one(struct fixture *f, struct model *md, unsigned int *seed)
{
	int w = rand_r(seed) % WISHES;
	int host = rand_r(seed) % HOSTS;
	int owner = rand_r(seed) % OWNERS;
	int what = rand_r(seed) % 1000;

	md->now_ms += (unsigned int)rand_r(seed) % 300;
	if (what < 60)
		try_pool(f, md, w);
	else if (what < 75)
		try_drop(f, md, w);
	else if (what < 350)
		try_choose(f, md, w, owner);
	else if (what < 700)
		try_explicit(f, md, w, host % 36, owner);
	else if (what < 990)
		try_release(f, md, w, host);
	else {
		assert_int_equal(ipam_replay_begin(f->m, 0, NULL), 0);
		md->round++;
	}
}

/* A batch as the store worker makes it: kept, lost, or followed by a new start. */
static void try_batch(struct fixture *f, struct model *md, unsigned int *seed)
{
	struct model before = *md;
	int size = rand_r(seed) % 64 + 1;
	int end = rand_r(seed) % 10;

	assert_int_equal(db_begin(f->db, NULL), 0);
	for (int i = 0; i < size; i++)
		try_one(f, md, seed);
	if (end < 2) {
		db_rollback(f->db);
		before.now_ms = md->now_ms; /* time does not go back */
		*md = before;
		assert_int_equal(ipam_reload(f->m, NULL), 0);
	} else {
		assert_int_equal(db_commit(f->db, NULL), 0);
	}
	if (end == 9) {
		stop(f);
		f->now_ms = md->now_ms;
		start(f);
		forget_global(md);
	} else if (end == 8) {
		bool more;

		assert_int_equal(ipam_tidy(f->m, md->now_ms, &more, NULL), 0);
	}
	check_all(f, md);
}

static void check_random(struct fixture *f, uint32_t rest_s)
{
	const char *text = getenv("FAIRLEAD_SEED");
	unsigned int seed =
		text ? (unsigned int)strtoul(text, NULL, 10) : (unsigned int)time(NULL);
	struct model *md = calloc(1, sizeof(*md));

	assert_non_null(md);
	md->now_ms = 1000000;
	stop(f);
	f->rest_s = rest_s;
	f->now_ms = md->now_ms;
	start(f);
	print_message("FAIRLEAD_SEED=%u\n", seed);
	for (int i = 0; i < OPERATIONS / 32; i++)
		try_batch(f, md, &seed);
	free(md);
}

static void test_random(void **state)
{
	check_random(*state, 0);
}

static void test_random_at_rest(void **state)
{
	check_random(*state, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reopen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reopen_in_replay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reopen_at_rest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tidy, setup, teardown),
		cmocka_unit_test_setup_teardown(test_drop_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rollback, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failing_statements, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_heals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unsound_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_names_the_pool, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random_at_rest, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
