/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_ENGINE_HTTP_H
#define PLUGIN_ENGINE_HTTP_H
/*
 * GET requests to the engine: libcurl's multi interface in the event loop. Any number
 * of requests run at once and none waits for another. Thread: loop.
 */
#include <stddef.h>
#include <systemd/sd-event.h>

#include "plugin/base/err.h"

struct engine_http;
struct engine_request;

struct engine_reply {
	long status;	     /* 0: there was no answer, text says why */
	const char *body;    /* NUL-terminated; of a stream only when status is not 200 */
	size_t size;	     /* of body */
	const char *version; /* the header Api-Version, "" without */
	const char *text;    /* "" or why the answer is missing or not complete */
};

struct engine_get {
	const char *path; /* "/v1.41/..." */
	size_t limit;	  /* of the body's size; more is a failure */
	/* 0: a stream without an end. Else of the whole exchange. */
	unsigned int timeout_s;
	/*
	 * Only of a stream: its answer is 200, and then its pieces (a negative return
	 * ends it). They are called from inside libcurl: no call of this header is
	 * allowed in them.
	 */
	void (*opened)(void *ctx);
	int (*data)(void *ctx, const char *data, size_t size);
	/* The request is over; not called after a cancel. All calls are allowed but
	 * engine_http_free. */
	void (*done)(void *ctx, const struct engine_reply *reply);
	void *ctx;
};

/* url as in engine_new. -EINVAL: bad url; -ENOMEM, or the loop's error. */
int engine_http_new(sd_event *event, const char *url, struct engine_http **ret,
		    struct err *e);
/* All requests must be over or cancelled. */
void engine_http_free(struct engine_http *h);

/* Starts a request; get is copied, but ctx borrowed. *ret may be given to
 * engine_http_cancel until done is called. -ENOMEM. */
int engine_http_get(struct engine_http *h, const struct engine_get *get,
		    struct engine_request **ret, struct err *e);
void engine_http_cancel(struct engine_request *rq);

#endif
