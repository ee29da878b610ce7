// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pools, networks and services put side by side. Which network has a pool is found by
 * address space and prefix: Docker does not tell a network its PoolID.
 */
#include "plugin/gauges.h"

#include "plugin/base/map.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define KEY_SIZE (STORE_SPACE_SIZE + CIDR_TEXT_SIZE)

/* A network's subnet, by the id that its pool has without a sub-pool. */
struct subnet {
	UT_hash_handle hh;
	unsigned int network; /* its index */
	char key[KEY_SIZE];
};

struct collector {
	struct desired *desired;
	struct gauges *gauges;
	struct subnet *subnets;
	bool failed; /* no memory */
};

/* Room for one more than count; there is always some for a power of two. NULL: no
 * memory. */
static void *grow(struct collector *c, void *list, unsigned int count, size_t size)
{
	void *grown;

	if (c->failed)
		return NULL;
	if (count & (count - 1))
		return list;
	grown = realloc(list, (count ? 2 * (size_t)count : 1) * size);
	c->failed = !grown;
	return grown;
}

static void pool_key(char key[KEY_SIZE], const char *space, const struct cidr *pool)
{
	char text[CIDR_TEXT_SIZE];

	(void)snprintf(key, KEY_SIZE, "%s/%s", space, cidr_format(pool, text));
}

static void add_subnet(struct collector *c, const char *space, const struct cidr *pool)
{
	struct subnet *s = calloc(1, sizeof(*s));
	struct subnet *old;

	if (!s) {
		c->failed = true;
		return;
	}
	s->network = c->gauges->network_count - 1;
	pool_key(s->key, space, pool);
	HASH_FIND_STR(c->subnets, s->key, old);
	if (!old) /* else two of them say they have it: one is as good as the other */
		HASH_ADD_STR(c->subnets, key, s);
	if (old || !MAP_ADDED(s)) {
		c->failed |= !old;
		free(s);
	}
}

static void add_network(void *ctx, const struct store_network *n, unsigned int endpoints)
{
	static const int families[GAUGES_FAMILY_COUNT] = {AF_INET, AF_INET6};
	struct collector *c = ctx;
	struct gauges *g = c->gauges;
	struct gauges_network *list =
		grow(c, g->networks, g->network_count, sizeof(*list));
	struct gauges_network *network;

	if (!list)
		return;
	g->networks = list;
	network = &list[g->network_count++];
	*network = (struct gauges_network){.endpoints = endpoints};
	(void)str_copy(network->id, sizeof(network->id), n->config.id); /* same size */
	for (unsigned int i = 0; i < GAUGES_FAMILY_COUNT; i++)
		(void)registry_vips(desired_registry(c->desired), n->config.id,
				    families[i], &network->vips[i]); /* unknown: zero */
	for (unsigned int i = 0; i < n->config.subnet_count; i++)
		add_subnet(c, n->space, &n->config.subnets[i].pool);
}

/* "space/pool[/sub-pool]" */
static void split_id(struct gauges_pool *p)
{
	char pool[CIDR_TEXT_SIZE];
	size_t space = strcspn(p->id, "/");
	size_t skip = space + 1 + strlen(cidr_format(&p->pool, pool)) + 1;

	(void)snprintf(p->space, sizeof(p->space), "%.*s", (int)space, p->id);
	if (strlen(p->id) > skip)
		(void)snprintf(p->sub_pool, sizeof(p->sub_pool), "%s", p->id + skip);
}

static void add_pool(void *ctx, const struct ipam_pool_info *info)
{
	struct collector *c = ctx;
	struct gauges *g = c->gauges;
	struct gauges_pool *list = grow(c, g->pools, g->pool_count, sizeof(*list));
	struct gauges_pool *p;
	struct subnet *s;
	char key[KEY_SIZE];

	if (!list)
		return;
	g->pools = list;
	p = &list[g->pool_count++];
	*p = (struct gauges_pool){.pool = info->pool,
				  .vip_range = info->vip_range,
				  .capacity = info->capacity,
				  .used = info->used};
	(void)str_copy(p->id, sizeof(p->id), info->id); /* same size */
	split_id(p);
	pool_key(key, p->space, &p->pool);
	HASH_FIND_STR(c->subnets, key, s);
	if (s) /* the networks do not move any more */
		p->network = &g->networks[s->network];
}

static void add_service(void *ctx, const struct registry_service_info *info)
{
	struct gauges *g = ((struct collector *)ctx)->gauges;

	if (info->backend_count == 0) {
		g->kept++;
		return;
	}
	g->services++;
	g->failing += info->error_count > 0;
	for (unsigned int i = 0; i < info->backend_count; i++)
		for (unsigned int s = 0; s < BACKEND_STATE_COUNT; s++)
			g->backends[s] +=
				!strcmp(info->backends[i].state, backend_state_name(s));
}

int gauges_collect(struct desired *d, struct gauges *ret, struct err *e)
{
	struct gauges g = {0};
	struct collector c = {.desired = d, .gauges = &g};
	struct subnet *s;
	struct subnet *next;

	desired_each_network(d, add_network, &c);
	ipam_pool_list(desired_ipam(d), add_pool, &c);
	registry_list(desired_registry(d), NULL, add_service, &c);
	HASH_ITER (hh, c.subnets, s, next) {
		HASH_DEL(c.subnets, s);
		free(s);
	}
	if (c.failed) {
		gauges_fini(&g);
		return err_sys(e, -ENOMEM, "gauges");
	}
	*ret = g;
	return 0;
}

void gauges_fini(struct gauges *g)
{
	free(g->pools);
	free(g->networks);
	*g = (struct gauges){0};
}

const struct registry_vips *gauges_pool_vips(const struct gauges_pool *p)
{
	const struct cidr range = cidr_network(&p->vip_range);

	for (unsigned int i = 0; p->network && i < GAUGES_FAMILY_COUNT; i++) {
		const struct registry_vips *v = &p->network->vips[i];

		if (addr_is_set(&range.addr) && cidr_equal(&v->range, &range))
			return v;
	}
	return NULL;
}
