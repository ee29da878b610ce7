// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * SQLite behind a small face: one connection, prepared statements, checked
 * settings. Errors of SQLite become a negative errno and a text with the cause.
 */
#include "plugin/base/db.h"

#include "plugin/base/db_file.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "db"
#include "plugin/base/log.h"

/* The frame of each batch and job: parsed once. */
enum frame {
	FRAME_BEGIN,
	FRAME_COMMIT,
	FRAME_ROLLBACK,
	FRAME_SAVEPOINT,
	FRAME_ROLLBACK_TO,
	FRAME_RELEASE,
	FRAME_COUNT
};

static const char *const frame_sql[] = {
	[FRAME_BEGIN] = "BEGIN IMMEDIATE",
	[FRAME_COMMIT] = "COMMIT",
	[FRAME_ROLLBACK] = "ROLLBACK",
	[FRAME_SAVEPOINT] = "SAVEPOINT attempt",
	[FRAME_ROLLBACK_TO] = "ROLLBACK TO attempt",
	[FRAME_RELEASE] = "RELEASE attempt",
};
static_assert(ARRAY_SIZE(frame_sql) == FRAME_COUNT, "one text per statement");

struct db {
	char *path;
	sqlite3 *sqlite;
	sqlite3_stmt *frame[FRAME_COUNT];
	bool in_transaction; /* between db_begin and its end */
	/*
	 * SQLite itself rolls a whole transaction back when the disk is full, at an I/O
	 * error or without memory. From then on each statement would be a transaction
	 * of its own: what follows is refused with this error.
	 */
	int lost;
	unsigned int attempts;	      /* open ones */
	sqlite3_int64 changes_before; /* the outermost attempt */
};

struct db_stmt {
	struct db *db;
	sqlite3_stmt *sqlite;
	int bind_error; /* first SQLITE_* error of a bind */
};

static int to_errno(int code)
{
	if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ||
	    code == SQLITE_CONSTRAINT_ROWID)
		return -EEXIST;
	switch (code & 0xff) {
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return -EROFS;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	default:
		return -EIO;
	}
}

/* What the system said, where SQLite's own text hides it: "unable to open ...". It
 * remembers that of failures to open, read and write only (3.40). */
static const char *system_text(sqlite3 *sqlite, int code)
{
	int error = 0;

	if ((code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_IOERR)
		error = sqlite ? sqlite3_system_errno(sqlite) : 0;
	else if ((code & 0xff) == SQLITE_FULL)
		error = ENOSPC;
	return error ? strerrordesc_np(error) : NULL;
}

/* what may be NULL. */
static int db_err(const struct db *db, int code, struct err *e, const char *what)
{
	const char *text = db->sqlite ? sqlite3_errmsg(db->sqlite) : sqlite3_errstr(code);
	const char *cause = system_text(db->sqlite, code);

	return err_set(e, to_errno(code), "database %s: %s%s%s%s%s%s", db->path,
		       what ? what : "", what ? ": " : "", text, cause ? " (" : "",
		       cause ? cause : "", cause ? ")" : "");
}

/* After a statement that failed: notes the end of the transaction. */
static void note_lost(struct db *db, int code)
{
	if (db->in_transaction && !db->lost && sqlite3_get_autocommit(db->sqlite))
		db->lost = to_errno(code);
}

static int check_lost(const struct db *db, struct err *e)
{
	return db->lost ? err_sys(e, db->lost, "database %s: the transaction is lost",
				  db->path)
			: 0;
}

static int exec(struct db *db, const char *sql, struct err *e)
{
	int code = sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL);

	if (code == SQLITE_OK)
		return 0;
	(void)db_err(db, code, e, sql);
	note_lost(db, code);
	return to_errno(code);
}

static int prepare(struct db *db, const char *sql, sqlite3_stmt **ret, struct err *e)
{
	int code = sqlite3_prepare_v3(db->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, ret,
				      NULL);

	return code == SQLITE_OK ? 0 : db_err(db, code, e, sql);
}

static int run_frame(struct db *db, enum frame frame, struct err *e)
{
	int code = sqlite3_step(db->frame[frame]);

	if (code != SQLITE_DONE) {
		(void)db_err(db, code, e, frame_sql[frame]);
		note_lost(db, code);
	}
	(void)sqlite3_reset(db->frame[frame]); /* repeats the error of step */
	return code == SQLITE_DONE ? 0 : to_errno(code);
}

/* First column of the first row as text; SQLite accepts misspelt settings without
 * a word, so each is read back. */
static int query_text(struct db *db, const char *sql, char *buf, size_t size,
		      struct err *e)
{
	sqlite3_stmt *st;
	int code = sqlite3_prepare_v2(db->sqlite, sql, -1, &st, NULL);
	int r = 0;

	if (code != SQLITE_OK)
		return db_err(db, code, e, sql);
	code = sqlite3_step(st);
	if (code == SQLITE_ROW)
		(void)snprintf(buf, size, "%s", (const char *)sqlite3_column_text(st, 0));
	else
		r = db_err(db, code, e, sql);
	(void)sqlite3_finalize(st); /* repeats the error of step */
	return r;
}

static int set_pragma(struct db *db, const char *set, const char *get, const char *want,
		      struct err *e)
{
	char have[32] = "";
	int r = exec(db, set, e);

	if (r == 0)
		r = query_text(db, get, have, sizeof(have), e);
	if (r == 0 && strcmp(have, want))
		r = err_set(e, -EIO, "database %s: %s: got %s", db->path, set, have);
	return r;
}

/* A page that was lost is better found now than by the request that needs it. */
static int check_sound(struct db *db, struct err *e)
{
	char text[160] = "";
	int r = query_text(db, "PRAGMA quick_check(1)", text, sizeof(text), e);

	if (r == 0 && strcmp(text, "ok"))
		r = err_set(e, -EUCLEAN, "database %s: %s", db->path, text);
	return r;
}

/*
 * Nobody can tell what a damaged file has forgotten, and an empty one in its place would
 * forget addresses that containers use: the file stays, and a human decides.
 */
static int keep_damaged(const char *path, struct err *e)
{
	struct err why = *e;
	struct err trouble = {0};
	const char *text = why.text;
	char name[64];
	size_t skip = strlen("database ") + strlen(path) + 2; /* see db_err */

	if (strlen(text) > skip)
		text += skip;
	if (db_file_keep(path, name, sizeof(name), &trouble) < 0)
		return err_set(
			e, why.code,
			"database %s is damaged (no copy: %.80s): not started, an "
			"empty one would give addresses twice; see fairlead(8): %s",
			path, trouble.text, text);
	return err_set(e, why.code,
		       "database %s is damaged (copy: %s): not started, an empty one "
		       "would give addresses twice; see fairlead(8): %s",
		       path, name, text);
}

static bool is_memory(const char *path)
{
	return !strcmp(path, ":memory:");
}

static int setup(struct db *db, struct err *e)
{
	static const struct {
		const char *set;
		const char *get;
		const char *want;
	} pragmas[] = {
		/* FULL: a commit is on disk when COMMIT returns. */
		{"PRAGMA synchronous=FULL", "PRAGMA synchronous", "2"},
		{"PRAGMA foreign_keys=ON", "PRAGMA foreign_keys", "1"},
		{"PRAGMA busy_timeout=5000", "PRAGMA busy_timeout", "5000"},
	};
	int r = set_pragma(db, "PRAGMA journal_mode=WAL", "PRAGMA journal_mode",
			   is_memory(db->path) ? "memory" : "wal", e);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(pragmas); i++)
		r = set_pragma(db, pragmas[i].set, pragmas[i].get, pragmas[i].want, e);
	if (r == 0)
		r = exec(db,
			 "CREATE TABLE IF NOT EXISTS schema_version("
			 "name TEXT PRIMARY KEY, version INTEGER NOT NULL)",
			 e);
	for (size_t i = 0; r == 0 && i < FRAME_COUNT; i++)
		r = prepare(db, frame_sql[i], &db->frame[i], e);
	return r;
}

/* Opens and looks; until all is well the end of the connection changes no file. */
static int open_sound(struct db *db, struct err *e)
{
	int code = sqlite3_open_v2(db->path, &db->sqlite,
				   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
					   SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
				   NULL);
	int r;

	if (code != SQLITE_OK)
		return db_err(db, code, e, NULL);
	if (sqlite3_db_readonly(db->sqlite, "main") == 1) /* else each request fails */
		return err_set(e, -EROFS, "database %s: the file is readonly", db->path);
	(void)sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	r = check_sound(db, e);
	if (r == 0)
		(void)sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0,
					NULL);
	return r;
}

/* What the durability of all answers rests on, as it is and not as it was asked for. */
static void log_settings(struct db *db)
{
	static const char *const names[] = {
		"journal_mode",	      "synchronous", "foreign_keys", "busy_timeout",
		"wal_autocheckpoint", "page_size",   "cache_size"};
	char text[256] = "";
	char sql[64];
	char value[32];
	size_t len = 0;

	if (!log_enabled(LOG_LEVEL_DEBUG, LOG_MODULE))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		(void)snprintf(sql, sizeof(sql), "PRAGMA %s", names[i]);
		if (query_text(db, sql, value, sizeof(value), NULL) == 0)
			len += (size_t)snprintf(text + len, sizeof(text) - len, " %s=%s",
						names[i], value); /* it fits */
	}
	log_debug("settings version=%s%s", sqlite3_libversion(), text);
}

int db_open(const char *path, struct db **ret, struct err *e)
{
	struct db *db = calloc(1, sizeof(*db));
	struct err why = {0};
	int r;

	if (db)
		db->path = strdup(path);
	if (!db || !db->path) {
		free(db);
		return err_sys(e, -ENOMEM, "database %s", path);
	}
	r = is_memory(path) ? 0 : db_file_check(path, e);
	if (r < 0) {
		db_close(db);
		return r;
	}
	r = open_sound(db, &why);
	if (r == 0)
		r = setup(db, &why);
	if (r == 0) {
		log_settings(db);
		*ret = db;
		return 0;
	}
	db_close(db);
	if (r == -EUCLEAN)
		(void)keep_damaged(path, &why);
	if (e)
		*e = why;
	return r;
}

void db_close(struct db *db)
{
	if (!db)
		return;
	for (size_t i = 0; i < FRAME_COUNT; i++)
		(void)sqlite3_finalize(db->frame[i]); /* old error */
	(void)sqlite3_close_v2(db->sqlite);	      /* never refuses */
	free(db->path);
	free(db);
}

static int schema_version(struct db *db, const char *name, unsigned int *ret,
			  struct err *e)
{
	char sql[160];
	char text[16];

	(void)snprintf(sql, sizeof(sql),
		       "SELECT COALESCE((SELECT version FROM schema_version"
		       " WHERE name='%s'), 0)",
		       name);
	if (query_text(db, sql, text, sizeof(text), e) < 0)
		return e ? e->code : -EIO;
	return str_to_u32(text, 0, UINT32_MAX, ret);
}

static int migrate_step(struct db *db, const struct db_schema *s, unsigned int i,
			struct err *e)
{
	char sql[160];
	int r = db_begin(db, e);

	if (r < 0)
		return r;
	(void)snprintf(sql, sizeof(sql),
		       "INSERT OR REPLACE INTO schema_version VALUES('%s',%u)", s->name,
		       i + 1);
	r = exec(db, s->steps[i], e);
	if (r == 0)
		r = exec(db, sql, e);
	if (r == 0)
		r = db_commit(db, e);
	if (r < 0)
		db_rollback(db);
	return r;
}

int db_migrate(struct db *db, const struct db_schema *schema, struct err *e)
{
	unsigned int version = 0;
	int r = schema_version(db, schema->name, &version, e);

	if (r == 0 && version > schema->count)
		r = err_set(e, -EUCLEAN,
			    "database %s is of a newer fairlead: tables of %s have "
			    "version %u, this program knows %u",
			    db->path, schema->name, version, schema->count);
	for (unsigned int i = version; r == 0 && i < schema->count; i++)
		r = migrate_step(db, schema, i, e);
	return r;
}

int db_begin(struct db *db, struct err *e)
{
	int r = run_frame(db, FRAME_BEGIN, e);

	if (r == 0)
		db->in_transaction = true;
	return r;
}

int db_commit(struct db *db, struct err *e)
{
	int r = check_lost(db, e);

	if (r == 0)
		r = run_frame(db, FRAME_COMMIT, e);
	if (r == 0)
		db->in_transaction = false;
	return r;
}

void db_rollback(struct db *db)
{
	if (!sqlite3_get_autocommit(db->sqlite))
		(void)run_frame(db, FRAME_ROLLBACK,
				NULL); /* a lost transaction is gone anyway */
	db->in_transaction = false;
	db->lost = 0;
}

int db_attempt_begin(struct db *db, struct err *e)
{
	int r = check_lost(db, e);

	if (r == 0)
		r = run_frame(db, FRAME_SAVEPOINT, e);
	if (r == 0 && db->attempts++ == 0)
		db->changes_before = sqlite3_total_changes64(db->sqlite);
	return r;
}

bool db_attempt_end(struct db *db, bool ok)
{
	bool changed = sqlite3_total_changes64(db->sqlite) != db->changes_before;

	db->attempts--;
	/* A failure here means that the whole transaction is lost: COMMIT tells. */
	if (!ok)
		(void)run_frame(db, FRAME_ROLLBACK_TO, NULL);
	(void)run_frame(db, FRAME_RELEASE, NULL);
	return !ok && changed;
}

int db_prepare(struct db *db, const char *const *sql, unsigned int count,
	       struct db_stmt ***ret, struct err *e)
{
	struct db_stmt **stmts = calloc(count, sizeof(struct db_stmt *));
	int r = 0;

	if (!stmts)
		return err_sys(e, -ENOMEM, "statements");
	for (unsigned int i = 0; r == 0 && i < count; i++) {
		stmts[i] = calloc(1, sizeof(*stmts[i]));
		if (!stmts[i]) {
			r = err_sys(e, -ENOMEM, "statement");
			break;
		}
		stmts[i]->db = db;
		r = prepare(db, sql[i], &stmts[i]->sqlite, e);
	}
	if (r < 0)
		db_finalize(stmts, count);
	else
		*ret = stmts;
	return r;
}

void db_finalize(struct db_stmt **stmts, unsigned int count)
{
	for (unsigned int i = 0; stmts && i < count; i++) {
		if (stmts[i])
			(void)sqlite3_finalize(stmts[i]->sqlite); /* old error */
		free(stmts[i]);
	}
	free(stmts);
}

static void note_bind(struct db_stmt *st, int code)
{
	if (code != SQLITE_OK && !st->bind_error)
		st->bind_error = code;
}

void db_bind_text(struct db_stmt *st, int index, const char *text)
{
	note_bind(st, sqlite3_bind_text(st->sqlite, index, text, -1, SQLITE_STATIC));
}

void db_bind_int(struct db_stmt *st, int index, int64_t value)
{
	note_bind(st, sqlite3_bind_int64(st->sqlite, index, value));
}

void db_bind_addr(struct db_stmt *st, int index, const struct addr *a)
{
	if (addr_is_set(a))
		db_bind_blob(st, index, a->bytes, addr_size(a));
	else
		note_bind(st, sqlite3_bind_null(st->sqlite, index));
}

void db_bind_blob(struct db_stmt *st, int index, const void *data, size_t size)
{
	note_bind(st, sqlite3_bind_blob64(st->sqlite, index, data, size, SQLITE_STATIC));
}

int db_step(struct db_stmt *st, struct err *e)
{
	int code = st->bind_error;

	if (code != SQLITE_OK) /* the connection may have another error by now */
		return err_set(e, to_errno(code), "database %s: parameter: %s",
			       st->db->path, sqlite3_errstr(code));
	if (st->db->lost && !sqlite3_stmt_readonly(st->sqlite))
		return check_lost(st->db, e);
	code = sqlite3_step(st->sqlite);
	if (code == SQLITE_ROW)
		return 1;
	if (code == SQLITE_DONE)
		return 0;
	(void)db_err(st->db, code, e, NULL);
	note_lost(st->db, code);
	return to_errno(code);
}

void db_reset(struct db_stmt *st)
{
	(void)sqlite3_reset(st->sqlite); /* repeats the error of step */
	(void)sqlite3_clear_bindings(st->sqlite);
	st->bind_error = SQLITE_OK;
}

int db_run(struct db_stmt *st, struct err *e)
{
	int r = db_step(st, e);

	db_reset(st);
	return r;
}

int db_changes(struct db *db)
{
	return sqlite3_changes(db->sqlite);
}

int64_t db_last_id(struct db *db)
{
	return sqlite3_last_insert_rowid(db->sqlite);
}

const char *db_col_text(struct db_stmt *st, int column)
{
	const char *text = (const char *)sqlite3_column_text(st->sqlite, column);

	return text ? text : "";
}

int64_t db_col_int(struct db_stmt *st, int column)
{
	return sqlite3_column_int64(st->sqlite, column);
}

struct addr db_col_addr(struct db_stmt *st, int column)
{
	int size = sqlite3_column_bytes(st->sqlite, column);
	const void *data = sqlite3_column_blob(st->sqlite, column);
	struct addr a = {0};

	if (!data || (size != 4 && size != 16))
		return a;
	a.family = size == 4 ? AF_INET : AF_INET6;
	memcpy(a.bytes, data, (size_t)size);
	return a;
}

int db_col_blob(struct db_stmt *st, int column, void *dst, size_t size)
{
	const void *data = sqlite3_column_blob(st->sqlite, column);

	if (!data || sqlite3_column_bytes(st->sqlite, column) != (int)size)
		return -ENOENT;
	memcpy(dst, data, size);
	return 0;
}

int db_col_copy(struct db_stmt *st, int column, char *dst, size_t size, struct err *e)
{
	if (str_copy(dst, size, db_col_text(st, column)) < 0)
		return err_set(e, -EUCLEAN, "database %s: column %d has a text too long",
			       st->db->path, column);
	return 0;
}
