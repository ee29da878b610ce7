// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Threads and messages. The kernel worker is started first, so that the store worker
 * can tell it what it finds in the database; since queues keep their order, whatever
 * Docker asks later is done on top of that.
 */
#include "plugin/node.h"

#include "plugin/base/clock.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"
#include "plugin/sweep.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define LOG_MODULE "node"
#include "plugin/base/log.h"

#define STORE_LIMIT	  4096 /* requests that may wait; Docker sends a few at once */
#define KERNEL_LIMIT	  4096
#define LOOP_LIMIT	  65536
#define TIMER_ACCURACY_US 1000	 /* 0 would mean a quarter of a second */
#define RETRY_MS	  1000UL /* after the database has failed */

static_assert(ACTUAL_KEY_SIZE == STORE_KEY_SIZE, "a sandbox key fits everywhere");

struct node {
	struct node_config config;
	struct mailbox *loop;
	struct worker *store;
	struct worker *kernel;
	struct desired *desired;     /* Thread: store */
	struct sweep *sweep;	     /* Thread: store */
	sd_event_source *expiry;     /* Thread: store */
	uint64_t expiry_pause_ms;    /* not before; Thread: store */
	sd_event_source *retry;	     /* of lost; Thread: store */
	TAILQ_HEAD(, lost_job) lost; /* they wait; Thread: store */
	struct actual *actual;	     /* Thread: kernel */
	struct names *names;	     /* Thread: loop */
};

/* --- changes: store -> kernel and loop ---------------------------------------------- */

struct changes_job {
	struct job job;
	struct node *node;
	struct change_list list;
};

static void changes_free(struct changes_job *cj)
{
	change_list_free(&cj->list);
	free(cj);
}

static void changes_to_names(struct job *job)
{
	struct changes_job *cj = CONTAINER_OF(job, struct changes_job, job);
	struct names *names = cj->node->names;
	struct change *c;

	TAILQ_FOREACH (c, &cj->list, link) {
		switch (c->type) {
		case CHANGE_SERVICE:
			names_service(names, c->mark, c->view);
			break;
		case CHANGE_CLIENT:
			names_client(names, &c->client);
			break;
		case CHANGE_CLIENT_GONE:
			names_client_gone(names, c->client.endpoint);
			break;
		case CHANGE_PORT:
			break;
		}
	}
	changes_free(cj);
}

/* The kernel first: a name that resolves shall lead somewhere. */
static void changes_to_kernel(struct job *job)
{
	struct changes_job *cj = CONTAINER_OF(job, struct changes_job, job);
	struct actual *actual = cj->node->actual;
	struct change *c;

	TAILQ_FOREACH (c, &cj->list, link) {
		if (c->type == CHANGE_SERVICE)
			actual_service(actual, c->mark, c->view);
		else if (c->type == CHANGE_PORT)
			actual_port(actual, c->has_old ? &c->old : NULL,
				    c->has_new ? &c->new_port : NULL);
	}
	cj->job.run = changes_to_names;
	node_post_loop(cj->node, &cj->job);
}

static void on_changes(void *ctx, struct change_list *list)
{
	struct changes_job *cj = calloc(1, sizeof(*cj));

	if (!cj) {
		log_error("no memory to pass changes on");
		change_list_free(list);
		return;
	}
	cj->node = ctx;
	cj->job.run = changes_to_kernel;
	TAILQ_INIT(&cj->list);
	TAILQ_CONCAT(&cj->list, list, link);
	node_post_kernel(cj->node, &cj->job);
}

/* --- tasks and lost endpoints: kernel -> loop, store -----------------------------------
 */

struct task_job {
	struct job job;
	struct node *node;
	int nsfd;
	struct dns_sockets sockets;
	char key[ACTUAL_KEY_SIZE];
};

static void task_added(struct job *job)
{
	struct task_job *tj = CONTAINER_OF(job, struct task_job, job);

	names_task_added(tj->node->names, tj->key, tj->nsfd, &tj->sockets);
	free(tj);
}

static void task_removed(struct job *job)
{
	struct task_job *tj = CONTAINER_OF(job, struct task_job, job);

	names_task_removed(tj->node->names, tj->key);
	free(tj);
}

static void on_task_added(void *ctx, const char *key, int nsfd,
			  struct dns_sockets *sockets)
{
	struct task_job *tj = calloc(1, sizeof(*tj));

	if (!tj) {
		log_error("no memory to serve names to %s", key);
		(void)close(nsfd);
		dns_sockets_close(sockets);
		return;
	}
	tj->node = ctx;
	tj->job.run = task_added;
	tj->nsfd = nsfd;
	tj->sockets = *sockets;
	(void)str_copy(tj->key, sizeof(tj->key), key); /* as long as its source */
	node_post_loop(tj->node, &tj->job);
}

static void on_task_removed(void *ctx, const char *key)
{
	struct task_job *tj = calloc(1, sizeof(*tj));

	if (!tj) {
		log_error("no memory to end the names of %s", key);
		return;
	}
	tj->node = ctx;
	tj->job.run = task_removed;
	(void)str_copy(tj->key, sizeof(tj->key), key);
	node_post_loop(tj->node, &tj->job);
}

/* Docker will not speak of it again: this is tried until it is done. */
struct lost_job {
	struct job job;
	TAILQ_ENTRY(lost_job) link;
	struct node *node;
	bool told; /* the error */
	char endpoint[NETWORK_ID_SIZE];
};

static void lost_run(struct job *job)
{
	struct lost_job *lj = CONTAINER_OF(job, struct lost_job, job);
	struct desired *d = lj->node->desired;
	int r = desired_attempt_begin(d, &job->err);

	if (r == 0) {
		r = desired_endpoint_leave(d, lj->endpoint, &job->err);
		r = desired_attempt_end(d, r, &job->err);
	}
	job->err.code = r;
}

/* Where the kernel's side does not know it yet. */
static void lost_kernel(struct job *job)
{
	struct lost_job *lj = CONTAINER_OF(job, struct lost_job, job);

	if (job->err.code == 0)
		actual_endpoint_leave(lj->node->actual, lj->endpoint);
	free(lj);
}

static void lost_done(struct job *job)
{
	struct lost_job *lj = CONTAINER_OF(job, struct lost_job, job);
	struct node *n = lj->node;

	if (job->err.code == -ECANCELED) {
		free(lj);
		return;
	}
	if (job->err.code == 0) {
		job->run = lost_kernel;
		job->done = NULL;
		node_post_kernel(n, job);
		return;
	}
	if (!lj->told)
		log_error("lost endpoint ep=%.12s, trying again: %s", lj->endpoint,
			  job->err.text);
	lj->told = true;
	if (TAILQ_EMPTY(&n->lost)) {
		(void)sd_event_source_set_time_relative(n->retry, RETRY_MS * 1000);
		(void)sd_event_source_set_enabled(n->retry, SD_EVENT_ONESHOT);
	}
	TAILQ_INSERT_TAIL(&n->lost, lj, link);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct node *n = userdata;
	struct lost_job *lj;

	(void)source;
	(void)usec;
	while ((lj = TAILQ_FIRST(&n->lost))) {
		TAILQ_REMOVE(&n->lost, lj, link);
		lj->job.err = (struct err){0};
		node_post_store_always(n, &lj->job);
	}
	return 0;
}

void node_endpoint_lost(struct node *n, const char *endpoint)
{
	struct lost_job *lj = calloc(1, sizeof(*lj));

	if (!lj) {
		log_error("no memory to forget ep=%.12s", endpoint);
		return;
	}
	lj->node = n;
	lj->job.run = lost_run;
	lj->job.done = lost_done;
	(void)str_copy(lj->endpoint, sizeof(lj->endpoint), endpoint);
	node_post_store_always(n, &lj->job);
}

static void on_endpoint_lost(void *ctx, const char *endpoint)
{
	node_endpoint_lost(ctx, endpoint);
}

/* --- start: what the database knows
 * ------------------------------------------------------ */

struct restore_network {
	TAILQ_ENTRY(restore_network) link;
	struct network_config config;
};

struct restore_endpoint {
	TAILQ_ENTRY(restore_endpoint) link;
	struct actual_endpoint endpoint;
};

struct restore {
	struct job networks_job;
	struct job endpoints_job;
	struct job ready_job;
	struct node *node;
	struct err err;
	TAILQ_HEAD(, restore_network) networks;
	TAILQ_HEAD(, restore_endpoint) endpoints;
};

static void restore_ready(struct job *job)
{
	struct restore *rs = CONTAINER_OF(job, struct restore, ready_job);
	struct node *n = rs->node;

	if (job->err.code == 0)
		n->config.ready(n->config.ctx, &rs->err);
	free(rs);
}

static void restore_endpoints(struct job *job)
{
	struct restore *rs = CONTAINER_OF(job, struct restore, endpoints_job);
	struct restore_endpoint *re;
	unsigned int count = 0;

	if (actual_start(rs->node->actual, &rs->err) < 0)
		log_error("%s", rs->err.text);
	while ((re = TAILQ_FIRST(&rs->endpoints))) {
		actual_endpoint_adopt(rs->node->actual, &re->endpoint);
		TAILQ_REMOVE(&rs->endpoints, re, link);
		free(re);
		count++;
	}
	log_debug("endpoints known at start: %u", count);
	rs->ready_job.run = restore_ready;
	node_post_loop(rs->node, &rs->ready_job);
}

static void restore_networks(struct job *job)
{
	struct restore *rs = CONTAINER_OF(job, struct restore, networks_job);
	struct restore_network *rn;

	while ((rn = TAILQ_FIRST(&rs->networks))) {
		struct err e = {0};

		if (actual_network_add(rs->node->actual, &rn->config, &e) < 0)
			log_error("%s", e.text);
		TAILQ_REMOVE(&rs->networks, rn, link);
		free(rn);
	}
}

static void collect_network(void *ctx, const struct network_config *c)
{
	struct restore *rs = ctx;
	struct restore_network *rn = calloc(1, sizeof(*rn));

	if (!rn) {
		log_error("no memory for the network net=%.12s", c->id);
		return;
	}
	rn->config = *c;
	TAILQ_INSERT_TAIL(&rs->networks, rn, link);
}

static void collect_endpoint(void *ctx, const struct actual_endpoint *ep)
{
	struct restore *rs = ctx;
	struct restore_endpoint *re = calloc(1, sizeof(*re));

	if (!re) {
		log_error("no memory for the endpoint ep=%.12s", ep->base.id);
		return;
	}
	re->endpoint = *ep;
	TAILQ_INSERT_TAIL(&rs->endpoints, re, link);
}

/* A batch of its own, outside of the mailbox. */
static int expire(struct node *n)
{
	struct desired *d = n->desired;
	struct err e = {0};
	int r = desired_batch_begin(d, &e);

	if (r < 0) {
		log_error("%s", e.text);
		return r;
	}
	r = desired_attempt_begin(d, &e);
	if (r == 0)
		r = desired_attempt_end(
			d, registry_expire(desired_registry(d), clock_ms(), &e), &e);
	if (r < 0)
		log_error("%s", e.text);
	return desired_batch_end(d, &e) < 0 ? -EIO : r; /* logs */
}

static int on_expiry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct node *n = userdata;
	int r = expire(n);

	(void)source;
	(void)usec;
	/* What is due stays due: without a pause this would go round and round. */
	n->expiry_pause_ms = r < 0 ? clock_ms() + RETRY_MS : 0;
	node_arm_expiry(n);
	return 0;
}

void node_arm_expiry(struct node *n)
{
	uint64_t at = registry_deadline(desired_registry(n->desired));

	if (at == UINT64_MAX) {
		(void)sd_event_source_set_enabled(n->expiry, SD_EVENT_OFF);
		return;
	}
	if (at < n->expiry_pause_ms)
		at = n->expiry_pause_ms;
	(void)sd_event_source_set_time(n->expiry, at * 1000);
	(void)sd_event_source_set_enabled(n->expiry, SD_EVENT_ONESHOT);
}

static int store_start(void *ctx, sd_event *event, struct err *e)
{
	struct node *n = ctx;
	const struct desired_visitor visitor_template = {collect_network,
							 collect_endpoint, NULL};
	struct desired_visitor visitor = visitor_template;
	struct restore *rs;
	int r = desired_new(&n->config.desired, &n->desired, e);

	if (r < 0)
		return r;
	r = sd_event_add_time(event, &n->expiry, CLOCK_MONOTONIC, UINT64_MAX,
			      TIMER_ACCURACY_US, on_expiry, n);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &n->retry, CLOCK_MONOTONIC, 0,
					       TIMER_ACCURACY_US, on_retry, n);
	if (r < 0)
		return err_sys(e, r, "timer");
	(void)sd_event_source_set_enabled(n->retry, SD_EVENT_OFF);
	r = sweep_new(event, n, n->config.sweep_ms, &n->sweep, e);
	if (r < 0)
		return r;
	rs = calloc(1, sizeof(*rs));
	if (!rs)
		return err_sys(e, -ENOMEM, "start");
	rs->node = n;
	TAILQ_INIT(&rs->networks);
	TAILQ_INIT(&rs->endpoints);
	visitor.ctx = rs;
	desired_visit(n->desired, &visitor);
	rs->networks_job.run = restore_networks;
	rs->endpoints_job.run = restore_endpoints;
	/* The services first: a sandbox that is there already is compared with them. */
	desired_flush_changes(n->desired);
	node_post_kernel(n, &rs->networks_job);
	node_post_kernel(n, &rs->endpoints_job);
	node_arm_expiry(n);
	return 0;
}

static void store_stop(void *ctx)
{
	struct node *n = ctx;

	struct lost_job *lj;

	while ((lj = TAILQ_FIRST(&n->lost))) {
		TAILQ_REMOVE(&n->lost, lj, link);
		free(lj);
	}
	sweep_free(TAKE(n->sweep));
	sd_event_source_disable_unref(TAKE(n->retry));
	sd_event_source_disable_unref(TAKE(n->expiry));
	desired_free(TAKE(n->desired));
}

static int store_begin(void *ctx, struct err *e)
{
	struct node *n = ctx;

	return desired_batch_begin(n->desired, e);
}

static int store_end(void *ctx, struct err *e)
{
	struct node *n = ctx;

	return desired_batch_end(n->desired, e);
}

static int kernel_start(void *ctx, sd_event *event, struct err *e)
{
	struct node *n = ctx;
	const struct actual_config config = {
		.run_dir = n->config.run_dir,
		.balancer = n->config.balancer,
		.dns = n->config.dns,
		.reconcile_s = n->config.reconcile_s,
		.hooks = {on_endpoint_lost, on_task_added, on_task_removed, n},
	};

	return actual_new(event, &config, &n->actual, e);
}

static void kernel_stop(void *ctx)
{
	struct node *n = ctx;

	actual_free(TAKE(n->actual));
}

int node_new(sd_event *event, const struct node_config *config, struct node **ret,
	     struct err *e)
{
	static const struct worker_ops kernel = {.name = "kernel",
						 .start = kernel_start,
						 .stop = kernel_stop,
						 .limit = KERNEL_LIMIT};
	static const struct worker_ops store = {.name = "store",
						.start = store_start,
						.stop = store_stop,
						.batch = {store_begin, store_end, NULL},
						.limit = STORE_LIMIT};
	struct node *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return err_sys(e, -ENOMEM, "node");
	TAILQ_INIT(&n->lost);
	n->config = *config;
	n->config.desired.changes = on_changes;
	n->config.desired.ctx = n;
	r = names_new(event, &n->names, e);
	if (r == 0)
		r = mailbox_new(event, LOOP_LIMIT, NULL, &n->loop, e);
	if (r == 0)
		r = worker_new(&kernel, n, &n->kernel, e);
	if (r == 0)
		r = worker_new(&store, n, &n->store, e);
	if (r < 0) {
		node_free(n);
		return r;
	}
	*ret = n;
	return 0;
}

void node_free(struct node *n)
{
	if (!n)
		return;
	/* Both threads post to the other's queue: none is freed before both have ended.
	 */
	worker_stop(n->store);
	worker_stop(n->kernel);
	worker_free(n->store);
	worker_free(n->kernel);
	mailbox_free(n->loop);
	names_free(n->names);
	free(n);
}

int node_post_store(struct node *n, struct job *job)
{
	return mailbox_post(worker_mailbox(n->store), job);
}

void node_post_store_always(struct node *n, struct job *job)
{
	mailbox_post_always(worker_mailbox(n->store), job);
}

void node_post_kernel(struct node *n, struct job *job)
{
	mailbox_post_always(worker_mailbox(n->kernel), job);
}

void node_post_loop(struct node *n, struct job *job)
{
	mailbox_post_always(n->loop, job);
}

struct desired *node_desired(struct node *n)
{
	return n->desired;
}

struct actual *node_actual(struct node *n)
{
	return n->actual;
}
