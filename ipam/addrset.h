/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IPAM_ADDRSET_H
#define IPAM_ADDRSET_H
/*
 * A set of addresses, kept as runs of neighbours in a balanced tree. Addresses given
 * one after the other cost next to nothing; the worst (no two neighbours) is 48 bytes
 * an address. Every operation is O(log runs), whatever the size of the pool.
 *
 * Adding and removing may need one new run. addrset_reserve gets its memory before,
 * so that a caller can write its database in between and cannot fail afterwards.
 */
#include <stdbool.h>
#include <stdint.h>

#include "plugin/base/addr.h"

/* An address of either family as a number. */
typedef unsigned __int128 addrnum;

addrnum addrnum_get(const struct addr *a);
struct addr addrnum_addr(uint8_t family, addrnum n);

struct addrset_run;

struct addrset {
	struct addrset_run *root;
	struct addrset_run *spare; /* made by addrset_reserve */
	uint64_t count;		   /* addresses in the set */
};

/* An empty set is all zero. Frees the runs; the set is empty then. */
void addrset_fini(struct addrset *s);

/* Makes sure that the next add or del succeeds. -ENOMEM. */
int addrset_reserve(struct addrset *s);

bool addrset_has(const struct addrset *s, addrnum n);
/* Needs addrset_reserve; nothing happens if n is in already. */
void addrset_add(struct addrset *s, addrnum n);
/* Needs addrset_reserve; nothing happens if n is not in. */
void addrset_del(struct addrset *s, addrnum n);

/* The lowest number within [first, last] that is not (is) in the set; false if there
 * is none. */
bool addrset_next_free(const struct addrset *s, addrnum first, addrnum last,
		       addrnum *ret);
bool addrset_next_used(const struct addrset *s, addrnum first, addrnum last,
		       addrnum *ret);

#endif
