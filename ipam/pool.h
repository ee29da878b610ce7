/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef IPAM_POOL_H
#define IPAM_POOL_H
/*
 * What a pool is and which of its addresses can be given: pure computation on texts,
 * prefixes and sets of addresses; no I/O. Thread: any.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipam/addrset.h"
#include "ipam/rest.h"
#include "plugin/base/addr.h"
#include "plugin/base/err.h"

/* What is asked for, before a prefix is chosen. */
struct pool_wish {
	bool choose;	  /* then pool is only a family and a size (0: the usual one) */
	struct cidr pool; /* host bits are 0 */
	struct cidr sub;  /* addr.family 0: none */
};

/* Reads Docker's Pool and SubPool ("" for none). The family is that of the text, v6
 * counts only for Pool "". -EINVAL: bad input, the text says which. */
int pool_wish_parse(const char *pool, const char *sub_pool, bool v6,
		    struct pool_wish *ret, struct err *e);

enum pool_vip {
	POOL_VIP_AUTO,	/* a quarter of the pool, moved out of the gateway's way */
	POOL_VIP_NONE,	/* told "none" */
	POOL_VIP_FIXED, /* told a prefix */
	POOL_VIP_COUNT
};

struct pool_shape {
	struct cidr pool; /* host bits are 0 */
	struct cidr sub;  /* range of addresses nobody asked for; addr.family 0: all */
	struct cidr vip;  /* kept for services; addr.family 0: none */
	enum pool_vip vip_mode;
};

/* First and last address that may be given without being asked for; false: none. */
bool pool_bounds(const struct pool_shape *s, addrnum *ret_first, addrnum *ret_last);
/* Number of these addresses outside the VIP range; UINT64_MAX when 2^64 or more. */
uint64_t pool_capacity(const struct pool_shape *s);

/* Can a be leased at all? -ERANGE: outside the pool, -EINVAL: a network, anycast or
 * broadcast address. The VIP range is not looked at. */
int pool_check_address(const struct pool_shape *s, const struct addr *a, struct err *e);

/*
 * The next address at or after from that is neither in used nor in the VIP range,
 * going round at the end. from may lie anywhere. False: the pool is full.
 */
bool pool_next_free(const struct pool_shape *s, const struct addrset *used, addrnum from,
		    addrnum *ret);

/* Of the addresses that pool_next_free would find, had they not rested, the one that has
 * rested longest. False: none. */
bool pool_longest_resting(const struct pool_shape *s, const struct rest *resting,
			  addrnum *ret);

/*
 * Sets s->vip and s->vip_mode by text: "" = automatic, "none", or a prefix inside the
 * pool that leaves room for containers. gateway: keep away from it too; may be NULL,
 * then it is taken to be the lowest usable address. An automatic range avoids also the
 * sub-pool and what is in used, and is none if that cannot be done. -EINVAL, s is then
 * unchanged.
 */
int pool_vip_set(struct pool_shape *s, const char *text, const struct addrset *used,
		 const struct addr *gateway, struct err *e);

/* The PoolID "space/pool[/sub-pool]" into buf. -ENAMETOOLONG. */
int pool_id(const char *space, const struct cidr *pool, const struct cidr *sub, char *buf,
	    size_t size);

/* A prefix as first and last address, to compare many of them fast. */
struct pool_span {
	uint8_t family;
	addrnum first;
	addrnum last;
};

struct pool_span pool_span_of(const struct cidr *c);
bool pool_span_overlaps(const struct pool_span *a, const struct pool_span *b);
/* Order by family, first address, then widest first: a total one but for equals. */
int pool_span_compare(const struct pool_span *a, const struct pool_span *b);

/*
 * Finds prefixes of a size inside base that overlap none of spans, lowest first:
 * fill with pool_choice_init, then call pool_choice_next until the prefix suits.
 */
struct pool_choice {
	const struct pool_span *const *spans; /* in order */
	size_t count;
	size_t at;
	uint8_t family;
	uint8_t size; /* prefix length wanted */
	bool done;
	addrnum next;
	addrnum last; /* of base */
};

/* spans (count entries, in order of pool_span_compare) must live as long as c. size
 * must not be shorter than base's. */
void pool_choice_init(struct pool_choice *c, const struct cidr *base, uint8_t size,
		      const struct pool_span *const *spans, size_t count);
/* False: there are no more. */
bool pool_choice_next(struct pool_choice *c, struct cidr *ret);

#endif
