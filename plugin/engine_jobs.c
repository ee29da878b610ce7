// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One record per container that runs or is to be inspected, in a map by id. A record
 * is in at most one list: waiting (for a free slot) or late (for the next try).
 * Requests are sent from a deferred source of the loop, as they are asked for from
 * inside libcurl's callbacks.
 */
#include "plugin/engine_jobs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "plugin/base/map.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"
#include "plugin/engine_parse.h"

#define LOG_MODULE "engine"
#include "plugin/base/log.h"

#define SLOTS	   64 /* requests at once */
#define TIMEOUT_S  60 /* a container may take that long to stop */
#define TRIES	   5
#define LATE_USEC  1000000 /* pause before the next try */
#define BODY_LIMIT (16UL * 1024 * 1024)
#define PATH_SIZE  128

enum list {
	LIST_NONE,
	LIST_WAITING,
	LIST_LATE,
};

struct container {
	char id[ENGINE_ID_SIZE];
	struct engine_jobs *jobs;
	UT_hash_handle hh;
	TAILQ_ENTRY(container) link;
	enum list list;
	struct engine_request *rq; /* the inspection under way */
	uint64_t told;		   /* the sync that the last news is newer than */
	unsigned int tries;	   /* failed ones in a row */
	bool running;		   /* as told or listed last */
	bool again;		   /* inspect once more after this one */
	bool died;		   /* since rq was sent */
	bool listed;		   /* the sync waits for it */
};
TAILQ_HEAD(container_list, container);

struct engine_jobs {
	sd_event_source *pump;
	sd_event_source *timer;
	struct engine_http *http;
	struct engine_jobs_ops ops;
	char version[ENGINE_VERSION_SIZE]; /* "": not started */
	struct container *map;
	struct container_list waiting;
	struct container_list late;
	unsigned int running;  /* requests */
	unsigned int unsynced; /* containers with listed set */
	bool syncing;
	bool given_up; /* one that was listed, in this sync */
	uint64_t sync; /* number of the last one */
};

static void wake(struct engine_jobs *j)
{
	if (j->version[0])
		(void)sd_event_source_set_enabled(j->pump, SD_EVENT_ONESHOT);
}

static void list_leave(struct container *c)
{
	if (c->list == LIST_WAITING)
		TAILQ_REMOVE(&c->jobs->waiting, c, link);
	else if (c->list == LIST_LATE)
		TAILQ_REMOVE(&c->jobs->late, c, link);
	c->list = LIST_NONE;
}

static void list_wait(struct container *c)
{
	list_leave(c);
	TAILQ_INSERT_TAIL(&c->jobs->waiting, c, link);
	c->list = LIST_WAITING;
	wake(c->jobs);
}

static void list_late(struct container *c)
{
	struct engine_jobs *j = c->jobs;
	int on = SD_EVENT_OFF;

	list_leave(c);
	TAILQ_INSERT_TAIL(&j->late, c, link);
	c->list = LIST_LATE;
	(void)sd_event_source_get_enabled(j->timer, &on);
	if (on)
		return;
	/* Both can only fail for a source that is not of the calling process. */
	(void)sd_event_source_set_time_relative(j->timer, LATE_USEC);
	(void)sd_event_source_set_enabled(j->timer, SD_EVENT_ONESHOT);
}

static void unlist(struct container *c)
{
	if (c->listed)
		c->jobs->unsynced--;
	c->listed = false;
	if (c->jobs->syncing)
		wake(c->jobs);
}

static struct container *find(struct engine_jobs *j, const char *id)
{
	struct container *c;

	HASH_FIND_STR(j->map, id, c);
	return c;
}

static struct container *find_or_add(struct engine_jobs *j, const char *id)
{
	struct container *c = find(j, id);

	if (c)
		return c;
	c = calloc(1, sizeof(*c));
	if (!c || str_copy(c->id, sizeof(c->id), id) < 0)
		goto fail;
	c->jobs = j;
	c->told = j->sync;
	HASH_ADD_STR(j->map, id, c);
	if (MAP_ADDED(c))
		return c;
fail:
	free(c);
	log_error("no memory to inspect container %.12s", id);
	return NULL;
}

static void forget(struct container *c)
{
	struct engine_jobs *j = c->jobs;

	list_leave(c);
	unlist(c);
	if (c->rq) {
		engine_http_cancel(c->rq);
		j->running--;
	}
	HASH_DEL(j->map, c);
	free(c);
}

/* Keeps the record only while there is something to know about it. */
static void settle(struct container *c)
{
	if (!c->running && !c->rq && c->list == LIST_NONE)
		forget(c);
}

static void tell_gone(struct container *c)
{
	struct engine_jobs *j = c->jobs;
	char id[ENGINE_ID_SIZE];

	memcpy(id, c->id, sizeof(id));
	forget(c);
	j->ops.gone(j->ops.ctx, id);
}

static void retry(struct container *c, const char *why)
{
	struct engine_jobs *j = c->jobs;

	if (++c->tries < TRIES) {
		log_debug("inspection of container %.12s: %s; trying again", c->id, why);
		list_late(c);
		return;
	}
	log_warning("container %.12s cannot be inspected, ignoring it: %s", c->id, why);
	c->tries = 0;
	j->given_up |= c->listed;
	unlist(c);
	settle(c);
}

static void tell(struct container *c, const struct engine_reply *reply)
{
	struct engine_jobs *j = c->jobs;
	struct engine_inspection *in = NULL;
	const struct engine_container *info;
	struct err e = {0};

	if (engine_inspection_new(reply->body, reply->size, &in, &e) < 0) {
		retry(c, e.text);
		return;
	}
	info = engine_inspection_container(in);
	if (strcmp(info->id, c->id) != 0) {
		retry(c, "the answer is about another container");
	} else {
		c->tries = 0;
		c->running = info->running;
		c->told = j->sync;
		unlist(c);
		settle(c); /* c may be gone now */
		j->ops.container(j->ops.ctx, info);
	}
	engine_inspection_free(in);
}

static void on_done(void *ctx, const struct engine_reply *reply)
{
	struct container *c = ctx;
	char why[256];

	c->rq = NULL;
	c->jobs->running--;
	wake(c->jobs);
	if (c->again) {
		list_wait(c);
	} else if (c->died) {
		unlist(c);
		settle(c);
	} else if (reply->status == 200) {
		tell(c, reply);
	} else if (reply->status == 404) {
		tell_gone(c);
	} else if (reply->status == 0) {
		retry(c, reply->text);
	} else {
		(void)snprintf(why, sizeof(why), "HTTP status %ld", reply->status);
		retry(c, why);
	}
}

static void send_request(struct container *c)
{
	char path[PATH_SIZE];
	struct engine_get get = {.path = path,
				 .limit = BODY_LIMIT,
				 .timeout_s = TIMEOUT_S,
				 .done = on_done,
				 .ctx = c};
	struct err e = {0};

	(void)snprintf(path, sizeof(path), "/v%s/containers/%s/json", c->jobs->version,
		       c->id); /* fits: both are bounded */
	list_leave(c);
	c->again = false;
	c->died = false;
	if (engine_http_get(c->jobs->http, &get, &c->rq, &e) < 0)
		retry(c, e.text);
	else
		c->jobs->running++;
}

static int on_pump(sd_event_source *source, void *userdata)
{
	struct engine_jobs *j = userdata;

	(void)source;
	while (j->running < SLOTS && !TAILQ_EMPTY(&j->waiting))
		send_request(TAILQ_FIRST(&j->waiting));
	if (j->syncing && j->unsynced == 0) {
		j->syncing = false;
		j->ops.synced(j->ops.ctx, !j->given_up);
	}
	return 0;
}

static int on_late(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct engine_jobs *j = userdata;

	(void)source;
	(void)usec;
	while (!TAILQ_EMPTY(&j->late))
		list_wait(TAILQ_FIRST(&j->late));
	return 0;
}

int engine_jobs_new(sd_event *event, struct engine_http *http,
		    const struct engine_jobs_ops *ops, struct engine_jobs **ret,
		    struct err *e)
{
	struct engine_jobs *j = calloc(1, sizeof(*j));
	int r;

	if (!j)
		return err_sys(e, -ENOMEM, "engine: inspections");
	TAILQ_INIT(&j->waiting);
	TAILQ_INIT(&j->late);
	j->http = http;
	j->ops = *ops;
	r = sd_event_add_defer(event, &j->pump, on_pump, j);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &j->timer, CLOCK_MONOTONIC, 0, 0,
					       on_late, j);
	if (r < 0) {
		engine_jobs_free(j);
		return err_sys(e, r, "engine: inspections");
	}
	(void)sd_event_source_set_enabled(j->pump, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(j->timer, SD_EVENT_OFF);
	*ret = j;
	return 0;
}

void engine_jobs_free(struct engine_jobs *j)
{
	struct container *c;
	struct container *next;

	if (!j)
		return;
	HASH_ITER (hh, j->map, c, next)
		forget(c);
	sd_event_source_disable_unref(j->pump);
	sd_event_source_disable_unref(j->timer);
	free(j);
}

void engine_jobs_start(struct engine_jobs *j, const char *version)
{
	(void)str_copy(j->version, sizeof(j->version), version); /* was parsed: it fits */
	wake(j);
}

void engine_jobs_stop(struct engine_jobs *j)
{
	struct container *c;
	struct container *next;

	j->version[0] = '\0';
	j->syncing = false;
	HASH_ITER (hh, j->map, c, next) {
		if (c->rq) {
			engine_http_cancel(TAKE(c->rq));
			j->running--;
		}
		list_leave(c);
		unlist(c);
		c->tries = 0;
		settle(c);
	}
	(void)sd_event_source_set_enabled(j->pump, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(j->timer, SD_EVENT_OFF);
}

void engine_jobs_sync_begin(struct engine_jobs *j)
{
	j->sync++;
}

void engine_jobs_sync(struct engine_jobs *j, const char (*ids)[ENGINE_ID_SIZE],
		      unsigned int count)
{
	struct container *c;
	struct container *next;

	j->given_up = false;
	for (unsigned int i = 0; i < count; i++) {
		c = find_or_add(j, ids[i]);
		if (!c) {
			j->given_up = true;
			continue;
		}
		if (!c->listed)
			j->unsynced++;
		c->listed = true;
		c->running = true;
		c->told = j->sync;
		engine_jobs_add(j, ids[i]);
	}
	/* Running once, but neither in the list nor heard of since it was asked for. */
	HASH_ITER (hh, j->map, c, next)
		if (c->running && c->told < j->sync && !c->rq && c->list == LIST_NONE)
			tell_gone(c);
	j->syncing = true;
	wake(j);
}

int engine_jobs_running(struct engine_jobs *j, char (**ret)[ENGINE_ID_SIZE],
			unsigned int *ret_count)
{
	char(*ids)[ENGINE_ID_SIZE] = calloc(HASH_COUNT(j->map) + 1, sizeof(*ids));
	struct container *c;
	struct container *next;
	unsigned int count = 0;

	if (!ids)
		return -ENOMEM;
	HASH_ITER (hh, j->map, c, next) {
		if (c->running || c->again || !c->died)
			memcpy(ids[count++], c->id, sizeof(c->id));
	}
	*ret = ids;
	*ret_count = count;
	return 0;
}

void engine_jobs_add(struct engine_jobs *j, const char *id)
{
	struct container *c = engine_id_valid(id) ? find_or_add(j, id) : NULL;

	if (!c)
		return;
	if (c->rq)
		c->again = true;
	else if (c->list != LIST_WAITING)
		list_wait(c);
}

void engine_jobs_add_known(struct engine_jobs *j, const char *id)
{
	if (find(j, id))
		engine_jobs_add(j, id);
}

void engine_jobs_outdated(struct engine_jobs *j, const char *id)
{
	struct container *c = find(j, id);

	if (c && c->rq)
		c->again = true;
}

void engine_jobs_died(struct engine_jobs *j, const char *id)
{
	struct container *c = find(j, id);

	if (!c)
		return;
	c->running = false;
	c->again = false;
	c->died = true;
	list_leave(c);
	if (!c->rq) {
		unlist(c);
		settle(c);
	}
}
