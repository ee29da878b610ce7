/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IPAM_IPAM_INTERNAL_H
#define IPAM_IPAM_INTERNAL_H
/* What the parts of the address management share; nobody else includes it. Thread:
 * store. */
#include "ipam/ipam.h"

#include "ipam/pool.h"
#include "ipam/store.h"
#include "ipam/table.h"

#define IPAM_QUOTED_SIZE 72 /* of foreign text in an error */

struct ipam {
	struct ipam_store *store;
	struct ipam_config config;
	struct ipam_store_state state; /* pools and leases of a lower round are not
					* confirmed */
	int64_t sequence;	       /* of the last lease */
	uint64_t now_ms;	       /* the latest time that we were told */
	uint64_t stamp;		       /* the last one given to a released address, us */
	uint64_t round_ms;	       /* when state.round, or we, began */
	int64_t swept;		       /* the last round whose unconfirmed are gone */
	int64_t sweeping;	       /* the round that sweep_mark is of */
	struct ipam_store_mark sweep_mark; /* how far the leases were looked at */
	struct ipam_table table;
	bool stale; /* memory may differ from the rows */
};

/* Reads everything again if memory is stale. */
int ipam_refresh(struct ipam *m, struct err *e);
bool ipam_is_global(const struct pool_set *set);
/* The pool of this prefix; NULL: none. CreateNetwork does not tell the PoolID, but it
 * follows its RequestPool: of several pools the newest is meant. */
struct ipam_pool *ipam_newest_pool(const struct ipam *m, const char *space,
				   const struct cidr *prefix);
/* Drops a pool with its leases. */
int ipam_drop_pool(struct ipam *m, struct ipam_pool *pool, struct err *e);
/* n was chosen by the lease of this sequence. */
void ipam_move_cursor(struct ipam_pool *pool, addrnum n, int64_t sequence);

/* Is n leased, by whatever pool of the set? */
static inline bool ipam_is_held(const struct pool_set *set, addrnum n)
{
	return addrset_has(&set->used, n) && !rest_has(&set->resting, n);
}

/*
 * Gives back a lease of the pool that is held, to rest from now_ms on: as long as the
 * setting says, and IPAM_DROPPED_REST_MS longer if it is dropped. *ret_gone: false if
 * its row is another pool's.
 */
struct ipam_release {
	struct ipam_pool *pool;
	struct addr addr;
	uint64_t now_ms;
	bool dropped;
};

int ipam_release(struct ipam *m, const struct ipam_release *rl, bool *ret_gone,
		 struct err *e);

/* Ends the rest of up to max addresses of the set whose time is over; returns of how
 * many. */
unsigned int ipam_wake(struct ipam *m, struct pool_set *set, unsigned int max);

#endif
