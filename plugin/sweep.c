// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A timer of the store worker. What it drops is a batch of its own, outside of the
 * mailbox; nothing is lost when that fails, as the next look finds it again.
 */
#include "plugin/sweep.h"

#include "plugin/base/clock.h"
#include "plugin/base/mem.h"
#include "plugin/node.h"

#include <errno.h>

#define LOG_MODULE "node"
#include "plugin/base/log.h"

#define MORE_US	    20000UL /* between two full batches: requests go first */
#define ACCURACY_US 10000UL

struct sweep {
	struct node *node;
	sd_event_source *timer;
	uint64_t period_us;
};

/* --- links: store -> kernel -------------------------------------------------------- */

struct links_job {
	struct job job;
	struct node *node;
	struct desired_swept swept;
};

/* Thread: kernel. */
static void remove_links(struct job *job)
{
	struct links_job *lj = CONTAINER_OF(job, struct links_job, job);

	for (unsigned int i = 0; job->err.code == 0 && i < lj->swept.count; i++) {
		struct err e = {0};

		if (actual_endpoint_del(node_actual(lj->node), lj->swept.list[i].network,
					lj->swept.list[i].id, &e) < 0)
			log_warning("%s, ignoring", e.text);
	}
	free(lj);
}

/* --- looking ----------------------------------------------------------------------- */

static int sweep_batch(struct desired *d, struct desired_swept *ret, struct err *e)
{
	int r = desired_batch_begin(d, e);
	struct err end_err = {0};
	int end;

	if (r < 0)
		return r;
	r = desired_attempt_begin(d, e);
	if (r == 0)
		r = desired_attempt_end(d, desired_sweep(d, clock_ms(), ret, e), e);
	end = desired_batch_end(d, &end_err);
	if (r == 0 && end < 0)
		*e = end_err;
	return r < 0 ? r : end;
}

/* Returns whether there is more to do. */
static bool look(struct sweep *s)
{
	struct desired *d = node_desired(s->node);
	struct links_job *lj;
	struct err e = {0};
	bool more;
	int r;

	if (!desired_sweep_due(d, clock_ms()))
		return false;
	lj = calloc(1, sizeof(*lj));
	if (!lj) {
		log_error("no memory to look for what Docker forgot, trying again");
		return false;
	}
	r = sweep_batch(d, &lj->swept, &e);
	node_arm_expiry(s->node); /* backends have gone, perhaps */
	if (r < 0) {
		log_error("what Docker forgot: %s, trying again", e.text);
		free(lj);
		return false;
	}
	more = lj->swept.more;
	lj->node = s->node;
	lj->job.run = remove_links;
	if (lj->swept.count)
		node_post_kernel(s->node, &lj->job);
	else
		free(lj);
	return more;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct sweep *s = userdata;
	bool more = look(s);

	(void)usec;
	/* Both can only fail for a source that is not of the calling process. */
	(void)sd_event_source_set_time_relative(source, more ? MORE_US : s->period_us);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

int sweep_new(sd_event *event, struct node *node, unsigned int period_ms,
	      struct sweep **ret, struct err *e)
{
	auto_free struct sweep *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(e, -ENOMEM, "sweep");
	s->node = node;
	s->period_us = period_ms * 1000UL;
	r = sd_event_add_time_relative(event, &s->timer, CLOCK_MONOTONIC, s->period_us,
				       ACCURACY_US, on_timer, s);
	if (r < 0)
		return err_sys(e, r, "timer");
	*ret = TAKE(s);
	return 0;
}

void sweep_free(struct sweep *s)
{
	if (!s)
		return;
	sd_event_source_disable_unref(s->timer);
	free(s);
}

/* --- the engine: loop -> store -------------------------------------------------------
 */

struct synced_job {
	struct job job;
	struct node *node;
	bool synced;
};

/* Nothing is written, so a batch that failed does not matter. Thread: store. */
static void synced_run(struct job *job)
{
	struct synced_job *sj = CONTAINER_OF(job, struct synced_job, job);

	if (job->err.code != -ECANCELED) /* the end: the desired state has gone */
		desired_engine_synced(node_desired(sj->node), sj->synced, clock_ms());
	free(sj);
}

void sweep_engine_synced(struct node *node, bool synced)
{
	struct synced_job *sj = calloc(1, sizeof(*sj));

	if (!sj) {
		log_error("no memory to note that the engine %s",
			  synced ? "is there" : "is away");
		return;
	}
	sj->node = node;
	sj->synced = synced;
	sj->job.run = synced_run;
	node_post_store_always(node, &sj->job);
}
