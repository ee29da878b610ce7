/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_ADDRLIST_H
#define LB_ADDRLIST_H
/*
 * Lists of addresses with a number each (a backend's weight, a VIP's mark) that can
 * be compared: what is wanted with what was, or with what the kernel holds. Pure.
 * Thread: any.
 */
#include <stdint.h>

#include "lb/types.h"

struct addrlist_item {
	struct addr addr;
	uint32_t number;
};

/* All 0 is an empty list. */
struct addrlist {
	struct addrlist_item *items;
	unsigned int count;
	unsigned int room;
};

void addrlist_fini(struct addrlist *l);

/* Appends; -ENOMEM. */
int addrlist_add(struct addrlist *l, const struct addr *addr, uint32_t number);
/* Orders by address; of two items with one address the lower number stays. */
void addrlist_sort(struct addrlist *l);
/* NULL: none. The list must be sorted. */
const struct addrlist_item *addrlist_find(const struct addrlist *l,
					  const struct addr *addr);

/* One difference: old NULL = added, new_item NULL = removed, both = another number. */
typedef int (*addrlist_diff_fn)(void *ctx, const struct addrlist_item *old,
				const struct addrlist_item *new_item);
/* Calls fn for every difference of two sorted lists until it returns an error, which
 * is returned. */
int addrlist_diff(const struct addrlist *old, const struct addrlist *new_list,
		  addrlist_diff_fn fn, void *ctx);

/* The VIP that a balancer serves for the view in this family, or NULL: there is no
 * view, it has no such VIP, or its names give the backends. */
const struct addr *addrlist_vip(const struct lb_view *v, uint8_t family);

/* Appends the backends of a family with their weights (none without a VIP) and sorts.
 * -ENOMEM. */
int addrlist_add_backends(struct addrlist *l, const struct lb_view *v, uint8_t family);

#endif
