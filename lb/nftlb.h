/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_NFTLB_H
#define LB_NFTLB_H
/*
 * What the two files of the nft balancer share; nobody else includes this. nftlb.c
 * changes what it is told, nftlb_sync.c looks first. Thread: kernel.
 */
#include "driver/kern/nft.h"
#include "lb/balancer.h"
#include "lb/nftcommon.h"
#include "lb/slots.h"
#include "plugin/base/mem.h"

#define NFTLB_NAME_SIZE NFTCOMMON_VALUE_SIZE

static inline struct nftcommon *nftlb_common(struct balancer *b)
{
	return CONTAINER_OF(b, struct nftcommon, balancer);
}

/* The names of a service's objects in the family with this index. */
struct nftlb_names {
	char chain[NFTLB_NAME_SIZE];
	char slots[NFTLB_NAME_SIZE];
	struct nft_set set;
};

void nftlb_names_init(struct nftlb_names *n, uint32_t mark, unsigned int index);

/* One service in one family, as it should be. */
struct nftlb_state {
	const struct addr *vip; /* NULL: there is no such service */
	uint32_t mark;
	struct slots slots;
	enum nft_spread spread;
	char comment[NFTCOMMON_COMMENT_SIZE]; /* of the rule: it tells all about it */
};

/* v may be NULL. slots_fini(&s->slots) in any case. */
int nftlb_state_init(struct nftlb_state *s, const struct lb_view *v, unsigned int index,
		     struct err *e);

/* NULL: a hole or beyond the end. */
const struct addr *nftlb_slot_at(const struct slots *s, uint32_t slot);
/* Appends the difference and returns the number of slots that change. */
unsigned int nftlb_append_slot_diff(struct nft_batch *b, const struct nftlb_names *n,
				    const struct slots *old,
				    const struct slots *new_slots);
/* Appends the replacement of the service's rule. */
void nftlb_append_rule_change(struct nft_batch *b, const struct nftlb_names *n,
			      const struct nftlb_state *s, unsigned int index);
/* Appends all of a service but its VIP. What may be there already is emptied. */
void nftlb_append_service(struct nft_batch *b, const struct nftlb_state *s,
			  unsigned int index, bool may_exist);
/* Appends the removal of what nftlb_append_service made. */
void nftlb_remove_service(struct nft_batch *b, uint32_t mark, unsigned int index);

/* balancer_ops.sync */
int nftlb_sync(struct balancer *balancer, const struct balancer_entry *list,
	       unsigned int count, unsigned int *ret_repairs, struct err *e);

#endif
