// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The methods of Docker's network driver. Unknown ids on the way out are success; a
 * repeated call is fine.
 */
#include "plugin/call_internal.h"

#include "plugin/base/mem.h"

#define LINK_PREFIX "eth" /* of the interface's name in the container */

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
	return desired_network_create(call_store(c), &c->in.network_create, &c->out.made,
				      e);
}

static int kernel_network_create(struct call *c, struct err *e)
{
	const struct desired_network *made = &c->out.made;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < made->ghost_count; i++)
		r = actual_network_del(call_kernel(c), &made->ghosts[i], e);
	return r < 0 ? r : actual_network_add(call_kernel(c), &made->config, e);
}

static int undo_network_create(struct call *c, struct err *e)
{
	struct network_config gone;

	/* One that lives is repaired, its containers stay. */
	if (c->out.made.known)
		return 0;
	return desired_network_delete(call_store(c), c->out.made.config.id, &gone, e);
}

static int decode_network_id(struct call *c, const char *body, size_t len, struct err *e)
{
	return api_net_decode_network_id(call_name(c), body, len, &c->in.network, e);
}

static int store_network_delete(struct call *c, struct err *e)
{
	return desired_network_delete(call_store(c), c->in.network.network, &c->out.gone,
				      e);
}

static int kernel_network_delete(struct call *c, struct err *e)
{
	return actual_network_del(call_kernel(c), &c->out.gone, e);
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
	return desired_endpoint_create(call_store(c), &c->in.endpoint_create,
				       &c->out.created, e);
}

static int kernel_endpoint_create(struct call *c, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < DESIRED_GHOSTS_MAX; i++)
		if (c->out.created.ghosts[i][0])
			r = actual_endpoint_del(call_kernel(c),
						c->in.endpoint_create.network,
						c->out.created.ghosts[i], e);
	return r;
}

static int undo_endpoint_create(struct call *c, struct err *e)
{
	return desired_endpoint_delete(call_store(c), c->in.endpoint_create.endpoint, e);
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
	return desired_endpoint_join(call_store(c), &c->in.join, &c->out.joined.desired,
				     e);
}

static int kernel_join(struct call *c, struct err *e)
{
	return actual_endpoint_join(call_kernel(c), &c->out.joined.desired.endpoint,
				    c->out.joined.link, e);
}

static int undo_join(struct call *c, struct err *e)
{
	return desired_endpoint_leave(call_store(c), c->in.join.endpoint, e);
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
	return api_net_decode_endpoint_id(call_name(c), body, len, &c->in.endpoint, e);
}

static int store_leave(struct call *c, struct err *e)
{
	return desired_endpoint_leave(call_store(c), c->in.endpoint.endpoint, e);
}

static int kernel_leave(struct call *c, struct err *e)
{
	(void)e;
	actual_endpoint_leave(call_kernel(c), c->in.endpoint.endpoint);
	return 0;
}

static int store_endpoint_delete(struct call *c, struct err *e)
{
	return desired_endpoint_delete(call_store(c), c->in.endpoint.endpoint, e);
}

static int kernel_endpoint_delete(struct call *c, struct err *e)
{
	return actual_endpoint_del(call_kernel(c), c->in.endpoint.network,
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
	return desired_publish(call_store(c), &c->in.external, e);
}

static int store_unpublish(struct call *c, struct err *e)
{
	return desired_unpublish(call_store(c), c->in.endpoint.endpoint, e);
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
	return api_net_decode_discover(call_name(c), body, len, &c->in.discover, e);
}

/* --- registration ---------------------------------------------------------- */

static char *encode_activate(struct call *c, size_t *ret_len)
{
	(void)c;
	return api_net_encode_activate(ret_len);
}

static char *encode_net_capabilities(struct call *c, size_t *ret_len)
{
	return api_net_encode_capabilities(c->calls->scope, false, ret_len);
}

const struct call_method call_net_methods[CALL_NET_METHODS] = {
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
};
