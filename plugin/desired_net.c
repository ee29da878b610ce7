// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Networks in the desired state: their options, above all the VIP range, which is ours
 * to choose where the addresses are, and the user's where they are not.
 */
#include "plugin/desired_internal.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <string.h>

#define OPTION_MTU	 "com.docker.network.driver.mtu"
#define OPTION_VIP_RANGE "vip-range"
#define MTU_MIN		 68 /* RFC 791 */
#define MTU_MAX		 65535
#define VIP_HOST_BITS	 3U /* of the smallest pool with room for VIPs, see ipam/pool.c */
#define NOT_OUR_IPAM                                                \
	"the network's addresses are not from fairlead: create it " \
	"with --ipam-driver, or give -o vip-range"

static int parse_mtu(const struct desired *d, const struct api_options *o,
		     unsigned int *ret, struct err *e)
{
	const char *text = api_options_find(o, OPTION_MTU);
	uint32_t mtu;

	if (!text)
		text = api_options_find(o, "mtu");
	if (!text) {
		*ret = d->config.mtu;
		return 0;
	}
	if (str_to_u32(text, MTU_MIN, MTU_MAX, &mtu) < 0)
		return err_set(e, -EINVAL,
			       "option " OPTION_MTU "=%.32s: not a number of %u to %u",
			       text, MTU_MIN, MTU_MAX);
	*ret = mtu;
	return 0;
}

/* The option vip-range: "none" or prefixes, each for the pool that it lies in. */
struct vip_wishes {
	bool none;
	bool ours; /* a pool of the network is of our address management */
	unsigned int count;
	struct {
		struct cidr range;
		bool used;
	} list[NETWORK_SUBNETS_MAX];
};

static int parse_vip_wish(struct vip_wishes *w, const char *text, struct err *e)
{
	struct cidr range;

	if (!strcmp(text, "none")) {
		w->none = true;
		return 0;
	}
	if (cidr_parse(text, &range) < 0)
		return err_set(e, -EINVAL, "option " OPTION_VIP_RANGE "=%s: not a prefix",
			       text);
	if (w->count == ARRAY_SIZE(w->list))
		return err_set(e, -E2BIG, "option " OPTION_VIP_RANGE ": too many");
	w->list[w->count++].range = cidr_network(&range);
	return 0;
}

static int parse_vip_wishes(const char *text, struct vip_wishes *w, struct err *e)
{
	char part[CIDR_TEXT_SIZE];

	memset(w, 0, sizeof(*w));
	while (text && *text) {
		size_t len = strcspn(text, ",");
		int r = 0;

		if (str_printf(part, sizeof(part), "%.*s", (int)len, text) < 0)
			r = err_set(e, -EINVAL,
				    "option " OPTION_VIP_RANGE "=%.64s: not a prefix",
				    text);
		else if (part[0])
			r = parse_vip_wish(w, part, e);
		if (r < 0)
			return r;
		text += len + (text[len] == ',');
	}
	return 0;
}

/* "" for what is not said, as ipam_vip_range_set wants it. */
static void wish_for_pool(struct vip_wishes *w, const struct cidr *pool,
			  char text[CIDR_TEXT_SIZE])
{
	(void)str_copy(text, CIDR_TEXT_SIZE, w->none ? "none" : ""); /* fits */
	for (unsigned int i = 0; i < w->count; i++) {
		if (!cidr_covers(pool, &w->list[i].range))
			continue;
		w->list[i].used = true;
		(void)cidr_format(&w->list[i].range, text);
		return;
	}
}

static int check_wishes_used(const struct vip_wishes *w, struct err *e)
{
	char text[CIDR_TEXT_SIZE];

	for (unsigned int i = 0; i < w->count; i++)
		if (!w->list[i].used)
			return err_set(e, -EINVAL,
				       "option " OPTION_VIP_RANGE
				       "=%s: not inside a pool of the network",
				       cidr_format(&w->list[i].range, text));
	return 0;
}

/* The range of a pool that is not ours: only as the user says. */
static int foreign_vip_range(struct network_subnet *s, const char *text, struct err *e)
{
	struct cidr range;

	if (cidr_parse(text, &range) < 0) /* "" or "none" */
		return 0;
	if (cidr_contains(&range, &s->gateway))
		return err_set(e, -EINVAL,
			       "option " OPTION_VIP_RANGE
			       "=%s: the gateway's address is in it",
			       text);
	s->vip_range = range;
	return 0;
}

static int find_vip_range(struct desired *d, const char *space, struct network_subnet *s,
			  struct vip_wishes *w, struct err *e)
{
	char text[CIDR_TEXT_SIZE];
	int r = ipam_vip_range(d->ipam, space, &s->pool, &s->vip_range);

	if (r < 0 && r != -ENOENT)
		return err_sys(e, r, "VIP range of the pool");
	wish_for_pool(w, &s->pool, text);
	if (r == -ENOENT)
		return foreign_vip_range(s, text, e);
	w->ours = true;
	if (!text[0])
		return 0;
	r = ipam_vip_range_set(d->ipam, space, &s->pool, text, e);
	return r < 0 ? r : ipam_vip_range(d->ipam, space, &s->pool, &s->vip_range);
}

static int add_subnets(struct desired *d, struct network_config *c,
		       const struct api_pool *pools, unsigned int count,
		       struct vip_wishes *w, struct err *e)
{
	for (unsigned int i = 0; i < count; i++) {
		struct network_subnet *s = &c->subnets[c->subnet_count];
		int r;

		if (c->subnet_count == NETWORK_SUBNETS_MAX)
			return err_set(e, -E2BIG,
				       "network %.12s: more than %u address pools", c->id,
				       NETWORK_SUBNETS_MAX);
		if (pools[i].pool.prefix == 0) /* --ipam-driver null */
			return err_set(e, -EINVAL,
				       "network %.12s: all addresses are no address pool",
				       c->id);
		s->pool = cidr_network(&pools[i].pool);
		s->gateway = pools[i].gateway.addr;
		r = find_vip_range(d, pools[i].space, s, w, e);
		if (r < 0)
			return r;
		c->subnet_count++;
	}
	return 0;
}

/* family 0: the network has no VIPs of this family. */
static struct cidr first_range(const struct network_config *c, uint8_t family)
{
	for (unsigned int i = 0; i < c->subnet_count; i++)
		if (c->subnets[i].vip_range.addr.family == family)
			return c->subnets[i].vip_range;
	return (struct cidr){0};
}

static int register_network(struct desired *d, const struct store_network *n,
			    struct err *e)
{
	const struct registry_network rn = {
		.id = n->config.id,
		.vip4 = first_range(&n->config, AF_INET),
		.vip6 = first_range(&n->config, AF_INET6),
		.no_vip_reason = n->no_vip_reason,
		/* The same two pointers: struct registry_option is the read-only form. */
		.options = (const struct registry_option *)n->options.list,
		.option_count = n->options.count,
	};

	return desired_from_registry(d, registry_network_add(d->registry, &rn, e));
}

static int tell_no_vip(const struct vip_wishes *w, struct store_network *n)
{
	const struct network_config *c = &n->config;
	const struct cidr *pool = &c->subnets[0].pool;
	char text[CIDR_TEXT_SIZE];

	if (first_range(c, AF_INET).addr.family || first_range(c, AF_INET6).addr.family)
		return str_copy(n->no_vip_reason, sizeof(n->no_vip_reason), "");
	if (w->none || !w->ours)
		return str_copy(n->no_vip_reason, sizeof(n->no_vip_reason),
				w->none ? "the network has vip-range=none"
					: NOT_OUR_IPAM);
	return str_printf(n->no_vip_reason, sizeof(n->no_vip_reason),
			  "pool %s has no VIP range: %s", cidr_format(pool, text),
			  pool->prefix + VIP_HOST_BITS > addr_bits(&pool->addr)
				  ? "it is too small"
				  : "no part of it is free");
}

/* A network that says it is of our local space, and is not, cannot be told from a ghost
 * later: its space is not known. */
static void fill_space(const struct api_network_create *rq, const struct vip_wishes *w,
		       struct store_network *n)
{
	const char *space =
		rq->pools.count4 ? rq->pools.ipv4[0].space : rq->pools.ipv6[0].space;

	if (w->ours || strcmp(space, IPAM_SPACE_LOCAL) != 0)
		(void)str_copy(n->space, sizeof(n->space), space); /* same size */
}

static int fill_network(struct desired *d, const struct api_network_create *rq,
			struct store_network *n, struct err *e)
{
	const struct api_options *generic = &rq->options.generic;
	struct network_config *c = &n->config;
	struct vip_wishes w;
	int r = str_copy(c->id, sizeof(c->id), rq->network);

	if (r < 0)
		return err_set(e, r, "network id %.80s: too long", rq->network);
	c->internal = rq->options.internal;
	r = parse_mtu(d, generic, &c->mtu, e);
	if (r == 0)
		r = parse_vip_wishes(api_options_find(generic, OPTION_VIP_RANGE), &w, e);
	if (r == 0)
		r = add_subnets(d, c, rq->pools.ipv4, rq->pools.count4, &w, e);
	if (r == 0)
		r = add_subnets(d, c, rq->pools.ipv6, rq->pools.count6, &w, e);
	if (r == 0 && c->subnet_count == 0)
		r = err_set(e, -EINVAL, "network %.12s: has no address pool", c->id);
	if (r == 0)
		r = check_wishes_used(&w, e);
	if (r == 0)
		fill_space(rq, &w, n);
	if (r == 0)
		r = desired_copy_options(generic, &n->options, e);
	if (r == 0)
		r = tell_no_vip(&w, n);
	return r;
}

int desired_network_create(struct desired *d, const struct api_network_create *rq,
			   struct desired_network *ret, struct err *e)
{
	struct store_network *old = desired_find_network(d, rq->network);
	struct store_network *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return err_sys(e, -ENOMEM, "network %.12s", rq->network);
	ret->ghost_count = 0;
	r = fill_network(d, rq, n, e);
	if (r == 0)
		r = desired_take_pools(d, n, ret, e);
	if (r == 0)
		r = driver_store_network_put(d->store, n, e);
	if (r == 0)
		r = register_network(d, n, e);
	if (r < 0) {
		store_network_free(n);
		return r;
	}
	ret->config = n->config;
	ret->known = old != NULL;
	if (old)
		desired_forget_network(d, old);
	return desired_keep_network(d, n, e);
}

int desired_network_delete(struct desired *d, const char *id, struct network_config *ret,
			   struct err *e)
{
	struct store_network *n = desired_find_network(d, id);
	struct store_endpoint *ep;
	struct store_endpoint *next;
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	(void)str_copy(ret->id, sizeof(ret->id), id);
	if (!n)
		return 0;
	*ret = n->config;
	HASH_ITER (hh, d->endpoints, ep, next)
		if (r == 0 && !strcmp(ep->network, id))
			r = desired_endpoint_delete(d, ep->base.id, e);
	if (r == 0)
		r = desired_from_registry(d, registry_network_del(d->registry, id, e));
	if (r == 0)
		r = driver_store_network_del(d->store, id, e);
	if (r == 0)
		desired_forget_network(d, n);
	return r;
}
