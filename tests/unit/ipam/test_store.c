// SPDX-License-Identifier: GPL-2.0-or-later
/* Rows of pools and leases: round trips, keys, and rows that nobody of ours wrote. */
#include "ipam/store.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ROWS_MAX 8

struct fixture {
	struct db *db;
	struct ipam_store *store;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(db_open(":memory:", &f->db, NULL), 0);
	assert_int_equal(ipam_store_open(f->db, &f->store, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ipam_store_close(f->store);
	db_close(f->db);
	free(f);
	return 0;
}

static void run_sql(struct fixture *f, const char *text)
{
	struct db_stmt **st;

	assert_int_equal(db_prepare(f->db, &text, 1, &st, NULL), 0);
	assert_int_equal(db_run(st[0], NULL), 0);
	db_finalize(st, 1);
}

static struct cidr cidr(const char *text)
{
	struct cidr c = {0};

	if (*text)
		assert_int_equal(cidr_parse(text, &c), 0);
	return c;
}

static struct addr addr(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static struct ipam_store_pool pool_row(int64_t number, int64_t set, const char *id)
{
	struct ipam_store_pool row = {.number = number, .set = set, .id = id};

	row.space = "local";
	row.shape.pool = cidr("10.0.0.0/16");
	row.round = 7;
	return row;
}

static struct ipam_store_lease lease_row(int64_t set, int64_t pool, const char *address)
{
	struct ipam_store_lease row = {.set = set, .pool = pool, .owner = "web"};

	row.addr = addr(address);
	row.sequence = 11;
	row.round = 7;
	row.kind = IPAM_LEASE_CHOSEN;
	return row;
}

struct rows {
	struct ipam_store_pool pools[ROWS_MAX];
	struct ipam_store_lease leases[ROWS_MAX];
	char ids[ROWS_MAX][64];
	char owners[ROWS_MAX][64];
	unsigned int pool_count;
	unsigned int lease_count;
	int stop; /* returned by the callbacks */
};

static void assert_shape(const struct pool_shape *a, const struct pool_shape *b)
{
	assert_true(cidr_equal(&a->pool, &b->pool));
	assert_true(cidr_equal(&a->sub, &b->sub));
	assert_true(cidr_equal(&a->vip, &b->vip));
	assert_int_equal(a->vip_mode, b->vip_mode);
}

static int note_pool(void *ctx, const struct ipam_store_pool *row, struct err *e)
{
	struct rows *rows = ctx;

	assert_true(rows->pool_count < ROWS_MAX);
	rows->pools[rows->pool_count] = *row;
	assert_int_equal(str_copy(rows->ids[rows->pool_count], 64, row->id), 0);
	assert_string_equal(row->space, "local");
	rows->pool_count++;
	return rows->stop ? err_set(e, rows->stop, "enough") : 0;
}

static int note_lease(void *ctx, const struct ipam_store_lease *row, struct err *e)
{
	struct rows *rows = ctx;

	assert_true(rows->lease_count < ROWS_MAX);
	rows->leases[rows->lease_count] = *row;
	assert_int_equal(str_copy(rows->owners[rows->lease_count], 64, row->owner), 0);
	rows->lease_count++;
	return rows->stop ? err_set(e, rows->stop, "enough") : 0;
}

static void test_pool_rows(void **state)
{
	struct fixture *f = *state;
	struct ipam_store_pool row = pool_row(3, 3, "a");
	struct ipam_store_pool plain = pool_row(4, 3, "b");
	struct pool_shape other;
	struct rows rows = {0};

	row.shape.sub = cidr("10.0.1.0/24");
	row.shape.vip = cidr("10.0.192.0/18");
	row.shape.vip_mode = POOL_VIP_FIXED;
	assert_int_equal(ipam_store_pool_add(f->store, &plain, NULL), 0);
	assert_int_equal(ipam_store_pool_add(f->store, &row, NULL), 0);
	row.number = 5;
	assert_int_equal(ipam_store_pool_add(f->store, &row, NULL), -EEXIST);
	assert_int_equal(ipam_store_pool_each(f->store, note_pool, &rows, NULL), 0);
	assert_int_equal(rows.pool_count, 2);
	assert_int_equal(rows.pools[0].number, 3);
	assert_string_equal(rows.ids[0], "a");
	assert_shape(&rows.pools[0].shape, &row.shape);
	assert_int_equal(rows.pools[0].round, 7);
	assert_int_equal(rows.pools[1].set, 3);
	assert_shape(&rows.pools[1].shape, &plain.shape);

	other = row.shape;
	other.vip = cidr("");
	other.vip_mode = POOL_VIP_NONE;
	assert_int_equal(ipam_store_pool_set_vip(f->store, 3, &other, NULL), 0);
	assert_int_equal(ipam_store_pool_set_round(f->store, 4, 8, NULL), 0);
	rows = (struct rows){.stop = -ECANCELED};
	assert_int_equal(ipam_store_pool_each(f->store, note_pool, &rows, NULL),
			 -ECANCELED);
	rows = (struct rows){0};
	assert_int_equal(ipam_store_pool_each(f->store, note_pool, &rows, NULL), 0);
	assert_shape(&rows.pools[0].shape, &other);
	assert_int_equal(rows.pools[0].round, 7);
	assert_int_equal(rows.pools[1].round, 8);

	assert_int_equal(ipam_store_space_del(f->store, "elsewhere", NULL), 0);
	assert_int_equal(ipam_store_pool_del(f->store, 99, NULL), 0);
	assert_int_equal(ipam_store_space_del(f->store, "local", NULL), 0);
	rows = (struct rows){0};
	assert_int_equal(ipam_store_pool_each(f->store, note_pool, &rows, NULL), 0);
	assert_int_equal(rows.pool_count, 0);
}

static void test_lease_rows(void **state)
{
	struct fixture *f = *state;
	struct ipam_store_lease row = lease_row(1, 1, "10.0.0.5");
	struct ipam_store_lease found = {.set = 1, .addr = row.addr};
	struct rows rows = {0};
	char owner[16];
	bool gone;

	assert_int_equal(ipam_store_lease_add(f->store, &row, NULL), 0);
	row.pool = 2;
	row.owner = "db";
	assert_int_equal(ipam_store_lease_add(f->store, &row, NULL), -EEXIST);
	row.set = 2;
	row.addr = addr("fd00::1");
	assert_int_equal(ipam_store_lease_add(f->store, &row, NULL), 0);
	row.addr = addr("10.0.0.5");
	assert_int_equal(ipam_store_lease_add(f->store, &row, NULL), 0);

	assert_int_equal(
		ipam_store_lease_find(f->store, &found, owner, sizeof(owner), NULL), 0);
	assert_int_equal(found.pool, 1);
	assert_int_equal(found.sequence, 11);
	assert_int_equal(found.round, 7);
	assert_int_equal(found.kind, IPAM_LEASE_CHOSEN);
	assert_string_equal(found.owner, "web");
	assert_int_equal(ipam_store_lease_find(f->store, &found, owner, 3, NULL),
			 -EUCLEAN);

	found.round = 9;
	found.owner = "cache";
	assert_int_equal(ipam_store_lease_confirm(f->store, &found, NULL), 0);
	assert_int_equal(ipam_store_lease_each(f->store, note_lease, &rows, NULL), 0);
	assert_int_equal(rows.lease_count, 3);
	assert_int_equal(rows.leases[0].round, 9);
	assert_string_equal(rows.owners[0], "cache");
	assert_true(addr_equal(&rows.leases[1].addr, &row.addr));
	assert_string_equal(rows.owners[1], "db");

	found.pool = 2;
	assert_int_equal(ipam_store_lease_release(f->store, &found, &gone, NULL), 0);
	assert_false(gone);
	found.pool = 1;
	assert_int_equal(ipam_store_lease_release(f->store, &found, &gone, NULL), 0);
	assert_true(gone);
	assert_int_equal(
		ipam_store_lease_find(f->store, &found, owner, sizeof(owner), NULL),
		-ENOENT);
}

/* A released row stays until it is given again, or goes with its neighbours. */
static void test_released_rows(void **state)
{
	static const char *const addresses[] = {"10.0.0.3", "10.0.0.4", "10.0.0.5",
						"10.0.0.6"};
	struct fixture *f = *state;
	struct ipam_store_lease row = lease_row(1, 1, "10.0.0.5");
	struct addr first = addr("10.0.0.4");
	struct addr last = addr("10.0.0.6");
	struct rows rows = {0};
	char owner[16];
	bool gone;

	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		row = lease_row(1, 1, addresses[i]);
		assert_int_equal(ipam_store_lease_add(f->store, &row, NULL), 0);
		row.released = 5;
		assert_int_equal(ipam_store_lease_release(f->store, &row, &gone, NULL),
				 0);
		assert_true(gone);
	}
	row.released = 9; /* once is enough */
	assert_int_equal(ipam_store_lease_release(f->store, &row, &gone, NULL), 0);
	assert_false(gone);
	assert_int_equal(
		ipam_store_lease_find(f->store, &row, owner, sizeof(owner), NULL), 0);
	assert_int_equal(row.released, 5);

	row = lease_row(1, 2, "10.0.0.5");
	row.owner = "db";
	row.sequence = 12;
	assert_int_equal(ipam_store_lease_add(f->store, &row, NULL), 0);
	assert_int_equal(ipam_store_lease_add(f->store, &row, NULL), -EEXIST);
	assert_int_equal(
		ipam_store_lease_find(f->store, &row, owner, sizeof(owner), NULL), 0);
	assert_string_equal(owner, "db");
	assert_int_equal(row.released, 0);
	assert_int_equal(row.pool, 2);
	assert_int_equal(row.sequence, 12);

	assert_int_equal(ipam_store_lease_del_released(f->store, 2, &first, &last, NULL),
			 0);
	assert_int_equal(ipam_store_lease_del_released(f->store, 1, &first, &last, NULL),
			 0);
	rows = (struct rows){0};
	assert_int_equal(ipam_store_lease_each(f->store, note_lease, &rows, NULL), 0);
	assert_int_equal(rows.lease_count, 2);
	assert_int_equal(rows.leases[0].released, 5);
	assert_int_equal(rows.leases[1].released, 0);
}

/* Two pools of one set: each takes its own leases along, and lists its own. */
static void test_pool_takes_leases(void **state)
{
	struct fixture *f = *state;
	struct ipam_store_pool first = pool_row(1, 1, "a");
	struct ipam_store_pool second = pool_row(2, 1, "b");
	struct ipam_store_lease one = lease_row(1, 1, "10.0.0.1");
	struct ipam_store_lease two = lease_row(1, 2, "10.0.0.2");
	struct ipam_store_lease other = lease_row(3, 3, "10.0.0.3");
	struct rows rows = {0};

	assert_int_equal(ipam_store_pool_add(f->store, &first, NULL), 0);
	assert_int_equal(ipam_store_pool_add(f->store, &second, NULL), 0);
	assert_int_equal(ipam_store_lease_add(f->store, &two, NULL), 0);
	assert_int_equal(ipam_store_lease_add(f->store, &one, NULL), 0);
	assert_int_equal(ipam_store_lease_add(f->store, &other, NULL), 0);
	assert_int_equal(
		ipam_store_lease_each_of(f->store, &second, note_lease, &rows, NULL), 0);
	assert_int_equal(rows.lease_count, 1);
	assert_true(addr_equal(&rows.leases[0].addr, &two.addr));

	assert_int_equal(ipam_store_pool_del(f->store, 1, NULL), 0);
	rows = (struct rows){0};
	assert_int_equal(ipam_store_lease_each(f->store, note_lease, &rows, NULL), 0);
	assert_int_equal(rows.lease_count, 2);
	assert_true(addr_equal(&rows.leases[0].addr, &two.addr));
	assert_true(addr_equal(&rows.leases[1].addr, &other.addr));
}

static int count_lease(void *ctx, const struct ipam_store_lease *row, struct err *e)
{
	(void)row;
	(void)e;
	++*(int *)ctx;
	return 0;
}

static void test_pages(void **state)
{
	static const int sizes[] = {IPAM_STORE_PAGE, IPAM_STORE_PAGE, 3, 0, 0};
	struct fixture *f = *state;
	struct ipam_store_mark mark = {0};
	int count = 0;
	int want = 0;

	assert_int_equal(db_begin(f->db, NULL), 0);
	for (int i = 0; i < 2 * IPAM_STORE_PAGE + 3; i++) {
		char text[ADDR_TEXT_SIZE];
		struct ipam_store_lease row;

		(void)snprintf(text, sizeof(text), i % 2 ? "fd00::%x" : "10.0.%d.%d",
			       i % 2 ? i : i / 256, i % 256);
		row = lease_row(1 + i % 2, 1, text);
		assert_int_equal(ipam_store_lease_add(f->store, &row, NULL), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(ipam_store_lease_each_after(f->store, &mark, count_lease,
							     &count, NULL),
				 sizes[i]);
		want += sizes[i];
		assert_int_equal(count, want);
	}
	assert_int_equal(mark.set, 2);
	assert_int_equal(db_commit(f->db, NULL), 0);
}

static void test_state(void **state)
{
	struct fixture *f = *state;
	struct ipam_store_state st = {-1, -1};

	assert_int_equal(ipam_store_state_get(f->store, &st, NULL), 0);
	assert_int_equal(st.round, 0);
	assert_int_equal(st.replayed, 0);
	st = (struct ipam_store_state){INT64_C(1) << 40, 7};
	assert_int_equal(ipam_store_state_set(f->store, &st, NULL), 0);
	st = (struct ipam_store_state){0};
	assert_int_equal(ipam_store_state_get(f->store, &st, NULL), 0);
	assert_true(st.round == INT64_C(1) << 40);
	assert_int_equal(st.replayed, 7);
	run_sql(f, "DELETE FROM ipam_state");
	assert_int_equal(ipam_store_state_get(f->store, &st, NULL), -EUCLEAN);
}

static void test_unsound_pools(void **state)
{
	static const char *const changes[] = {
		"UPDATE ipam_pool SET prefix = 33",
		"UPDATE ipam_pool SET prefix = -1",
		"UPDATE ipam_pool SET prefix = 4294967312",
		"UPDATE ipam_pool SET prefix = 8",
		"UPDATE ipam_pool SET addr = x''",
		"UPDATE ipam_pool SET addr = x'0a0000'",
		"UPDATE ipam_pool SET addr = 'text'",
		"UPDATE ipam_pool SET addr = x'0a000001'",
		"UPDATE ipam_pool SET sub = x'0b000000', sub_prefix = 24",
		"UPDATE ipam_pool SET sub = NULL, sub_prefix = 24",
		"UPDATE ipam_pool SET vip = x'0a000000', vip_prefix = 8",
		"UPDATE ipam_pool SET vip_mode = 3",
		"UPDATE ipam_pool SET vip_mode = -1",
	};
	struct fixture *f = *state;
	struct ipam_store_pool row = pool_row(1, 1, "a");

	row.shape.pool = cidr("10.1.0.0/16");
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct rows rows = {0};
		struct err e = {0};

		assert_int_equal(ipam_store_pool_add(f->store, &row, NULL), 0);
		run_sql(f, changes[i]);
		if (ipam_store_pool_each(f->store, note_pool, &rows, &e) != -EUCLEAN)
			fail_msg("%s: %s", changes[i], e.text);
		assert_non_null(strstr(e.text, "pool number 1 is not sound"));
		assert_int_equal(ipam_store_pool_del(f->store, 1, NULL), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pool_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lease_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pool_takes_leases, setup, teardown),
		cmocka_unit_test_setup_teardown(test_released_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unsound_pools, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
