// SPDX-License-Identifier: GPL-2.0-or-later
/* Observations of containers, on their way from the loop to the store worker. */
#include "plugin/discovery.h"

#include "plugin/base/clock.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define LOG_MODULE "discovery"
#include "plugin/base/log.h"

#include "plugin/base/limit.h"

/* What all jobs have in common. */
struct note {
	struct job job;
	struct discovery *discovery;
	const char *container; /* in the object around it; for the log */
	void (*free)(struct note *note);
};

struct seen_note {
	struct note note;
	struct registry_container container; /* points into the arrays below */
	struct registry_option *labels;
	char **endpoints;
	char *texts[]; /* everything that is to be freed, ended by NULL */
};

struct event_note {
	struct note note;
	char container[ENGINE_ID_SIZE];
	struct registry_notice notice;
};

struct running_note {
	struct note note;
	bool complete;
	unsigned int count;
	char ids[][ENGINE_ID_SIZE];
};

static_assert(ENGINE_ID_SIZE == LB_ID_SIZE, "ids are passed on as they are");

static enum registry_health to_health(enum engine_health h)
{
	switch (h) {
	case ENGINE_HEALTH_STARTING:
		return REGISTRY_HEALTH_STARTING;
	case ENGINE_HEALTH_HEALTHY:
		return REGISTRY_HEALTH_HEALTHY;
	case ENGINE_HEALTH_UNHEALTHY:
		return REGISTRY_HEALTH_UNHEALTHY;
	case ENGINE_HEALTH_NONE:
		break;
	}
	return REGISTRY_HEALTH_NONE;
}

static enum registry_event to_event(enum engine_event event)
{
	switch (event) {
	case ENGINE_EVENT_KILL:
		return REGISTRY_EVENT_KILL;
	case ENGINE_EVENT_DIE:
		return REGISTRY_EVENT_DIE;
	case ENGINE_EVENT_PAUSE:
		return REGISTRY_EVENT_PAUSE;
	case ENGINE_EVENT_UNPAUSE:
		return REGISTRY_EVENT_UNPAUSE;
	case ENGINE_EVENT_HEALTH:
		break;
	}
	return REGISTRY_EVENT_HEALTH;
}

/* --- on the store worker, and back ------------------------------------------------- */

/* Thread: loop. */
static void tell_lost(struct job *job)
{
	struct note *note = CONTAINER_OF(job, struct note, job);

	if (job->err.code != -ECANCELED)
		note->discovery->lost(note->discovery->ctx);
	note->free(note);
}

/* After the batch: what is not in the database will never be told again by itself. */
static void note_done(struct job *job)
{
	struct note *note = CONTAINER_OF(job, struct note, job);
	int r = job->err.code;

	if (r == 0 || r == -ECANCELED) {
		note->free(note);
		return;
	}
	if (r == -EINVAL || r == -ENOENT) { /* nor the next time */
		log_error("container %.12s: %s", note->container, job->err.text);
		note->free(note);
		return;
	}
	log_warning_limited("container %.12s: %s, asking the engine again",
			    note->container, job->err.text);
	note->discovery->failed = true;
	job->run = tell_lost;
	job->done = NULL;
	node_post_loop(note->discovery->node, job);
}

static void note_post(struct note *note, struct discovery *d,
		      void (*run)(struct job *job))
{
	note->discovery = d;
	note->job.run = run;
	note->job.done = note_done;
	node_post_store_always(d->node, &note->job);
}

static void drop(struct discovery *d, const char *container)
{
	log_error("no memory for the container %.12s", container);
	d->dropped = true;
	d->lost(d->ctx);
}

static int attempt_begin(struct note *note)
{
	int r = desired_attempt_begin(node_desired(note->discovery->node),
				      &note->job.err);

	note->job.err.code = r;
	return r;
}

static void attempt_end(struct note *note, int r)
{
	struct node *node = note->discovery->node;

	note->job.err.code = desired_attempt_end(node_desired(node), r, &note->job.err);
	node_arm_expiry(node);
}

static struct registry *registry_of(const struct note *note)
{
	return desired_registry(node_desired(note->discovery->node));
}

/* --- a container ------------------------------------------------------------------- */

static void seen_free(struct note *note)
{
	struct seen_note *sn = CONTAINER_OF(note, struct seen_note, note);

	for (char **text = sn->texts; *text; text++)
		free(*text);
	free(sn->labels);
	free(sn->endpoints);
	free(sn);
}

static void seen_run(struct job *job)
{
	struct note *note = CONTAINER_OF(job, struct note, job);
	struct seen_note *sn = CONTAINER_OF(note, struct seen_note, note);

	if (attempt_begin(note) == 0)
		attempt_end(note,
			    registry_container_seen(registry_of(note), &sn->container,
						    clock_ms(), &job->err));
}

/* Copies text and notes it for seen_free; "" without memory, and *failed. */
static char *keep(struct seen_note *sn, unsigned int *count, const char *text,
		  bool *failed)
{
	char *copy = strdup(text);

	if (!copy) {
		*failed = true;
		return NULL;
	}
	sn->texts[(*count)++] = copy;
	return copy;
}

static bool copy_container(struct seen_note *sn, const struct engine_container *c)
{
	unsigned int n = 0;
	bool failed = false;

	sn->labels = calloc(c->label_count + 1, sizeof(*sn->labels));
	sn->endpoints = calloc(c->endpoint_count + 1, sizeof(*sn->endpoints));
	if (!sn->labels || !sn->endpoints)
		return false;
	for (unsigned int i = 0; i < c->label_count; i++) {
		sn->labels[i].name = keep(sn, &n, c->labels[i].name, &failed);
		sn->labels[i].value = keep(sn, &n, c->labels[i].value, &failed);
	}
	for (unsigned int i = 0; i < c->endpoint_count; i++)
		sn->endpoints[i] = keep(sn, &n, c->endpoints[i].endpoint_id, &failed);
	sn->container = (struct registry_container){
		.id = keep(sn, &n, c->id, &failed),
		.name = keep(sn, &n, c->name, &failed),
		.running = c->running,
		.paused = c->paused,
		.health = to_health(c->health),
		.stop_signal = c->stop_signal,
		.stop_timeout_s = c->stop_timeout_s,
		.labels = sn->labels,
		.label_count = c->label_count,
		.endpoints = (const char *const *)sn->endpoints,
		.endpoint_count = c->endpoint_count,
	};
	return !failed;
}

void discovery_container(struct discovery *d, const struct engine_container *c)
{
	size_t texts = (size_t)c->label_count * 2 + c->endpoint_count + 3;
	struct seen_note *sn = calloc(1, sizeof(*sn) + texts * sizeof(sn->texts[0]));

	if (!sn || !copy_container(sn, c)) {
		if (sn)
			seen_free(&sn->note);
		drop(d, c->id);
		return;
	}
	if (c->endpoint_count >= ENGINE_ENDPOINTS_MAX)
		d->dropped = true; /* it may have more */
	sn->note.container = sn->container.id;
	sn->note.free = seen_free;
	note_post(&sn->note, d, seen_run);
}

/* --- an event ---------------------------------------------------------------------- */

static void event_free(struct note *note)
{
	free(CONTAINER_OF(note, struct event_note, note));
}

static void event_run(struct job *job)
{
	struct note *note = CONTAINER_OF(job, struct note, job);
	struct event_note *en = CONTAINER_OF(note, struct event_note, note);

	if (attempt_begin(note) == 0)
		attempt_end(note,
			    registry_container_event(registry_of(note), en->container,
						     &en->notice, clock_ms(), &job->err));
}

void discovery_event(struct discovery *d, const char *container, enum engine_event event,
		     int signal, enum engine_health health)
{
	struct event_note *en = calloc(1, sizeof(*en));

	if (!en) {
		drop(d, container);
		return;
	}
	(void)str_copy(en->container, sizeof(en->container), container); /* was parsed */
	en->notice = (struct registry_notice){to_event(event), signal, to_health(health)};
	en->note.container = en->container;
	en->note.free = event_free;
	note_post(&en->note, d, event_run);
}

/* --- all that run ------------------------------------------------------------------ */

static void running_free(struct note *note)
{
	free(CONTAINER_OF(note, struct running_note, note));
}

static void on_endpoint(void *ctx, const char *endpoint)
{
	struct discovery *d = ctx;

	log_info("endpoint without a container that runs ep=%.12s", endpoint);
	node_endpoint_lost(d->node, endpoint);
}

static void running_run(struct job *job)
{
	struct note *note = CONTAINER_OF(job, struct note, job);
	struct running_note *rn = CONTAINER_OF(note, struct running_note, note);
	const struct registry_running running = {
		.ids = (const char(*)[LB_ID_SIZE])rn->ids,
		.count = rn->count,
		.complete = rn->complete && !note->discovery->failed,
		.lost = on_endpoint,
		.ctx = note->discovery};

	note->discovery->failed = false;
	if (attempt_begin(note) == 0)
		attempt_end(note, registry_containers_only(registry_of(note), &running,
							   clock_ms(), &job->err));
}

void discovery_running(struct discovery *d, const struct engine_running *running)
{
	struct running_note *rn =
		calloc(1, sizeof(*rn) + running->count * sizeof(rn->ids[0]));

	if (!rn) {
		drop(d, "list");
		return;
	}
	/* A container that was starting when we were killed is not listed yet, and its
	 * endpoint is not known as its own. */
	rn->complete = running->complete && !d->dropped &&
		       clock_ms() - d->started_ms >= DISCOVERY_STARTING_LIMIT_MS;
	d->dropped = false;
	rn->count = running->count;
	memcpy(rn->ids, running->ids, running->count * sizeof(rn->ids[0]));
	rn->note.container = "list";
	rn->note.free = running_free;
	note_post(&rn->note, d, running_run);
}

/* --- the engine -------------------------------------------------------------------- */

struct up_job {
	struct job job;
	struct node *node;
};

/* Thread: kernel. */
static void up_run(struct job *job)
{
	struct up_job *uj = CONTAINER_OF(job, struct up_job, job);

	if (job->err.code == 0)
		actual_allow_forward(node_actual(uj->node));
	free(uj);
}

void discovery_engine_up(struct discovery *d)
{
	struct up_job *uj = calloc(1, sizeof(*uj));

	if (!uj)
		return; /* the next repair does it */
	uj->node = d->node;
	uj->job.run = up_run;
	node_post_kernel(d->node, &uj->job);
}
