/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_POOL_ALARM_H
#define PLUGIN_POOL_ALARM_H
/*
 * When to warn that a pool runs full: once at each level, and again only after its use
 * fell clearly below that level, so that one container that comes and goes does not fill
 * the log. Only pools that were warned of take memory. Pure. Thread: any, one at a time.
 */
#include <stdint.h>

#define POOL_ALARM_SLACK 5 /* points below a level that end it */

struct pool_alarm;

/* An empty one is NULL. Forgets all. */
void pool_alarm_fini(struct pool_alarm **alarms);

/* The pool's use has changed. Return: the level in percent that it has reached now and
 * that must be told of, 80 or 95; 0: nothing to tell. Without memory it tells again. */
unsigned int pool_alarm_check(struct pool_alarm **alarms, const char *id, uint64_t used,
			      uint64_t capacity);
/* The pool is gone; unknown: nothing. */
void pool_alarm_forget(struct pool_alarm **alarms, const char *id);

#endif
