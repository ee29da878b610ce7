/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_HTTP_H
#define PLUGIN_HTTP_H
/*
 * An HTTP server on a unix socket, inside the event loop (libmicrohttpd with an
 * external epoll). A request is answered later, from the loop, by http_reply; until
 * then its connection is suspended. The only place with microhttpd. Thread: loop.
 */
#include <stdbool.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "plugin/base/err.h"

struct http_server;
struct http_request;

/* Called with the whole body; the request must be answered exactly once. */
typedef void (*http_handler)(void *ctx, struct http_request *rq);

struct http_config {
	const char *path;  /* of the socket; bound to a temporary name and renamed into
			    * place; an old one is replaced */
	int listen_fd;	   /* an inherited socket (taken), or -1 */
	unsigned int mode; /* of the socket file: 0660 */
	size_t body_limit; /* larger bodies get 413 */
	unsigned int connection_limit;
	http_handler handler;
	void *ctx;
};

int http_server_new(sd_event *event, const struct http_config *config,
		    struct http_server **ret, struct err *e);
/* Stops accepting; requests that come on open connections get 503; answered ones say
 * "Connection: close". */
void http_server_drain(struct http_server *s);
/* Requests that were handed to the handler and not answered yet. */
unsigned int http_server_pending(const struct http_server *s);
/* Answers what is pending with 503, closes, and unlinks the socket unless it was
 * inherited. */
void http_server_free(struct http_server *s);

/* "POST", "/NetworkDriver.Join", "?a=b" ("" without), the body with a NUL after it:
 * they live until the request is answered. */
const char *http_request_method(const struct http_request *rq);
const char *http_request_path(const struct http_request *rq);
/* A query parameter's value, or NULL. */
const char *http_request_query(const struct http_request *rq, const char *name);
const char *http_request_body(const struct http_request *rq, size_t *ret_len);

/* Answers with status; body (malloc'd, len bytes) is taken, also on error. */
void http_reply(struct http_request *rq, unsigned int status, const char *content_type,
		char *body, size_t len);
/* {"Err": text, "Error": text}: both keys, since Docker's two drivers read different
 * ones (moby pkg/plugins/client.go, libnetwork ipams/remote/api). */
void http_reply_error(struct http_request *rq, unsigned int status, const char *text);

#endif
