/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IPAM_CHOICE_H
#define IPAM_CHOICE_H
#include "ipam/ipam.h"
#include "ipam/pool.h"
#include "ipam/table.h"

/*
 * Sets w->pool (a family and a size, 0: the usual one) to a prefix of the default pools
 * that overlaps no pool of t and nothing in rq->taken. -ENOSPC: there is none, the text
 * says what is in the way. -ENOMEM. Thread: any that owns t.
 */
int ipam_choose(const struct ipam_table *t, const struct ipam_config *config,
		const struct ipam_pool_request *rq, struct pool_wish *w, struct err *e);

#endif
