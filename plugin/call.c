// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One struct call goes from thread to thread with its request. Rules that every method
 * follows (moby pkg/plugins, libnetwork drivers/remote): handled errors are HTTP 200
 * with both error keys; unknown ids on the way out are success; a repeated call is fine.
 */
#include "plugin/call.h"

#include "ipam/pool.h"
#include "plugin/api_ipam.h"
#include "plugin/api_net.h"
#include "plugin/base/clock.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "api"
#include "plugin/base/log.h"

#define JSON_TYPE   "application/vnd.docker.plugins.v1.2+json"
#define LINK_PREFIX "eth" /* of the interface's name in the container */

struct call {
	struct job job;
	const struct calls *calls;
	const struct method *method;
	struct http_request *rq; /* NULL once answered */
	uint64_t since_us;	 /* when it came */
	struct taken taken;	 /* for the choice of a pool */
	bool checked;		 /* Docker will look at the pool that is chosen: */
	bool all_routes;	 /* as in calls, when it came */
	union {
		struct api_network_create network_create;
		struct api_network_allocate allocate;
		struct api_gw_check gw_check;
		struct api_network_id network;
		struct api_endpoint_create endpoint_create;
		struct api_endpoint_id endpoint;
		struct api_join join;
		struct api_external external;
		struct api_discover discover;
		struct api_pool_request pool_request;
		struct api_pool_release pool_release;
		struct api_address_request address_request;
		struct api_address_release address_release;
	} in;
	union {
		struct desired_network made;
		struct network_config gone;
		struct desired_created created;
		struct {
			struct desired_joined desired;
			char link[IFNAMSIZ];
		} joined;
		struct ipam_pool_answer pool;
		struct cidr address;
	} out;
};

struct method {
	const char *path; /* "/NetworkDriver.Join" */
	/* NULL: takes no arguments. */
	int (*decode)(struct call *c, const char *body, size_t len, struct err *e);
	void (*free)(struct call *c); /* what decode made */
	/* Takes what the loop knows; 1: look comes before store. Thread: loop */
	int (*prepare)(struct call *c, struct err *e);
	int (*look)(struct call *c, struct err *e);   /* Thread: kernel */
	int (*store)(struct call *c, struct err *e);  /* Thread: store */
	int (*kernel)(struct call *c, struct err *e); /* Thread: kernel */
	int (*undo)(struct call *c, struct err *e);   /* Thread: store, kernel failed */
	char *(*encode)(struct call *c, size_t *ret_len); /* NULL: {} */
	bool registers; /* sent when dockerd (re)registers the driver */
};

static struct desired *store_of(struct call *c)
{
	return node_desired(c->calls->node);
}

static struct actual *kernel_of(struct call *c)
{
	return node_actual(c->calls->node);
}

static const char *method_name(const struct call *c)
{
	return c->method->path + 1;
}

/* --- networks ---------------------------------------------------------------------- */

static int decode_network_create(struct call *c, const char *body, size_t len,
				 struct err *e)
{
	return api_net_decode_network_create(body, len, &c->in.network_create, e);
}

static void free_network_create(struct call *c)
{
	api_network_create_free(&c->in.network_create);
}

static int store_network_create(struct call *c, struct err *e)
{
	return desired_network_create(store_of(c), &c->in.network_create, &c->out.made,
				      e);
}

static int kernel_network_create(struct call *c, struct err *e)
{
	const struct desired_network *made = &c->out.made;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < made->ghost_count; i++)
		r = actual_network_del(kernel_of(c), &made->ghosts[i], e);
	return r < 0 ? r : actual_network_add(kernel_of(c), &made->config, e);
}

static int undo_network_create(struct call *c, struct err *e)
{
	struct network_config gone;

	/* One that lives is repaired, its containers stay. */
	if (c->out.made.known)
		return 0;
	return desired_network_delete(store_of(c), c->out.made.config.id, &gone, e);
}

static int decode_network_id(struct call *c, const char *body, size_t len, struct err *e)
{
	return api_net_decode_network_id(method_name(c), body, len, &c->in.network, e);
}

static int store_network_delete(struct call *c, struct err *e)
{
	return desired_network_delete(store_of(c), c->in.network.network, &c->out.gone,
				      e);
}

static int kernel_network_delete(struct call *c, struct err *e)
{
	return actual_network_del(kernel_of(c), &c->out.gone, e);
}

static int decode_allocate(struct call *c, const char *body, size_t len, struct err *e)
{
	return api_net_decode_network_allocate(body, len, &c->in.allocate, e);
}

static void free_allocate(struct call *c)
{
	api_network_allocate_free(&c->in.allocate);
}

/* What is returned replaces the user's options on every node: they are all kept. */
static char *encode_allocate(struct call *c, size_t *ret_len)
{
	return api_net_encode_allocate(&c->in.allocate.options, ret_len);
}

static int decode_gw_check(struct call *c, const char *body, size_t len, struct err *e)
{
	return api_net_decode_gw_check(body, len, &c->in.gw_check, e);
}

static void free_gw_check(struct call *c)
{
	api_gw_check_free(&c->in.gw_check);
}

/* Every network has a gateway address: the sandbox answers ARP and ping with it. */
static char *encode_gw_check(struct call *c, size_t *ret_len)
{
	(void)c;
	return api_net_encode_gw_check(false, false, ret_len);
}

/* --- endpoints --------------------------------------------------------------------- */

static int decode_endpoint_create(struct call *c, const char *body, size_t len,
				  struct err *e)
{
	return api_net_decode_endpoint_create(body, len, &c->in.endpoint_create, e);
}

static void free_endpoint_create(struct call *c)
{
	api_endpoint_create_free(&c->in.endpoint_create);
}

static int store_endpoint_create(struct call *c, struct err *e)
{
	return desired_endpoint_create(store_of(c), &c->in.endpoint_create,
				       &c->out.created, e);
}

static int kernel_endpoint_create(struct call *c, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < DESIRED_GHOSTS_MAX; i++)
		if (c->out.created.ghosts[i][0])
			r = actual_endpoint_del(kernel_of(c),
						c->in.endpoint_create.network,
						c->out.created.ghosts[i], e);
	return r;
}

static int undo_endpoint_create(struct call *c, struct err *e)
{
	return desired_endpoint_delete(store_of(c), c->in.endpoint_create.endpoint, e);
}

static char *encode_endpoint_create(struct call *c, size_t *ret_len)
{
	return api_net_encode_endpoint(c->out.created.ours ? c->out.created.mac : NULL,
				       ret_len);
}

static int decode_join(struct call *c, const char *body, size_t len, struct err *e)
{
	return api_net_decode_join(body, len, &c->in.join, e);
}

static void free_join(struct call *c)
{
	api_join_free(&c->in.join);
}

static int store_join(struct call *c, struct err *e)
{
	return desired_endpoint_join(store_of(c), &c->in.join, &c->out.joined.desired, e);
}

static int kernel_join(struct call *c, struct err *e)
{
	return actual_endpoint_join(kernel_of(c), &c->out.joined.desired.endpoint,
				    c->out.joined.link, e);
}

static int undo_join(struct call *c, struct err *e)
{
	return desired_endpoint_leave(store_of(c), c->in.join.endpoint, e);
}

static char *encode_join(struct call *c, size_t *ret_len)
{
	const struct desired_joined *joined = &c->out.joined.desired;
	const struct api_route vips6 = {joined->vips6, joined->vips6_via};
	const struct api_join_answer answer = {
		.src_name = c->out.joined.link,
		.dst_prefix = LINK_PREFIX,
		.gateway4 = joined->gateway4,
		.gateway6 = joined->gateway6,
		.routes = &vips6,
		.route_count = addr_is_set(&vips6.destination.addr),
		/* The way out is ours: no second interface on docker_gwbridge. */
		.disable_gateway_service = true,
	};

	return api_net_encode_join(&answer, ret_len);
}

static int decode_endpoint_id(struct call *c, const char *body, size_t len, struct err *e)
{
	return api_net_decode_endpoint_id(method_name(c), body, len, &c->in.endpoint, e);
}

static int store_leave(struct call *c, struct err *e)
{
	return desired_endpoint_leave(store_of(c), c->in.endpoint.endpoint, e);
}

static int kernel_leave(struct call *c, struct err *e)
{
	(void)e;
	actual_endpoint_leave(kernel_of(c), c->in.endpoint.endpoint);
	return 0;
}

static int store_endpoint_delete(struct call *c, struct err *e)
{
	return desired_endpoint_delete(store_of(c), c->in.endpoint.endpoint, e);
}

static int kernel_endpoint_delete(struct call *c, struct err *e)
{
	return actual_endpoint_del(kernel_of(c), c->in.endpoint.network,
				   c->in.endpoint.endpoint, e);
}

static char *encode_oper_info(struct call *c, size_t *ret_len)
{
	(void)c;
	return api_net_encode_oper_info(ret_len);
}

static int decode_external(struct call *c, const char *body, size_t len, struct err *e)
{
	return api_net_decode_external(body, len, &c->in.external, e);
}

static void free_external(struct call *c)
{
	api_external_free(&c->in.external);
}

static int store_publish(struct call *c, struct err *e)
{
	return desired_publish(store_of(c), &c->in.external, e);
}

static int store_unpublish(struct call *c, struct err *e)
{
	return desired_unpublish(store_of(c), c->in.endpoint.endpoint, e);
}

/* The port changes were posted before: when this runs they are done. */
static int kernel_barrier(struct call *c, struct err *e)
{
	(void)c;
	(void)e;
	return 0;
}

static int decode_discover(struct call *c, const char *body, size_t len, struct err *e)
{
	return api_net_decode_discover(method_name(c), body, len, &c->in.discover, e);
}

/* --- addresses ---------------------------------------------------------------------- */

static char *encode_ipam_capabilities(struct call *c, size_t *ret_len)
{
	(void)c;
	return api_ipam_encode_capabilities(false, true, ret_len);
}

/* dockerd has started: it will ask again for what it knows. */
static int store_ipam_capabilities(struct call *c, struct err *e)
{
	return ipam_replay_begin(desired_ipam(store_of(c)), clock_ms(), e);
}

static char *encode_spaces(struct call *c, size_t *ret_len)
{
	(void)c;
	return api_ipam_encode_spaces(IPAM_SPACE_LOCAL, IPAM_SPACE_GLOBAL, ret_len);
}

static int decode_pool_request(struct call *c, const char *body, size_t len,
			       struct err *e)
{
	return api_ipam_decode_pool_request(body, len, &c->in.pool_request, e);
}

static void free_pool_request(struct call *c)
{
	api_pool_request_free(&c->in.pool_request);
	taken_clear(&c->taken);
}

/* The default pools that a pool is to be chosen from, or NULL: it is given. */
static const struct cidr *pools_to_choose_from(const struct call *c)
{
	const struct api_pool_request *in = &c->in.pool_request;
	const struct ipam_config *config = c->calls->ipam;
	struct pool_wish w;

	if (pool_wish_parse(in->pool, in->sub_pool, in->v6, &w, NULL) < 0 || !w.choose)
		return NULL; /* what is bad is told by the store */
	return w.pool.addr.family == AF_INET6 ? &config->default_pools6
					      : &config->default_pools4;
}

static int prepare_pool_request(struct call *c, struct err *e)
{
	const struct cidr *within = pools_to_choose_from(c);

	if (!within)
		return 0;
	/* Docker looks for routes only there. */
	c->checked = !c->in.pool_request.pool[0] &&
		     !strcmp(c->in.pool_request.space, IPAM_SPACE_LOCAL);
	c->all_routes = c->calls->all_routes;
	if (taken_copy(&c->taken, c->calls->networks, within) < 0)
		return err_sys(e, -ENOMEM, "networks of this host");
	return 1;
}

struct route_notes {
	struct call *call;
	int result;
};

/*
 * Private prefixes are 10.0.0.0/8, fc00::/7 or longer. A shorter route is one of the
 * pieces that VPNs make of the default route and says nothing of who uses an address;
 * but where Docker refuses each pool that it overlaps, it would ask for all of them.
 */
static bool is_use(const struct call *c, const struct link_route_use *use)
{
	bool v4 = use->dst.addr.family == AF_INET;

	if (use->own || use->dst.prefix >= (v4 ? 8 : 7))
		return true;
	return v4 && c->checked && use->main && (use->on_link || c->all_routes);
}

static void note_route(void *ctx, const struct link_route_use *use)
{
	struct route_notes *notes = ctx;
	char text[CIDR_TEXT_SIZE];
	int r;

	if (!is_use(notes->call, use))
		return;
	r = taken_add(&notes->call->taken, &use->dst, "%s %s%s",
		      use->own ? "address" : "route", cidr_format(&use->dst, text),
		      use->way);
	if (r < 0)
		notes->result = r;
}

static int look_pool_request(struct call *c, struct err *e)
{
	struct route_notes notes = {.call = c};
	int r = actual_host_routes(kernel_of(c), pools_to_choose_from(c), note_route,
				   &notes, e);

	if (r == 0 && notes.result < 0)
		r = err_sys(e, notes.result, "routes of this host");
	return r;
}

static int store_pool_request(struct call *c, struct err *e)
{
	const struct api_pool_request *in = &c->in.pool_request;
	const char *range = api_options_find(&in->options, "vip-range");
	const struct ipam_pool_request rq = {.space = in->space,
					     .pool = in->pool,
					     .sub_pool = in->sub_pool,
					     .vip_range = range ? range : "",
					     .v6 = in->v6,
					     .taken = c->taken.list,
					     .taken_count = c->taken.count};

	return ipam_pool_request(desired_ipam(store_of(c)), &rq, &c->out.pool, e);
}

static char *encode_pool(struct call *c, size_t *ret_len)
{
	return api_ipam_encode_pool(c->out.pool.id, &c->out.pool.pool, NULL, ret_len);
}

static int decode_pool_release(struct call *c, const char *body, size_t len,
			       struct err *e)
{
	return api_ipam_decode_pool_release(body, len, &c->in.pool_release, e);
}

static int store_pool_release(struct call *c, struct err *e)
{
	const char *id = c->in.pool_release.pool_id;
	int r = ipam_pool_release(desired_ipam(store_of(c)), id, e);

	desired_pool_used(store_of(c), id);
	return r;
}

static int decode_address_request(struct call *c, const char *body, size_t len,
				  struct err *e)
{
	return api_ipam_decode_address_request(body, len, &c->in.address_request, e);
}

static void free_address_request(struct call *c)
{
	api_address_request_free(&c->in.address_request);
}

static int store_address_request(struct call *c, struct err *e)
{
	const struct api_address_request *in = &c->in.address_request;
	const struct ipam_address_request rq = {.pool_id = in->pool_id,
						.address = in->address,
						.gateway = in->gateway,
						.serial = in->serial,
						.owner = in->owner,
						.now_ms = clock_ms()};

	int r = ipam_address_request(desired_ipam(store_of(c)), &rq, &c->out.address, e);

	desired_pool_used(store_of(c), in->pool_id);
	return r;
}

static char *encode_address(struct call *c, size_t *ret_len)
{
	return api_ipam_encode_address(&c->out.address, ret_len);
}

static int decode_address_release(struct call *c, const char *body, size_t len,
				  struct err *e)
{
	return api_ipam_decode_address_release(body, len, &c->in.address_release, e);
}

static int store_address_release(struct call *c, struct err *e)
{
	const struct api_address_release *in = &c->in.address_release;
	int r = desired_address_release(store_of(c), in->pool_id, in->address, clock_ms(),
					e);

	desired_pool_used(store_of(c), in->pool_id);
	return r;
}

/* --- registration ----------------------------------------------------------------------
 */

static char *encode_activate(struct call *c, size_t *ret_len)
{
	(void)c;
	return api_net_encode_activate(ret_len);
}

static char *encode_net_capabilities(struct call *c, size_t *ret_len)
{
	return api_net_encode_capabilities(c->calls->scope, false, ret_len);
}

static const struct method methods[] = {
	{.path = "/Plugin.Activate", .encode = encode_activate},
	{.path = "/NetworkDriver.GetCapabilities",
	 .encode = encode_net_capabilities,
	 .registers = true},
	{.path = "/NetworkDriver.GwAllocCheck",
	 .decode = decode_gw_check,
	 .free = free_gw_check,
	 .encode = encode_gw_check},
	{.path = "/NetworkDriver.AllocateNetwork",
	 .decode = decode_allocate,
	 .free = free_allocate,
	 .encode = encode_allocate},
	{.path = "/NetworkDriver.FreeNetwork", .decode = decode_network_id},
	{.path = "/NetworkDriver.CreateNetwork",
	 .decode = decode_network_create,
	 .free = free_network_create,
	 .store = store_network_create,
	 .kernel = kernel_network_create,
	 .undo = undo_network_create},
	{.path = "/NetworkDriver.DeleteNetwork",
	 .decode = decode_network_id,
	 .store = store_network_delete,
	 .kernel = kernel_network_delete},
	{.path = "/NetworkDriver.CreateEndpoint",
	 .decode = decode_endpoint_create,
	 .free = free_endpoint_create,
	 .store = store_endpoint_create,
	 .kernel = kernel_endpoint_create,
	 .undo = undo_endpoint_create,
	 .encode = encode_endpoint_create},
	{.path = "/NetworkDriver.DeleteEndpoint",
	 .decode = decode_endpoint_id,
	 .store = store_endpoint_delete,
	 .kernel = kernel_endpoint_delete},
	{.path = "/NetworkDriver.EndpointOperInfo",
	 .decode = decode_endpoint_id,
	 .encode = encode_oper_info},
	{.path = "/NetworkDriver.Join",
	 .decode = decode_join,
	 .free = free_join,
	 .store = store_join,
	 .kernel = kernel_join,
	 .undo = undo_join,
	 .encode = encode_join},
	{.path = "/NetworkDriver.Leave",
	 .decode = decode_endpoint_id,
	 .store = store_leave,
	 .kernel = kernel_leave},
	{.path = "/NetworkDriver.ProgramExternalConnectivity",
	 .decode = decode_external,
	 .free = free_external,
	 .store = store_publish,
	 .kernel = kernel_barrier},
	{.path = "/NetworkDriver.RevokeExternalConnectivity",
	 .decode = decode_endpoint_id,
	 .store = store_unpublish,
	 .kernel = kernel_barrier},
	{.path = "/NetworkDriver.DiscoverNew", .decode = decode_discover},
	{.path = "/NetworkDriver.DiscoverDelete", .decode = decode_discover},
	{.path = "/IpamDriver.GetCapabilities",
	 .store = store_ipam_capabilities,
	 .encode = encode_ipam_capabilities},
	{.path = "/IpamDriver.GetDefaultAddressSpaces", .encode = encode_spaces},
	{.path = "/IpamDriver.RequestPool",
	 .decode = decode_pool_request,
	 .free = free_pool_request,
	 .prepare = prepare_pool_request,
	 .look = look_pool_request,
	 .store = store_pool_request,
	 .encode = encode_pool},
	{.path = "/IpamDriver.ReleasePool",
	 .decode = decode_pool_release,
	 .store = store_pool_release},
	{.path = "/IpamDriver.RequestAddress",
	 .decode = decode_address_request,
	 .free = free_address_request,
	 .store = store_address_request,
	 .encode = encode_address},
	{.path = "/IpamDriver.ReleaseAddress",
	 .decode = decode_address_release,
	 .store = store_address_release},
};

/* --- the way of a call
 * ------------------------------------------------------------------- */

static void call_free(struct call *c)
{
	if (c->method->free)
		c->method->free(c);
	free(c);
}

static void count(const struct call *c, enum metrics_result result, uint64_t us)
{
	metrics_count_call(c->calls->metrics, method_name(c), result, us);
}

/* Thread: loop. The last stop of every call. */
static void call_answer(struct call *c)
{
	uint64_t us = clock_us() - c->since_us;
	char *text;
	size_t len;

	log_debug("%s took us=%" PRIu64, method_name(c), us);
	if (c->job.err.code < 0) {
		count(c, METRICS_RESULT_REFUSED, us);
		log_info("%s refused err=\"%s\"", method_name(c), c->job.err.text);
		http_reply_error(c->rq, 200, c->job.err.text);
		call_free(c);
		return;
	}
	text = c->method->encode ? c->method->encode(c, &len) : api_encode_empty(&len);
	count(c, text ? METRICS_RESULT_OK : METRICS_RESULT_FAILED, us);
	if (text)
		http_reply(c->rq, 200, JSON_TYPE, text, len);
	else
		http_reply_error(c->rq, 500, "out of memory");
	if (c->method->registers)
		c->calls->registered(c->calls->ctx);
	call_free(c);
}

static void run_answer(struct job *job)
{
	call_answer(CONTAINER_OF(job, struct call, job));
}

static void go_answer(struct call *c)
{
	c->job.run = run_answer;
	c->job.done = NULL;
	node_post_loop(c->calls->node, &c->job);
}

/* Thread: store. err: of this attempt; the first error of the call stays. */
static void attempt(struct call *c, int (*verb)(struct call *c, struct err *e),
		    struct err *e)
{
	int r = desired_attempt_begin(store_of(c), e);

	if (r < 0)
		return;
	r = desired_attempt_end(store_of(c), verb(c, e), e);
	if (r < 0 && e->code == 0)
		(void)err_sys(e, r, "%s", method_name(c));
	if (r == 0)
		e->code = 0; /* a text without a failure is nothing */
}

static void run_undo(struct job *job)
{
	struct call *c = CONTAINER_OF(job, struct call, job);
	struct err e = {0};

	attempt(c, c->method->undo, &e);
	if (e.code < 0)
		log_warning("undoing %s: %s", method_name(c), e.text);
}

static void done_undo(struct job *job)
{
	go_answer(CONTAINER_OF(job, struct call, job));
}

static void run_kernel(struct job *job)
{
	struct call *c = CONTAINER_OF(job, struct call, job);
	int r = job->err.code;

	if (r < 0) { /* cancelled: we are shutting down */
		go_answer(c);
		return;
	}
	r = c->method->kernel(c, &job->err);
	if (r < 0 && job->err.code == 0)
		(void)err_sys(&job->err, r, "%s", method_name(c));
	if (r == 0)
		job->err.code = 0; /* a text without a failure is nothing */
	if (r == 0 || !c->method->undo) {
		go_answer(c);
		return;
	}
	c->job.run = run_undo;
	c->job.done = done_undo;
	node_post_store_always(c->calls->node, &c->job);
}

static void run_store(struct job *job)
{
	struct call *c = CONTAINER_OF(job, struct call, job);

	attempt(c, c->method->store, &job->err);
}

static void done_store(struct job *job)
{
	struct call *c = CONTAINER_OF(job, struct call, job);

	if (job->err.code < 0 || !c->method->kernel) {
		go_answer(c);
		return;
	}
	c->job.run = run_kernel;
	c->job.done = NULL;
	node_post_kernel(c->calls->node, &c->job);
}

static void run_look(struct job *job)
{
	struct call *c = CONTAINER_OF(job, struct call, job);

	/* Cancelled when we are shutting down. */
	if (job->err.code < 0 || c->method->look(c, &job->err) < 0) {
		go_answer(c);
		return;
	}
	c->job.run = run_store;
	c->job.done = done_store;
	if (node_post_store(c->calls->node, &c->job) < 0) {
		(void)err_set(&c->job.err, -EBUSY, "too many requests are waiting");
		go_answer(c);
	}
}

static void go_look(struct call *c)
{
	c->job.run = run_look;
	node_post_kernel(c->calls->node, &c->job);
}

static void go_store(struct call *c)
{
	c->job.run = run_store;
	c->job.done = done_store;
	if (node_post_store(c->calls->node, &c->job) < 0) {
		http_reply_error(c->rq, 503, "too many requests are waiting");
		count(c, METRICS_RESULT_BUSY, 0);
		call_free(c);
	}
}

_Static_assert(ARRAY_SIZE(methods) <= METRICS_METHODS_MAX, "each method is counted");

static const struct method *find_method(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
		if (!strcmp(methods[i].path, path))
			return &methods[i];
	return NULL;
}

/* A request that is not for us at all: nothing is done. */
static const struct method *check(struct http_request *rq)
{
	const struct method *m = find_method(http_request_path(rq));
	char text[160];

	if (!m) {
		(void)snprintf(text, sizeof(text), "unknown method %.100s",
			       http_request_path(rq));
		http_reply_error(rq, 404, text);
		return NULL;
	}
	if (strcmp(http_request_method(rq), "POST")) {
		(void)snprintf(text, sizeof(text), "%s wants POST", m->path + 1);
		http_reply_error(rq, 405, text);
		return NULL;
	}
	return m;
}

void call_handle(void *ctx, struct http_request *rq)
{
	const struct method *m = check(rq);
	struct err e = {0};
	struct call *c;
	size_t len;
	const char *body = http_request_body(rq, &len);
	int r;

	if (!m)
		return;
	log_debug("%s %.*s", m->path + 1, (int)(len < 512 ? len : 512), body);
	c = calloc(1, sizeof(*c));
	if (!c) {
		http_reply_error(rq, 500, "out of memory");
		return;
	}
	c->calls = ctx;
	c->method = m;
	c->rq = rq;
	c->since_us = clock_us();
	if (m->decode && m->decode(c, body, len, &e) < 0) {
		log_warning("%s", e.text);
		http_reply_error(rq, e.code == -ENOMEM ? 500 : 400, e.text);
		count(c,
		      e.code == -ENOMEM ? METRICS_RESULT_FAILED : METRICS_RESULT_INVALID,
		      0);
		free(c); /* decode left nothing */
		return;
	}
	if (!m->store) {
		call_answer(c);
		return;
	}
	r = m->prepare ? m->prepare(c, &c->job.err) : 0;
	if (r < 0)
		call_answer(c);
	else if (r > 0)
		go_look(c);
	else
		go_store(c);
}
