/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IPAM_REST_H
#define IPAM_REST_H
/*
 * Addresses that rest: given back a while ago and not to be chosen yet. Found by
 * address, and by age within any range of addresses; every operation is O(log count).
 * An address costs 48 bytes.
 *
 * Stamps are times in any unit, below UINT64_MAX; a later one is higher. Thread: any.
 */
#include <stdbool.h>
#include <stdint.h>

#include "ipam/addrset.h"

struct rest_node;

struct rest {
	struct rest_node *root;
	struct rest_node *spare; /* made by rest_reserve */
	uint64_t count;
};

/* None is all zero. Frees the nodes; there are none then. */
void rest_fini(struct rest *r);

/* Makes sure that the next rest_add succeeds. -ENOMEM. */
int rest_reserve(struct rest *r);

bool rest_has(const struct rest *r, addrnum n);
/* Needs rest_reserve; n must not be in. */
void rest_add(struct rest *r, addrnum n, uint64_t stamp);
/* Nothing happens if n is not in. */
void rest_del(struct rest *r, addrnum n);

/* The one within [first, last] with the lowest stamp (of equals any); false if there
 * is none. ret_stamp may be NULL. */
bool rest_oldest(const struct rest *r, addrnum first, addrnum last, addrnum *ret,
		 uint64_t *ret_stamp);

#endif
