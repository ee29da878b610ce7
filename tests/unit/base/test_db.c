// SPDX-License-Identifier: GPL-2.0-or-later
/* The database handle: settings, schema steps, transactions and attempts that fail,
 * values there and back, and files that are no sound database. */
#include "plugin/base/db.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

#define NOBODY 65534

static char dir[64];
static char path[96];

static int make_dir(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/fl-db-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/fairlead.db", dir);
	return 0;
}

/* Calls fn with the name of each file in dir. */
static void each_file(void (*fn)(const char *name))
{
	DIR *d = opendir(dir);
	const struct dirent *entry;

	assert_non_null(d);
	while ((entry = readdir(d)))
		if (entry->d_name[0] != '.')
			fn(entry->d_name);
	(void)closedir(d);
}

static void remove_file(const char *name)
{
	char file[352];

	(void)snprintf(file, sizeof(file), "%s/%s", dir, name);
	(void)unlink(file);
}

static int remove_dir(void **state)
{
	(void)state;
	(void)chmod(dir, 0700);
	each_file(remove_file);
	return rmdir(dir);
}

#define assert_ok(expr)                                                \
	do {                                                           \
		struct err err_ = {0};                                 \
		struct err *e = &err_;                                 \
		int got_ = (expr);                                     \
		if (got_ < 0)                                          \
			fail_msg("%s: %d %s", #expr, got_, err_.text); \
	} while (0)

#define assert_error(expr, want)                                                 \
	do {                                                                     \
		struct err err_ = {0};                                           \
		struct err *e = &err_;                                           \
		int got_ = (expr);                                               \
		if (got_ != (want))                                              \
			fail_msg("%s: %d %s", #expr, got_, err_.text);           \
		assert_int_equal(err_.code, want);                               \
		(void)snprintf(error_text, sizeof(error_text), "%s", err_.text); \
	} while (0)

static char error_text[256]; /* of the last assert_error */

#define assert_text(part)                                                 \
	do {                                                              \
		if (!strstr(error_text, (part)))                          \
			fail_msg("no \"%s\" in: %s", (part), error_text); \
	} while (0)

static struct db *open_db(const char *where)
{
	struct db *db = NULL;

	assert_ok(db_open(where, &db, e));
	return db;
}

/* One statement, made and thrown away. */
static int run_sql(struct db *db, const char *sql, struct err *e)
{
	struct db_stmt **st;
	int r = db_prepare(db, &sql, 1, &st, e);

	if (r < 0)
		return r;
	do {
		r = db_step(st[0], e);
	} while (r > 0);
	db_reset(st[0]);
	db_finalize(st, 1);
	return r;
}

/* First column of the first row. */
static int64_t query(struct db *db, const char *sql)
{
	struct db_stmt **st;
	int64_t n;

	assert_ok(db_prepare(db, &sql, 1, &st, e));
	assert_int_equal(db_step(st[0], NULL), 1);
	n = db_col_int(st[0], 0);
	db_reset(st[0]);
	db_finalize(st, 1);
	return n;
}

static const char *query_text(struct db *db, const char *sql)
{
	static char text[64];
	struct db_stmt **st;

	assert_ok(db_prepare(db, &sql, 1, &st, e));
	assert_int_equal(db_step(st[0], NULL), 1);
	(void)snprintf(text, sizeof(text), "%s", db_col_text(st[0], 0));
	db_reset(st[0]);
	db_finalize(st, 1);
	return text;
}

static const char *const steps[] = {
	"CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL,"
	" data BLOB)",
	"CREATE TABLE part(item INTEGER NOT NULL REFERENCES item(id) ON DELETE CASCADE,"
	" n INTEGER CHECK (n >= 0))",
	"ALTER TABLE item ADD COLUMN note TEXT",
};

static struct db *open_items(const char *where)
{
	static const struct db_schema schema = {"items", steps, ARRAY_SIZE(steps)};
	struct db *db = open_db(where);

	assert_ok(db_migrate(db, &schema, e));
	return db;
}

static void add_items(struct db *db, int first, int count)
{
	char sql[128];

	for (int i = first; i < first + count; i++) {
		(void)snprintf(sql, sizeof(sql),
			       "INSERT INTO item(id, name) VALUES(%d, 'n%d')", i, i);
		assert_ok(run_sql(db, sql, e));
	}
}

static int64_t count_items(struct db *db)
{
	return query(db, "SELECT count(*) FROM item");
}

static void test_settings(void **state)
{
	struct db *db = open_db(path);

	(void)state;
	assert_string_equal(query_text(db, "PRAGMA journal_mode"), "wal");
	assert_int_equal(query(db, "PRAGMA synchronous"), 2);
	assert_int_equal(query(db, "PRAGMA foreign_keys"), 1);
	assert_int_equal(query(db, "PRAGMA busy_timeout"), 5000);
	db_close(db);
	db = open_db(":memory:");
	assert_string_equal(query_text(db, "PRAGMA journal_mode"), "memory");
	assert_int_equal(query(db, "PRAGMA foreign_keys"), 1);
	db_close(db);
	db_close(NULL);
}

static void test_migrate(void **state)
{
	struct db_schema items = {"items", steps, 0};
	static const char *const other[] = {"CREATE TABLE other(x)"};
	const struct db_schema others = {"others", other, 1};
	struct db *db;

	(void)state;
	/* Each program knows one step more. */
	for (unsigned int known = 1; known <= ARRAY_SIZE(steps); known++) {
		db = open_db(path);
		items.count = known;
		assert_ok(db_migrate(db, &items, e));
		assert_ok(db_migrate(db, &items, e));
		assert_int_equal(query(db, "SELECT version FROM schema_version"), known);
		add_items(db, (int)known, 1);
		db_close(db);
	}
	db = open_db(path);
	assert_int_equal(count_items(db), 3);
	assert_ok(db_migrate(db, &others, e));
	assert_int_equal(query(db, "SELECT count(*) FROM schema_version"), 2);
	/* An older program keeps its hands off. */
	items.count = 2;
	assert_error(db_migrate(db, &items, e), -EUCLEAN);
	assert_text("items");
	assert_text("version 3");
	assert_text("newer fairlead");
	assert_int_equal(count_items(db), 3);
	assert_int_equal(query(db, "SELECT max(version) FROM schema_version"), 3);
	db_close(db);
}

/* A step that fails leaves the version before it, with none of its work. */
static void test_migrate_fails(void **state)
{
	static const char *const bad[] = {
		"CREATE TABLE a(x)",
		"CREATE TABLE b(x); CREATE TABLE a(x)",
		"CREATE TABLE c(x)",
	};
	static const char *const good[] = {
		"CREATE TABLE a(x)",
		"CREATE TABLE b(x); CREATE TABLE b2(x)",
		"CREATE TABLE c(x)",
	};
	const struct db_schema broken = {"t", bad, 3};
	const struct db_schema mended = {"t", good, 3};
	struct db *db = open_db(path);

	(void)state;
	assert_error(db_migrate(db, &broken, e), -EIO);
	assert_text("table a already exists");
	assert_int_equal(query(db, "SELECT version FROM schema_version"), 1);
	assert_int_equal(
		query(db, "SELECT count(*) FROM sqlite_master WHERE name IN ('b','c')"),
		0);
	assert_ok(db_begin(db, e)); /* no transaction was left open */
	assert_ok(db_commit(db, e));
	assert_ok(db_migrate(db, &mended, e));
	assert_int_equal(query(db, "SELECT version FROM schema_version"), 3);
	db_close(db);
}

static void test_transactions(void **state)
{
	struct db *db = open_items(path);

	(void)state;
	assert_ok(db_begin(db, e));
	assert_error(db_begin(db, e), -EIO);
	add_items(db, 1, 2);
	db_rollback(db);
	assert_int_equal(count_items(db), 0);
	db_rollback(db);
	assert_error(db_commit(db, e), -EIO);
	assert_ok(db_begin(db, e));
	add_items(db, 1, 2);
	assert_ok(db_commit(db, e));
	db_close(db);
	db = open_items(path);
	assert_int_equal(count_items(db), 2);
	db_close(db);
}

static void test_attempts(void **state)
{
	struct db *db = open_items(path);

	(void)state;
	assert_ok(db_begin(db, e));
	assert_ok(db_attempt_begin(db, e));
	add_items(db, 1, 1);
	assert_false(db_attempt_end(db, true));
	assert_ok(db_attempt_begin(db, e)); /* fails, has written */
	add_items(db, 2, 3);
	assert_true(db_attempt_end(db, false));
	assert_int_equal(count_items(db), 1);
	assert_ok(db_attempt_begin(db, e)); /* fails, has only looked */
	assert_int_equal(count_items(db), 1);
	assert_false(db_attempt_end(db, false));
	assert_ok(db_attempt_begin(db, e)); /* fails at its first row */
	assert_error(run_sql(db, "INSERT INTO item(id, name) VALUES(1, 'x')", e),
		     -EEXIST);
	assert_false(db_attempt_end(db, false));
	assert_ok(db_attempt_begin(db, e));
	add_items(db, 5, 1);
	assert_false(db_attempt_end(db, true));
	assert_ok(db_commit(db, e));
	assert_int_equal(query(db, "SELECT sum(id) FROM item"), 6);
	db_close(db);
}

static void test_nested_attempts(void **state)
{
	static const struct {
		bool outer_ok;
		bool inner_ok;
		bool inner_writes;
		int64_t sum;
		bool outer_lost; /* what its end says */
	} cases[] = {
		{true, true, true, 1 + 2 + 4, false}, {true, false, true, 1 + 4, false},
		{false, true, true, 0, true},	      {false, false, true, 0, true},
		{false, false, false, 0, true}, /* the outer one has written */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct db *db = open_items(":memory:");

		assert_ok(db_begin(db, e));
		assert_ok(db_attempt_begin(db, e));
		add_items(db, 1, 1);
		assert_ok(db_attempt_begin(db, e));
		if (cases[i].inner_writes)
			add_items(db, 2, 1);
		assert_int_equal(db_attempt_end(db, cases[i].inner_ok),
				 !cases[i].inner_ok);
		if (cases[i].outer_ok)
			add_items(db, 4, 1);
		assert_int_equal(db_attempt_end(db, cases[i].outer_ok),
				 cases[i].outer_lost);
		assert_ok(db_commit(db, e));
		assert_int_equal(query(db, "SELECT COALESCE(sum(id), 0) FROM item"),
				 cases[i].sum);
		db_close(db);
	}
}

static void test_constraints(void **state)
{
	static const struct {
		const char *sql;
		int result;
		const char *text;
	} cases[] = {
		{"INSERT INTO item(id, name) VALUES(1, 'other')", -EEXIST, "item.id"},
		{"INSERT INTO item(id, name) VALUES(9, 'n1')", -EEXIST, "item.name"},
		{"UPDATE item SET name = 'n2' WHERE id = 1", -EEXIST, "item.name"},
		{"INSERT INTO item(id, name) VALUES(9, NULL)", -EIO, "NOT NULL"},
		{"INSERT INTO part VALUES(77, 1)", -EIO, "FOREIGN KEY"},
		{"INSERT INTO part VALUES(1, -1)", -EIO, "CHECK"},
	};
	struct db *db = open_items(":memory:");

	(void)state;
	add_items(db, 1, 2);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_error(run_sql(db, cases[i].sql, e), cases[i].result);
		assert_text(cases[i].text);
	}
	/* One refused row does not cost the others of the batch. */
	assert_ok(db_begin(db, e));
	add_items(db, 3, 1);
	assert_error(run_sql(db, cases[0].sql, e), -EEXIST);
	add_items(db, 4, 1);
	assert_ok(db_commit(db, e));
	assert_int_equal(count_items(db), 4);
	assert_ok(run_sql(db, "INSERT INTO part VALUES(1, 1)", e));
	assert_ok(run_sql(db, "DELETE FROM item WHERE id = 1", e));
	assert_int_equal(query(db, "SELECT count(*) FROM part"), 0);
	db_close(db);
}

enum {
	ADD,
	GET,
	COUNT
};

static const char *const item_sql[COUNT] = {
	[ADD] = "INSERT INTO item(id, name, data, note) VALUES(?1, ?2, ?3, ?4)",
	[GET] = "SELECT id, name, data, note FROM item WHERE id = ?1",
};

static void test_values(void **state)
{
	static const struct {
		const char *name;
		struct addr addr;
		int64_t id;
	} cases[] = {
		{"plain", {AF_INET, {10, 1, 2, 3}}, 1},
		{"", {AF_INET6, {0xfd, 0, [15] = 1}}, INT64_MAX},
		{"none", {0}, -5},
		{"'quote'; --", {AF_INET, {0, 0, 0, 0}}, 2},
		{"\xc3\xa4\xe2\x82\xac", {AF_INET6, {0}}, 3},
	};
	struct db *db = open_items(":memory:");
	struct db_stmt **st;
	char name[16];

	(void)state;
	assert_ok(db_prepare(db, item_sql, COUNT, &st, e));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr a;

		db_bind_int(st[ADD], 1, cases[i].id);
		db_bind_text(st[ADD], 2, cases[i].name);
		db_bind_addr(st[ADD], 3, &cases[i].addr);
		db_bind_text(st[ADD], 4, NULL);
		assert_ok(db_run(st[ADD], e));
		assert_int_equal(db_changes(db), 1);
		assert_int_equal(db_last_id(db), cases[i].id);
		db_bind_int(st[GET], 1, cases[i].id);
		assert_int_equal(db_step(st[GET], NULL), 1);
		assert_true(db_col_int(st[GET], 0) == cases[i].id);
		assert_string_equal(db_col_text(st[GET], 1), cases[i].name);
		assert_ok(db_col_copy(st[GET], 1, name, sizeof(name), e));
		assert_string_equal(name, cases[i].name);
		a = db_col_addr(st[GET], 2);
		assert_memory_equal(&a, &cases[i].addr, sizeof(a));
		assert_string_equal(db_col_text(st[GET], 3), ""); /* NULL */
		assert_int_equal(db_step(st[GET], NULL), 0);
		db_reset(st[GET]);
	}
	db_finalize(st, COUNT);
	db_finalize(NULL, 0);
	db_close(db);
}

static void test_blobs(void **state)
{
	static const uint8_t mac[6] = {2, 0x42, 0, 255, 0, 1};
	struct db *db = open_items(":memory:");
	struct db_stmt **st;
	uint8_t back[6] = {9, 9, 9, 9, 9, 9};
	uint8_t big[7];
	char small[4] = "abc";

	(void)state;
	assert_ok(db_prepare(db, item_sql, COUNT, &st, e));
	db_bind_int(st[ADD], 1, 1);
	db_bind_text(st[ADD], 2, "longer");
	db_bind_blob(st[ADD], 3, mac, sizeof(mac));
	assert_ok(db_run(st[ADD], e));
	/* Bindings do not outlive db_run: no BLOB for the next one. */
	db_bind_int(st[ADD], 1, 2);
	db_bind_text(st[ADD], 2, "next");
	assert_ok(db_run(st[ADD], e));
	db_bind_int(st[GET], 1, 1);
	assert_int_equal(db_step(st[GET], NULL), 1);
	assert_int_equal(db_col_blob(st[GET], 2, big, sizeof(big)), -ENOENT);
	assert_int_equal(db_col_blob(st[GET], 2, back, 5), -ENOENT);
	assert_int_equal(back[0], 9);
	assert_int_equal(db_col_blob(st[GET], 2, back, sizeof(back)), 0);
	assert_memory_equal(back, mac, sizeof(mac));
	assert_int_equal(db_col_addr(st[GET], 2).family, 0); /* 6 bytes are none */
	assert_error(db_col_copy(st[GET], 1, small, sizeof(small), e), -EUCLEAN);
	assert_string_equal(small, "abc");
	db_reset(st[GET]);
	db_bind_int(st[GET], 1, 2);
	assert_int_equal(db_step(st[GET], NULL), 1);
	assert_int_equal(db_col_blob(st[GET], 2, back, sizeof(back)), -ENOENT);
	db_reset(st[GET]);
	db_finalize(st, COUNT);
	db_close(db);
}

/* The first bad bind is what db_step reports, whatever happens in between. */
static void test_bind_errors(void **state)
{
	struct db *db = open_items(":memory:");
	struct db_stmt **st;

	(void)state;
	assert_ok(db_prepare(db, item_sql, COUNT, &st, e));
	db_bind_int(st[ADD], 1, 1);
	db_bind_text(st[ADD], 5, "there is no ?5");
	db_bind_text(st[ADD], 2, "fine");
	assert_int_equal(count_items(db), 0);
	assert_error(db_step(st[ADD], e), -EIO);
	assert_text("out of range");
	assert_error(db_run(st[ADD], e), -EIO);
	assert_int_equal(count_items(db), 0);
	/* db_run ended with db_reset: the statement is as new. */
	db_bind_int(st[ADD], 1, 1);
	db_bind_text(st[ADD], 2, "fine");
	assert_ok(db_run(st[ADD], e));
	db_bind_int(st[ADD], 0, 1);
	db_reset(st[ADD]);
	db_bind_int(st[ADD], 1, 2);
	db_bind_text(st[ADD], 2, "fine too");
	assert_ok(db_run(st[ADD], e));
	assert_int_equal(count_items(db), 2);
	db_finalize(st, COUNT);
	db_close(db);
}

static void test_prepare_fails(void **state)
{
	static const char *const sql[] = {"SELECT 1", "SELECT x FROM nowhere",
					  "SELECT 2"};
	struct db *db = open_db(":memory:");
	struct db_stmt **st = NULL;

	(void)state;
	assert_error(db_prepare(db, sql, ARRAY_SIZE(sql), &st, e), -EIO);
	assert_text("no such table: nowhere");
	assert_null(st);
	db_close(db);
}

static void limit_pages(struct db *db, int more)
{
	char sql[64];

	(void)snprintf(sql, sizeof(sql), "PRAGMA max_page_count=%d",
		       (int)query(db, "PRAGMA page_count") + more);
	(void)query(db, sql);
}

/* Adds rows until one does not fit any more. */
static int fill(struct db *db, int first)
{
	char sql[128];
	struct err e;
	int r = 0;

	for (int i = first; r == 0 && i < first + 1000; i++) {
		(void)snprintf(sql, sizeof(sql),
			       "INSERT INTO item(id, name, data) VALUES(%d, 'f%d',"
			       " zeroblob(2000))",
			       i, i);
		r = run_sql(db, sql, &e);
	}
	return r;
}

/*
 * Disk full: SQLite gives up the whole transaction. No later job of the batch may write
 * anything, be told that it is stored, or be stored without being told.
 */
static void test_full(void **state)
{
	struct db *db = open_items(path);

	(void)state;
	add_items(db, 1, 1);
	limit_pages(db, 4);
	assert_ok(db_begin(db, e));
	assert_ok(db_attempt_begin(db, e));
	add_items(db, 2, 1);
	assert_false(db_attempt_end(db, true));
	assert_ok(db_attempt_begin(db, e));
	assert_int_equal(fill(db, 100), -ENOSPC);
	(void)db_attempt_end(db, false);
	limit_pages(db, 1000); /* there is room again, but this batch is gone */
	assert_error(db_attempt_begin(db, e), -ENOSPC);
	assert_error(run_sql(db, "INSERT INTO item(id, name) VALUES(3, 'n3')", e),
		     -ENOSPC);
	assert_text("transaction is lost");
	assert_int_equal(count_items(db), 1); /* looking is allowed */
	assert_error(db_commit(db, e), -ENOSPC);
	db_rollback(db);
	assert_int_equal(count_items(db), 1);
	assert_ok(db_begin(db, e));
	add_items(db, 4, 1);
	assert_ok(db_commit(db, e));
	db_close(db);
	db = open_items(path);
	assert_int_equal(query(db, "SELECT sum(id) FROM item"), 5);
	db_close(db);
}

static void write_file(const void *data, size_t size, off_t at)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, size, at), (ssize_t)size);
	(void)close(fd);
}

/* All of a file; the caller frees it. */
static char *read_file(const char *file, size_t *ret_size)
{
	struct stat st;
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	char *data;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	*ret_size = (size_t)st.st_size;
	data = malloc(*ret_size + 1);
	assert_non_null(data);
	assert_int_equal(read(fd, data, *ret_size), st.st_size);
	(void)close(fd);
	return data;
}

static void assert_same_files(const char *a, const char *b)
{
	size_t size_a;
	size_t size_b;
	auto_free char *data_a = read_file(a, &size_a);
	auto_free char *data_b = read_file(b, &size_b);

	assert_int_equal(size_a, size_b);
	assert_memory_equal(data_a, data_b, size_a);
}

static char copy_name[352]; /* of the copy, with its folder */
static unsigned int copy_count;

static void note_copy(const char *name)
{
	size_t len = strlen(name);

	if (!strstr(name, ".corrupt-") || !strcmp(name + len - 4, "-wal"))
		return;
	copy_count++;
	(void)snprintf(copy_name, sizeof(copy_name), "%s/%s", dir, name);
}

/* Refused, again and again, with one copy, and nothing is changed. */
static void assert_refused_and_kept(const char *text)
{
	char before[128];
	char command[300];

	(void)snprintf(before, sizeof(before), "%s/before", dir);
	(void)snprintf(command, sizeof(command), "cp %s %s", path, before);
	assert_int_equal(system(command), 0);
	for (int i = 0; i < 2; i++) {
		struct db *db = NULL;

		assert_error(db_open(path, &db, e), -EUCLEAN);
		assert_null(db);
		assert_text(path);
		assert_text(text);
		assert_text("twice");
		copy_count = 0;
		each_file(note_copy);
		assert_int_equal(copy_count, 1);
		assert_text(strrchr(copy_name, '/') + 1);
		assert_same_files(copy_name, before);
		assert_same_files(path, before);
	}
}

static void test_no_database(void **state)
{
	static char text[8192];
	struct db *db = NULL;

	(void)state;
	memset(text, 'x', sizeof(text));
	write_file(text, sizeof(text), 0);
	assert_refused_and_kept("not a database");
	assert_int_equal(truncate(path, 0), 0); /* an empty file is a new one */
	db = open_db(path);
	db_close(db);
}

/* A database with a page of rubbish: known at start, not when somebody needs it. */
static void test_damaged(void **state)
{
	char rubbish[4096];
	struct db *db = open_items(path);

	(void)state;
	assert_int_equal(query(db, "PRAGMA page_size"), sizeof(rubbish));
	assert_ok(db_begin(db, e));
	add_items(db, 1, 500);
	assert_ok(db_commit(db, e));
	db_close(db);
	memset(rubbish, 0x5a, sizeof(rubbish));
	write_file(rubbish, sizeof(rubbish), 4 * (off_t)sizeof(rubbish));
	assert_refused_and_kept("is damaged");
}

static void test_truncated(void **state)
{
	struct db *db = open_items(path);

	(void)state;
	assert_ok(db_begin(db, e));
	add_items(db, 1, 500);
	assert_ok(db_commit(db, e));
	db_close(db);
	assert_int_equal(truncate(path, 3 * 4096), 0);
	assert_refused_and_kept("malformed");
}

/* Where the copy cannot be made, that is said, and no half of one is left. */
static void test_no_copy(void **state)
{
	const struct rlimit small = {1000, RLIM_INFINITY};
	struct rlimit before;
	static char text[8192];
	struct db *db = NULL;

	(void)state;
	memset(text, 'x', sizeof(text));
	write_file(text, sizeof(text), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_error(db_open(path, &db, e), -EUCLEAN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_text("no copy");
	assert_text("File too large");
	assert_text("twice");
	copy_count = 0;
	each_file(note_copy);
	assert_int_equal(copy_count, 0);
	assert_refused_and_kept("not a database");
}

/* A page is bad, and changes are still in the log: neither is touched. */
static void test_damaged_with_log(void **state)
{
	struct db *db = open_items(path);
	char rubbish[4096];
	char command[600];
	char wal[360];
	char wal_before[128];

	(void)state;
	assert_ok(db_begin(db, e));
	add_items(db, 1, 500);
	assert_ok(db_commit(db, e));
	db_close(db); /* all is in the file now */
	db = open_items(path);
	add_items(db, 501, 1);
	/* What a killed process leaves, taken while it is open. */
	(void)snprintf(command, sizeof(command), "cp %s %s/a; cp %s-wal %s/a-wal", path,
		       dir, path, dir);
	assert_int_equal(system(command), 0);
	db_close(db);
	(void)snprintf(command, sizeof(command),
		       "cd %s; mv a fairlead.db; mv a-wal %s-wal", dir, path);
	assert_int_equal(system(command), 0);
	memset(rubbish, 0x5a, sizeof(rubbish));
	write_file(rubbish, sizeof(rubbish), 4 * (off_t)sizeof(rubbish));
	(void)snprintf(wal, sizeof(wal), "%s-wal", path);
	(void)snprintf(wal_before, sizeof(wal_before), "%s/wal-before", dir);
	(void)snprintf(command, sizeof(command), "cp %s %s", wal, wal_before);
	assert_int_equal(system(command), 0);
	assert_refused_and_kept("is damaged");
	assert_same_files(wal, wal_before);
	(void)snprintf(wal, sizeof(wal), "%s-wal", copy_name);
	assert_same_files(wal, wal_before);
}

/* SQLite would delete a log whose database is empty or missing. */
static void test_log_alone(void **state)
{
	char wal[128];
	struct db *db = NULL;
	struct stat st;

	(void)state;
	(void)snprintf(wal, sizeof(wal), "%s-wal", path);
	db_close(open_items(path));
	assert_int_equal(rename(path, wal), 0);
	assert_error(db_open(path, &db, e), -EUCLEAN);
	assert_text("is missing");
	assert_text(wal);
	assert_int_equal(stat(path, &st), -1);
	write_file("", 0, 0);
	assert_error(db_open(path, &db, e), -EUCLEAN);
	assert_text("is empty");
	assert_int_equal(stat(wal, &st), 0);
	assert_true(st.st_size > 0);
	assert_int_equal(truncate(wal, 0), 0); /* an empty one is nothing */
	db_close(open_items(path));
}

static void test_bad_places(void **state)
{
	char missing[128];
	struct db *db = NULL;

	(void)state;
	(void)snprintf(missing, sizeof(missing), "%s/not/there.db", dir);
	assert_error(db_open(missing, &db, e), -EIO);
	assert_text(missing);
	assert_text("unable to open");
	assert_text("No such file or directory");
	assert_error(db_open(dir, &db, e), -EIO);
	assert_text(dir);
	assert_null(db);
}

/* Root may write everywhere: the test steps down for a moment. */
static void test_read_only(void **state)
{
	bool root = geteuid() == 0;
	struct db *db = open_items(path);
	struct err e = {0};
	int r;

	(void)state;
	db_close(db);
	db = NULL;
	assert_int_equal(chmod(path, 0444), 0);
	assert_int_equal(chmod(dir, 0555), 0);
	if (root)
		assert_int_equal(seteuid(NOBODY), 0);
	r = db_open(path, &db, &e);
	if (root)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(r, -EACCES);
	assert_int_equal(e.code, -EACCES);
	assert_non_null(strstr(e.text, path));
	assert_null(db);
	/* The file alone: its folder would do. */
	assert_int_equal(chmod(dir, 0777), 0);
	if (root)
		assert_int_equal(seteuid(NOBODY), 0);
	r = db_open(path, &db, &e);
	if (root)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(r, -EROFS);
	assert_non_null(strstr(e.text, path));
	assert_non_null(strstr(e.text, "readonly"));
	assert_null(db);
}

/* Two daemons on one database: the second writer is told, not blocked for ever. */
static void test_busy(void **state)
{
	struct db *a = open_items(path);
	struct db *b = open_items(path);

	(void)state;
	(void)query(b, "PRAGMA busy_timeout=10");
	assert_ok(db_begin(a, e));
	assert_error(db_begin(b, e), -EBUSY);
	assert_text("locked");
	assert_ok(db_commit(a, e));
	assert_ok(db_begin(b, e));
	db_rollback(b);
	db_close(b);
	db_close(a);
}

#define with_dir(test) cmocka_unit_test_setup_teardown(test, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		with_dir(test_settings),
		with_dir(test_migrate),
		with_dir(test_migrate_fails),
		with_dir(test_transactions),
		with_dir(test_attempts),
		cmocka_unit_test(test_nested_attempts),
		cmocka_unit_test(test_constraints),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_blobs),
		cmocka_unit_test(test_bind_errors),
		cmocka_unit_test(test_prepare_fails),
		with_dir(test_full),
		with_dir(test_no_database),
		with_dir(test_damaged),
		with_dir(test_truncated),
		with_dir(test_no_copy),
		with_dir(test_damaged_with_log),
		with_dir(test_log_alone),
		with_dir(test_bad_places),
		with_dir(test_read_only),
		with_dir(test_busy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
