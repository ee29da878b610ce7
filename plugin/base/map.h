/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_BASE_MAP_H
#define PLUGIN_BASE_MAP_H
/*
 * Hash maps and lists: uthash and <sys/queue.h>, with out-of-memory reported
 * instead of exit(). After HASH_ADD*, MAP_ADDED(obj) tells whether it is in.
 */
#define HASH_NONFATAL_OOM 1
#include <sys/queue.h>
#include <uthash.h> /* IWYU pragma: export */

#define MAP_ADDED(obj) ((obj)->hh.tbl != NULL)

#ifndef TAILQ_FOREACH_SAFE
#define TAILQ_FOREACH_SAFE(var, head, field, next)                                     \
	for ((var) = TAILQ_FIRST(head); (var) && ((next) = TAILQ_NEXT(var, field), 1); \
	     (var) = (next))
#endif

#endif
