// SPDX-License-Identifier: GPL-2.0-or-later
/* Observations of containers, on their way from the loop to the store worker. */
#include "plugin/discovery.h"

#include "plugin/base/clock.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <string.h>

#define LOG_MODULE "discovery"
#include "plugin/base/log.h"

struct seen_job {
	struct job job;
	struct node *node;
	struct registry_container container; /* points into the arrays below */
	struct registry_option *labels;
	char **endpoints;
	char *texts[]; /* everything that is to be freed, ended by NULL */
};

struct event_job {
	struct job job;
	struct node *node;
	char container[ENGINE_ID_SIZE];
	struct registry_notice notice;
};

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

static void seen_free(struct seen_job *sj)
{
	for (char **text = sj->texts; *text; text++)
		free(*text);
	free(sj->labels);
	free(sj->endpoints);
	free(sj);
}

/* Thread: store. Runs verb's part of the batch as one attempt. */
static int finish_attempt(struct node *node, int r, struct err *e)
{
	r = desired_attempt_end(node_desired(node), r, e);
	node_arm_expiry(node);
	return r;
}

static void seen_run(struct job *job)
{
	struct seen_job *sj = CONTAINER_OF(job, struct seen_job, job);
	struct desired *d = node_desired(sj->node);
	int r = job->err.code;

	if (r == 0)
		r = desired_attempt_begin(d, &job->err);
	if (r == 0)
		r = finish_attempt(sj->node,
				   registry_container_seen(desired_registry(d),
							   &sj->container, clock_ms(),
							   &job->err),
				   &job->err);
	if (r < 0 && r != -ECANCELED)
		log_error("container %.12s: %s", sj->container.id, job->err.text);
	seen_free(sj);
}

/* Copies text and notes it for seen_free; "" without memory, and *failed. */
static char *keep(struct seen_job *sj, unsigned int *count, const char *text,
		  bool *failed)
{
	char *copy = strdup(text);

	if (!copy) {
		*failed = true;
		return NULL;
	}
	sj->texts[(*count)++] = copy;
	return copy;
}

static bool copy_container(struct seen_job *sj, const struct engine_container *c)
{
	unsigned int n = 0;
	bool failed = false;

	sj->labels = calloc(c->label_count + 1, sizeof(*sj->labels));
	sj->endpoints = calloc(c->endpoint_count + 1, sizeof(*sj->endpoints));
	if (!sj->labels || !sj->endpoints)
		return false;
	for (unsigned int i = 0; i < c->label_count; i++) {
		sj->labels[i].name = keep(sj, &n, c->labels[i].name, &failed);
		sj->labels[i].value = keep(sj, &n, c->labels[i].value, &failed);
	}
	for (unsigned int i = 0; i < c->endpoint_count; i++)
		sj->endpoints[i] = keep(sj, &n, c->endpoints[i].endpoint_id, &failed);
	sj->container = (struct registry_container){
		.id = keep(sj, &n, c->id, &failed),
		.name = keep(sj, &n, c->name, &failed),
		.running = c->running,
		.paused = c->paused,
		.health = to_health(c->health),
		.stop_signal = c->stop_signal,
		.stop_timeout_s = c->stop_timeout_s,
		.labels = sj->labels,
		.label_count = c->label_count,
		.endpoints = (const char *const *)sj->endpoints,
		.endpoint_count = c->endpoint_count,
	};
	return !failed;
}

void discovery_container(struct node *node, const struct engine_container *c)
{
	size_t texts = (size_t)c->label_count * 2 + c->endpoint_count + 3;
	struct seen_job *sj = calloc(1, sizeof(*sj) + texts * sizeof(sj->texts[0]));

	if (!sj || !copy_container(sj, c)) {
		log_error("no memory for the container %.12s", c->id);
		if (sj)
			seen_free(sj);
		return;
	}
	sj->node = node;
	sj->job.run = seen_run;
	node_post_store_always(node, &sj->job);
}

static void event_run(struct job *job)
{
	struct event_job *ej = CONTAINER_OF(job, struct event_job, job);
	struct desired *d = node_desired(ej->node);
	int r = job->err.code;

	if (r == 0)
		r = desired_attempt_begin(d, &job->err);
	if (r == 0)
		r = finish_attempt(ej->node,
				   registry_container_event(desired_registry(d),
							    ej->container, &ej->notice,
							    clock_ms(), &job->err),
				   &job->err);
	if (r < 0 && r != -ECANCELED)
		log_error("container %.12s: %s", ej->container, job->err.text);
	free(ej);
}

void discovery_event(struct node *node, const char *container, enum engine_event event,
		     int signal, enum engine_health health)
{
	struct event_job *ej = calloc(1, sizeof(*ej));

	if (!ej || str_copy(ej->container, sizeof(ej->container), container) < 0) {
		log_error("event of container %.12s is lost", container);
		free(ej);
		return;
	}
	ej->node = node;
	ej->notice = (struct registry_notice){to_event(event), signal, to_health(health)};
	ej->job.run = event_run;
	node_post_store_always(node, &ej->job);
}

struct sync_job {
	struct job job;
	struct node *node;
	bool end;
};

static void sync_run(struct job *job)
{
	struct sync_job *sj = CONTAINER_OF(job, struct sync_job, job);
	struct desired *d = node_desired(sj->node);
	int r = job->err.code;

	if (r == 0 && !sj->end) {
		registry_sync_begin(desired_registry(d));
	} else if (r == 0) {
		r = desired_attempt_begin(d, &job->err);
		if (r == 0)
			r = finish_attempt(sj->node,
					   registry_sync_end(desired_registry(d),
							     clock_ms(), &job->err),
					   &job->err);
	}
	if (r < 0 && r != -ECANCELED)
		log_error("containers that ended unseen: %s", job->err.text);
	free(sj);
}

void discovery_sync(struct node *node, bool end)
{
	struct sync_job *sj = calloc(1, sizeof(*sj));

	if (!sj) {
		log_error("no memory to look for containers that ended unseen");
		return;
	}
	sj->node = node;
	sj->end = end;
	sj->job.run = sync_run;
	node_post_store_always(node, &sj->job);
}

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

void discovery_engine_up(struct node *node)
{
	struct up_job *uj = calloc(1, sizeof(*uj));

	if (!uj)
		return; /* the next repair does it */
	uj->node = node;
	uj->job.run = up_run;
	node_post_kernel(node, &uj->job);
}
