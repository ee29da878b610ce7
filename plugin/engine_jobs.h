/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_ENGINE_JOBS_H
#define PLUGIN_ENGINE_JOBS_H
/*
 * The containers that run, and the inspections that are due. Each container has at
 * most one inspection at a time; what is asked for meanwhile is one more after it,
 * and the older answer is not told. The engine holds an answer back while a container
 * starts or stops, so many run at once, and a late one is asked for again.
 * Thread: loop.
 */
#include <systemd/sd-event.h>

#include "plugin/base/err.h"
#include "plugin/engine.h"
#include "plugin/engine_http.h"

struct engine_jobs;

struct engine_jobs_ops {
	void (*container)(void *ctx, const struct engine_container *c);
	/* It ran, or was asked for, and is not there any more. */
	void (*gone)(void *ctx, const char *id);
	/* All that engine_jobs_sync listed were told; complete: none was given up. */
	void (*synced)(void *ctx, bool complete);
	void *ctx;
};

/* http is borrowed, ops copied. -ENOMEM, or the loop's error. */
int engine_jobs_new(sd_event *event, struct engine_http *http,
		    const struct engine_jobs_ops *ops, struct engine_jobs **ret,
		    struct err *e);
void engine_jobs_free(struct engine_jobs *j);

/* From now on requests are sent, to paths below version ("1.41"). */
void engine_jobs_start(struct engine_jobs *j, const char *version);
/* The engine is lost: what runs or waits is dropped; the running containers stay
 * known until the next engine_jobs_sync. */
void engine_jobs_stop(struct engine_jobs *j);

/* Before a list is asked for: what is told from here on is newer than the list. */
void engine_jobs_sync_begin(struct engine_jobs *j);
/* The list: each id is inspected; what ran before and is not in it is gone. */
void engine_jobs_sync(struct engine_jobs *j, const char (*ids)[ENGINE_ID_SIZE],
		      unsigned int count);

/* The containers that run, or may: those of the last list, those told, and those that
 * are to be inspected. *ret is the caller's (free). -ENOMEM. */
int engine_jobs_running(struct engine_jobs *j, char (**ret)[ENGINE_ID_SIZE],
			unsigned int *ret_count);

/* Inspects soon; never calls back or sends from within. An invalid id is ignored. */
void engine_jobs_add(struct engine_jobs *j, const char *id);
/* The same, but only for a container that runs or is about to be inspected: one that
 * starts is inspected at its start event, and would only block until then. */
void engine_jobs_add_known(struct engine_jobs *j, const char *id);
/* It changed: an answer that is on its way is too old, and is asked for again. */
void engine_jobs_outdated(struct engine_jobs *j, const char *id);
/* It died: it is forgotten, and an answer that is on its way is not told. */
void engine_jobs_died(struct engine_jobs *j, const char *id);

#endif
