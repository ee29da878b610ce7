/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_VIP_H
#define LB_VIP_H
/*
 * The virtual addresses of one range: who has which, and which is next. Addresses go
 * round, so a returned one rests. Two are never used: the last of an IPv4 range (it may
 * be the subnet's broadcast address) and the first of a range of four or more (it may
 * be the subnet's own address). Pure. Thread: store.
 */
#include <stdbool.h>
#include <stdint.h>

#include "plugin/base/addr.h"

enum vip_family {
	VIP_V4,
	VIP_V6,
	VIP_FAMILY_COUNT
};

struct vip_taken;

struct vip_pool {
	struct cidr range; /* family 0: nothing can be taken */
	struct vip_taken *taken;
	uint64_t used; /* of the range's usable addresses */
	uint64_t next; /* usable address to try first, from 0 */
};

/* Sets the range, at first or anew. What is taken stays so, also outside of it. */
void vip_pool_set_range(struct vip_pool *p, const struct cidr *range);
/* Forgets all that was taken. */
void vip_pool_fini(struct vip_pool *p);

/* Addresses of the range that can be given at all. */
uint64_t vip_pool_capacity(const struct vip_pool *p);
/* In the range and not one of the two that are never used. */
bool vip_pool_usable(const struct vip_pool *p, const struct addr *a);
/* NULL: free. */
void *vip_pool_owner(const struct vip_pool *p, const struct addr *a);

/* Takes the next free address for owner (not NULL). -ENOSPC: none is left, -ENOMEM. */
int vip_pool_take_next(struct vip_pool *p, void *owner, struct addr *ret);
/* Takes a, which need not be in the range. -EEXIST: taken, -ENOMEM. */
int vip_pool_take(struct vip_pool *p, const struct addr *a, void *owner);
/* Gives a back. Free already: nothing. */
void vip_pool_give(struct vip_pool *p, const struct addr *a);

#endif
