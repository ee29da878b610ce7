// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One job for each worker goes round: loop, worker, loop. Time is counted in turns of
 * the timer, not by the clock: a loop that stood still must not blame the workers.
 */
#include "plugin/pulse.h"

#include "plugin/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define LOG_MODULE "pulse"
#include "plugin/base/log.h"

#define ACCURACY_US 10000

struct beat {
	struct job job;
	struct pulse *pulse;
	const struct pulse_worker *worker;
	bool out;	      /* with the worker, or on its way */
	bool hangs;	      /* as told */
	unsigned int periods; /* since it went out */
};

struct pulse {
	struct pulse_config config;
	sd_event_source *timer;
	unsigned int hanging;
	struct beat beats[PULSE_WORKERS_MAX];
};

static void beat_back(struct job *job)
{
	struct beat *b = CONTAINER_OF(job, struct beat, job);
	struct pulse *p = b->pulse;

	b->out = false;
	if (!b->hangs || job->err.code == -ECANCELED)
		return;
	b->hangs = false;
	log_info("worker %s works again", b->worker->name);
	if (--p->hanging == 0)
		p->config.changed(p->config.ctx, true);
}

/* Thread: the worker; also when the batch could not begin. */
static void beat_run(struct job *job)
{
	struct beat *b = CONTAINER_OF(job, struct beat, job);

	job->run = beat_back;
	b->pulse->config.post_loop(b->pulse->config.ctx, job);
}

static void beat_send(struct beat *b)
{
	struct pulse *p = b->pulse;

	b->out = true;
	b->periods = 0;
	b->job.run = beat_run;
	b->job.err = (struct err){0};
	b->worker->post(p->config.ctx, &b->job);
}

static void beat_wait(struct beat *b)
{
	struct pulse *p = b->pulse;

	if (++b->periods < p->config.limit || b->hangs)
		return;
	b->hangs = true;
	log_error("worker %s hangs: no answer for %u s", b->worker->name,
		  b->periods * p->config.period_ms / 1000);
	if (p->hanging++ == 0)
		p->config.changed(p->config.ctx, false);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct pulse *p = userdata;

	(void)usec;
	for (unsigned int i = 0; i < p->config.count; i++) {
		if (p->beats[i].out)
			beat_wait(&p->beats[i]);
		else
			beat_send(&p->beats[i]);
	}
	/* Both can only fail for a source that is not of the calling process. */
	(void)sd_event_source_set_time_relative(source, p->config.period_ms * 1000UL);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

int pulse_new(sd_event *event, const struct pulse_config *config, struct pulse **ret,
	      struct err *e)
{
	struct pulse *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_sys(e, -ENOMEM, "pulse");
	assert(config->count <= PULSE_WORKERS_MAX);
	p->config = *config;
	for (unsigned int i = 0; i < config->count; i++) {
		p->beats[i].pulse = p;
		p->beats[i].worker = &p->config.workers[i];
	}
	r = sd_event_add_time_relative(event, &p->timer, CLOCK_MONOTONIC,
				       config->period_ms * 1000UL, ACCURACY_US, on_timer,
				       p);
	if (r < 0) {
		pulse_free(p);
		return err_sys(e, r, "pulse: timer");
	}
	*ret = p;
	return 0;
}

void pulse_free(struct pulse *p)
{
	if (!p)
		return;
	sd_event_source_disable_unref(p->timer);
	free(p);
}
