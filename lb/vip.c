// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Choice of virtual addresses. Taken ones are in a hash map; looking for a free one
 * starts behind the last one given and needs at most as many looks as addresses are
 * taken, in practice one.
 */
#include "lb/vip.h"

#include "plugin/base/map.h"

#include <errno.h>
#include <stdlib.h>

struct vip_taken {
	struct addr addr;
	void *owner;
	UT_hash_handle hh;
};

static struct vip_taken *find(const struct vip_pool *p, const struct addr *a)
{
	struct vip_taken *t;

	HASH_FIND(hh, p->taken, a, sizeof(*a), t);
	return t;
}

/* Offset of the first usable address. */
static uint64_t first_offset(const struct vip_pool *p)
{
	return cidr_count(&p->range) >= 4 ? 1 : 0;
}

uint64_t vip_pool_capacity(const struct vip_pool *p)
{
	uint64_t count;

	if (!addr_is_set(&p->range.addr))
		return 0;
	count = cidr_count(&p->range) - first_offset(p);
	return p->range.addr.family == AF_INET ? count - 1 : count;
}

bool vip_pool_usable(const struct vip_pool *p, const struct addr *a)
{
	uint64_t offset;

	if (!addr_is_set(a) || !cidr_contains(&p->range, a))
		return false;
	/* An IPv6 range wider than /64 is used in its first 2^64 addresses. */
	offset = addr_offset(&p->range.addr, a);
	return offset >= first_offset(p) &&
	       offset - first_offset(p) < vip_pool_capacity(p);
}

void vip_pool_set_range(struct vip_pool *p, const struct cidr *range)
{
	struct cidr network = cidr_network(range);
	struct vip_taken *t;
	struct vip_taken *tmp;

	if (!cidr_equal(&p->range, &network))
		p->next = 0;
	p->range = network;
	p->used = 0;
	HASH_ITER (hh, p->taken, t, tmp)
		p->used += vip_pool_usable(p, &t->addr);
}

void vip_pool_fini(struct vip_pool *p)
{
	struct vip_taken *t;
	struct vip_taken *tmp;

	HASH_ITER (hh, p->taken, t, tmp) {
		HASH_DEL(p->taken, t);
		free(t);
	}
	*p = (struct vip_pool){0};
}

void *vip_pool_owner(const struct vip_pool *p, const struct addr *a)
{
	const struct vip_taken *t = find(p, a);

	return t ? t->owner : NULL;
}

int vip_pool_take(struct vip_pool *p, const struct addr *a, void *owner)
{
	struct vip_taken *t;

	if (find(p, a))
		return -EEXIST;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->addr = *a;
	t->owner = owner;
	HASH_ADD(hh, p->taken, addr, sizeof(t->addr), t);
	if (!MAP_ADDED(t)) {
		free(t);
		return -ENOMEM;
	}
	p->used += vip_pool_usable(p, a);
	return 0;
}

int vip_pool_take_next(struct vip_pool *p, void *owner, struct addr *ret)
{
	uint64_t capacity = vip_pool_capacity(p);
	uint64_t index = p->next;
	struct addr a;
	int r;

	if (p->used >= capacity)
		return -ENOSPC;
	for (;; index++) {
		index = index >= capacity ? 0 : index;
		a = addr_add(&p->range.addr, first_offset(p) + index);
		if (!find(p, &a))
			break;
	}
	r = vip_pool_take(p, &a, owner);
	if (r < 0)
		return r;
	p->next = index + 1;
	*ret = a;
	return 0;
}

void vip_pool_give(struct vip_pool *p, const struct addr *a)
{
	struct vip_taken *t = find(p, a);

	if (!t)
		return;
	p->used -= vip_pool_usable(p, a);
	HASH_DEL(p->taken, t);
	free(t);
}
