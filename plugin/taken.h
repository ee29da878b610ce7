/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_TAKEN_H
#define PLUGIN_TAKEN_H
/*
 * Prefixes that others use on this host, for the choice of a pool. A list has one owner
 * at a time. Thread: the owner's.
 */
#include "ipam/ipam.h"

struct taken {
	struct ipam_taken *list;
	unsigned int count;
	unsigned int size;
};

/* Empty when all is zero; empty again after it. */
void taken_clear(struct taken *t);
/* what is made as by printf, cut off where it is too long. -ENOMEM. */
int taken_add(struct taken *t, const struct cidr *prefix, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Adds what overlaps within. -ENOMEM. */
int taken_copy(struct taken *t, const struct taken *from, const struct cidr *within);

#endif
