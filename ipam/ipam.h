/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IPAM_IPAM_H
#define IPAM_IPAM_H
/*
 * Address management: the verbs of Docker's IpamDriver on typed data. Pools and
 * leases are rows; each change is durable when the store worker's batch is
 * committed, and answers leave only then. Thread: store.
 */
#include <stdbool.h>
#include <stdint.h>

#include "plugin/base/addr.h"
#include "plugin/base/db.h"
#include "plugin/base/err.h"

#define IPAM_SPACE_LOCAL  "fairlead-local"
#define IPAM_SPACE_GLOBAL "fairlead-global"
#define IPAM_POOL_ID_SIZE 160
#define IPAM_OWNER_SIZE	  80

struct ipam;

/* Longer that an address rests which Docker has not released itself, but may yet. */
#define IPAM_DROPPED_REST_MS 600000UL

struct ipam_config {
	/* A released address is not chosen again for so many seconds, unless nothing else
	 * is free. 0: it is as good as any. */
	uint32_t rest_s;
	struct cidr default_pools4; /* 10.128.0.0/9 */
	uint8_t default_size4;	    /* 24 */
	struct cidr default_pools6; /* fd00:...: a ULA prefix */
	uint8_t default_size6;	    /* 64 */
};

/*
 * Migrates and loads; config is copied. Volatile (global) pools of an earlier life are
 * dropped. now_ms, here and below: clock_ms(), or another clock that begins at 0 when the
 * machine starts. -ENOMEM, or the database's error.
 */
int ipam_new(struct db *db, const struct ipam_config *config, uint64_t now_ms,
	     struct ipam **ret, struct err *e);
void ipam_free(struct ipam *m);
/* Reads all from the database again, after a lost transaction. */
int ipam_reload(struct ipam *m, struct err *e);

#define IPAM_WHAT_SIZE 96

/* A prefix that somebody else uses on this host. */
struct ipam_taken {
	struct cidr prefix;
	char what[IPAM_WHAT_SIZE]; /* "route 10.128.0.0/16 dev wg0" */
};

struct ipam_pool_request {
	const char *space;     /* one of the two */
	const char *pool;      /* "" = choose; "0.0.0.0/24" = choose of that size */
	const char *sub_pool;  /* "" = none: range for addresses that are not asked for */
	const char *vip_range; /* "" = default (top quarter), "none", or a prefix in it */
	bool v6;
	/* Where no pool is chosen from, in any order. A subnet that the user gave is his
	 * decision, and one of a Swarm network is known to the host already. */
	const struct ipam_taken *taken; /* may overlap each other; borrowed */
	unsigned int taken_count;
};

struct ipam_pool_answer {
	char id[IPAM_POOL_ID_SIZE]; /* "space/pool[/sub-pool]" */
	struct cidr pool;
};

/*
 * -EINVAL: bad input, -EEXIST: overlaps (the text says with what) or the same id is
 * there, -ENOSPC: no free pool is left. A pool that a network holds already since
 * before Docker's restart (replay) is confirmed, see ipam_replay_begin; one of the
 * global space always. vip_range counts only for a pool that is new.
 *
 * Pools with different sub-pools of the same prefix share its addresses, so none is
 * given twice. Several prefixes may overlap only where each has a sub-pool of its own
 * and these do not.
 */
int ipam_pool_request(struct ipam *m, const struct ipam_pool_request *rq,
		      struct ipam_pool_answer *ret, struct err *e);
/* Drops the pool with all addresses that were asked for by this id. Unknown id:
 * success. */
int ipam_pool_release(struct ipam *m, const char *id, struct err *e);

struct ipam_address_request {
	const char *pool_id;
	const char *address; /* "" = choose */
	bool gateway;	     /* RequestAddressType is com.docker.network.gateway */
	bool serial;	     /* com.docker.network.ipam.serial: the order is so anyway */
	const char *owner;   /* endpoint name where Docker tells it, else "" */
	uint64_t now_ms;
};

/*
 * *ret has the pool's prefix length. -ENOENT: no such pool, -EINVAL: bad address,
 * -ERANGE: outside the pool or in its VIP range, -EEXIST: taken, -ENOSPC: the pool is
 * full. A gateway gets the lowest address, others the next after the last one that was
 * chosen, going round; those that rest are left out, and when all that are free rest,
 * the one that rests longest is taken. To ask for one by its address, resting or not,
 * moves nothing. An owner may ask again for an address that it holds; in the global space
 * anybody may, and the VIP range stops nobody who asks for an address in it.
 */
int ipam_address_request(struct ipam *m, const struct ipam_address_request *rq,
			 struct cidr *ret, struct err *e);
/* The address rests from now on. Unknown pool, free address, or one of another pool id:
 * success, and nothing happens. -EINVAL: not an address. */
int ipam_address_release(struct ipam *m, const char *pool_id, const char *address,
			 uint64_t now_ms, struct err *e);

/* An address where its PoolID is not known: of several pools with this prefix, those of
 * the one that has it, else of the newest. */
struct ipam_place {
	const char *space;
	struct cidr pool;
	struct addr addr;
};

/* Makes sure that the address is leased, by whom ever. Nothing happens if the pool is not
 * ours or has no such address. */
int ipam_address_hold(struct ipam *m, const struct ipam_place *at, struct err *e);
/* Gives an address back that Docker seems to have forgotten: it rests
 * IPAM_DROPPED_REST_MS longer. Not leased: success. */
int ipam_address_drop(struct ipam *m, const struct ipam_place *at, uint64_t now_ms,
		      struct err *e);

/*
 * Docker (re)started and will ask again for what it knows: pools and addresses of the
 * local space may each be requested once more as if they were new.
 */
int ipam_replay_begin(struct ipam *m, uint64_t now_ms, struct err *e);

/*
 * How long after ipam_replay_begin (or after ipam_new) what Docker has not asked for
 * again is kept. Its replay comes before it serves anybody, but containers that start
 * with it may take minutes.
 */
#define IPAM_GRACE_MS 300000UL

/* Who needs what Docker does not speak of. */
struct ipam_users {
	/* Has an endpoint this address? */
	bool (*has_address)(void *ctx, const struct ipam_place *at);
	/* Is this the pool of a network? */
	bool (*has_pool)(void *ctx, const char *space, const struct cidr *pool);
	void *ctx;
};

/*
 * Drops, once in a round and when its grace is over, what was not confirmed: addresses
 * that no endpoint has, and pools of the local space that no network has. Gateways stay
 * while their pool does, and so do addresses that were asked for by name in a pool which
 * is not confirmed itself (auxiliary addresses are among them). Pools only go if Docker
 * has told of one that it knew: it asks for capabilities also without a replay. One call
 * looks at some thousand leases; as long as ipam_drop_unconfirmed_due says so there are
 * more.
 */
int ipam_drop_unconfirmed(struct ipam *m, const struct ipam_users *users, uint64_t now_ms,
			  struct err *e);

/* Rows of addresses that have rested: removes up to IPAM_TIDY_MAX of them. *ret_more:
 * there are more. */
#define IPAM_TIDY_MAX 256
int ipam_tidy(struct ipam *m, uint64_t now_ms, bool *ret_more, struct err *e);
/* Is there anything for these two to do? */
bool ipam_drop_unconfirmed_due(const struct ipam *m, uint64_t now_ms);
bool ipam_tidy_due(const struct ipam *m, uint64_t now_ms);

/* The VIP range of a pool, found by (space, pool): of several with this prefix the
 * newest. addr.family 0: it has none. The range may end with the subnet's broadcast
 * address, or begin with its network address if it was told so. -ENOENT: not a pool of
 * ours. */
int ipam_vip_range(struct ipam *m, const char *space, const struct cidr *pool,
		   struct cidr *ret);
/* Sets another VIP range before an address in it is taken (text as in
 * ipam_pool_request). -EINVAL, -EEXIST: addresses in it are taken. */
int ipam_vip_range_set(struct ipam *m, const char *space, const struct cidr *pool,
		       const char *text, struct err *e);

struct ipam_pool_info {
	const char *id;
	struct cidr pool;
	struct cidr vip_range;
	uint64_t capacity; /* addresses that can be given */
	uint64_t used;
};

/* One pool by its id; its texts live until the pool goes. -ENOENT. */
int ipam_pool_find(struct ipam *m, const char *id, struct ipam_pool_info *ret);
/* The number of pools with this prefix: more than one with sub-pools. */
unsigned int ipam_pool_count(struct ipam *m, const char *space, const struct cidr *pool);

/* Calls fn for every pool, in order of id. */
void ipam_pool_list(struct ipam *m,
		    void (*fn)(void *ctx, const struct ipam_pool_info *info), void *ctx);

#endif
