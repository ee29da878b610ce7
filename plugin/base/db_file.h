/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_BASE_DB_FILE_H
#define PLUGIN_BASE_DB_FILE_H
/*
 * The database as files, for db.c: what SQLite would throw away without a word, and a
 * copy of what is damaged. Thread: any.
 */
#include <stddef.h>

#include "plugin/base/err.h"

/*
 * Before the database is opened. -EUCLEAN: it is empty or gone, and there is a log of
 * changes (PATH-wal), which SQLite would delete with all that was committed to it.
 * -EROFS, -EACCES: nothing can be written to its folder.
 */
int db_file_check(const char *path, struct err *e);

/*
 * Copies path and its log of changes to PATH.corrupt-TIME, TIME being when the file was
 * written last: one that is left as it is gets one copy only. The copy's name without
 * folder goes to name (at least 64 bytes). An errno of reading or writing, then there is
 * no copy.
 */
int db_file_keep(const char *path, char *name, size_t size, struct err *e);

#endif
