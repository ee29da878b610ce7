/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_GAUGES_H
#define PLUGIN_GAUGES_H
/*
 * How full and how busy the node is: one picture of pools, networks and services, taken
 * by the store worker and then shown by whoever asked for it.
 */
#include <stdint.h>

#include "lb/backend.h"
#include "lb/service.h"
#include "plugin/desired.h"

enum gauges_family {
	GAUGES_V4,
	GAUGES_V6,
	GAUGES_FAMILY_COUNT
};

struct gauges_network {
	char id[NETWORK_ID_SIZE];
	unsigned int endpoints;
	struct registry_vips vips[GAUGES_FAMILY_COUNT];
};

struct gauges_pool {
	char id[IPAM_POOL_ID_SIZE]; /* "space/pool[/sub-pool]" */
	char space[IPAM_POOL_ID_SIZE];
	char sub_pool[CIDR_TEXT_SIZE]; /* "" = none */
	struct cidr pool;
	struct cidr vip_range; /* family 0: none */
	uint64_t capacity;     /* UINT64_MAX: 2^64 or more */
	uint64_t used;
	/* The network that has this prefix, in struct gauges; NULL: none. */
	const struct gauges_network *network;
};

struct gauges {
	struct gauges_pool *pools; /* in order of id */
	unsigned int pool_count;
	struct gauges_network *networks;
	unsigned int network_count;
	unsigned int services; /* with backends */
	unsigned int kept;     /* without: their names are remembered */
	unsigned int failing;  /* of those with backends: the status shows an error */
	unsigned int backends[BACKEND_STATE_COUNT];
};

/* Takes the picture. -ENOMEM: *ret is empty. Thread: store. */
int gauges_collect(struct desired *d, struct gauges *ret, struct err *e);
/* An empty picture is all zero. Thread: any. */
void gauges_fini(struct gauges *g);

/* Addresses of a pool that can still be given. */
static inline uint64_t gauges_pool_free(const struct gauges_pool *p)
{
	return p->used < p->capacity ? p->capacity - p->used : 0;
}

/* VIPs in the pool's range, NULL: it has no range, or no network has it yet. */
const struct registry_vips *gauges_pool_vips(const struct gauges_pool *p);

#endif
