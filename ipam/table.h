/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IPAM_TABLE_H
#define IPAM_TABLE_H
/*
 * The pools in memory, for ipam.c: what must be known to choose addresses and prefixes
 * without asking the database. Thread: store.
 */
#include <stddef.h>
#include <stdint.h>

#include "ipam/addrset.h"
#include "ipam/ipam.h"
#include "ipam/pool.h"
#include "ipam/rest.h"
#include "ipam/store.h"
#include "plugin/base/map.h"

#define IPAM_SPACE_SIZE 16

struct ipam_pool;

/* The addresses of one prefix in one space; several PoolIDs may share it. */
struct pool_set {
	struct pool_span span;
	char space[IPAM_SPACE_SIZE];
	int64_t number;
	struct addrset used;  /* not to be chosen: held or resting */
	struct rest resting;  /* released, see ipam_address.c */
	struct addrset spent; /* free, but their rows are still there */
	TAILQ_HEAD(ipam_pool_list_head, ipam_pool) pools; /* in order of number */
};

/* One PoolID: a prefix, perhaps with a sub-pool. */
struct ipam_pool {
	char id[IPAM_POOL_ID_SIZE];
	int64_t number;
	struct pool_set *set;
	struct pool_shape shape;
	addrnum cursor;	      /* the next search begins here */
	int64_t cursor_lease; /* sequence of the lease that set it */
	int64_t round;	      /* of replay, as in the row */
	uint64_t used;	      /* leases */
	TAILQ_ENTRY(ipam_pool) link;
	UT_hash_handle by_id;
	UT_hash_handle by_number;
};

/* Empty when all is zero. */
struct ipam_table {
	int64_t number; /* highest ever of a pool */
	struct ipam_pool *by_id;
	struct ipam_pool *by_number;
	const struct pool_span **spans; /* of the sets, in order */
	size_t span_count;
	size_t span_size;
};

/* Frees all pools and sets; the table is empty then. */
void ipam_table_clear(struct ipam_table *t);

/* Puts a pool in, without leases, as the row says; the table owns it. -ENOMEM,
 * -EUCLEAN: the row's texts are too long. */
int ipam_table_add(struct ipam_table *t, const struct ipam_store_pool *row,
		   struct ipam_pool **ret, struct err *e);
/* Frees the pool, and its set if it was the last in it. */
void ipam_table_del(struct ipam_table *t, struct ipam_pool *pool);

/* NULL: there is none (or id is NULL). */
struct ipam_pool *ipam_table_find(const struct ipam_table *t, const char *id);
struct ipam_pool *ipam_table_find_number(const struct ipam_table *t, int64_t number);
/* pool without host bits. */
struct pool_set *ipam_table_set_find(const struct ipam_table *t, const char *space,
				     const struct cidr *pool);
/* i below span_count; in order of pool_span_compare. */
struct pool_set *ipam_table_set_at(const struct ipam_table *t, size_t i);
/* Puts by_id in order of id. */
void ipam_table_sort(struct ipam_table *t);

#endif
