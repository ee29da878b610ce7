/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_PULSE_H
#define PLUGIN_PULSE_H
/*
 * Whether the workers still work: each gets a small job now and then, which must come
 * back to the loop. The loop itself may turn for ever beside a worker that hangs, so
 * the watchdog must hear of both. Thread: loop.
 */
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "plugin/base/err.h"
#include "plugin/base/worker.h"

#define PULSE_WORKERS_MAX 4

struct pulse;

struct pulse_worker {
	const char *name; /* borrowed */
	/* Hands the job to the worker; Thread: loop. */
	void (*post)(void *ctx, struct job *job);
};

struct pulse_config {
	unsigned int period_ms; /* between two jobs for a worker */
	unsigned int limit;	/* periods in which a job must be back */
	unsigned int count;
	struct pulse_worker workers[PULSE_WORKERS_MAX];
	/* Hands the job to the loop; Thread: any. */
	void (*post_loop)(void *ctx, struct job *job);
	/* The first worker hangs / all are back. */
	void (*changed)(void *ctx, bool alive);
	void *ctx;
};

/* config is copied. */
int pulse_new(sd_event *event, const struct pulse_config *config, struct pulse **ret,
	      struct err *e);
/* Only after the workers and the loop's mailbox have ended: they may hold its jobs. */
void pulse_free(struct pulse *p);

#endif
