// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Addresses of endpoints, and endpoints and addresses that Docker forgot.
 *
 * An address is given back twice when Docker is late: we drop a silent endpoint with its
 * address, and much later Docker releases it after all. ReleaseAddress names no endpoint,
 * so this is how it cannot take the address from the one who has got it since:
 *  - while an endpoint has the address its lease stays, whatever is released: Docker
 *    deletes an endpoint before it releases its address, and one that it does not delete
 *    is dropped here with its address;
 *  - before CreateEndpoint a new owner cannot be told from the old one. That takes
 *    milliseconds, CreateEndpoint makes sure of the lease once more, and in between
 *    nobody else is given the address, as it rests; only somebody who asks for exactly
 *    this address in these milliseconds would get it, too.
 */
#include "plugin/desired_internal.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <string.h>

#define LOG_MODULE "node"
#include "plugin/base/log.h"

/* --- addresses of endpoints ------------------------------------------------ */

bool desired_find_place(const struct desired *d, const struct store_endpoint *ep,
			const struct addr *a, struct ipam_place *ret)
{
	const struct store_network *n = desired_find_network(d, ep->network);

	if (!n || !addr_is_set(a) || strcmp(n->space, IPAM_SPACE_LOCAL) != 0)
		return false;
	for (unsigned int i = 0; i < n->config.subnet_count; i++) {
		if (!cidr_contains(&n->config.subnets[i].pool, a))
			continue;
		*ret = (struct ipam_place){IPAM_SPACE_LOCAL, n->config.subnets[i].pool,
					   *a};
		return true;
	}
	return false;
}

int desired_hold_addresses(struct desired *d, const struct store_endpoint *ep,
			   struct err *e)
{
	const struct addr *addrs[] = {&ep->addr4, &ep->addr6};
	struct ipam_place at;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(addrs); i++)
		if (desired_find_place(d, ep, addrs[i], &at))
			r = ipam_address_hold(d->ipam, &at, e);
	return r;
}

static const struct store_endpoint *find_by_addr(const struct desired *d,
						 const struct addr *a)
{
	struct holder *h;

	HASH_FIND(by_addr, d->by_addr, a, sizeof(*a), h);
	return h ? h->ep : NULL;
}

/* Is id "space/pool" or "space/pool/sub-pool"? */
static bool is_pool_id(const char *id, const struct ipam_place *at)
{
	char text[IPAM_POOL_ID_SIZE];
	char pool[CIDR_TEXT_SIZE];
	size_t len;

	if (str_printf(text, sizeof(text), "%s/%s", at->space,
		       cidr_format(&at->pool, pool)) < 0)
		return false;
	len = strlen(text);
	return !strncmp(id, text, len) && (id[len] == '\0' || id[len] == '/');
}

static bool has_joined(const struct desired *d, const char *network)
{
	for (const struct store_endpoint *ep = d->endpoints; ep; ep = ep->hh.next)
		if (ep->sandbox_key[0] && !strcmp(ep->network, network))
			return true;
	return false;
}

/* The network whose containers live in the pool of this id; with gateway only if it is
 * its own. */
static const struct store_network *find_living(const struct desired *d, const char *id,
					       const struct addr *gateway)
{
	for (const struct store_network *n = d->networks; n; n = n->hh.next) {
		if (strcmp(n->space, IPAM_SPACE_LOCAL) != 0)
			continue;
		for (unsigned int i = 0; i < n->config.subnet_count; i++) {
			const struct network_subnet *subnet = &n->config.subnets[i];
			const struct ipam_place at = {.space = IPAM_SPACE_LOCAL,
						      .pool = subnet->pool};

			if ((!gateway || addr_equal(&subnet->gateway, gateway)) &&
			    is_pool_id(id, &at) && has_joined(d, n->config.id))
				return n;
		}
	}
	return NULL;
}

/*
 * Docker removes no network that has containers. So this is the end of another one that
 * was refused because it wanted the same subnet: its pool and its gateway are ours.
 */
int desired_pool_release(struct desired *d, const char *pool_id, struct err *e)
{
	const struct store_network *n = pool_id ? find_living(d, pool_id, NULL) : NULL;

	if (n) {
		log_info("released pool has containers, it stays pool=%s net=%.12s",
			 pool_id, n->config.id);
		return 0;
	}
	return ipam_pool_release(d->ipam, pool_id, e);
}

int desired_address_release(struct desired *d, const char *pool_id, const char *address,
			    uint64_t now_ms, struct err *e)
{
	const struct store_endpoint *ep = NULL;
	struct ipam_place at;
	struct addr a;

	if (pool_id && address && addr_parse(address, &a) == 0) {
		if (find_living(d, pool_id, &a))
			return 0;
		ep = find_by_addr(d, &a);
	}
	if (ep && desired_find_place(d, ep, &a, &at) && is_pool_id(pool_id, &at)) {
		log_info("released address is an endpoint's, it stays address=%s "
			 "ep=%.12s",
			 address, ep->base.id);
		return 0;
	}
	return ipam_address_release(d->ipam, pool_id, address, now_ms, e);
}

/* --- what Docker forgot ---------------------------------------------------- */

void desired_engine_synced(struct desired *d, bool synced, uint64_t now_ms)
{
	if (!synced)
		d->synced_since_ms = UINT64_MAX;
	else if (d->synced_since_ms == UINT64_MAX)
		d->synced_since_ms = now_ms;
}

/* Has the engine been there for long? */
static bool is_settled(const struct desired *d, uint64_t now_ms)
{
	return d->synced_since_ms != UINT64_MAX &&
	       now_ms >= d->synced_since_ms + DESIRED_SILENCE_MS;
}

static bool is_silent(const struct store_endpoint *ep, uint64_t now_ms)
{
	return !ep->sandbox_key[0] && ep->idle_since_ms &&
	       now_ms >= ep->idle_since_ms + DESIRED_SILENCE_MS;
}

/* Takes note of who is idle from now on; is anybody silent? */
static bool look_at_endpoints(struct desired *d, uint64_t now_ms)
{
	bool any = false;

	for (struct store_endpoint *ep = d->endpoints; ep; ep = ep->hh.next) {
		if (!ep->sandbox_key[0] && !ep->idle_since_ms)
			ep->idle_since_ms = now_ms;
		any |= is_silent(ep, now_ms);
	}
	return any;
}

static int drop_endpoint(struct desired *d, const struct store_endpoint *ep,
			 uint64_t now_ms, struct err *e)
{
	const struct addr addrs[] = {ep->addr4, ep->addr6};
	struct ipam_place places[ARRAY_SIZE(addrs)];
	unsigned int count = 0;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++)
		count += desired_find_place(d, ep, &addrs[i], &places[count]);
	log_warning("endpoint is dropped, Docker forgot it ep=%.12s net=%.12s",
		    ep->base.id, ep->network);
	r = desired_endpoint_delete(d, ep->base.id, e);
	for (unsigned int i = 0; r == 0 && i < count; i++)
		r = ipam_address_drop(d->ipam, &places[i], now_ms, e);
	return r;
}

static int drop_silent(struct desired *d, uint64_t now_ms, struct desired_swept *swept,
		       struct err *e)
{
	struct store_endpoint *ep;
	struct store_endpoint *next;

	HASH_ITER (hh, d->endpoints, ep, next) {
		int r;

		if (!is_silent(ep, now_ms))
			continue;
		if (swept->count == DESIRED_SWEEP_MAX) {
			swept->more = true;
			break;
		}
		/* as long as their sources */
		(void)str_copy(swept->list[swept->count].id, NETWORK_ID_SIZE,
			       ep->base.id);
		(void)str_copy(swept->list[swept->count].network, NETWORK_ID_SIZE,
			       ep->network);
		swept->count++;
		r = drop_endpoint(d, ep, now_ms, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool has_pool(void *ctx, const char *space, const struct cidr *pool)
{
	const struct desired *d = ctx;

	for (const struct store_network *n = d->networks; n; n = n->hh.next) {
		if (strcmp(n->space, space) != 0)
			continue;
		for (unsigned int i = 0; i < n->config.subnet_count; i++)
			if (cidr_equal(&n->config.subnets[i].pool, pool))
				return true;
	}
	return false;
}

static bool has_address(void *ctx, const struct ipam_place *at)
{
	const struct desired *d = ctx;
	const struct store_endpoint *ep = find_by_addr(d, &at->addr);
	struct ipam_place own;

	/* Another driver's pool: who lives there only Docker knows. */
	if (!strcmp(at->space, IPAM_SPACE_LOCAL) && !has_pool(ctx, at->space, &at->pool))
		return true;
	return ep && desired_find_place(d, ep, &at->addr, &own) &&
	       !strcmp(own.space, at->space) && cidr_equal(&own.pool, &at->pool);
}

bool desired_sweep_due(struct desired *d, uint64_t now_ms)
{
	bool silent = look_at_endpoints(d, now_ms);

	return ipam_tidy_due(d->ipam, now_ms) ||
	       (is_settled(d, now_ms) &&
		(silent || ipam_drop_unconfirmed_due(d->ipam, now_ms)));
}

int desired_sweep(struct desired *d, uint64_t now_ms, struct desired_swept *ret,
		  struct err *e)
{
	const struct ipam_users users = {has_address, has_pool, d};
	auto_free struct desired_swept *swept = calloc(1, sizeof(*swept));
	bool more = false;
	int r = 0;

	if (!swept)
		return err_sys(e, -ENOMEM, "sweep");
	if (is_settled(d, now_ms)) {
		r = drop_silent(d, now_ms, swept, e);
		if (r == 0)
			r = ipam_drop_unconfirmed(d->ipam, &users, now_ms, e);
		swept->more |= ipam_drop_unconfirmed_due(d->ipam, now_ms);
	}
	if (r == 0)
		r = ipam_tidy(d->ipam, now_ms, &more, e);
	if (r < 0)
		return r;
	swept->more |= more;
	*ret = *swept;
	return 0;
}
