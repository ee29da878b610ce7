/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_TEXTS_H
#define LB_TEXTS_H
/*
 * A small list of different texts: what is wrong with a service, for the status. They
 * are diagnostics only, so a text for which there is no memory is dropped. Thread: any.
 */
#include <stdbool.h>
#include <stddef.h>

#define TEXTS_MAX	 32  /* further ones are dropped */
#define TEXTS_TEXT_SIZE	 384 /* two services with their projects fit; longer are cut */
#define TEXTS_CLEAN_SIZE 72  /* enough to know foreign text again */

struct texts {
	char **list;
	unsigned int count;
};

void texts_fini(struct texts *t);

/* Adds a text unless it is there. */
void texts_add(struct texts *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void texts_add_all(struct texts *t, const struct texts *from);
bool texts_has(const struct texts *t, const char *text);

/*
 * Foreign text for people: all but printable ASCII becomes "?", so that it is safe on a
 * terminal and, when cut, still valid UTF-8. size: at least 1. Returns dst.
 */
const char *texts_clean(char *dst, size_t size, const char *text);

#endif
