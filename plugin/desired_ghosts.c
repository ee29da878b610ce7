// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Networks that Docker forgot. When the daemon is killed while it makes a network, Docker
 * gives the addresses back and never asks to delete the network. What tells is the
 * address management: it gives a pool to one network at a time. So a network without
 * endpoints whose pool is free again, or another network's, is a ghost; any other one
 * keeps its pool against a newcomer.
 */
#include "plugin/desired_internal.h"

#include "plugin/base/str.h"

#include <errno.h>
#include <string.h>

#define LOG_MODULE "node"
#include "plugin/base/log.h"

static bool has_endpoints(const struct desired *d, const char *network)
{
	for (const struct store_endpoint *ep = d->endpoints; ep; ep = ep->hh.next)
		if (!strcmp(ep->network, network))
			return true;
	return false;
}

/* How many times the pool is given away: more than once with sub-pools. */
static unsigned int times_given(const struct desired *d, const struct cidr *pool)
{
	return ipam_pool_count(d->ipam, IPAM_SPACE_LOCAL, pool);
}

static bool has_pool(const struct network_config *c, const struct cidr *pool)
{
	for (unsigned int i = 0; i < c->subnet_count; i++)
		if (cidr_equal(&c->subnets[i].pool, pool))
			return true;
	return false;
}

static bool is_ours(const struct store_network *n)
{
	return !strcmp(n->space, IPAM_SPACE_LOCAL);
}

bool desired_is_forgotten(const struct desired *d, const struct store_network *n)
{
	/* The global space knows nothing after a start, and others' we cannot ask. */
	if (!is_ours(n) || has_endpoints(d, n->config.id))
		return false;
	for (unsigned int i = 0; i < n->config.subnet_count; i++)
		if (times_given(d, &n->config.subnets[i].pool))
			return false;
	return true;
}

/* old holds a pool that overlaps one of n: was it given to n? */
static bool is_replaced(const struct desired *d, const struct store_network *old,
			const struct cidr *pool, const struct store_network *n)
{
	bool same_space = old->space[0] && !strcmp(old->space, n->space);

	if (has_endpoints(d, old->config.id))
		return false;
	if (is_ours(old))
		return times_given(d, pool) <=
		       (same_space && has_pool(&n->config, pool) ? 1U : 0U);
	return same_space;
}

/* The first pool of old that overlaps one of n, or NULL. */
static const struct cidr *overlap(const struct store_network *old,
				  const struct store_network *n, const struct cidr **ret)
{
	for (unsigned int i = 0; i < old->config.subnet_count; i++) {
		const struct cidr *pool = &old->config.subnets[i].pool;

		for (unsigned int k = 0; k < n->config.subnet_count; k++) {
			*ret = &n->config.subnets[k].pool;
			if (cidr_overlaps(pool, *ret))
				return pool;
		}
	}
	return NULL;
}

static int replace_network(struct desired *d, const char *id, const char *by,
			   struct desired_network *ret, struct err *e)
{
	char old[NETWORK_ID_SIZE];
	int r;

	if (ret->ghost_count == DESIRED_GHOST_NETWORKS_MAX)
		return err_set(e, -E2BIG, "more than %u old networks have its addresses",
			       DESIRED_GHOST_NETWORKS_MAX);
	(void)str_copy(old, sizeof(old), id); /* as long as its source */
	log_warning("network replaces one that Docker forgot net=%.12s old=%.12s", by,
		    old);
	r = desired_network_delete(d, old, &ret->ghosts[ret->ghost_count], e);
	if (r == 0)
		ret->ghost_count++;
	return r;
}

int desired_take_pools(struct desired *d, const struct store_network *n,
		       struct desired_network *ret, struct err *e)
{
	struct store_network *old;
	struct store_network *next;

	HASH_ITER (hh, d->networks, old, next) {
		const struct cidr *wanted = NULL;
		const struct cidr *pool;
		char text[CIDR_TEXT_SIZE];
		char wanted_text[CIDR_TEXT_SIZE];
		int r;

		pool = strcmp(old->config.id, n->config.id) ? overlap(old, n, &wanted)
							    : NULL;
		if (!pool)
			continue;
		if (!is_replaced(d, old, pool, n))
			return err_set(e, -EEXIST,
				       "network %.12s: %s overlaps %s of network %.12s",
				       n->config.id, cidr_format(wanted, wanted_text),
				       cidr_format(pool, text), old->config.id);
		r = replace_network(d, old->config.id, n->config.id, ret, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int drop_all(struct desired *d, struct err *e)
{
	struct store_network *n;
	struct store_network *next;
	struct network_config gone;
	int r = 0;

	HASH_ITER (hh, d->networks, n, next) {
		if (r < 0 || !desired_is_forgotten(d, n))
			continue;
		log_warning("network is dropped, Docker forgot it net=%.12s",
			    n->config.id);
		r = desired_network_delete(d, n->config.id, &gone, e);
	}
	return r;
}

static bool any_forgotten(const struct desired *d)
{
	for (const struct store_network *n = d->networks; n; n = n->hh.next)
		if (desired_is_forgotten(d, n))
			return true;
	return false;
}

int desired_drop_forgotten(struct desired *d, struct err *e)
{
	int r;

	if (!any_forgotten(d))
		return 0;
	r = desired_batch_begin(d, e);
	if (r < 0)
		return r;
	r = desired_attempt_begin(d, e);
	if (r == 0)
		r = desired_attempt_end(d, drop_all(d, e), e);
	if (r < 0)
		log_error("networks that Docker forgot: %s", e->text);
	return desired_batch_end(d, e);
}
