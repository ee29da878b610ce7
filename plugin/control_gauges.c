// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The pages that show gauges: pools as JSON, and everything as metrics. The picture is
 * taken by the store worker; for the metrics the kernel worker adds its repairs; the loop
 * writes the page.
 */
#include "plugin/control_internal.h"

#include "plugin/base/mem.h"
#include "plugin/gauges.h"
#include "plugin/metrics.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

/* One request on its way through the threads. */
struct look {
	struct job job;
	struct control *control;
	struct http_request *rq;
	void (*answer)(struct look *l);
	bool repairs_wanted;
	unsigned int repairs;
	struct gauges gauges;
};

static void look_free(struct look *l)
{
	gauges_fini(&l->gauges);
	free(l);
}

static void look_answer(struct job *job)
{
	struct look *l = CONTAINER_OF(job, struct look, job);

	if (job->err.code < 0)
		http_reply_error(l->rq, 500, job->err.text);
	else
		l->answer(l);
	look_free(l);
}

/* Thread: kernel. */
static void look_kernel(struct job *job)
{
	struct look *l = CONTAINER_OF(job, struct look, job);
	struct node *node = l->control->config.node;

	if (job->err.code == 0)
		l->repairs = actual_repairs(node_actual(node));
	l->job.run = look_answer;
	node_post_loop(node, &l->job);
}

/* Thread: store. */
static void look_store(struct job *job)
{
	struct look *l = CONTAINER_OF(job, struct look, job);

	(void)gauges_collect(node_desired(l->control->config.node), &l->gauges,
			     &job->err); /* which the answer tells */
}

static void look_stored(struct job *job)
{
	struct look *l = CONTAINER_OF(job, struct look, job);
	struct node *node = l->control->config.node;

	l->job.done = NULL;
	l->job.run = l->repairs_wanted ? look_kernel : look_answer;
	if (l->repairs_wanted)
		node_post_kernel(node, &l->job);
	else
		node_post_loop(node, &l->job);
}

static void look_start(struct control *c, struct http_request *rq,
		       void (*answer)(struct look *l), bool repairs_wanted)
{
	struct look *l = calloc(1, sizeof(*l));

	if (!l) {
		http_reply_error(rq, 500, "out of memory");
		return;
	}
	l->control = c;
	l->rq = rq;
	l->answer = answer;
	l->repairs_wanted = repairs_wanted;
	l->job.run = look_store;
	l->job.done = look_stored;
	if (node_post_store(c->config.node, &l->job) < 0) {
		http_reply_error(rq, 503, "too many requests are waiting");
		look_free(l);
	}
}

/* --- /v1/pools --------------------------------------------------------------------- */

/* JSON has no integers of 64 bits without a sign: the largest are a little off. */
static void set_number(json_t *object, const char *key, uint64_t value)
{
	(void)json_object_set_new(object, key,
				  value <= INT64_MAX ? json_integer((json_int_t)value)
						     : json_real((double)value));
}

static void set_text(json_t *object, const char *key, const char *text)
{
	json_t *value = json_string(text);

	/* Names of others may not be UTF-8. */
	(void)json_object_set_new(object, key, value ? value : json_string("?"));
}

static void set_cidr(json_t *object, const char *key, const struct cidr *c)
{
	char text[CIDR_TEXT_SIZE] = "";

	if (addr_is_set(&c->addr))
		(void)cidr_format(c, text);
	set_text(object, key, text);
}

static json_t *pool_json(struct control *c, const struct gauges_pool *p)
{
	const struct registry_vips *vips = gauges_pool_vips(p);
	const char *network = p->network ? p->network->id : "";
	json_t *o = json_object();

	set_text(o, "id", p->id);
	set_text(o, "space", p->space);
	set_cidr(o, "pool", &p->pool);
	set_text(o, "sub_pool", p->sub_pool);
	set_text(o, "network", network);
	set_text(o, "network_name", control_network_name(c, network));
	set_number(o, "capacity", p->capacity);
	set_number(o, "used", p->used);
	set_number(o, "free", gauges_pool_free(p));
	set_cidr(o, "vip_range", &p->vip_range);
	if (vips) {
		json_t *v = json_object();

		set_number(v, "capacity", vips->capacity);
		set_number(v, "used", vips->used);
		set_number(v, "kept", vips->kept);
		(void)json_object_set_new(o, "vips", v);
	}
	return o;
}

static void answer_pools(struct look *l)
{
	json_t *root = json_object();
	json_t *list = json_array();
	char *text;

	for (unsigned int i = 0; i < l->gauges.pool_count; i++)
		(void)json_array_append_new(list,
					    pool_json(l->control, &l->gauges.pools[i]));
	(void)json_object_set_new(root, "pools", list);
	text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (text)
		http_reply(l->rq, 200, "application/json", text, strlen(text));
	else
		http_reply_error(l->rq, 500, "out of memory");
}

void control_pools(struct control *c, struct http_request *rq)
{
	look_start(c, rq, answer_pools, false);
}

/* --- /metrics ---------------------------------------------------------------------- */

static void answer_metrics(struct look *l)
{
	const struct control *c = l->control;
	const struct metrics_state state = {
		.counters = c->config.metrics,
		.gauges = &l->gauges,
		.balancer = c->config.balancer,
		.connected = c->connected,
		.synced = c->synced,
		.repairs = l->repairs,
		.network_name = control_network_name,
		.ctx = l->control,
	};
	size_t len;
	char *text = metrics_print(&state, &len);

	if (text)
		http_reply(l->rq, 200, METRICS_CONTENT_TYPE, text, len);
	else
		http_reply_error(l->rq, 500, "out of memory");
}

void control_metrics(struct control *c, struct http_request *rq)
{
	look_start(c, rq, answer_metrics, true);
}
