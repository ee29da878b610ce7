/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_CALL_H
#define PLUGIN_CALL_H
/*
 * Docker's plugin calls: a table of methods and the way that each call takes: decoded
 * in the loop (where it must be known what the host routes: past the kernel worker),
 * decided and stored by the store worker, done by the kernel worker once
 * it is durable, undone in the store when the kernel says no, answered by the loop.
 * Thread: loop.
 */
#include "plugin/http.h"
#include "plugin/metrics.h"
#include "plugin/node.h"
#include "plugin/taken.h"

struct calls {
	struct node *node;
	const char *scope;		/* "local" or "global" */
	const struct ipam_config *ipam; /* constant; borrowed */
	const struct taken *networks;	/* of Docker, all drivers'; borrowed */
	/* Docker refuses a pool of our choice that any route overlaps, not only an
	 * on-link one: before 23.0, which is API 1.42. */
	bool all_routes;
	/* The driver was (re)registered: dockerd has started or connected. */
	void (*registered)(void *ctx);
	void *ctx;
	struct metrics *metrics; /* counts the calls; borrowed, may be NULL */
};

/* An http_handler; ctx is a struct calls. */
void call_handle(void *ctx, struct http_request *rq);

#endif
