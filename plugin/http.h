/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_HTTP_H
#define PLUGIN_HTTP_H
/*
 * An HTTP server on a unix socket, inside the event loop (libmicrohttpd with an
 * external epoll). A request is answered later, from the loop, by http_reply; until
 * then its connection is suspended. The only place with microhttpd. Thread: loop.
 */
#include <stddef.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "plugin/base/err.h"

struct http_server;
struct http_request;

/* Called with the whole body; the request must be answered exactly once. */
typedef void (*http_handler)(void *ctx, struct http_request *rq);

struct http_config {
	const char *path;  /* of the socket; bound to a temporary name and renamed into
			    * place; an old one is replaced */
	int listen_fd;	   /* an inherited socket (taken, also on error), or -1 */
	unsigned int mode; /* of the socket file: 0660 */
	size_t body_limit; /* larger bodies get 413 */
	unsigned int connection_limit;
	http_handler handler;
	void *ctx;
};

/*
 * Listens and serves; config is copied. -ENAMETOOLONG: path does not fit an address,
 * -EEXIST: a file that is no socket has the name; else an errno of bind or rename.
 */
int http_server_new(sd_event *event, const struct http_config *config,
		    struct http_server **ret, struct err *e);
/* Stops accepting and takes the socket file away (unless inherited, or a successor has
 * the name already); requests that begin on open connections get 503; answers say
 * "Connection: close". */
void http_server_drain(struct http_server *s);
/* Requests that began before draining and are not answered yet: half read, or with the
 * handler. */
unsigned int http_server_pending(const struct http_server *s);
/* Drains, answers what is pending with 503 (those requests are gone afterwards), waits
 * up to half a second for clients to read, and closes. NULL is fine. Not from inside the
 * handler. */
void http_server_free(struct http_server *s);

/* "POST", "/NetworkDriver.Join", "?a=b" ("" without), the body with a NUL after it:
 * they live until the request is answered. */
const char *http_request_method(const struct http_request *rq);
const char *http_request_path(const struct http_request *rq);
/* A query parameter's value, or NULL. */
const char *http_request_query(const struct http_request *rq, const char *name);
const char *http_request_body(const struct http_request *rq, size_t *ret_len);
/* The process that connected, 0 if unknown: another one than before is an engine that
 * was started again. */
pid_t http_request_peer(const struct http_request *rq);

/* Answers with status; body (malloc'd, len bytes, may be NULL with 0) is taken. rq is
 * gone for the caller. Without memory the client gets 503. */
void http_reply(struct http_request *rq, unsigned int status, const char *content_type,
		char *body, size_t len);
/* {"Err": text, "Error": text}: both keys, since Docker's two drivers read different
 * ones (moby pkg/plugins/client.go, libnetwork ipams/remote/api). */
void http_reply_error(struct http_request *rq, unsigned int status, const char *text);

#endif
