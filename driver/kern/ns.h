/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DRIVER_KERN_NS_H
#define DRIVER_KERN_NS_H
/*
 * Network namespaces: making, pinning, opening, and running a little code inside.
 * The only place with setns and unshare. A thread that enters a namespace never
 * comes back: ns_call starts one, which ends there.
 */
#include <stdbool.h>
#include <stddef.h>

#include "plugin/base/err.h"

/* Opens a pinned namespace or /proc/PID/ns/net. Returns an fd of the caller or
 * -errno; -ENOENT: no such file, -EINVAL: the file is not a network namespace
 * (Docker makes the file before it mounts the namespace on it). Thread: any. */
int ns_open(const char *path, struct err *e);

/* Opens the namespace of the calling process. Thread: any. */
int ns_open_own(struct err *e);

/*
 * Makes a namespace and pins it at path (its folder is made, mode 0700, and must
 * lie on a mount that others see; a private one is tolerated). A namespace pinned
 * there already is adopted. Returns an fd of the caller or -errno. Thread: kernel.
 */
int ns_create(const char *path, struct err *e);

/* Unpins; a path that is not there is success. Thread: kernel. */
int ns_remove(const char *path, struct err *e);

/* Both fds show the same namespace. */
bool ns_same(int a, int b);

/*
 * Runs fn(arg) inside nsfd (-1: own) on a thread of its own and returns its result
 * (53 us measured). fn must not start threads or log. Thread: any.
 */
int ns_call(int nsfd, int (*fn)(void *arg), void *arg, struct err *e);

/* socket(2) inside nsfd (-1: own; close-on-exec, non-blocking as in type); the fd can be
 * used outside. Returns an fd or -errno. Thread: any. */
int ns_socket(int nsfd, int domain, int type, int protocol, struct err *e);

struct ns_sysctl {
	const char *key;   /* "net/ipv4/ip_forward" */
	const char *value; /* "1" */
	bool optional;	   /* no error when the key does not exist */
};

/*
 * Writes settings inside nsfd. Where /proc/sys is read-only (a managed plugin), a
 * proc of our own is used, see ns_setup. All are tried; the first error is
 * returned. Thread: kernel.
 */
int ns_sysctl_set(int nsfd, const struct ns_sysctl *list, size_t count, struct err *e);

/* Reads one setting inside nsfd without its newline; -ENOENT. Thread: kernel. */
int ns_sysctl_get(int nsfd, const char *key, char *buf, size_t size, struct err *e);

/*
 * Once at start: if /proc/sys cannot be written, mounts a proc at DIR/proc for
 * ns_sysctl_*. Thread: main, before others start.
 */
int ns_setup(const char *run_dir, struct err *e);

#endif
