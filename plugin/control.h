/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_CONTROL_H
#define PLUGIN_CONTROL_H
/*
 * The admin socket: GET /v1/status, /v1/pools, /metrics, /healthz and /readyz. The status
 * is put together by the store worker (what shall be) and the kernel worker (what is).
 * Thread: loop.
 */
#include <stdbool.h>

#include "plugin/base/map.h"
#include "plugin/http.h"
#include "plugin/metrics.h"
#include "plugin/node.h"

struct control;

struct control_config {
	struct node *node;
	const char *balancer;	  /* name of the one in use; borrowed */
	const char *balancer_why; /* why this one, "" if it was asked for; borrowed */
	const struct metrics *metrics; /* counters for /metrics; borrowed */
};

int control_new(const struct control_config *config, struct control **ret, struct err *e);
void control_free(struct control *c);

void control_set_ready(struct control *c, bool ready);
/* What the engine client last said; version NULL: not connected. */
void control_set_engine(struct control *c, const char *version, bool synced,
			const char *text);
/* A network's name, as the engine calls it; any network's. Forgotten with the first
 * status that does not list the network. */
void control_set_network_name(struct control *c, const char *id, const char *name);

/* An http_handler; ctx is a struct control. */
void control_handle(void *ctx, struct http_request *rq);

#endif
