/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IPAM_STORE_H
#define IPAM_STORE_H
/*
 * The rows behind ipam.c: pools and leases. Each change is one statement, so it has
 * happened wholly or not at all; the transaction around it is the caller's. Errors
 * are the database's. Thread: store.
 */
#include <stdbool.h>
#include <stdint.h>

#include "ipam/pool.h"
#include "plugin/base/db.h"
#include "plugin/base/err.h"

struct ipam_store;

/* Pools with the same set share addresses; set is the number of the first of them. */
struct ipam_store_pool {
	int64_t number;
	int64_t set;
	const char *id;	   /* PoolID */
	const char *space; /* address space */
	struct pool_shape shape;
	int64_t round; /* of replay in which Docker last asked for it */
};

enum ipam_lease_kind {
	IPAM_LEASE_GIVEN,   /* asked for by its address */
	IPAM_LEASE_CHOSEN,  /* found by the cursor of its pool */
	IPAM_LEASE_GATEWAY, /* of the network */
	IPAM_LEASE_KIND_COUNT
};

struct ipam_store_lease {
	int64_t set;
	int64_t pool; /* number */
	struct addr addr;
	int64_t sequence; /* grows with every lease */
	int64_t round;	  /* as in a pool */
	enum ipam_lease_kind kind;
	int64_t released; /* 0: it is held; else the stamp of when it was given back */
	const char *owner;
};

/* Of the whole store. */
struct ipam_store_state {
	int64_t round;	  /* of replay; 0 at first */
	int64_t replayed; /* the last round in which a pool was told again */
};

/* Brings the tables up to date and prepares the statements. db must outlive *ret. */
int ipam_store_open(struct db *db, struct ipam_store **ret, struct err *e);
void ipam_store_close(struct ipam_store *s);

int ipam_store_pool_add(struct ipam_store *s, const struct ipam_store_pool *pool,
			struct err *e);
/* Its leases go with it. */
int ipam_store_pool_del(struct ipam_store *s, int64_t number, struct err *e);
/* Drops all pools of a space with their leases. */
int ipam_store_space_del(struct ipam_store *s, const char *space, struct err *e);
int ipam_store_pool_set_vip(struct ipam_store *s, int64_t number,
			    const struct pool_shape *shape, struct err *e);
int ipam_store_pool_set_round(struct ipam_store *s, int64_t number, int64_t round,
			      struct err *e);

/* Over a released row, if there is one. -EEXIST: the address is held in the set. */
int ipam_store_lease_add(struct ipam_store *s, const struct ipam_store_lease *lease,
			 struct err *e);
/* Writes the stamp lease->released, or with 0 deletes the row. *ret_gone: such a lease
 * of this pool was held (lease: set, pool, addr). */
int ipam_store_lease_release(struct ipam_store *s, const struct ipam_store_lease *lease,
			     bool *ret_gone, struct err *e);
/* Deletes the released rows from first to last of a set. */
int ipam_store_lease_del_released(struct ipam_store *s, int64_t set,
				  const struct addr *first, const struct addr *last,
				  struct err *e);
/* Writes round and owner of a lease that is there (lease: set, addr). */
int ipam_store_lease_confirm(struct ipam_store *s, const struct ipam_store_lease *lease,
			     struct err *e);
/* Finds by lease->set and lease->addr and fills in the rest; the owner is copied to
 * owner. -ENOENT. */
int ipam_store_lease_find(struct ipam_store *s, struct ipam_store_lease *lease,
			  char *owner, size_t size, struct err *e);

int ipam_store_state_get(struct ipam_store *s, struct ipam_store_state *ret,
			 struct err *e);
int ipam_store_state_set(struct ipam_store *s, const struct ipam_store_state *state,
			 struct err *e);

/* Calls fn with each row until it returns a negative errno, which is returned. The row
 * and its texts live during the call only. Pools come by number, leases by set and
 * address. */
int ipam_store_pool_each(struct ipam_store *s,
			 int (*fn)(void *ctx, const struct ipam_store_pool *pool,
				   struct err *e),
			 void *ctx, struct err *e);
typedef int (*ipam_store_lease_fn)(void *ctx, const struct ipam_store_lease *lease,
				   struct err *e);
int ipam_store_lease_each(struct ipam_store *s, ipam_store_lease_fn fn, void *ctx,
			  struct err *e);
/* A place in the order of leases. All zero: before the first. */
struct ipam_store_mark {
	int64_t set;
	struct addr addr;
};

/* Only the next IPAM_STORE_PAGE after the mark, which is moved on. Returns their number.
 */
#define IPAM_STORE_PAGE 2000
int ipam_store_lease_each_after(struct ipam_store *s, struct ipam_store_mark *mark,
				ipam_store_lease_fn fn, void *ctx, struct err *e);
/* Only the leases of one pool; they are found by walking through those of its set. */
int ipam_store_lease_each_of(struct ipam_store *s, const struct ipam_store_pool *pool,
			     ipam_store_lease_fn fn, void *ctx, struct err *e);

#endif
