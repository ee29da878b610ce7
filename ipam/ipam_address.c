// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The verbs of addresses. A released one keeps its row, marked with when that was, and
 * stays in the set of those in use until it has rested: one statement each for giving
 * and giving back, and the rest outlives a restart. When it has rested its row is
 * "spent": it goes when the address is given again, or with many others (ipam_sweep.c).
 */
#include "ipam/ipam_internal.h"

#include "plugin/base/log.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <string.h>

/* A request pays for its own address and some others, never for a million that were
 * released at the same time. Those left over are found as the longest resting ones. */
#define WAKE_MAX 64

static void tell_time(struct ipam *m, uint64_t now_ms)
{
	if (m->now_ms < now_ms)
		m->now_ms = now_ms;
}

/* Each is higher than the last, so the longest resting address is one only. */
static uint64_t next_stamp(struct ipam *m, bool dropped)
{
	uint64_t stamp = m->now_ms * 1000;

	if (stamp <= m->stamp)
		stamp = m->stamp + 1;
	m->stamp = stamp;
	return dropped ? stamp + IPAM_DROPPED_REST_MS * 1000 : stamp;
}

unsigned int ipam_wake(struct ipam *m, struct pool_set *set, unsigned int max)
{
	const uint64_t rest_us = (uint64_t)m->config.rest_s * 1000000;
	unsigned int count = 0;
	uint64_t stamp;
	addrnum n;

	while (count < max && rest_oldest(&set->resting, 0, ~(addrnum)0, &n, &stamp) &&
	       stamp + rest_us <= m->now_ms * 1000) {
		if (addrset_reserve(&set->used) < 0 || addrset_reserve(&set->spent) < 0)
			break; /* then it rests on */
		rest_del(&set->resting, n);
		addrset_del(&set->used, n);
		addrset_add(&set->spent, n);
		count++;
	}
	return count;
}

/* Only an owner that fits can be recognised again. */
static const char *owner_of(const struct ipam_address_request *rq)
{
	return rq->owner && strlen(rq->owner) < IPAM_OWNER_SIZE ? rq->owner : "";
}

static int add_lease(struct ipam *m, struct ipam_pool *pool,
		     const struct ipam_address_request *rq, addrnum n, struct err *e)
{
	struct pool_set *set = pool->set;
	struct ipam_store_lease row = {
		.set = set->number,
		.pool = pool->number,
		.addr = addrnum_addr(pool->shape.pool.addr.family, n),
		.sequence = m->sequence + 1,
		.round = m->state.round,
		.kind = rq->gateway		    ? IPAM_LEASE_GATEWAY
			: str_is_empty(rq->address) ? IPAM_LEASE_CHOSEN
						    : IPAM_LEASE_GIVEN,
		.owner = owner_of(rq),
	};
	char text[ADDR_TEXT_SIZE];
	int r;

	if (addrset_reserve(&set->used) < 0 || addrset_reserve(&set->spent) < 0)
		return err_sys(e, -ENOMEM, "lease in pool %s", pool->id);
	r = ipam_store_lease_add(m->store, &row, e);
	if (r < 0) {
		m->stale = true;
		return err_wrap(e, r, "address %s of pool %s",
				addr_format(&row.addr, text), pool->id);
	}
	rest_del(&set->resting, n);
	addrset_del(&set->spent, n);
	addrset_add(&set->used, n);
	pool->used++;
	m->sequence++;
	if (row.kind == IPAM_LEASE_CHOSEN)
		ipam_move_cursor(pool, n, row.sequence);
	return 0;
}

static int choose_address(struct ipam *m, struct ipam_pool *pool,
			  const struct ipam_address_request *rq, addrnum *ret,
			  struct err *e)
{
	const struct cidr *vip = &pool->shape.vip;
	struct pool_set *set = pool->set;
	char text[CIDR_TEXT_SIZE];

	(void)ipam_wake(m, set, WAKE_MAX);
	if (pool_next_free(&pool->shape, &set->used, rq->gateway ? 0 : pool->cursor,
			   ret) ||
	    pool_longest_resting(&pool->shape, &set->resting, ret))
		return add_lease(m, pool, rq, *ret, e);
	if (addr_is_set(&vip->addr))
		return err_set(e, -ENOSPC,
			       "pool %s is full: %llu leases, VIP range %s is kept for "
			       "services",
			       pool->id, (unsigned long long)pool->used,
			       cidr_format(vip, text));
	return err_set(e, -ENOSPC, "pool %s is full: %llu leases", pool->id,
		       (unsigned long long)pool->used);
}

/* A gateway where the automatic VIP range happens to be: the range gives way. */
static int move_vip(struct ipam *m, struct ipam_pool *pool, const struct addr *gateway,
		    struct err *e)
{
	struct pool_shape shape = pool->shape;
	int r = pool_vip_set(&shape, "", &pool->set->used, gateway, e);

	if (r == 0)
		r = ipam_store_pool_set_vip(m->store, pool->number, &shape, e);
	if (r == 0)
		pool->shape = shape;
	return r;
}

/* The address is taken: by the one who asks, or does Docker tell what it knows? */
static int confirm_lease(struct ipam *m, struct ipam_pool *pool,
			 const struct ipam_address_request *rq, const struct addr *a,
			 struct err *e)
{
	struct ipam_store_lease row = {.set = pool->set->number, .addr = *a};
	const char *owner = owner_of(rq);
	char quoted[IPAM_OWNER_SIZE + 2];
	char text[ADDR_TEXT_SIZE];
	char held[IPAM_OWNER_SIZE];
	bool same_owner;
	bool known;
	int r = ipam_store_lease_find(m->store, &row, held, sizeof(held), e);

	addr_format(a, text);
	if (r < 0) {
		m->stale = true;
		return err_wrap(e, r, "address %s of pool %s", text, pool->id);
	}
	same_owner = *owner && !strcmp(owner, held);
	/* A replay tells of the pool before it tells of addresses. */
	known = ipam_is_global(pool->set) || same_owner ||
		(row.round < m->state.round && pool->round == m->state.round);
	if (row.pool != pool->number || !known)
		return err_set(e, -EEXIST, "address %s of pool %s is taken%s%s", text,
			       pool->id,
			       row.kind == IPAM_LEASE_GATEWAY ? " by the gateway"
			       : *held			      ? " by "
							      : "",
			       *held ? log_quote(quoted, sizeof(quoted), held) : "");
	if (row.round == m->state.round)
		return 0;
	row.round = m->state.round;
	row.owner = *owner ? owner : held;
	r = ipam_store_lease_confirm(m->store, &row, e);
	return r < 0 ? err_wrap(e, r, "address %s of pool %s", text, pool->id) : 0;
}

/* In the global space a known or odd address is a leader's memory, never refused. */
static int take_address(struct ipam *m, struct ipam_pool *pool,
			const struct ipam_address_request *rq, addrnum *ret,
			struct err *e)
{
	const struct pool_shape *shape = &pool->shape;
	char quoted[IPAM_QUOTED_SIZE];
	char text[CIDR_TEXT_SIZE];
	struct addr a;
	int r;

	if (addr_parse(rq->address, &a) < 0)
		return err_set(e, -EINVAL, "%s is not an address",
			       log_quote(quoted, sizeof(quoted), rq->address));
	r = pool_check_address(shape, &a, e);
	if (r < 0)
		return r;
	*ret = addrnum_get(&a);
	if (ipam_is_held(pool->set, *ret))
		return confirm_lease(m, pool, rq, &a, e);
	if (addr_is_set(&shape->vip.addr) && cidr_contains(&shape->vip, &a)) {
		if (rq->gateway && shape->vip_mode == POOL_VIP_AUTO)
			r = move_vip(m, pool, &a, e);
		else if (!ipam_is_global(pool->set))
			r = err_set(
				e, -ERANGE, "address %s is in VIP range %s of pool %s",
				rq->address, cidr_format(&shape->vip, text), pool->id);
	}
	return r < 0 ? r : add_lease(m, pool, rq, *ret, e);
}

int ipam_address_request(struct ipam *m, const struct ipam_address_request *rq,
			 struct cidr *ret, struct err *e)
{
	struct ipam_pool *pool;
	char quoted[IPAM_QUOTED_SIZE];
	addrnum n = 0;
	int r = ipam_refresh(m, e);

	if (r < 0)
		return r;
	pool = ipam_table_find(&m->table, rq->pool_id);
	if (!pool)
		return err_set(e, -ENOENT, "pool %s is not known",
			       log_quote(quoted, sizeof(quoted),
					 rq->pool_id ? rq->pool_id : ""));
	tell_time(m, rq->now_ms);
	if (str_is_empty(rq->address))
		r = choose_address(m, pool, rq, &n, e);
	else
		r = take_address(m, pool, rq, &n, e);
	if (r < 0)
		return r;
	ret->addr = addrnum_addr(pool->shape.pool.addr.family, n);
	ret->prefix = pool->shape.pool.prefix;
	return 0;
}

int ipam_release(struct ipam *m, const struct ipam_release *rl, bool *ret_gone,
		 struct err *e)
{
	struct ipam_pool *pool = rl->pool;
	struct pool_set *set = pool->set;
	struct ipam_store_lease row = {
		.set = set->number, .pool = pool->number, .addr = rl->addr};
	addrnum n = addrnum_get(&rl->addr);
	char text[ADDR_TEXT_SIZE];
	int r;

	tell_time(m, rl->now_ms);
	if (m->config.rest_s || rl->dropped)
		row.released = (int64_t)next_stamp(m, rl->dropped);
	if (addrset_reserve(&set->used) < 0 || rest_reserve(&set->resting) < 0)
		return err_sys(e, -ENOMEM, "lease in pool %s", pool->id);
	r = ipam_store_lease_release(m->store, &row, ret_gone, e);
	if (r < 0)
		return err_wrap(e, r, "address %s of pool %s",
				addr_format(&rl->addr, text), pool->id);
	if (!*ret_gone)
		return 0;
	if (row.released)
		rest_add(&set->resting, n, (uint64_t)row.released);
	else
		addrset_del(&set->used, n);
	pool->used--;
	return 0;
}

int ipam_address_release(struct ipam *m, const char *pool_id_text, const char *address,
			 uint64_t now_ms, struct err *e)
{
	struct ipam_release rl = {.now_ms = now_ms};
	char quoted[IPAM_QUOTED_SIZE];
	bool gone;
	int r = ipam_refresh(m, e);

	if (r < 0)
		return r;
	if (!address || addr_parse(address, &rl.addr) < 0)
		return err_set(e, -EINVAL, "%s is not an address",
			       log_quote(quoted, sizeof(quoted), address ? address : ""));
	rl.pool = ipam_table_find(&m->table, pool_id_text);
	if (!rl.pool || rl.pool->shape.pool.addr.family != rl.addr.family ||
	    !ipam_is_held(rl.pool->set, addrnum_get(&rl.addr)))
		return 0;
	return ipam_release(m, &rl, &gone, e);
}

/* --- addresses of endpoints ------------------------------------------------------ */

/* The row of an address in the set of a pool, held or released. -ENOENT. */
static int find_lease(struct ipam *m, const struct pool_set *set, const struct addr *a,
		      struct ipam_pool **ret, struct err *e)
{
	struct ipam_store_lease row = {.set = set->number, .addr = *a};
	char owner[IPAM_OWNER_SIZE];
	int r = ipam_store_lease_find(m->store, &row, owner, sizeof(owner), e);

	if (r == 0) {
		*ret = ipam_table_find_number(&m->table, row.pool);
		r = *ret ? 0 : -ENOENT;
	}
	return r;
}

int ipam_address_hold(struct ipam *m, const struct ipam_place *at, struct err *e)
{
	struct ipam_address_request rq = {.owner = ""};
	char text[ADDR_TEXT_SIZE];
	struct ipam_pool *held_by = NULL; /* a sub-pool of the same prefix, perhaps */
	struct ipam_pool *pool;
	int r = ipam_refresh(m, e);

	if (r < 0)
		return r;
	pool = ipam_newest_pool(m, at->space, &at->pool);
	if (!pool || pool_check_address(&pool->shape, &at->addr, NULL) < 0 ||
	    ipam_is_held(pool->set, addrnum_get(&at->addr)))
		return 0;
	r = find_lease(m, pool->set, &at->addr, &held_by, NULL);
	if (r < 0 && r != -ENOENT)
		return err_sys(e, r, "address %s", addr_format(&at->addr, text));
	rq.address = addr_format(&at->addr, text);
	rq.now_ms = m->now_ms;
	return add_lease(m, held_by ? held_by : pool, &rq, addrnum_get(&at->addr), e);
}

int ipam_address_drop(struct ipam *m, const struct ipam_place *at, uint64_t now_ms,
		      struct err *e)
{
	struct ipam_release rl = {.addr = at->addr, .now_ms = now_ms, .dropped = true};
	char text[ADDR_TEXT_SIZE];
	bool gone;
	int r = ipam_refresh(m, e);

	if (r < 0)
		return r;
	rl.pool = ipam_newest_pool(m, at->space, &at->pool);
	if (!rl.pool || !cidr_contains(&rl.pool->shape.pool, &at->addr) ||
	    !ipam_is_held(rl.pool->set, addrnum_get(&at->addr)))
		return 0;
	r = find_lease(m, rl.pool->set, &at->addr, &rl.pool, e);
	if (r < 0) {
		m->stale = true;
		return err_wrap(e, r, "address %s", addr_format(&at->addr, text));
	}
	return ipam_release(m, &rl, &gone, e);
}
