/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_BASE_DB_H
#define PLUGIN_BASE_DB_H
/*
 * The database handle: one SQLite connection, used by one thread. Tables belong to
 * the store.c of each folder, which keeps its statements prepared in an array.
 *
 * Use: db_bind_* the parameters (numbers from 1), db_step until it returns 0,
 * db_col_* in between, db_reset at the end (also after an error). Bind errors are
 * sticky and reported by db_step. Thread: store.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin/base/addr.h"
#include "plugin/base/err.h"

struct db;
struct db_stmt;

/* A schema step: run once, in order, in the transaction that records it. */
struct db_schema {
	const char *name; /* of the folder that owns the tables: "ipam" */
	const char *const *steps;
	unsigned int count;
};

/*
 * Opens (or makes) the database with WAL, synchronous=FULL, foreign keys, and
 * reads the settings back. path ":memory:" is allowed for tests. -EUCLEAN: the
 * file is not a sound database (or only its log is there); it is left as it is, and a
 * copy is made (db_file.h). -EROFS, -EACCES: it cannot be written. All errors name the
 * path, also those of the functions below.
 */
int db_open(const char *path, struct db **ret, struct err *e);
void db_close(struct db *db);

/* Brings the tables of one folder up to date. */
int db_migrate(struct db *db, const struct db_schema *schema, struct err *e);

/*
 * One transaction around a batch of jobs. When SQLite gives it up half-way (disk full,
 * I/O error, no memory) all that would be written after that is refused, and so is
 * db_commit: the batch is lost as a whole. After a failed commit: db_rollback.
 */
int db_begin(struct db *db, struct err *e);
int db_commit(struct db *db, struct err *e);
void db_rollback(struct db *db);

/*
 * One job's part of the transaction: what it wrote is kept (ok) or undone. The end of an
 * undone one returns true if it had written anything: then memory that was changed with
 * it must be read again. One inside another may say so although it wrote nothing.
 */
int db_attempt_begin(struct db *db, struct err *e);
bool db_attempt_end(struct db *db, bool ok);

/* Prepares one statement for each text. *ret (count entries) is freed by
 * db_finalize. */
int db_prepare(struct db *db, const char *const *sql, unsigned int count,
	       struct db_stmt ***ret, struct err *e);
void db_finalize(struct db_stmt **stmts, unsigned int count);

/* The bound memory must live until db_reset. NULL text binds NULL; an unset addr
 * binds NULL, else a BLOB of 4 or 16 bytes. */
void db_bind_text(struct db_stmt *st, int index, const char *text);
void db_bind_int(struct db_stmt *st, int index, int64_t value);
void db_bind_addr(struct db_stmt *st, int index, const struct addr *a);
void db_bind_blob(struct db_stmt *st, int index, const void *data, size_t size);

/* 1: a row is there; 0: done; negative: error (-EEXIST: a UNIQUE or PRIMARY KEY
 * rule refused it). */
int db_step(struct db_stmt *st, struct err *e);
/* Forgets bindings and position. */
void db_reset(struct db_stmt *st);
/* db_step once for a statement without rows, then db_reset. */
int db_run(struct db_stmt *st, struct err *e);
/* Rows changed by the last INSERT, UPDATE or DELETE. */
int db_changes(struct db *db);
/* The rowid of the last INSERT. */
int64_t db_last_id(struct db *db);

/* Columns count from 0. Text lives until the next db_step or db_reset; NULL
 * gives "". */
const char *db_col_text(struct db_stmt *st, int column);
int64_t db_col_int(struct db_stmt *st, int column);
struct addr db_col_addr(struct db_stmt *st, int column);
/* Copies a BLOB of exactly size bytes; -ENOENT for NULL or another size. */
int db_col_blob(struct db_stmt *st, int column, void *dst, size_t size);
/* Copies the text into dst; -EUCLEAN if it does not fit. */
int db_col_copy(struct db_stmt *st, int column, char *dst, size_t size, struct err *e);

#endif
