/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_NODE_H
#define PLUGIN_NODE_H
/*
 * The node: the store worker with the desired state, the kernel worker with the actual
 * state, the loop with the names, and the messages between them. At start everything
 * that the database knows is told to the kernel and to the names before anybody is
 * served.
 */
#include <systemd/sd-event.h>

#include "lb/balancer.h"
#include "plugin/actual.h"
#include "plugin/base/worker.h"
#include "plugin/desired.h"
#include "plugin/names.h"

struct node;

struct node_config {
	struct desired_config desired; /* changes and ctx are set by the node */
	const struct balancer_ops *balancer;
	const char *run_dir;
	bool dns;
	unsigned int reconcile_s;
	unsigned int sweep_ms; /* period of the look for what Docker forgot */
	/* Everything known at start is in the kernel; error code 0, or why the host's
	 * rules are not as they should be. Thread: loop. */
	void (*ready)(void *ctx, const struct err *e);
	void *ctx;
};

/* Starts the workers; config is copied, its texts are borrowed. Thread: loop. */
int node_new(sd_event *event, const struct node_config *config, struct node **ret,
	     struct err *e);
/* Ends the workers after what they have in hand. Thread: loop. */
void node_free(struct node *n);

/* Posting, see plugin/base/worker.h. -EAGAIN: too much waits already. Thread: any. */
int node_post_store(struct node *n, struct job *job);
void node_post_store_always(struct node *n, struct job *job);
void node_post_kernel(struct node *n, struct job *job);
void node_post_loop(struct node *n, struct job *job);

/* Nobody will speak of this endpoint again: as its Leave, which is repeated until the
 * database has it. Thread: any. */
void node_endpoint_lost(struct node *n, const char *endpoint);

/* Thread: store. */
struct desired *node_desired(struct node *n);
/* Registry deadlines may have changed. Thread: store. */
void node_arm_expiry(struct node *n);
/* Thread: kernel. */
struct actual *node_actual(struct node *n);

#endif
