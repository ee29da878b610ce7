// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One struct call goes from thread to thread with its request. Rules that every method
 * follows (moby pkg/plugins, libnetwork drivers/remote): handled errors are HTTP 200
 * with both error keys; unknown ids on the way out are success; a repeated call is fine.
 */
#include "plugin/call_internal.h"

#include "plugin/base/clock.h"
#include "plugin/base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "api"
#include "plugin/base/log.h"

#define JSON_TYPE "application/vnd.docker.plugins.v1.2+json"

static void call_free(struct call *c)
{
	if (c->method->free)
		c->method->free(c);
	free(c);
}

static void count(const struct call *c, enum metrics_result result, uint64_t us)
{
	metrics_count_call(c->calls->metrics, call_name(c), result, us);
}

/* Thread: loop. The last stop of every call. */
static void call_answer(struct call *c)
{
	uint64_t us = clock_us() - c->since_us;
	char *text;
	size_t len;

	log_debug("%s took us=%" PRIu64, call_name(c), us);
	if (c->job.err.code < 0) {
		count(c, METRICS_RESULT_REFUSED, us);
		log_info("%s refused err=\"%s\"", call_name(c), c->job.err.text);
		http_reply_error(c->rq, 200, c->job.err.text);
		call_free(c);
		return;
	}
	text = c->method->encode ? c->method->encode(c, &len) : api_encode_empty(&len);
	count(c, text ? METRICS_RESULT_OK : METRICS_RESULT_FAILED, us);
	if (text)
		http_reply(c->rq, 200, JSON_TYPE, text, len);
	else
		http_reply_error(c->rq, 500, "out of memory");
	if (c->method->registers)
		c->calls->registered(c->calls->ctx);
	call_free(c);
}

static void run_answer(struct job *job)
{
	call_answer(CONTAINER_OF(job, struct call, job));
}

static void go_answer(struct call *c)
{
	c->job.run = run_answer;
	c->job.done = NULL;
	node_post_loop(c->calls->node, &c->job);
}

/* Thread: store. err: of this attempt; the first error of the call stays. */
static void attempt(struct call *c, int (*verb)(struct call *c, struct err *e),
		    struct err *e)
{
	int r = desired_attempt_begin(call_store(c), e);

	if (r < 0)
		return;
	r = desired_attempt_end(call_store(c), verb(c, e), e);
	if (r < 0 && e->code == 0)
		(void)err_sys(e, r, "%s", call_name(c));
	if (r == 0)
		e->code = 0; /* a text without a failure is nothing */
}

static void run_undo(struct job *job)
{
	struct call *c = CONTAINER_OF(job, struct call, job);
	struct err e = {0};

	attempt(c, c->method->undo, &e);
	if (e.code < 0)
		log_warning("undoing %s: %s", call_name(c), e.text);
}

static void done_undo(struct job *job)
{
	go_answer(CONTAINER_OF(job, struct call, job));
}

static void run_kernel(struct job *job)
{
	struct call *c = CONTAINER_OF(job, struct call, job);
	int r = job->err.code;

	if (r < 0) { /* cancelled: we are shutting down */
		go_answer(c);
		return;
	}
	r = c->method->kernel(c, &job->err);
	if (r < 0 && job->err.code == 0)
		(void)err_sys(&job->err, r, "%s", call_name(c));
	if (r == 0)
		job->err.code = 0; /* a text without a failure is nothing */
	if (r == 0 || !c->method->undo) {
		go_answer(c);
		return;
	}
	c->job.run = run_undo;
	c->job.done = done_undo;
	node_post_store_always(c->calls->node, &c->job);
}

static void run_store(struct job *job)
{
	struct call *c = CONTAINER_OF(job, struct call, job);

	attempt(c, c->method->store, &job->err);
}

static void done_store(struct job *job)
{
	struct call *c = CONTAINER_OF(job, struct call, job);

	if (job->err.code < 0 || !c->method->kernel) {
		go_answer(c);
		return;
	}
	c->job.run = run_kernel;
	c->job.done = NULL;
	node_post_kernel(c->calls->node, &c->job);
}

static void run_look(struct job *job)
{
	struct call *c = CONTAINER_OF(job, struct call, job);

	/* Cancelled when we are shutting down. */
	if (job->err.code < 0 || c->method->look(c, &job->err) < 0) {
		go_answer(c);
		return;
	}
	c->job.run = run_store;
	c->job.done = done_store;
	if (node_post_store(c->calls->node, &c->job) < 0) {
		(void)err_set(&c->job.err, -EBUSY, "too many requests are waiting");
		go_answer(c);
	}
}

static void go_look(struct call *c)
{
	c->job.run = run_look;
	node_post_kernel(c->calls->node, &c->job);
}

static void go_store(struct call *c)
{
	c->job.run = run_store;
	c->job.done = done_store;
	if (node_post_store(c->calls->node, &c->job) < 0) {
		http_reply_error(c->rq, 503, "too many requests are waiting");
		count(c, METRICS_RESULT_BUSY, 0);
		call_free(c);
	}
}

static const struct call_method *find_in(const struct call_method *methods,
					 unsigned int count, const char *path)
{
	for (unsigned int i = 0; i < count; i++)
		if (!strcmp(methods[i].path, path))
			return &methods[i];
	return NULL;
}

static const struct call_method *find_method(const char *path)
{
	const struct call_method *m = find_in(call_ipam_methods, CALL_IPAM_METHODS, path);

	return m ? m : find_in(call_net_methods, CALL_NET_METHODS, path);
}

/* A request that is not for us at all: nothing is done. */
static const struct call_method *check(struct http_request *rq)
{
	const struct call_method *m = find_method(http_request_path(rq));
	char text[160];

	if (!m) {
		(void)snprintf(text, sizeof(text), "unknown method %.100s",
			       http_request_path(rq));
		http_reply_error(rq, 404, text);
		return NULL;
	}
	if (strcmp(http_request_method(rq), "POST")) {
		(void)snprintf(text, sizeof(text), "%s wants POST", m->path + 1);
		http_reply_error(rq, 405, text);
		return NULL;
	}
	return m;
}

void call_handle(void *ctx, struct http_request *rq)
{
	const struct call_method *m = check(rq);
	struct err e = {0};
	struct call *c;
	size_t len;
	const char *body = http_request_body(rq, &len);
	int r;

	if (!m)
		return;
	log_debug("%s %.*s", m->path + 1, (int)(len < 512 ? len : 512), body);
	c = calloc(1, sizeof(*c));
	if (!c) {
		http_reply_error(rq, 500, "out of memory");
		return;
	}
	c->calls = ctx;
	c->method = m;
	c->rq = rq;
	c->since_us = clock_us();
	if (m->decode && m->decode(c, body, len, &e) < 0) {
		log_warning("%s", e.text);
		http_reply_error(rq, e.code == -ENOMEM ? 500 : 400, e.text);
		count(c,
		      e.code == -ENOMEM ? METRICS_RESULT_FAILED : METRICS_RESULT_INVALID,
		      0);
		free(c); /* decode left nothing */
		return;
	}
	if (!m->store) {
		call_answer(c);
		return;
	}
	r = m->prepare ? m->prepare(c, &c->job.err) : 0;
	if (r < 0)
		call_answer(c);
	else if (r > 0)
		go_look(c);
	else
		go_store(c);
}
