/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_SLOTS_H
#define LB_SLOTS_H
/*
 * Which backend stands in which slot of a service's slot map (nft balancer). Always
 * the same for the same view, so that a view tells what the kernel holds. Pure.
 * Thread: any.
 */
#include "lb/types.h"

/* Above this many slots weights are scaled down (and rounded). */
#define SLOTS_USABLE_MAX 16384
#define SLOTS_MAX	 (SLOTS_USABLE_MAX + LB_BACKENDS_MAX)

/*
 * slots[0 .. usable-1] are drawn for new connections. The backends of weight 0 follow:
 * never drawn, they are there to be seen, so that a later look into the kernel finds
 * everything that connections may still point at. All 0 is empty.
 */
struct slots {
	struct addr *list; /* family 0: a hole, only in what was read from the kernel */
	unsigned int usable;
	unsigned int count;
};

void slots_fini(struct slots *s);

/*
 * The slots of a view's family (empty without a VIP). A backend has one slot with
 * rr, else its weight after division by what all weights have in common. Where one
 * backend leaves or comes, only its own slots change as long as all weights are
 * equal. -ENOMEM, -E2BIG: more than LB_BACKENDS_MAX backends.
 */
int slots_from_view(const struct lb_view *v, uint8_t family, struct slots *ret);

#endif
