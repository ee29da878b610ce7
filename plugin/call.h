/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_CALL_H
#define PLUGIN_CALL_H
/*
 * Docker's plugin calls: a table of methods and the way that each call takes: decoded
 * in the loop, decided and stored by the store worker, done by the kernel worker once
 * it is durable, undone in the store when the kernel says no, answered by the loop.
 * Thread: loop.
 */
#include "plugin/http.h"
#include "plugin/node.h"

struct calls {
	struct node *node;
	const char *scope; /* "local" or "global" */
	/* The driver was (re)registered: dockerd has started or connected. */
	void (*registered)(void *ctx);
	void *ctx;
};

/* An http_handler; ctx is a struct calls. */
void call_handle(void *ctx, struct http_request *rq);

#endif
