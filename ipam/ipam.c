// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The address management: what is loaded, and the verbs of pools; those of addresses
 * are in ipam_address.c. Memory holds pools and the sets of addresses taken, for
 * choosing; everything else about a lease is in its row. Each verb first makes sure that
 * memory cannot fail, then writes the row, then changes memory, so the two agree; where
 * they may not, memory is marked stale and read anew before use.
 */
#include "ipam/ipam_internal.h"

#include "ipam/choice.h"
#include "plugin/base/log.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <string.h>

static const char *const spaces[] = {IPAM_SPACE_LOCAL, IPAM_SPACE_GLOBAL};

static const char *find_space(const char *text)
{
	for (size_t i = 0; text && i < ARRAY_SIZE(spaces); i++)
		if (!strcmp(text, spaces[i]))
			return spaces[i];
	return NULL;
}

bool ipam_is_global(const struct pool_set *set)
{
	return !strcmp(set->space, IPAM_SPACE_GLOBAL);
}

/* --- loading --------------------------------------------------------------------- */

static int load_pool(void *ctx, const struct ipam_store_pool *row, struct err *e)
{
	struct ipam *m = ctx;
	const char *space = find_space(row->space);
	char id[IPAM_POOL_ID_SIZE];
	struct ipam_pool *pool;
	int r;

	if (!space ||
	    pool_id(space, &row->shape.pool, &row->shape.sub, id, sizeof(id)) < 0 ||
	    strcmp(id, row->id))
		return err_set(e, -EUCLEAN, "database: pool number %lld has a wrong id",
			       (long long)row->number);
	r = ipam_table_add(&m->table, row, &pool, e);
	if (r == 0 && pool->set->number != row->set)
		r = err_set(e, -EUCLEAN, "database: pool %s has a wrong set", row->id);
	return r;
}

void ipam_move_cursor(struct ipam_pool *pool, addrnum n, int64_t sequence)
{
	pool->cursor = n + 1;
	pool->cursor_lease = sequence;
}

/*
 * The clock begins at 0 when the machine starts. So a stamp that lies ahead is of an
 * earlier start: that address has rested at least since this one. One of an earlier
 * start that does not lie ahead cannot be told, but is older than it looks. So after a
 * restart addresses rest as long as they should or longer, never shorter.
 */
static uint64_t loaded_stamp(const struct ipam *m, int64_t released)
{
	uint64_t ahead_us = (m->now_ms + IPAM_DROPPED_REST_MS) * 1000;

	return released > 0 && (uint64_t)released <= ahead_us ? (uint64_t)released : 0;
}

static int load_lease(void *ctx, const struct ipam_store_lease *row, struct err *e)
{
	struct ipam *m = ctx;
	char text[ADDR_TEXT_SIZE];
	struct ipam_pool *pool = ipam_table_find_number(&m->table, row->pool);
	struct pool_set *set;
	addrnum n;

	if (!pool || pool->set->number != row->set ||
	    !cidr_contains(&pool->shape.pool, &row->addr))
		return err_set(e, -EUCLEAN, "database: lease %s is of no pool",
			       addr_format(&row->addr, text));
	set = pool->set;
	if (addrset_reserve(&set->used) < 0 || rest_reserve(&set->resting) < 0)
		return err_sys(e, -ENOMEM, "leases of pool %s", pool->id);
	n = addrnum_get(&row->addr);
	addrset_add(&set->used, n);
	if (row->released)
		rest_add(&set->resting, n, loaded_stamp(m, row->released));
	else
		pool->used++;
	if (row->kind == IPAM_LEASE_CHOSEN && row->sequence > pool->cursor_lease)
		ipam_move_cursor(pool, n, row->sequence);
	if (m->sequence < row->sequence)
		m->sequence = row->sequence;
	return 0;
}

int ipam_reload(struct ipam *m, struct err *e)
{
	int r;

	m->stale = true;
	m->sequence = 0;
	m->swept = -1; /* what was dropped may be back */
	m->sweeping = -1;
	ipam_table_clear(&m->table);
	r = ipam_store_state_get(m->store, &m->state, e);
	if (r == 0)
		r = ipam_store_pool_each(m->store, load_pool, m, e);
	if (r == 0)
		r = ipam_store_lease_each(m->store, load_lease, m, e);
	if (r < 0)
		return err_wrap(e, r, "loading pools and addresses");
	m->stale = false;
	return 0;
}

int ipam_refresh(struct ipam *m, struct err *e)
{
	return m->stale ? ipam_reload(m, e) : 0;
}

int ipam_new(struct db *db, const struct ipam_config *config, uint64_t now_ms,
	     struct ipam **ret, struct err *e)
{
	struct ipam *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return err_sys(e, -ENOMEM, "address management");
	m->config = *config;
	m->now_ms = now_ms;
	m->round_ms = now_ms;
	r = ipam_store_open(db, &m->store, e);
	if (r == 0)
		r = ipam_store_space_del(m->store, IPAM_SPACE_GLOBAL, e);
	if (r == 0)
		r = ipam_reload(m, e);
	if (r < 0)
		ipam_free(m);
	else
		*ret = m;
	return r;
}

void ipam_free(struct ipam *m)
{
	if (!m)
		return;
	ipam_table_clear(&m->table);
	ipam_store_close(m->store);
	free(m);
}

int ipam_replay_begin(struct ipam *m, uint64_t now_ms, struct err *e)
{
	struct ipam_store_state state;
	int r = ipam_refresh(m, e);

	if (r < 0)
		return r;
	state = m->state;
	state.round++;
	r = ipam_store_state_set(m->store, &state, e);
	if (r < 0)
		return r;
	m->state = state;
	m->round_ms = now_ms;
	return 0;
}

/* --- pools ----------------------------------------------------------------------- */

static int forget_lease(void *ctx, const struct ipam_store_lease *row, struct err *e)
{
	struct pool_set *set = ctx;
	addrnum n = addrnum_get(&row->addr);

	if (addrset_reserve(&set->used) < 0 || addrset_reserve(&set->spent) < 0)
		return err_sys(e, -ENOMEM, "leases");
	if (addrset_has(&set->spent, n)) {
		addrset_del(&set->spent, n);
	} else {
		rest_del(&set->resting, n);
		addrset_del(&set->used, n);
	}
	return 0;
}

int ipam_drop_pool(struct ipam *m, struct ipam_pool *pool, struct err *e)
{
	struct ipam_store_pool row = {.number = pool->number, .set = pool->set->number};
	bool shared = TAILQ_FIRST(&pool->set->pools) != pool || TAILQ_NEXT(pool, link);
	int r = 0;

	if (shared)
		r = ipam_store_lease_each_of(m->store, &row, forget_lease, pool->set, e);
	if (r == 0)
		r = ipam_store_pool_del(m->store, pool->number, e);
	if (r < 0) {
		m->stale = true;
		return err_wrap(e, r, "pool %s", pool->id);
	}
	ipam_table_del(&m->table, pool);
	return 0;
}

static struct pool_span range_of(const struct cidr *pool, const struct cidr *sub)
{
	return pool_span_of(addr_is_set(&sub->addr) ? sub : pool);
}

/*
 * A Swarm leader's pools never overlap, and it tells all of them when it comes. So one
 * that it has not confirmed since is left from an earlier leadership.
 */
static bool is_left_over(const struct ipam *m, const struct ipam_pool *pool)
{
	return ipam_is_global(pool->set) && pool->round < m->state.round;
}

/*
 * A pool of the space, left over or not, that the wish would share addresses with; NULL
 * for none. Several sub-pools of the very same pool share its set, so they may overlap;
 * else what counts is the ranges that addresses are chosen from.
 */
static struct ipam_pool *find_overlap(const struct ipam *m, const char *space,
				      const struct pool_wish *w, bool left_over)
{
	struct pool_span whole = pool_span_of(&w->pool);
	struct pool_span range = range_of(&w->pool, &w->sub);
	bool has_sub = addr_is_set(&w->sub.addr);
	struct ipam_pool *pool;

	for (size_t i = 0; i < m->table.span_count; i++) {
		struct pool_set *set = ipam_table_set_at(&m->table, i);

		if (!pool_span_overlaps(&set->span, &whole) || strcmp(set->space, space))
			continue;
		if (has_sub && !pool_span_compare(&set->span, &whole))
			continue;
		TAILQ_FOREACH (pool, &set->pools, link) {
			struct pool_span other =
				range_of(&pool->shape.pool, &pool->shape.sub);

			if (is_left_over(m, pool) == left_over &&
			    (!has_sub || pool_span_overlaps(&other, &range)))
				return pool;
		}
	}
	return NULL;
}

/* Pools that are left over yield. */
static int check_overlap(struct ipam *m, const char *space, const struct pool_wish *w,
			 struct err *e)
{
	struct ipam_pool *pool = find_overlap(m, space, w, false);
	char text[CIDR_TEXT_SIZE];
	int r = 0;

	if (pool)
		return err_set(e, -EEXIST, "pool %s overlaps pool %s",
			       cidr_format(&w->pool, text), pool->id);
	while (r == 0 && (pool = find_overlap(m, space, w, true)))
		r = ipam_drop_pool(m, pool, e);
	return r;
}

static int add_pool(struct ipam *m, const char *space, const struct pool_wish *w,
		    const char *vip_range, struct ipam_pool **ret, struct err *e)
{
	static const struct addrset empty = {0};
	const struct pool_set *set = ipam_table_set_find(&m->table, space, &w->pool);
	struct ipam_store_pool row = {.space = space, .round = m->state.round};
	char id[IPAM_POOL_ID_SIZE];
	int r;

	row.number = m->table.number + 1;
	row.set = set ? set->number : row.number;
	row.id = id;
	row.shape.pool = w->pool;
	row.shape.sub = w->sub;
	r = pool_vip_set(&row.shape, vip_range, set ? &set->used : &empty, NULL, e);
	if (r < 0)
		return r;
	r = pool_id(space, &w->pool, &w->sub, id, sizeof(id));
	if (r < 0)
		return err_sys(e, r, "pool id");
	r = ipam_table_add(&m->table, &row, ret, e);
	if (r < 0)
		return r;
	r = ipam_store_pool_add(m->store, &row, e);
	if (r < 0) {
		ipam_table_del(&m->table, *ret);
		m->stale = true;
		return err_wrap(e, r, "pool %s", id);
	}
	return 0;
}

/* Docker tells what it knows, and so all that it knows: see ipam_sweep.c. */
static int note_replay(struct ipam *m, struct err *e)
{
	struct ipam_store_state state = m->state;
	int r;

	if (state.replayed == state.round)
		return 0;
	state.replayed = state.round;
	r = ipam_store_state_set(m->store, &state, e);
	if (r == 0)
		m->state = state;
	return r;
}

/* The same pool again: Docker tells us what it knows, or somebody wants it twice. */
static int confirm_pool(struct ipam *m, struct ipam_pool *pool, struct err *e)
{
	int r;

	if (pool->round == m->state.round)
		return ipam_is_global(pool->set) ? 0
						 : err_set(e, -EEXIST,
							   "invalid pool request: pool "
							   "%s is in use already",
							   pool->id);
	r = ipam_store_pool_set_round(m->store, pool->number, m->state.round, e);
	if (r == 0 && !ipam_is_global(pool->set))
		r = note_replay(m, e);
	if (r < 0)
		return err_wrap(e, r, "pool %s", pool->id);
	pool->round = m->state.round;
	return 0;
}

int ipam_pool_request(struct ipam *m, const struct ipam_pool_request *rq,
		      struct ipam_pool_answer *ret, struct err *e)
{
	const char *space = find_space(rq->space);
	struct ipam_pool *pool = NULL;
	char quoted[IPAM_QUOTED_SIZE];
	char id[IPAM_POOL_ID_SIZE];
	struct pool_wish w;
	int r = ipam_refresh(m, e);

	if (r < 0)
		return r;
	if (!space)
		return err_set(
			e, -EINVAL, "address space %s is not known",
			log_quote(quoted, sizeof(quoted), rq->space ? rq->space : ""));
	r = pool_wish_parse(rq->pool, rq->sub_pool, rq->v6, &w, e);
	if (r < 0)
		return r;
	if (w.choose) {
		r = ipam_choose(&m->table, &m->config, rq, &w, e);
	} else {
		r = pool_id(space, &w.pool, &w.sub, id, sizeof(id));
		pool = r < 0 ? NULL : ipam_table_find(&m->table, id);
		r = pool ? confirm_pool(m, pool, e) : check_overlap(m, space, &w, e);
	}
	if (r == 0 && !pool)
		r = add_pool(m, space, &w, rq->vip_range, &pool, e);
	if (r == 0 && pool) {
		memcpy(ret->id, pool->id, sizeof(ret->id));
		ret->pool = pool->shape.pool;
	}
	return r;
}

int ipam_pool_release(struct ipam *m, const char *id, struct err *e)
{
	struct ipam_pool *pool;
	int r = ipam_refresh(m, e);

	if (r < 0)
		return r;
	pool = ipam_table_find(&m->table, id);
	return pool ? ipam_drop_pool(m, pool, e) : 0;
}

/* --- VIP ranges and lists -------------------------------------------------------- */

struct ipam_pool *ipam_newest_pool(const struct ipam *m, const char *space,
				   const struct cidr *prefix)
{
	struct cidr network = cidr_network(prefix);
	struct pool_set *set =
		space ? ipam_table_set_find(&m->table, space, &network) : NULL;

	return set ? TAILQ_LAST(&set->pools, ipam_pool_list_head) : NULL;
}

int ipam_vip_range(struct ipam *m, const char *space, const struct cidr *pool,
		   struct cidr *ret)
{
	const struct ipam_pool *found;
	int r = ipam_refresh(m, NULL);

	if (r < 0)
		return r;
	found = ipam_newest_pool(m, space, pool);
	if (!found)
		return -ENOENT;
	*ret = found->shape.vip;
	return 0;
}

/* The first address of range that is held: one that rests is in nobody's way. */
static bool find_held(const struct pool_set *set, const struct cidr *range,
		      struct addr *ret)
{
	struct pool_span span = pool_span_of(range);
	addrnum n;

	while (addrset_next_used(&set->used, span.first, span.last, &n)) {
		if (!rest_has(&set->resting, n)) {
			*ret = addrnum_addr(span.family, n);
			return true;
		}
		if (n == span.last)
			break;
		span.first = n + 1;
	}
	return false;
}

int ipam_vip_range_set(struct ipam *m, const char *space, const struct cidr *pool,
		       const char *text, struct err *e)
{
	char pool_text[CIDR_TEXT_SIZE];
	char addr_text[ADDR_TEXT_SIZE];
	struct pool_shape shape;
	struct ipam_pool *found;
	struct addr taken;
	int r = ipam_refresh(m, e);

	if (r < 0)
		return r;
	found = ipam_newest_pool(m, space, pool);
	if (!found)
		return err_set(e, -ENOENT, "pool %s is not known",
			       cidr_format(pool, pool_text));
	shape = found->shape;
	r = pool_vip_set(&shape, text, &found->set->used, NULL, e);
	if (r < 0)
		return r;
	if (addr_is_set(&shape.vip.addr) && find_held(found->set, &shape.vip, &taken))
		return err_set(e, -EEXIST, "VIP range %s of pool %s: address %s is taken",
			       text, found->id, addr_format(&taken, addr_text));
	r = ipam_store_pool_set_vip(m->store, found->number, &shape, e);
	if (r < 0)
		return err_wrap(e, r, "pool %s", found->id);
	found->shape = shape;
	return 0;
}

static struct ipam_pool_info info_of(const struct ipam_pool *pool)
{
	return (struct ipam_pool_info){
		.id = pool->id,
		.pool = pool->shape.pool,
		.vip_range = pool->shape.vip,
		.capacity = pool_capacity(&pool->shape),
		.used = pool->used,
	};
}

int ipam_pool_find(struct ipam *m, const char *id, struct ipam_pool_info *ret)
{
	const struct ipam_pool *pool;
	int r = ipam_refresh(m, NULL);

	if (r < 0)
		return r;
	pool = ipam_table_find(&m->table, id);
	if (!pool)
		return -ENOENT;
	*ret = info_of(pool);
	return 0;
}

unsigned int ipam_pool_count(struct ipam *m, const char *space, const struct cidr *pool)
{
	struct cidr network = cidr_network(pool);
	const struct ipam_pool *at;
	const struct pool_set *set;
	unsigned int count = 0;

	if (ipam_refresh(m, NULL) < 0)
		return 0;
	set = ipam_table_set_find(&m->table, space, &network);
	if (set)
		TAILQ_FOREACH (at, &set->pools, link)
			count++;
	return count;
}

void ipam_pool_list(struct ipam *m,
		    void (*fn)(void *ctx, const struct ipam_pool_info *info), void *ctx)
{
	struct ipam_pool *pool;
	struct ipam_pool *next;

	if (ipam_refresh(m, NULL) < 0)
		return;
	ipam_table_sort(&m->table);
	HASH_ITER (by_id, m->table.by_id, pool, next) {
		struct ipam_pool_info info = info_of(pool);

		fn(ctx, &info);
	}
}
