// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Damaged databases: nothing is repaired here, and nothing removed. A copy becomes
 * visible under its name when it is whole, so one that is there need not be made again.
 */
#include "plugin/base/db_file.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define COPY_MODE  0600
#define CHUNK_SIZE 65536

static int check_folder(const char *path, struct err *e)
{
	char folder[PATH_MAX];
	char *slash;

	if (str_copy(folder, sizeof(folder), path) < 0)
		return err_sys(e, -ENAMETOOLONG, "database %s", path);
	slash = strrchr(folder, '/');
	if (!slash)
		return 0;
	slash[slash == folder] = '\0';
	if (faccessat(AT_FDCWD, folder, W_OK, AT_EACCESS) < 0 && errno != ENOENT)
		return err_sys(e, -errno, "database %s: folder %s", path, folder);
	return 0; /* SQLite tells that there is none */
}

static int check_log(const char *path, struct err *e)
{
	char wal[PATH_MAX];
	struct stat st;
	bool there = stat(path, &st) == 0;

	if (there && st.st_size > 0)
		return 0;
	if (str_printf(wal, sizeof(wal), "%s-wal", path) < 0)
		return err_sys(e, -ENAMETOOLONG, "database %s", path);
	if (stat(wal, &st) < 0 || st.st_size == 0)
		return 0;
	return err_set(e, -EUCLEAN,
		       "database %s is %s, but there is its log of changes, %s: not "
		       "started, since that would be thrown away; see fairlead(8)",
		       path, there ? "empty" : "missing", wal);
}

int db_file_check(const char *path, struct err *e)
{
	int r = check_folder(path, e);

	return r < 0 ? r : check_log(path, e);
}

static int copy_data(int from, int to)
{
	auto_free char *chunk = malloc(CHUNK_SIZE);
	ssize_t n;

	if (!chunk)
		return -ENOMEM;
	while ((n = read(from, chunk, CHUNK_SIZE)) > 0) {
		for (ssize_t done = 0, w; done < n; done += w) {
			w = write(to, chunk + done, (size_t)(n - done));
			if (w < 0)
				return -errno;
		}
	}
	return n < 0 || fsync(to) < 0 ? -errno : 0;
}

/* There already is fine; so is no source. */
static int copy_file(const char *from, const char *to, struct err *e)
{
	auto_close int in = -1;
	auto_close int out = -1;
	char part[PATH_MAX];
	int r;

	if (access(to, F_OK) == 0)
		return 0;
	in = open(from, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "%s", from);
	if (str_printf(part, sizeof(part), "%s.part", to) < 0)
		return err_sys(e, -ENAMETOOLONG, "%s", to);
	out = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, COPY_MODE);
	if (out < 0)
		return err_sys(e, -errno, "%s", part);
	r = copy_data(in, out);
	if (r == 0 && rename(part, to) < 0)
		r = -errno;
	if (r < 0)
		(void)unlink(part); /* the first error counts */
	return r < 0 ? err_sys(e, r, "%s", to) : 0;
}

int db_file_keep(const char *path, char *name, size_t size, struct err *e)
{
	char from[PATH_MAX];
	char to[PATH_MAX];
	const char *slash;
	char when[32];
	struct stat st;
	struct tm tm;
	int r;

	if (stat(path, &st) < 0)
		return err_sys(e, -errno, "%s", path);
	if (!gmtime_r(&st.st_mtime, &tm) ||
	    !strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm))
		return err_set(e, -ERANGE, "%s: time of its last change", path);
	if (str_printf(from, sizeof(from), "%s-wal", path) < 0 ||
	    str_printf(to, sizeof(to), "%s.corrupt-%s-wal", path, when) < 0)
		return err_sys(e, -ENAMETOOLONG, "%s", path);
	r = copy_file(from, to, e);
	to[strlen(to) - strlen("-wal")] = '\0';
	if (r == 0)
		r = copy_file(path, to, e);
	slash = strrchr(to, '/');
	if (r == 0 && str_copy(name, size, slash ? slash + 1 : to) < 0)
		r = err_sys(e, -ENAMETOOLONG, "%s", to);
	return r;
}
