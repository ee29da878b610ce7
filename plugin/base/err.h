/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_BASE_ERR_H
#define PLUGIN_BASE_ERR_H
/*
 * What a human must read about a failure, in memory of the caller.
 *
 * Functions return 0 or -errno; the same number is in err.code. The place that
 * knows the object fills the text once, callers add context in front of it.
 * Thread: any (each err belongs to one thread at a time).
 */

struct err {
	int code;	/* 0 or a negative errno */
	char text[256]; /* cut off when longer, never without an end */
};

/* Fills e (may be NULL) and returns code, which must be a negative errno. */
int err_set(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As err_set, with ": <strerror>" added. */
int err_sys(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "<context>: " before the text of e (may be NULL) and returns code. */
int err_wrap(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
