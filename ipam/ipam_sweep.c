// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What goes without being asked: leases and pools that Docker did not confirm, and the
 * rows of addresses that have rested.
 *
 * Docker tells no one that it replays. What it does tell in a replay is whole: each pool
 * of the local space with its gateway, auxiliary and endpoints' addresses, and a Swarm
 * leader each pool of the global space with all that is taken in it. So an address of a
 * confirmed pool that is not confirmed itself has lost its release; and a local pool that
 * is not confirmed is nobody's, if any other was confirmed in the same round.
 */
#include "ipam/ipam_internal.h"

#include "plugin/base/mem.h"

#include <errno.h>

#define LOG_MODULE "ipam"
#include "plugin/base/log.h"

/* --- what was not confirmed ------------------------------------------------------ */

struct search {
	struct ipam *m;
	const struct ipam_users *users;
	unsigned int count;
	struct {
		struct ipam_pool *pool;
		struct addr addr;
	} list[IPAM_STORE_PAGE];
};

static bool has_network(const struct ipam_users *users, const struct ipam_pool *pool)
{
	return users->has_pool(users->ctx, pool->set->space, &pool->shape.pool);
}

static bool is_lost(const struct search *s, const struct ipam_pool *pool,
		    const struct ipam_store_lease *row)
{
	bool confirmed = pool->round == s->m->state.round;
	struct ipam_place at = {
		.space = pool->set->space, .pool = pool->shape.pool, .addr = row->addr};

	if (row->kind == IPAM_LEASE_GATEWAY || s->users->has_address(s->users->ctx, &at))
		return false;
	return confirmed ||
	       (!ipam_is_global(pool->set) && row->kind == IPAM_LEASE_CHOSEN &&
		has_network(s->users, pool));
}

static int note_lost(void *ctx, const struct ipam_store_lease *row, struct err *e)
{
	struct search *s = ctx;
	struct ipam_pool *pool = ipam_table_find_number(&s->m->table, row->pool);

	(void)e;
	if (row->released || row->round == s->m->state.round || !pool ||
	    !is_lost(s, pool, row))
		return 0;
	s->list[s->count].pool = pool;
	s->list[s->count].addr = row->addr;
	s->count++; /* at most a page */
	return 0;
}

/* Looks at one page of leases; 1: there are more. */
static int drop_lost_leases(struct ipam *m, const struct ipam_users *users,
			    uint64_t now_ms, struct err *e)
{
	auto_free struct search *s = calloc(1, sizeof(*s));
	int count;

	if (!s)
		return err_sys(e, -ENOMEM, "leases that were not confirmed");
	s->m = m;
	s->users = users;
	count = ipam_store_lease_each_after(m->store, &m->sweep_mark, note_lost, s, e);
	if (count < 0)
		return count;
	for (unsigned int i = 0; i < s->count; i++) {
		struct ipam_release rl = {s->list[i].pool, s->list[i].addr, now_ms, true};
		bool gone = false;
		int r = ipam_release(m, &rl, &gone, e);

		if (r < 0)
			return r;
	}
	if (s->count)
		log_warning("addresses are free, Docker did not ask for them again "
			    "count=%u",
			    s->count);
	return count == IPAM_STORE_PAGE;
}

struct holding {
	const struct ipam_users *users;
	const struct ipam_pool *pool;
	bool found;
};

static int note_holder(void *ctx, const struct ipam_store_lease *row, struct err *e)
{
	struct holding *h = ctx;
	struct ipam_place at = {.space = h->pool->set->space,
				.pool = h->pool->shape.pool,
				.addr = row->addr};

	(void)e;
	if (!row->released && h->users->has_address(h->users->ctx, &at))
		h->found = true;
	return 0;
}

static int drop_lost_pool(struct ipam *m, const struct ipam_users *users,
			  struct ipam_pool *pool, struct err *e)
{
	struct ipam_store_pool row = {.number = pool->number, .set = pool->set->number};
	struct holding h = {.users = users, .pool = pool};
	int r;

	if (pool->round == m->state.round || ipam_is_global(pool->set) ||
	    has_network(users, pool))
		return 0;
	r = ipam_store_lease_each_of(m->store, &row, note_holder, &h, e);
	if (r < 0 || h.found)
		return r;
	log_warning("pool that Docker did not ask for again is dropped pool=%s",
		    pool->id);
	return ipam_drop_pool(m, pool, e);
}

static int drop_lost_pools(struct ipam *m, const struct ipam_users *users, struct err *e)
{
	struct ipam_pool *pool;
	struct ipam_pool *next;
	int r = 0;

	if (m->state.replayed != m->state.round)
		return 0;
	HASH_ITER (by_id, m->table.by_id, pool, next) {
		if (r == 0)
			r = drop_lost_pool(m, users, pool, e);
	}
	return r;
}

bool ipam_drop_unconfirmed_due(const struct ipam *m, uint64_t now_ms)
{
	return m->swept != m->state.round && now_ms >= m->round_ms + IPAM_GRACE_MS;
}

int ipam_drop_unconfirmed(struct ipam *m, const struct ipam_users *users, uint64_t now_ms,
			  struct err *e)
{
	int r = ipam_refresh(m, e);

	if (r < 0 || !ipam_drop_unconfirmed_due(m, now_ms))
		return r;
	if (m->sweeping != m->state.round) {
		m->sweeping = m->state.round;
		m->sweep_mark = (struct ipam_store_mark){0};
	}
	r = drop_lost_leases(m, users, now_ms, e);
	if (r > 0)
		return 0; /* the next page the next time */
	if (r == 0)
		r = drop_lost_pools(m, users, e);
	if (r == 0)
		m->swept = m->state.round;
	else
		m->stale = true; /* some of it may be undone */
	return r;
}

/* --- rows of addresses that have rested ------------------------------------------ */

/* The spent rows of one run of neighbours go with one statement. */
static int tidy_run(struct ipam *m, struct pool_set *set, addrnum first,
		    unsigned int *room, struct err *e)
{
	uint8_t family = set->span.family;
	addrnum last = first + *room - 1;
	struct addr from;
	struct addr to;
	addrnum end;
	int r;

	if (last > set->span.last || last < first)
		last = set->span.last;
	if (addrset_next_free(&set->spent, first, last, &end))
		last = end - 1;
	from = addrnum_addr(family, first);
	to = addrnum_addr(family, last);
	r = ipam_store_lease_del_released(m->store, set->number, &from, &to, e);
	if (r < 0)
		return r;
	for (addrnum n = first; n - 1 != last; n++) {
		if (addrset_reserve(&set->spent) < 0)
			return err_sys(e, -ENOMEM, "rows of rested addresses");
		addrset_del(&set->spent, n);
		(*room)--;
	}
	return 0;
}

static int tidy_set(struct ipam *m, struct pool_set *set, unsigned int *room,
		    struct err *e)
{
	addrnum first;
	int r = 0;

	(void)ipam_wake(m, set, *room);
	while (r == 0 && *room > 0 &&
	       addrset_next_used(&set->spent, set->span.first, set->span.last, &first))
		r = tidy_run(m, set, first, room, e);
	return r;
}

static bool has_rested(const struct ipam *m, const struct pool_set *set, uint64_t now_ms)
{
	uint64_t stamp;
	addrnum n;

	return set->spent.count ||
	       (rest_oldest(&set->resting, 0, ~(addrnum)0, &n, &stamp) &&
		stamp + (uint64_t)m->config.rest_s * 1000000 <= now_ms * 1000);
}

bool ipam_tidy_due(const struct ipam *m, uint64_t now_ms)
{
	for (size_t i = 0; i < m->table.span_count; i++)
		if (has_rested(m, ipam_table_set_at(&m->table, i), now_ms))
			return true;
	return false;
}

int ipam_tidy(struct ipam *m, uint64_t now_ms, bool *ret_more, struct err *e)
{
	unsigned int room = IPAM_TIDY_MAX;
	int r = ipam_refresh(m, e);

	if (r == 0 && m->now_ms < now_ms)
		m->now_ms = now_ms;
	for (size_t i = 0; r == 0 && room > 0 && i < m->table.span_count; i++)
		r = tidy_set(m, ipam_table_set_at(&m->table, i), &room, e);
	if (r < 0)
		m->stale = true; /* rows and memory may differ */
	else
		*ret_more = ipam_tidy_due(m, now_ms);
	return r;
}
