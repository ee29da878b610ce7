// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Status as JSON. The document travels with its request: the store worker writes what is
 * wanted, the kernel worker adds what it finds, the loop sends it. It belongs to one
 * thread at a time.
 */
#include "plugin/control_internal.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "control"
#include "plugin/base/log.h"

#define NAMES_MAX 4096 /* between two looks at the status; the oldest go first */

int control_new(const struct control_config *config, struct control **ret, struct err *e)
{
	struct control *c = calloc(1, sizeof(*c));

	if (!c)
		return err_sys(e, -ENOMEM, "control");
	c->config = *config;
	*ret = c;
	return 0;
}

static void forget_name(struct control *c, struct network_name *n)
{
	HASH_DEL(c->names, n);
	free(n);
}

void control_free(struct control *c)
{
	struct network_name *n;
	struct network_name *next;

	if (!c)
		return;
	HASH_ITER (hh, c->names, n, next)
		forget_name(c, n);
	free(c);
}

void control_set_ready(struct control *c, bool ready)
{
	c->ready = ready;
}

void control_set_engine(struct control *c, const char *version, bool synced,
			const char *text)
{
	c->connected = version != NULL;
	c->synced = synced;
	(void)snprintf(c->engine_version, sizeof(c->engine_version), "%s",
		       version ? version : "");
	(void)snprintf(c->engine_text, sizeof(c->engine_text), "%s", text ? text : "");
}

void control_set_network_name(struct control *c, const char *id, const char *name)
{
	struct network_name *n;

	HASH_FIND_STR(c->names, id, n);
	if (!n) {
		n = calloc(1, sizeof(*n));
		if (!n || str_copy(n->id, sizeof(n->id), id) < 0) {
			free(n);
			return; /* the status shows the id instead */
		}
		HASH_ADD_STR(c->names, id, n);
		if (!MAP_ADDED(n)) {
			free(n);
			return;
		}
		if (HASH_COUNT(c->names) > NAMES_MAX)
			forget_name(c, c->names); /* the first is the oldest */
	}
	n->told = ++c->told;
	(void)snprintf(n->name, sizeof(n->name), "%s", name);
}

const char *control_network_name(void *ctx, const char *id)
{
	const struct control *c = ctx;
	const struct network_name *n;

	HASH_FIND_STR(c->names, id, n);
	return n ? n->name : "";
}

/* --- the status ------------------------------------------------------------------------
 */

/* A backend in the document that waits for its number of connections. */
struct counted {
	json_t *backend;    /* borrowed from the document */
	unsigned int first; /* of its counts, one for each address */
	unsigned int count;
};

struct status {
	struct job job;
	struct control *control;
	struct http_request *rq;
	uint64_t told; /* the last name when the status was asked for */
	json_t *root;
	json_t *networks;
	/* While one network is written: */
	json_t *services;
	json_t *ports;
	struct balancer_count *counts;
	unsigned int count_count;
	struct counted *counted;
	unsigned int counted_count;
};

static void status_free(struct status *s)
{
	json_decref(s->root);
	free(s->counts);
	free(s->counted);
	free(s);
}

static void set_text(json_t *object, const char *key, const char *text)
{
	json_t *value = json_string(text);

	/* Names of others may not be UTF-8. */
	(void)json_object_set_new(object, key, value ? value : json_string("?"));
}

static void append_addr(json_t *list, const struct addr *a)
{
	char text[ADDR_TEXT_SIZE];

	if (addr_is_set(a))
		(void)json_array_append_new(list, json_string(addr_format(a, text)));
}

static void append_cidr(json_t *list, const struct cidr *c)
{
	char text[CIDR_TEXT_SIZE];

	if (addr_is_set(&c->addr))
		(void)json_array_append_new(list, json_string(cidr_format(c, text)));
}

static json_t *add_list(json_t *object, const char *key)
{
	json_t *list = json_array();

	(void)json_object_set_new(object, key, list);
	return list;
}

/* Room for one more; false: no memory. */
static bool add_count(struct status *s, uint32_t mark, const struct addr *backend)
{
	struct balancer_count *counts;

	if (!addr_is_set(backend))
		return true;
	counts = realloc(s->counts, (s->count_count + 1) * sizeof(*counts));
	if (!counts)
		return false;
	s->counts = counts;
	counts[s->count_count++] = (struct balancer_count){mark, *backend, 0};
	return true;
}

static void count_later(struct status *s, json_t *backend, uint32_t mark,
			const struct registry_backend_info *info)
{
	struct counted *counted =
		realloc(s->counted, (s->counted_count + 1) * sizeof(*counted));
	unsigned int first = s->count_count;

	if (!counted)
		return;
	s->counted = counted;
	if (!add_count(s, mark, &info->addr4) || !add_count(s, mark, &info->addr6))
		return;
	counted[s->counted_count++] =
		(struct counted){backend, first, s->count_count - first};
}

static void write_backend(struct status *s, json_t *list, uint32_t mark,
			  const struct registry_backend_info *info)
{
	json_t *o = json_object();
	json_t *addresses = add_list(o, "address");

	append_addr(addresses, &info->addr4);
	append_addr(addresses, &info->addr6);
	set_text(o, "endpoint", info->endpoint);
	set_text(o, "container", info->container);
	set_text(o, "state", info->state);
	(void)json_object_set_new(o, "weight", json_integer(info->weight));
	(void)json_object_set_new(o, "connections", json_integer(0));
	(void)json_array_append_new(list, o);
	count_later(s, o, mark, info);
}

/* The ports that the service's backends publish, each once. */
static void write_service_ports(const struct status *s, json_t *o,
				const struct registry_service_info *info)
{
	json_t *out = add_list(o, "ports");
	json_t *errors = json_object_get(o, "errors");
	json_t *seen = json_object();
	json_t *port;
	size_t i;

	for (unsigned int b = 0; b < info->backend_count; b++) {
		json_array_foreach (json_object_get(s->ports, info->backends[b].endpoint),
				    i, port) {
			const char *text =
				json_string_value(json_object_get(port, "text"));
			json_t *error = json_object_get(port, "error");

			if (json_object_get(seen, text))
				continue;
			(void)json_object_set_new(seen, text, json_true());
			(void)json_array_append(error ? errors : out,
						error ? error
						      : json_object_get(port, "text"));
		}
	}
	json_decref(seen);
}

static void write_service(void *ctx, const struct registry_service_info *info)
{
	struct status *s = ctx;
	const struct lb_view *v = info->view;
	json_t *o = json_object();
	json_t *errors = add_list(o, "errors");
	json_t *vips = add_list(o, "vip");
	json_t *backends = add_list(o, "backends");

	set_text(o, "name", v->name);
	set_text(o, "project", v->project);
	(void)json_object_set_new(o, "mark", json_integer(v->mark));
	set_text(o, "mode", v->dnsrr ? "dnsrr" : "vip");
	set_text(o, "balancer", s->control->config.balancer);
	set_text(o, "scheduler", lb_scheduler_name(v->scheduler));
	set_text(o, "scheduler_wanted", info->scheduler_wanted);
	append_addr(vips, &v->vip4);
	append_addr(vips, &v->vip6);
	for (unsigned int i = 0; i < info->error_count; i++)
		(void)json_array_append_new(errors, json_string(info->errors[i]));
	for (unsigned int i = 0; i < info->backend_count; i++)
		write_backend(s, backends, v->mark, &info->backends[i]);
	write_service_ports(s, o, info);
	(void)json_array_append_new(s->services, o);
}

static const char *proto_name(uint8_t proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_SCTP:
		return "sctp";
	default:
		return "?";
	}
}

static void note_port(void *ctx, const char *endpoint, const struct ports_claim *claim,
		      const char *holder)
{
	struct status *s = ctx;
	json_t *list = json_object_get(s->ports, endpoint);
	json_t *o = json_object();
	char host[ADDR_TEXT_SIZE] = "*";
	char text[128];
	char error[256];

	if (addr_is_set(&claim->host_addr))
		(void)addr_format(&claim->host_addr, host);
	(void)snprintf(text, sizeof(text),
		       strchr(host, ':') ? "[%s]:%u->%u/%s" : "%s:%u->%u/%s", host,
		       claim->host_port, claim->port, proto_name(claim->proto));
	set_text(o, "text", text);
	if (holder) {
		(void)snprintf(
			error, sizeof(error),
			"port %s is held by endpoint %.12s, it will be taken over when "
			"that is gone",
			text, holder);
		set_text(o, "error", error);
	}
	if (!list) {
		list = json_array();
		(void)json_object_set_new(s->ports, endpoint, list);
	}
	(void)json_array_append_new(list, o);
}

static void write_network(void *ctx, const struct store_network *n,
			  unsigned int endpoints)
{
	struct status *s = ctx;
	struct desired *d = node_desired(s->control->config.node);
	json_t *o = json_object();
	json_t *pools = add_list(o, "pools");
	json_t *gateways = add_list(o, "gateway");
	json_t *ranges = add_list(o, "vip_range");

	set_text(o, "id", n->config.id);
	(void)json_object_set_new(o, "internal", json_boolean(n->config.internal));
	(void)json_object_set_new(o, "endpoints", json_integer(endpoints));
	for (unsigned int i = 0; i < n->config.subnet_count; i++) {
		append_cidr(pools, &n->config.subnets[i].pool);
		append_addr(gateways, &n->config.subnets[i].gateway);
		append_cidr(ranges, &n->config.subnets[i].vip_range);
	}
	s->services = add_list(o, "services");
	s->ports = json_object();
	desired_each_port(d, n->config.id, note_port, s);
	registry_list(desired_registry(d), n->config.id, write_service, s);
	json_decref(s->ports);
	(void)json_array_append_new(s->networks, o);
}

/* Writes the networks' names, and forgets those of others. One that was told since the
 * status was asked for may be of a network that is newer than the list. */
static void write_names(const struct status *s)
{
	struct control *c = s->control;
	struct network_name *n;
	struct network_name *next;
	json_t *known = json_object();
	json_t *network;
	size_t i;

	json_array_foreach (s->networks, i, network) {
		const char *id = json_string_value(json_object_get(network, "id"));

		set_text(network, "name", control_network_name(c, id));
		(void)json_object_set_new(known, id, json_true());
	}
	HASH_ITER (hh, c->names, n, next) {
		if (n->told <= s->told && !json_object_get(known, n->id))
			forget_name(c, n);
	}
	json_decref(known);
}

static void status_answer(struct job *job)
{
	struct status *s = CONTAINER_OF(job, struct status, job);
	const struct control *c = s->control;
	json_t *engine = json_object();
	json_t *balancer = json_object();
	char *text;

	if (job->err.code < 0) {
		http_reply_error(s->rq, 500, job->err.text);
		status_free(s);
		return;
	}
	(void)json_object_set_new(engine, "connected", json_boolean(c->connected));
	(void)json_object_set_new(engine, "synced", json_boolean(c->synced));
	set_text(engine, "api", c->engine_version);
	set_text(engine, "text", c->engine_text);
	(void)json_object_set_new(s->root, "engine", engine);
	set_text(balancer, "name", c->config.balancer);
	set_text(balancer, "why", c->config.balancer_why);
	(void)json_object_set_new(s->root, "balancer", balancer);
	write_names(s);
	text = json_dumps(s->root, JSON_COMPACT);
	if (text)
		http_reply(s->rq, 200, "application/json", text, strlen(text));
	else
		http_reply_error(s->rq, 500, "out of memory");
	status_free(s);
}

/* Thread: kernel. */
static void status_kernel(struct job *job)
{
	struct status *s = CONTAINER_OF(job, struct status, job);
	struct node *node = s->control->config.node;
	json_t *network;
	size_t i;

	json_array_foreach (s->networks, i, network) {
		const char *id = json_string_value(json_object_get(network, "id"));
		char error[sizeof(job->err.text)];
		unsigned int mtu;

		if (job->err.code < 0)
			break;
		mtu = actual_network_state(node_actual(node), id, error, sizeof(error));
		(void)json_object_set_new(network, "mtu", json_integer(mtu));
		set_text(network, "sandbox", mtu ? "ok" : error);
		actual_count(node_actual(node), id, s->counts, s->count_count);
	}
	for (unsigned int n = 0; n < s->counted_count; n++) {
		const struct counted *c = &s->counted[n];
		json_int_t total = 0;

		for (unsigned int k = 0; k < c->count; k++)
			total += s->counts[c->first + k].active;
		(void)json_object_set_new(c->backend, "connections", json_integer(total));
	}
	if (job->err.code == 0)
		(void)json_object_set_new(
			s->root, "repairs",
			json_integer(actual_repairs(node_actual(node))));
	s->job.run = status_answer;
	node_post_loop(node, &s->job);
}

/* Thread: store. */
static void status_store(struct job *job)
{
	struct status *s = CONTAINER_OF(job, struct status, job);

	s->networks = add_list(s->root, "networks");
	desired_each_network(node_desired(s->control->config.node), write_network, s);
	set_text(s->root, "version", FAIRLEAD_VERSION);
}

static void status_stored(struct job *job)
{
	struct status *s = CONTAINER_OF(job, struct status, job);

	s->job.run = status_kernel;
	s->job.done = NULL;
	node_post_kernel(s->control->config.node, &s->job);
}

static void status_start(struct control *c, struct http_request *rq)
{
	struct status *s = calloc(1, sizeof(*s));

	if (!s || !(s->root = json_object())) {
		free(s);
		http_reply_error(rq, 500, "out of memory");
		return;
	}
	s->control = c;
	s->told = c->told;
	s->rq = rq;
	s->job.run = status_store;
	s->job.done = status_stored;
	if (node_post_store(c->config.node, &s->job) < 0) {
		http_reply_error(rq, 503, "too many requests are waiting");
		status_free(s);
	}
}

static void reply_text(struct http_request *rq, unsigned int status, const char *text)
{
	char *copy = strdup(text);

	if (copy)
		http_reply(rq, status, "text/plain", copy, strlen(text));
	else
		http_reply_error(rq, 500, "out of memory");
}

void control_handle(void *ctx, struct http_request *rq)
{
	struct control *c = ctx;
	const char *path = http_request_path(rq);

	if (strcmp(http_request_method(rq), "GET"))
		http_reply_error(rq, 405, "GET is the only method here");
	else if (!strcmp(path, "/v1/status"))
		status_start(c, rq);
	else if (!strcmp(path, "/v1/pools"))
		control_pools(c, rq);
	else if (!strcmp(path, "/metrics"))
		control_metrics(c, rq);
	else if (!strcmp(path, "/healthz"))
		reply_text(rq, 200, "ok\n");
	else if (!strcmp(path, "/readyz"))
		reply_text(rq, c->ready ? 200 : 503, c->ready ? "ready\n" : "starting\n");
	else
		http_reply_error(rq, 404,
				 "no such page: try /v1/status, /v1/pools, /metrics, "
				 "/healthz or /readyz");
}
