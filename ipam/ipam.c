// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The verbs of the address management. Memory holds pools and the sets of addresses
 * taken, for choosing; everything else about a lease is in its row. Each verb first
 * makes sure that memory cannot fail, then writes the row, then changes memory, so the
 * two agree; where they may not, memory is marked stale and read anew before use.
 */
#include "ipam/ipam.h"

#include "ipam/choice.h"
#include "ipam/pool.h"
#include "ipam/store.h"
#include "ipam/table.h"
#include "plugin/base/log.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <string.h>

#define QUOTED_SIZE 72

struct ipam {
	struct ipam_store *store;
	struct ipam_config config;
	int64_t round;	  /* rows with a lower one are not confirmed */
	int64_t sequence; /* of the last lease */
	struct ipam_table table;
	bool stale; /* memory may differ from the rows */
};

static const char *const spaces[] = {IPAM_SPACE_LOCAL, IPAM_SPACE_GLOBAL};

static const char *find_space(const char *text)
{
	for (size_t i = 0; text && i < ARRAY_SIZE(spaces); i++)
		if (!strcmp(text, spaces[i]))
			return spaces[i];
	return NULL;
}

static bool is_global(const struct pool_set *set)
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

static void move_cursor(struct ipam_pool *pool, addrnum n, int64_t sequence)
{
	pool->cursor = n + 1;
	pool->cursor_lease = sequence;
}

static int load_lease(void *ctx, const struct ipam_store_lease *row, struct err *e)
{
	struct ipam *m = ctx;
	char text[ADDR_TEXT_SIZE];
	struct ipam_pool *pool = ipam_table_find_number(&m->table, row->pool);
	addrnum n;

	if (!pool || pool->set->number != row->set ||
	    !cidr_contains(&pool->shape.pool, &row->addr))
		return err_set(e, -EUCLEAN, "database: lease %s is of no pool",
			       addr_format(&row->addr, text));
	if (addrset_reserve(&pool->set->used) < 0)
		return err_sys(e, -ENOMEM, "leases of pool %s", pool->id);
	n = addrnum_get(&row->addr);
	addrset_add(&pool->set->used, n);
	pool->used++;
	if (row->kind == IPAM_LEASE_CHOSEN && row->sequence > pool->cursor_lease)
		move_cursor(pool, n, row->sequence);
	if (m->sequence < row->sequence)
		m->sequence = row->sequence;
	return 0;
}

int ipam_reload(struct ipam *m, struct err *e)
{
	int r;

	m->stale = true;
	m->sequence = 0;
	ipam_table_clear(&m->table);
	r = ipam_store_round_get(m->store, &m->round, e);
	if (r == 0)
		r = ipam_store_pool_each(m->store, load_pool, m, e);
	if (r == 0)
		r = ipam_store_lease_each(m->store, load_lease, m, e);
	if (r < 0)
		return err_wrap(e, r, "loading pools and addresses");
	m->stale = false;
	return 0;
}

static int refresh(struct ipam *m, struct err *e)
{
	return m->stale ? ipam_reload(m, e) : 0;
}

int ipam_new(struct db *db, const struct ipam_config *config, struct ipam **ret,
	     struct err *e)
{
	struct ipam *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return err_sys(e, -ENOMEM, "address management");
	m->config = *config;
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

int ipam_replay_begin(struct ipam *m, struct err *e)
{
	int r = refresh(m, e);

	if (r == 0)
		r = ipam_store_round_set(m->store, m->round + 1, e);
	if (r == 0)
		m->round++;
	return r;
}

/* --- pools ----------------------------------------------------------------------- */

static int forget_lease(void *ctx, const struct ipam_store_lease *row, struct err *e)
{
	struct pool_set *set = ctx;

	if (addrset_reserve(&set->used) < 0)
		return err_sys(e, -ENOMEM, "leases");
	addrset_del(&set->used, addrnum_get(&row->addr));
	return 0;
}

static int drop_pool(struct ipam *m, struct ipam_pool *pool, struct err *e)
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
	return is_global(pool->set) && pool->round < m->round;
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
		r = drop_pool(m, pool, e);
	return r;
}

static int add_pool(struct ipam *m, const char *space, const struct pool_wish *w,
		    const char *vip_range, struct ipam_pool **ret, struct err *e)
{
	static const struct addrset empty = {0};
	const struct pool_set *set = ipam_table_set_find(&m->table, space, &w->pool);
	struct ipam_store_pool row = {.space = space, .round = m->round};
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

/* The same pool again: Docker tells us what it knows, or somebody wants it twice. */
static int confirm_pool(struct ipam *m, struct ipam_pool *pool, struct err *e)
{
	int r;

	if (pool->round == m->round)
		return is_global(pool->set)
			       ? 0
			       : err_set(e, -EEXIST, "pool %s is in use already",
					 pool->id);
	r = ipam_store_pool_set_round(m->store, pool->number, m->round, e);
	if (r < 0)
		return err_wrap(e, r, "pool %s", pool->id);
	pool->round = m->round;
	return 0;
}

int ipam_pool_request(struct ipam *m, const struct ipam_pool_request *rq,
		      struct ipam_pool_answer *ret, struct err *e)
{
	const char *space = find_space(rq->space);
	struct ipam_pool *pool = NULL;
	char quoted[QUOTED_SIZE];
	char id[IPAM_POOL_ID_SIZE];
	struct pool_wish w;
	int r = refresh(m, e);

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
	int r = refresh(m, e);

	if (r < 0)
		return r;
	pool = ipam_table_find(&m->table, id);
	return pool ? drop_pool(m, pool, e) : 0;
}

/* --- addresses ------------------------------------------------------------------- */

/* Only an owner that fits can be recognised again. */
static const char *owner_of(const struct ipam_address_request *rq)
{
	return rq->owner && strlen(rq->owner) < IPAM_OWNER_SIZE ? rq->owner : "";
}

static int add_lease(struct ipam *m, struct ipam_pool *pool,
		     const struct ipam_address_request *rq, addrnum n, struct err *e)
{
	struct ipam_store_lease row = {
		.set = pool->set->number,
		.pool = pool->number,
		.addr = addrnum_addr(pool->shape.pool.addr.family, n),
		.sequence = m->sequence + 1,
		.round = m->round,
		.kind = rq->gateway		    ? IPAM_LEASE_GATEWAY
			: str_is_empty(rq->address) ? IPAM_LEASE_CHOSEN
						    : IPAM_LEASE_GIVEN,
		.owner = owner_of(rq),
	};
	char text[ADDR_TEXT_SIZE];
	int r;

	if (addrset_reserve(&pool->set->used) < 0)
		return err_sys(e, -ENOMEM, "lease in pool %s", pool->id);
	r = ipam_store_lease_add(m->store, &row, e);
	if (r < 0) {
		m->stale = true;
		return err_wrap(e, r, "address %s of pool %s",
				addr_format(&row.addr, text), pool->id);
	}
	addrset_add(&pool->set->used, n);
	pool->used++;
	m->sequence++;
	if (row.kind == IPAM_LEASE_CHOSEN)
		move_cursor(pool, n, row.sequence);
	return 0;
}

static int choose_address(struct ipam *m, struct ipam_pool *pool,
			  const struct ipam_address_request *rq, addrnum *ret,
			  struct err *e)
{
	const struct cidr *vip = &pool->shape.vip;
	char text[CIDR_TEXT_SIZE];

	if (pool_next_free(&pool->shape, &pool->set->used, rq->gateway ? 0 : pool->cursor,
			   ret))
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
	int r = ipam_store_lease_find(m->store, &row, held, sizeof(held), e);

	addr_format(a, text);
	if (r < 0) {
		m->stale = true;
		return err_wrap(e, r, "address %s of pool %s", text, pool->id);
	}
	same_owner = *owner && !strcmp(owner, held);
	if (row.pool != pool->number ||
	    (row.round == m->round && !is_global(pool->set) && !same_owner))
		return err_set(e, -EEXIST, "address %s of pool %s is taken%s%s", text,
			       pool->id,
			       row.kind == IPAM_LEASE_GATEWAY ? " by the gateway"
			       : *held			      ? " by "
							      : "",
			       *held ? log_quote(quoted, sizeof(quoted), held) : "");
	if (row.round == m->round)
		return 0;
	row.round = m->round;
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
	char quoted[QUOTED_SIZE];
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
	if (addrset_has(&pool->set->used, *ret))
		return confirm_lease(m, pool, rq, &a, e);
	if (addr_is_set(&shape->vip.addr) && cidr_contains(&shape->vip, &a)) {
		if (rq->gateway && shape->vip_mode == POOL_VIP_AUTO)
			r = move_vip(m, pool, &a, e);
		else if (!is_global(pool->set))
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
	char quoted[QUOTED_SIZE];
	addrnum n = 0;
	int r = refresh(m, e);

	if (r < 0)
		return r;
	pool = ipam_table_find(&m->table, rq->pool_id);
	if (!pool)
		return err_set(e, -ENOENT, "pool %s is not known",
			       log_quote(quoted, sizeof(quoted),
					 rq->pool_id ? rq->pool_id : ""));
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

int ipam_address_release(struct ipam *m, const char *pool_id_text, const char *address,
			 struct err *e)
{
	struct ipam_store_lease row = {0};
	struct ipam_pool *pool;
	char quoted[QUOTED_SIZE];
	bool gone = false;
	addrnum n;
	int r = refresh(m, e);

	if (r < 0)
		return r;
	if (!address || addr_parse(address, &row.addr) < 0)
		return err_set(e, -EINVAL, "%s is not an address",
			       log_quote(quoted, sizeof(quoted), address ? address : ""));
	pool = ipam_table_find(&m->table, pool_id_text);
	n = addrnum_get(&row.addr);
	if (!pool || pool->shape.pool.addr.family != row.addr.family ||
	    !addrset_has(&pool->set->used, n))
		return 0;
	row.set = pool->set->number;
	row.pool = pool->number;
	if (addrset_reserve(&pool->set->used) < 0)
		return err_sys(e, -ENOMEM, "lease in pool %s", pool->id);
	r = ipam_store_lease_del(m->store, &row, &gone, e);
	if (r < 0)
		return err_wrap(e, r, "address %s of pool %s", address, pool->id);
	if (gone) {
		addrset_del(&pool->set->used, n);
		pool->used--;
	}
	return 0;
}

/* --- VIP ranges and lists -------------------------------------------------------- */

/* CreateNetwork does not tell the PoolID, but it follows its RequestPool: of several
 * pools with the same prefix the newest is meant. */
static struct ipam_pool *newest_pool(const struct ipam *m, const char *space,
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
	int r = refresh(m, NULL);

	if (r < 0)
		return r;
	found = newest_pool(m, space, pool);
	if (!found)
		return -ENOENT;
	*ret = found->shape.vip;
	return 0;
}

int ipam_vip_range_set(struct ipam *m, const char *space, const struct cidr *pool,
		       const char *text, struct err *e)
{
	char pool_text[CIDR_TEXT_SIZE];
	char addr_text[ADDR_TEXT_SIZE];
	struct pool_shape shape;
	struct pool_span span;
	struct ipam_pool *found;
	struct addr taken;
	addrnum n;
	int r = refresh(m, e);

	if (r < 0)
		return r;
	found = newest_pool(m, space, pool);
	if (!found)
		return err_set(e, -ENOENT, "pool %s is not known",
			       cidr_format(pool, pool_text));
	shape = found->shape;
	r = pool_vip_set(&shape, text, &found->set->used, NULL, e);
	if (r < 0)
		return r;
	span = pool_span_of(&shape.vip);
	if (addr_is_set(&shape.vip.addr) &&
	    addrset_next_used(&found->set->used, span.first, span.last, &n)) {
		taken = addrnum_addr(span.family, n);
		return err_set(e, -EEXIST, "VIP range %s of pool %s: address %s is taken",
			       text, found->id, addr_format(&taken, addr_text));
	}
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
	int r = refresh(m, NULL);

	if (r < 0)
		return r;
	pool = ipam_table_find(&m->table, id);
	if (!pool)
		return -ENOENT;
	*ret = info_of(pool);
	return 0;
}

void ipam_pool_list(struct ipam *m,
		    void (*fn)(void *ctx, const struct ipam_pool_info *info), void *ctx)
{
	struct ipam_pool *pool;
	struct ipam_pool *next;

	if (refresh(m, NULL) < 0)
		return;
	ipam_table_sort(&m->table);
	HASH_ITER (by_id, m->table.by_id, pool, next) {
		struct ipam_pool_info info = info_of(pool);

		fn(ctx, &info);
	}
}
