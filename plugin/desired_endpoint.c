// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Endpoints and their published ports in the desired state. An endpoint is created with
 * its addresses, is a client (and perhaps a backend) from Join to Leave, and claims
 * ports in between.
 */
#include "plugin/desired_internal.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <string.h>

#define LOG_MODULE "node"
#include "plugin/base/log.h"

/* --- endpoints ------------------------------------------------------------ */

/* Docker never tells of an endpoint that died with dockerd; a new one with its address
 * replaces it. */
static int replace_ghosts(struct desired *d, const struct store_endpoint *ep,
			  struct desired_created *ret, struct err *e)
{
	const struct addr *addrs[DESIRED_GHOSTS_MAX] = {&ep->addr4, &ep->addr6};

	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		struct holder *h = addr_is_set(addrs[i])
					   ? desired_find_holder(d, ep->network, addrs[i])
					   : NULL;
		char *ghost = ret->ghosts[i];
		int r;

		if (!h)
			continue;
		(void)str_copy(ghost, sizeof(ret->ghosts[i]), h->ep->base.id);
		if (strcmp(ghost, ep->base.id))
			log_warning("endpoint replaces one that Docker forgot ep=%.12s "
				    "old=%.12s",
				    ep->base.id, ghost);
		r = desired_endpoint_delete(d, ghost, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static void choose_mac(const struct api_endpoint_create *rq, struct store_endpoint *ep,
		       struct desired_created *ret)
{
	ret->ours = !rq->has_mac;
	if (rq->has_mac)
		memcpy(ep->base.mac, rq->mac, sizeof(rq->mac));
	else if (addr_is_set(&ep->addr4))
		mac_from_addr(&ep->addr4, ep->base.mac);
	else
		mac_from_addr(&ep->addr6, ep->base.mac);
	ep->base.has_mac = true;
	memcpy(ret->mac, ep->base.mac, sizeof(ret->mac));
}

int desired_endpoint_create(struct desired *d, const struct api_endpoint_create *rq,
			    struct desired_created *ret, struct err *e)
{
	struct store_endpoint *ep;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!desired_find_network(d, rq->network))
		return err_set(e, -ENOENT, "no such network: %.12s", rq->network);
	ep = calloc(1, sizeof(*ep));
	if (!ep)
		return err_sys(e, -ENOMEM, "endpoint %.12s", rq->endpoint);
	(void)str_copy(ep->base.id, sizeof(ep->base.id), rq->endpoint); /* same size */
	(void)str_copy(ep->network, sizeof(ep->network), rq->network);
	ep->addr4 = rq->addr4.addr;
	ep->addr6 = rq->addr6.addr;
	choose_mac(rq, ep, ret);
	r = desired_copy_options(&rq->options.list, &ep->options, e);
	if (r == 0)
		r = replace_ghosts(d, ep, ret, e);
	if (r == 0)
		r = desired_endpoint_delete(d, ep->base.id, e); /* a repeated request */
	if (r == 0)
		r = desired_hold_addresses(d, ep, e);
	if (r == 0)
		r = driver_store_endpoint_put(d->store, ep, e);
	if (r < 0) {
		store_endpoint_free(ep);
		return r;
	}
	return desired_keep_endpoint(d, ep, e);
}

static void find_vips6(const struct network_config *c, const struct addr *a,
		       struct desired_joined *ret)
{
	ret->vips6 = (struct cidr){0};
	for (unsigned int i = 0; addr_is_set(a) && i < c->subnet_count; i++) {
		const struct network_subnet *s = &c->subnets[i];

		if (!cidr_contains(&s->pool, a) || !addr_is_set(&s->gateway))
			continue;
		ret->vips6 = s->vip_range;
		ret->vips6_via = s->gateway;
	}
}

static struct addr gateway_of(const struct network_config *c, const struct addr *a)
{
	for (unsigned int i = 0; addr_is_set(a) && !c->internal && i < c->subnet_count;
	     i++)
		if (cidr_contains(&c->subnets[i].pool, a))
			return c->subnets[i].gateway;
	return (struct addr){0};
}

static int register_endpoint(struct desired *d, const struct store_endpoint *ep,
			     struct err *e)
{
	const struct registry_endpoint re = {
		.id = ep->base.id,
		.network = ep->network,
		.addr4 = ep->addr4,
		.addr6 = ep->addr6,
		.options = (const struct registry_option *)ep->options.list,
		.option_count = ep->options.count,
	};

	return desired_from_registry(d, registry_endpoint_add(d->registry, &re, e));
}

int desired_endpoint_join(struct desired *d, const struct api_join *rq,
			  struct desired_joined *ret, struct err *e)
{
	struct store_endpoint *ep = desired_find_endpoint(d, rq->endpoint);
	const struct store_network *n = ep ? desired_find_network(d, ep->network) : NULL;
	const char *project = "";
	struct store_endpoint row;
	int r;

	if (!n || strcmp(ep->network, rq->network))
		return err_set(e, -ENOENT, "no such endpoint: %.12s on network %.12s",
			       rq->endpoint, rq->network);
	row = *ep;
	if (str_copy(row.sandbox_key, sizeof(row.sandbox_key), rq->sandbox) < 0)
		return err_set(e, -ENAMETOOLONG, "endpoint %.12s: SandboxKey is too long",
			       rq->endpoint);
	r = driver_store_endpoint_put(d->store, &row, e);
	if (r < 0)
		return r;
	if (strcmp(ep->sandbox_key, row.sandbox_key))
		desired_tell_client_gone(d, ep);
	memcpy(ep->sandbox_key, row.sandbox_key, sizeof(ep->sandbox_key));
	ep->idle_since_ms = 0;
	(void)registry_endpoint_service(d->registry, ep->base.id, &project);
	desired_tell_client(d, ep, project);
	r = register_endpoint(d, ep, e);
	if (r < 0)
		return r;
	desired_fill_actual(ep, &ret->endpoint);
	ret->gateway4 = gateway_of(&n->config, &ep->addr4);
	ret->gateway6 = gateway_of(&n->config, &ep->addr6);
	find_vips6(&n->config, &ep->addr6, ret);
	return 0;
}

int desired_endpoint_leave(struct desired *d, const char *id, struct err *e)
{
	struct store_endpoint *ep = desired_find_endpoint(d, id);
	struct store_endpoint row;
	int r;

	if (!ep)
		return 0;
	r = desired_unpublish(d, id, e);
	if (r == 0)
		r = desired_from_registry(d, registry_endpoint_del(d->registry, id, e));
	if (r < 0 || !ep->sandbox_key[0])
		return r;
	row = *ep;
	row.sandbox_key[0] = '\0';
	r = driver_store_endpoint_put(d->store, &row, e);
	if (r < 0)
		return r;
	desired_tell_client_gone(d, ep);
	ep->sandbox_key[0] = '\0';
	return 0;
}

int desired_endpoint_delete(struct desired *d, const char *id, struct err *e)
{
	struct store_endpoint *ep = desired_find_endpoint(d, id);
	int r;

	if (!ep)
		return 0;
	r = desired_endpoint_leave(d, id, e);
	if (r == 0)
		r = driver_store_endpoint_del(d->store, ep->base.id, e);
	if (r == 0)
		desired_forget_endpoint(d, ep);
	return r;
}

/* --- published ports ------------------------------------------------------ */

/* 0.0.0.0 and :: say what an empty address says; one claim serves both. */
static struct ports_claim claim_of(const struct api_port_map *map)
{
	const struct addr any4 = {.family = AF_INET};
	const struct addr any6 = {.family = AF_INET6};
	struct ports_claim claim = {.proto = map->proto,
				    .host_addr = map->host_addr,
				    .host_port = map->host_port,
				    .port = map->port};

	if (addr_equal(&claim.host_addr, &any4) || addr_equal(&claim.host_addr, &any6))
		claim.host_addr = (struct addr){0};
	return claim;
}

static int publish_one(struct desired *d, const struct store_endpoint *ep,
		       const struct api_port_map *map, struct err *e)
{
	const struct lb_view *service =
		registry_endpoint_service(d->registry, ep->base.id, NULL);
	const struct ports_target target = desired_port_target(ep, service);
	struct ports_claim claim = claim_of(map);
	int r;

	if (map->host_port == 0 || map->host_port_end > map->host_port)
		claim.host_port = ports_pick(d->ports, &claim, map->host_port,
					     map->host_port_end, target.mark);
	if (claim.host_port == 0)
		return err_set(e, -ENOSPC,
			       "endpoint %.12s: no free host port for port %u",
			       ep->base.id, map->port);
	r = driver_store_port_add(d->store, ep->base.id, &claim, e);
	if (r == 0 && ports_add(d->ports, ep->base.id, &claim, &target) < 0)
		r = err_sys(e, -ENOMEM, "published port %u", claim.host_port);
	return r;
}

/* The claims of an endpoint, and which of them are wished for again. */
struct claimed {
	unsigned int count;
	unsigned int wished;
	struct {
		struct ports_claim claim;
		bool wished;
	} list[PORTS_PER_ENDPOINT_MAX];
};

static void collect_claim(void *ctx, const struct ports_claim *claim, const char *holder)
{
	struct claimed *c = ctx;

	(void)holder;
	if (c->count < ARRAY_SIZE(c->list))
		c->list[c->count++].claim = *claim;
}

static bool claim_serves(const struct ports_claim *have, const struct api_port_map *map)
{
	const struct ports_claim want = claim_of(map);

	return have->proto == want.proto && have->port == want.port &&
	       addr_equal(&have->host_addr, &want.host_addr) &&
	       (map->host_port == 0 || (have->host_port >= map->host_port &&
					have->host_port <= map->host_port_end));
}

/* Marks a claim that serves map, one that nobody wished for yet if there is one. */
static bool wish(struct claimed *c, const struct api_port_map *map)
{
	bool served = false;

	for (unsigned int i = 0; i < c->count; i++) {
		if (!claim_serves(&c->list[i].claim, map))
			continue;
		served = true;
		if (c->list[i].wished)
			continue;
		c->list[i].wished = true;
		c->wished++;
		break;
	}
	return served;
}

/* All that is wished for is claimed already, and nothing else is. */
static bool is_published(struct desired *d, const struct api_external *rq)
{
	auto_free struct claimed *c = calloc(1, sizeof(*c));

	if (!c)
		return false;
	ports_each_claim(d->ports, rq->endpoint, collect_claim, c);
	for (unsigned int i = 0; i < rq->options.map_count; i++)
		if (!wish(c, &rq->options.map[i]))
			return false;
	return c->wished == c->count;
}

int desired_publish(struct desired *d, const struct api_external *rq, struct err *e)
{
	const struct store_endpoint *ep = desired_find_endpoint(d, rq->endpoint);
	int r;

	if (!ep)
		return err_set(e, -ENOENT, "no such endpoint: %.12s", rq->endpoint);
	if (rq->options.map_count > PORTS_PER_ENDPOINT_MAX)
		return err_set(e, -E2BIG, "endpoint %.12s: more than %u published ports",
			       rq->endpoint, PORTS_PER_ENDPOINT_MAX);
	/* Docker may say it twice (29+): the last list counts. One who repeats himself
	 * must not lose his port to somebody who waits for it. */
	if (is_published(d, rq))
		return 0;
	r = desired_unpublish(d, rq->endpoint, e);
	for (unsigned int i = 0; r == 0 && i < rq->options.map_count; i++)
		r = publish_one(d, ep, &rq->options.map[i], e);
	return r;
}

int desired_unpublish(struct desired *d, const char *endpoint, struct err *e)
{
	int r = driver_store_ports_del(d->store, endpoint, e);

	if (r == 0)
		ports_del(d->ports, endpoint);
	return r;
}
