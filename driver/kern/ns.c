// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Network namespaces. Entering one is per thread, and a restore step could fail
 * and leave a thread in a foreign namespace for ever; so whoever must enter starts
 * a thread that ends there. Sockets keep the namespace in which they were made:
 * they are opened inside and used outside.
 */
#include "driver/kern/ns.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#define PROC_PATH_SIZE	   256
#define STACKED_MOUNTS_MAX 16

/* The proc through which settings are written; set once by ns_setup. */
static char proc_root[PROC_PATH_SIZE] = "/proc";

int ns_open(const char *path, struct err *e)
{
	/* Non-blocking: a FIFO in the place of a namespace must not stop us. */
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return err_sys(e, -errno, "network namespace %s", path);
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return err_set(e, -EINVAL, "%s is not a network namespace", path);
	return TAKE_FD(fd);
}

int ns_open_own(struct err *e)
{
	return ns_open("/proc/self/ns/net", e);
}

bool ns_same(int a, int b)
{
	struct stat sa;
	struct stat sb;

	if (fstat(a, &sa) < 0 || fstat(b, &sb) < 0)
		return false;
	return sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

struct call {
	int nsfd;
	int (*fn)(void *arg);
	void *arg;
	int enter_error;
	int result;
};

static void *call_main(void *arg)
{
	struct call *c = arg;

	if (c->nsfd >= 0 && setns(c->nsfd, CLONE_NEWNET) < 0)
		c->enter_error = -errno;
	else
		c->result = c->fn(c->arg);
	return NULL;
}

int ns_call(int nsfd, int (*fn)(void *arg), void *arg, struct err *e)
{
	struct call c = {.nsfd = nsfd, .fn = fn, .arg = arg};
	pthread_t thread;
	int r;

	r = pthread_create(&thread, NULL, call_main, &c);
	if (r != 0)
		return err_sys(e, -r, "thread for a network namespace");
	(void)pthread_join(thread, NULL); /* fails only for a wrong thread */
	if (c.enter_error)
		return err_sys(e, c.enter_error, "entering a network namespace");
	return c.result;
}

struct socket_args {
	int domain;
	int type;
	int protocol;
};

static int call_socket(void *arg)
{
	const struct socket_args *a = arg;
	int fd = socket(a->domain, a->type | SOCK_CLOEXEC, a->protocol);

	return fd < 0 ? -errno : fd;
}

int ns_socket(int nsfd, int domain, int type, int protocol, struct err *e)
{
	struct socket_args a = {.domain = domain, .type = type, .protocol = protocol};
	struct err inner = {0};
	int fd;

	fd = nsfd < 0 ? call_socket(&a) : ns_call(nsfd, call_socket, &a, &inner);
	if (fd >= 0)
		return fd;
	if (inner.code)
		return err_set(e, fd, "%s", inner.text);
	return err_sys(e, fd, "socket in a network namespace");
}

static int call_pin(void *arg)
{
	if (unshare(CLONE_NEWNET) < 0)
		return -errno;
	if (mount("/proc/thread-self/ns/net", arg, NULL, MS_BIND, NULL) < 0)
		return -errno;
	return 0;
}

static int make_folder_of(const char *path, struct err *e)
{
	char folder[PATH_MAX];
	char *slash;

	if (str_copy(folder, sizeof(folder), path) < 0)
		return err_sys(e, -ENAMETOOLONG, "%s", path);
	slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return 0;
	*slash = '\0';
	if (mkdir(folder, 0700) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "folder %s", folder);
	return 0;
}

int ns_create(const char *path, struct err *e)
{
	struct err call_err = {0};
	int fd;
	int r;

	r = make_folder_of(path, e);
	if (r < 0)
		return r;
	fd = ns_open(path, NULL);
	if (fd >= 0)
		return fd;
	/* A file without a mount is what a kill between the two steps leaves. */
	fd = open(path, O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0400);
	if (fd < 0)
		return err_sys(e, -errno, "file for namespace %s", path);
	(void)close(fd); /* read only */
	r = ns_call(-1, call_pin, (void *)path, &call_err);
	if (r < 0) {
		(void)unlink(path); /* the first error counts */
		if (call_err.code)
			return err_set(e, r, "namespace %s: %s", path, call_err.text);
		return err_sys(e, r, "making namespace %s", path);
	}
	return ns_open(path, e);
}

int ns_remove(const char *path, struct err *e)
{
	int r = 0;
	int i;

	/* More than one when an earlier run pinned twice. */
	for (i = 0; i < STACKED_MOUNTS_MAX && r == 0; i++)
		r = umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
	if (r < 0 && errno != EINVAL && errno != ENOENT)
		return err_sys(e, -errno, "unmounting namespace %s", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, -errno, "removing namespace %s", path);
	return 0;
}

/* No way out of proc: keys hold interface names of others. */
static bool key_is_sane(const char *key)
{
	return *key != '/' && !str_has_prefix(key, "../") && !strstr(key, "/../") &&
	       !strstr(key, "//");
}

static int sysctl_open(const char *key, int flags)
{
	char path[PROC_PATH_SIZE * 2];
	int fd;

	if (!key_is_sane(key))
		return -EINVAL;
	if (str_printf(path, sizeof(path), "%s/sys/%s", proc_root, key) < 0)
		return -ENAMETOOLONG;
	fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

static int sysctl_write(const char *key, const char *value)
{
	auto_close int fd = sysctl_open(key, O_WRONLY);
	size_t len = strlen(value);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = write(fd, value, len);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

struct sysctl_args {
	const struct ns_sysctl *list;
	size_t count;
	struct err *err;
};

static int call_sysctl_set(void *arg)
{
	const struct sysctl_args *a = arg;
	int first = 0;
	size_t i;

	for (i = 0; i < a->count; i++) {
		const struct ns_sysctl *s = &a->list[i];
		int r = sysctl_write(s->key, s->value);

		if (r == -ENOENT && s->optional)
			continue;
		if (r < 0 && first == 0)
			first = err_sys(a->err, r, "setting %s=%s", s->key, s->value);
	}
	return first;
}

int ns_sysctl_set(int nsfd, const struct ns_sysctl *list, size_t count, struct err *e)
{
	struct sysctl_args a = {.list = list, .count = count, .err = e};

	return ns_call(nsfd, call_sysctl_set, &a, e);
}

struct sysctl_get_args {
	const char *key;
	char *buf;
	size_t size;
	struct err *err;
};

static int call_sysctl_get(void *arg)
{
	const struct sysctl_get_args *a = arg;
	auto_close int fd = sysctl_open(a->key, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return err_sys(a->err, fd, "setting %s", a->key);
	n = read(fd, a->buf, a->size);
	if (n < 0)
		return err_sys(a->err, -errno, "setting %s", a->key);
	if (n > 0 && a->buf[n - 1] == '\n')
		n--;
	if ((size_t)n >= a->size)
		return err_sys(a->err, -ENAMETOOLONG, "setting %s", a->key);
	a->buf[n] = '\0';
	return 0;
}

int ns_sysctl_get(int nsfd, const char *key, char *buf, size_t size, struct err *e)
{
	struct sysctl_get_args a = {.key = key, .buf = buf, .size = size, .err = e};

	return ns_call(nsfd, call_sysctl_get, &a, e);
}

static bool proc_is_writable(const char *root)
{
	char path[PROC_PATH_SIZE * 2];

	return str_printf(path, sizeof(path), "%s/sys/net/ipv4/ip_forward", root) == 0 &&
	       access(path, W_OK) == 0;
}

int ns_setup(const char *run_dir, struct err *e)
{
	char root[PROC_PATH_SIZE];

	if (proc_is_writable("/proc"))
		return 0;
	if (str_printf(root, sizeof(root), "%s/proc", run_dir) < 0)
		return err_sys(e, -ENAMETOOLONG, "%s", run_dir);
	if (!proc_is_writable(root)) { /* not left there by an earlier run */
		if (mkdir(root, 0700) < 0 && errno != EEXIST)
			return err_sys(e, -errno, "folder %s", root);
		if (mount("proc", root, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) <
		    0)
			return err_sys(e, -errno, "mounting proc at %s", root);
	}
	if (!proc_is_writable(root))
		return err_set(e, -EROFS, "%s/sys cannot be written either", root);
	return str_copy(proc_root, sizeof(proc_root), root);
}
