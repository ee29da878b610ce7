// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The methods of Docker's IPAM driver. A pool that is to be chosen is kept away from
 * what the host routes, which the kernel worker reads first.
 */
#include "plugin/call_internal.h"

#include "ipam/pool.h"
#include "plugin/base/clock.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <string.h>

static char *encode_ipam_capabilities(struct call *c, size_t *ret_len)
{
	(void)c;
	return api_ipam_encode_capabilities(false, true, ret_len);
}

/* dockerd has started: it will ask again for what it knows. */
static int store_ipam_capabilities(struct call *c, struct err *e)
{
	return ipam_replay_begin(desired_ipam(call_store(c)), clock_ms(), e);
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
	int r = actual_host_routes(call_kernel(c), pools_to_choose_from(c), note_route,
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

	return ipam_pool_request(desired_ipam(call_store(c)), &rq, &c->out.pool, e);
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
	int r = desired_pool_release(call_store(c), id, e);

	desired_pool_used(call_store(c), id);
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

	int r = ipam_address_request(desired_ipam(call_store(c)), &rq, &c->out.address,
				     e);

	desired_pool_used(call_store(c), in->pool_id);
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
	int r = desired_address_release(call_store(c), in->pool_id, in->address,
					clock_ms(), e);

	desired_pool_used(call_store(c), in->pool_id);
	return r;
}

const struct call_method call_ipam_methods[CALL_IPAM_METHODS] = {
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
