// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The connection to the engine: ask for its version (/_ping), open the event stream,
 * and only then list the running containers, so that nothing falls between the two.
 * Whatever fails leads to a pause and to the start again; the pause doubles until a
 * connection was good for a whole round. The stream is asked for from the last event
 * seen on, to hear of what died meanwhile.
 */
#include "plugin/engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "plugin/base/clock.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"
#include "plugin/engine_http.h"
#include "plugin/engine_jobs.h"
#include "plugin/engine_parse.h"

#define LOG_MODULE "engine"
#include "plugin/base/log.h"

#include "plugin/base/limit.h"

#define TIMEOUT_S	    60 /* an engine that starts accepts and is silent for long */
#define PAUSE_FIRST_MS	    100
#define PAUSE_LAST_MS	    5000
#define RELIST_FIRST_MS	    1000
#define RELIST_LAST_MS	    8000
#define TIMER_ACCURACY_USEC 1000
#define NETWORKS_PAUSE_MS   50 /* between two lists: several events, one list */
#define NETWORKS_RETRY_MS   5000
#define PING_LIMIT	    4096
#define LIST_LIMIT	    (256UL * 1024 * 1024)
#define NSEC_PER_SEC	    1000000000LL

/* {"type":["container","network"]} */
#define EVENT_FILTER "%7B%22type%22%3A%5B%22container%22%2C%22network%22%5D%7D"

struct engine {
	struct engine_callbacks callbacks;
	char url[128];
	struct engine_http *http;
	struct engine_jobs *jobs;
	sd_event_source *reconnect; /* timer */
	sd_event_source *relist;    /* deferred: list soon */
	sd_event_source *later;	    /* timer: relist */
	unsigned int later_ms;	    /* its next pause */
	uint64_t later_last_ms;	    /* when it was last */
	struct engine_request *rq;  /* ping or list */
	struct engine_request *networks_rq;
	sd_event_source *networks_due; /* timer: list the networks */
	bool networks_again;	       /* after the list under way */
	uint64_t networks_ms;	       /* when they were asked for last */
	struct engine_request *stream;
	struct engine_lines lines;
	char version[ENGINE_VERSION_SIZE];
	unsigned int pause_ms;
	int64_t last_ns; /* time of the last event, by the engine's clock */
	bool connected;
	bool list_again;   /* after the list under way */
	bool bad_told;	   /* a bad event was logged in this connection */
	struct err reason; /* why it is not connected, as told last */
};

static void tell_state(struct engine *en, bool synced)
{
	en->callbacks.state(en->callbacks.ctx, en->connected ? en->version : NULL, synced,
			    en->connected ? "" : en->reason.text);
}

static void tell_event(struct engine *en, const char *id, enum engine_event event,
		       int signal, enum engine_health health)
{
	en->callbacks.event(en->callbacks.ctx, id, event, signal, health);
}

/* First failure and each lost connection are worth a line; the tries are not. */
static void tell_failure(struct engine *en, const char *text)
{
	bool changed = strcmp(en->reason.text, text) != 0;
	bool first = !en->reason.text[0];
	bool lost = en->connected;

	(void)err_set(&en->reason, -ENOTCONN, "%s", text);
	en->connected = false;
	if (lost)
		log_warning("lost the engine, trying again: %s", text);
	else if (first)
		log_info("waiting for the engine: %s", text);
	else
		log_debug("no engine: %s", text);
	if (lost || changed)
		tell_state(en, false);
}

static void disconnect(struct engine *en)
{
	engine_jobs_stop(en->jobs);
	engine_http_cancel(TAKE(en->rq));
	engine_http_cancel(TAKE(en->networks_rq));
	en->networks_again = false;
	engine_http_cancel(TAKE(en->stream));
	engine_lines_fini(&en->lines);
	en->list_again = false;
	en->bad_told = false;
	(void)sd_event_source_set_enabled(en->relist, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(en->networks_due, SD_EVENT_OFF);
}

static void fail(struct engine *en, const struct err *e)
{
	disconnect(en);
	/* Both can only fail for a source that is not of the calling process. */
	(void)sd_event_source_set_time_relative(en->reconnect, en->pause_ms * 1000UL);
	(void)sd_event_source_set_enabled(en->reconnect, SD_EVENT_ONESHOT);
	en->pause_ms *= 2;
	if (en->pause_ms > PAUSE_LAST_MS)
		en->pause_ms = PAUSE_LAST_MS;
	tell_failure(en, e->text);
}

/* 0, or the reason why reply is no good answer to what was asked. */
static int check_reply(const struct engine *en, const char *what,
		       const struct engine_reply *reply, struct err *e)
{
	auto_free char *message = NULL;

	if (reply->status == 0)
		return err_set(e, -EIO, "%s: %s: %s", en->url, what, reply->text);
	if (reply->status == 200)
		return 0;
	message = engine_parse_error(reply->body, reply->size);
	return err_set(e, -EPROTO, "%s: %s: HTTP status %ld%s%s", en->url, what,
		       reply->status, message ? ": " : "", message ? message : "");
}

static void on_list(void *ctx, const struct engine_reply *reply)
{
	struct engine *en = ctx;
	auto_free char(*ids)[ENGINE_ID_SIZE] = NULL;
	unsigned int count = 0;
	struct err e = {0};
	int r;

	en->rq = NULL;
	r = check_reply(en, "list of containers", reply, &e);
	if (!r)
		r = engine_parse_list(reply->body, reply->size, &ids, &count, &e);
	if (r < 0) {
		fail(en, &e);
		return;
	}
	log_debug("%u containers run", count);
	engine_jobs_sync(en->jobs, (const char(*)[ENGINE_ID_SIZE])ids, count);
	if (en->list_again)
		(void)sd_event_source_set_enabled(en->relist, SD_EVENT_ONESHOT);
	en->list_again = false;
}

static int on_later(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct engine *en = userdata;

	(void)source;
	(void)usec;
	en->later_last_ms = clock_ms();
	if (en->connected) /* else it is done anyway */
		(void)sd_event_source_set_enabled(en->relist, SD_EVENT_ONESHOT);
	return 0;
}

void engine_relist(struct engine *en)
{
	int on = SD_EVENT_OFF;

	(void)sd_event_source_get_enabled(en->later, &on);
	if (on)
		return;
	if (clock_ms() - en->later_last_ms > 2UL * RELIST_LAST_MS)
		en->later_ms = RELIST_FIRST_MS;
	/* Both can only fail for a source that is not of the calling process. */
	(void)sd_event_source_set_time_relative(en->later, en->later_ms * 1000UL);
	(void)sd_event_source_set_enabled(en->later, SD_EVENT_ONESHOT);
	en->later_ms *= 2;
	if (en->later_ms > RELIST_LAST_MS)
		en->later_ms = RELIST_LAST_MS;
}

static int tell_running(struct engine *en, bool complete)
{
	auto_free char(*ids)[ENGINE_ID_SIZE] = NULL;
	struct engine_running running = {.complete = complete};
	int r = engine_jobs_running(en->jobs, &ids, &running.count);

	if (r < 0)
		return r;
	running.ids = (const char(*)[ENGINE_ID_SIZE])ids;
	en->callbacks.running(en->callbacks.ctx, &running);
	return 0;
}

static void on_synced(void *ctx, bool complete)
{
	struct engine *en = ctx;

	en->pause_ms = PAUSE_FIRST_MS;
	if (tell_running(en, complete) < 0)
		engine_relist(en); /* no memory */
	tell_state(en, true);
}

static void networks_in(struct engine *en, uint64_t ms)
{
	/* Both can only fail for a source that is not of the calling process. */
	(void)sd_event_source_set_time_relative(en->networks_due, ms * 1000);
	(void)sd_event_source_set_enabled(en->networks_due, SD_EVENT_ONESHOT);
}

static void networks_changed(struct engine *en)
{
	int on = SD_EVENT_OFF;

	en->networks_again = en->networks_rq != NULL;
	(void)sd_event_source_get_enabled(en->networks_due, &on);
	if (!on && !en->networks_again)
		networks_in(en, clock_ms() - en->networks_ms < NETWORKS_PAUSE_MS
					? NETWORKS_PAUSE_MS
					: 0);
}

/* Their names and subnets are good to know: nothing that runs depends on them. */
static void on_networks(void *ctx, const struct engine_reply *reply)
{
	struct engine *en = ctx;
	struct err e = {0};
	int r;

	en->networks_rq = NULL;
	r = check_reply(en, "list of networks", reply, &e);
	if (!r)
		r = engine_parse_networks(reply->body, reply->size,
					  en->callbacks.networks, en->callbacks.ctx, &e);
	if (r < 0)
		log_warning_limited("%s, trying again", e.text);
	if (r < 0 || en->networks_again)
		networks_in(en, r < 0 ? NETWORKS_RETRY_MS : NETWORKS_PAUSE_MS);
}

static int on_networks_due(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct engine *en = userdata;
	char path[64];
	const struct engine_get get = {.path = path,
				       .limit = LIST_LIMIT,
				       .timeout_s = TIMEOUT_S,
				       .done = on_networks,
				       .ctx = en};
	struct err e = {0};

	(void)source;
	(void)usec;
	if (!en->connected || en->networks_rq)
		return 0;
	en->networks_again = false;
	en->networks_ms = clock_ms();
	(void)snprintf(path, sizeof(path), "/v%s/networks", en->version); /* fits */
	if (engine_http_get(en->http, &get, &en->networks_rq, &e) < 0) {
		log_warning_limited("list of networks: %s, trying again", e.text);
		networks_in(en, NETWORKS_RETRY_MS);
	}
	return 0;
}

static int on_relist(sd_event_source *source, void *userdata)
{
	struct engine *en = userdata;
	char path[64];
	const struct engine_get get = {.path = path,
				       .limit = LIST_LIMIT,
				       .timeout_s = TIMEOUT_S,
				       .done = on_list,
				       .ctx = en};
	struct err e = {0};

	(void)source;
	if (en->rq) {
		en->list_again = true;
		return 0;
	}
	(void)snprintf(path, sizeof(path), "/v%s/containers/json",
		       en->version); /* fits */
	networks_in(en, 0);
	engine_jobs_start(en->jobs, en->version);
	engine_jobs_sync_begin(en->jobs);
	if (engine_http_get(en->http, &get, &en->rq, &e) < 0)
		fail(en, &e);
	return 0;
}

/* An event was lost: what it said is learnt by looking at all again. */
static void event_lost(struct engine *en, const char *why)
{
	if (!en->bad_told)
		log_warning("a bad event, looking at all containers again: %s", why);
	en->bad_told = true;
	(void)sd_event_source_set_enabled(en->relist, SD_EVENT_ONESHOT);
}

static void handle_event(struct engine *en, const struct engine_message *m)
{
	tell_event(en, m->id, m->event, m->signal, m->health);
	switch (m->event) {
	case ENGINE_EVENT_DIE:
		engine_jobs_died(en->jobs, m->id);
		break;
	case ENGINE_EVENT_UNPAUSE:
		engine_jobs_add(en->jobs, m->id);
		break;
	case ENGINE_EVENT_PAUSE:
	case ENGINE_EVENT_HEALTH:
		engine_jobs_outdated(en->jobs, m->id);
		break;
	case ENGINE_EVENT_KILL: /* an inspection does not show it */
		break;
	}
}

static void on_line(void *ctx, const char *line, size_t len)
{
	struct engine *en = ctx;
	struct engine_message m;
	struct err e = {0};

	if (engine_parse_event(line, len, &m, &e) < 0) {
		event_lost(en, e.text);
		return;
	}
	if (m.time_ns > en->last_ns)
		en->last_ns = m.time_ns;
	switch (m.kind) {
	case ENGINE_MESSAGE_EVENT:
		handle_event(en, &m);
		break;
	case ENGINE_MESSAGE_INSPECT:
		engine_jobs_add(en->jobs, m.id);
		break;
	case ENGINE_MESSAGE_CONNECT:
		engine_jobs_add_known(en->jobs, m.id);
		break;
	case ENGINE_MESSAGE_NETWORK:
		networks_changed(en);
		break;
	case ENGINE_MESSAGE_OTHER:
		break;
	}
}

static int on_stream_data(void *ctx, const char *data, size_t size)
{
	struct engine *en = ctx;
	int r = engine_lines_feed(&en->lines, data, size, on_line, en);

	if (r > 0)
		event_lost(en, "it is too long");
	return r < 0 ? r : 0;
}

static void on_stream_opened(void *ctx)
{
	struct engine *en = ctx;

	log_info("connected to the engine api=%s", en->version);
	en->connected = true;
	en->reason = (struct err){0};
	tell_state(en, false);
	(void)sd_event_source_set_enabled(en->relist, SD_EVENT_ONESHOT);
}

static void on_stream_done(void *ctx, const struct engine_reply *reply)
{
	struct engine *en = ctx;
	struct err e = {0};

	en->stream = NULL;
	if (!check_reply(en, "events", reply, &e))
		(void)err_set(&e, -EPIPE, "%s: events: %s", en->url, reply->text);
	fail(en, &e);
}

static int open_stream(struct engine *en, struct err *e)
{
	char path[192];
	char since[48] = "";
	int64_t next = en->last_ns + 1;
	const struct engine_get get = {.path = path,
				       .opened = on_stream_opened,
				       .data = on_stream_data,
				       .done = on_stream_done,
				       .ctx = en};

	if (en->last_ns > 0)
		(void)snprintf(since, sizeof(since), "&since=%lld.%09lld",
			       (long long)(next / NSEC_PER_SEC),
			       (long long)(next % NSEC_PER_SEC)); /* fits */
	(void)snprintf(path, sizeof(path), "/v%s/events?filters=%s%s", en->version,
		       EVENT_FILTER, since); /* fits */
	return engine_http_get(en->http, &get, &en->stream, e);
}

static void on_ping(void *ctx, const struct engine_reply *reply)
{
	struct engine *en = ctx;
	struct err e = {0};
	int r;

	en->rq = NULL;
	r = check_reply(en, "ping", reply, &e);
	if (!r) {
		r = engine_parse_version(reply->version, en->version);
		if (r < 0)
			r = err_set(&e, r, "%s: ping: no API version", en->url);
	}
	if (!r)
		r = open_stream(en, &e);
	if (r < 0)
		fail(en, &e);
}

static int on_reconnect(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct engine *en = userdata;
	const struct engine_get get = {.path = "/_ping",
				       .limit = PING_LIMIT,
				       .timeout_s = TIMEOUT_S,
				       .done = on_ping,
				       .ctx = en};
	struct err e = {0};

	(void)source;
	(void)usec;
	if (engine_http_get(en->http, &get, &en->rq, &e) < 0)
		fail(en, &e);
	return 0;
}

static void on_container(void *ctx, const struct engine_container *c)
{
	struct engine *en = ctx;

	en->callbacks.container(en->callbacks.ctx, c);
}

static void on_gone(void *ctx, const char *id)
{
	tell_event(ctx, id, ENGINE_EVENT_DIE, 0, ENGINE_HEALTH_NONE);
}

static int set_up(struct engine *en, sd_event *event, const char *url, struct err *e)
{
	const struct engine_jobs_ops ops = {.container = on_container,
					    .gone = on_gone,
					    .synced = on_synced,
					    .ctx = en};
	int r = engine_http_new(event, url, &en->http, e);

	if (!r)
		r = str_copy(en->url, sizeof(en->url), url);
	if (!r)
		r = engine_jobs_new(event, en->http, &ops, &en->jobs, e);
	if (r < 0)
		return r;
	r = sd_event_add_time_relative(event, &en->reconnect, CLOCK_MONOTONIC, 0,
				       TIMER_ACCURACY_USEC, on_reconnect, en);
	if (r >= 0)
		r = sd_event_add_defer(event, &en->relist, on_relist, en);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &en->networks_due, CLOCK_MONOTONIC,
					       0, TIMER_ACCURACY_USEC, on_networks_due,
					       en);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &en->later, CLOCK_MONOTONIC, 0,
					       TIMER_ACCURACY_USEC, on_later, en);
	if (r < 0)
		return err_sys(e, r, "engine: timer");
	(void)sd_event_source_set_enabled(en->later, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(en->relist, SD_EVENT_OFF);
	(void)sd_event_source_set_enabled(en->networks_due, SD_EVENT_OFF);
	return 0;
}

int engine_new(sd_event *event, const char *url, const struct engine_callbacks *callbacks,
	       struct engine **ret, struct err *e)
{
	struct engine *en = calloc(1, sizeof(*en));
	int r;

	if (!en)
		return err_sys(e, -ENOMEM, "engine");
	en->callbacks = *callbacks;
	en->pause_ms = PAUSE_FIRST_MS;
	en->later_ms = RELIST_FIRST_MS;
	r = set_up(en, event, url, e);
	if (r < 0) {
		engine_free(en);
		return r;
	}
	*ret = en;
	return 0;
}

void engine_free(struct engine *en)
{
	if (!en)
		return;
	if (en->jobs)
		disconnect(en);
	sd_event_source_disable_unref(en->reconnect);
	sd_event_source_disable_unref(en->relist);
	sd_event_source_disable_unref(en->networks_due);
	sd_event_source_disable_unref(en->later);
	engine_jobs_free(en->jobs);
	engine_http_free(en->http);
	free(en);
}

void engine_inspect(struct engine *en, const char *container_id)
{
	engine_jobs_add(en->jobs, container_id);
}
