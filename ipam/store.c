// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tables and statements of the address management. A lease is one row in a table
 * without rowid under its key (set, address): one B-tree insertion each, and the key
 * refuses an address that is taken whatever the memory above believes.
 */
#include "ipam/store.h"

#include "plugin/base/mem.h"

#include <assert.h>
#include <errno.h>

enum statement {
	ST_POOL_ADD,
	ST_POOL_DEL,
	ST_SPACE_DEL,
	ST_POOL_SET_VIP,
	ST_POOL_SET_ROUND,
	ST_POOL_ALL,
	ST_LEASE_ADD,
	ST_LEASE_DEL,
	ST_LEASE_RELEASE,
	ST_LEASE_DEL_RELEASED,
	ST_LEASE_CONFIRM,
	ST_LEASE_FIND,
	ST_LEASE_ALL,
	ST_LEASE_OF,
	ST_LEASE_AFTER,
	ST_STATE_GET,
	ST_STATE_SET,
	ST_COUNT
};

#define LEASE_COLUMNS "set_number, pool, addr, sequence, round, kind, released, owner"

static const char *const sql[] = {
	[ST_POOL_ADD] = "INSERT INTO ipam_pool VALUES"
			"(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
	[ST_POOL_DEL] = "DELETE FROM ipam_pool WHERE number = ?1",
	[ST_SPACE_DEL] = "DELETE FROM ipam_pool WHERE space = ?1",
	[ST_POOL_SET_VIP] =
		"UPDATE ipam_pool SET vip = ?2, vip_prefix = ?3, vip_mode = ?4"
		" WHERE number = ?1",
	[ST_POOL_SET_ROUND] = "UPDATE ipam_pool SET round = ?2 WHERE number = ?1",
	[ST_POOL_ALL] = "SELECT number, set_number, id, space, addr, prefix, sub,"
			" sub_prefix, vip, vip_prefix, vip_mode, round"
			" FROM ipam_pool ORDER BY number",
	[ST_LEASE_ADD] = "INSERT INTO ipam_lease(" LEASE_COLUMNS ")"
			 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)"
			 " ON CONFLICT(set_number, addr) DO UPDATE SET"
			 " pool = ?2, sequence = ?4, round = ?5, kind = ?6,"
			 " released = 0, owner = ?7 WHERE released <> 0",
	[ST_LEASE_DEL] = "DELETE FROM ipam_lease"
			 " WHERE set_number = ?1 AND addr = ?2 AND pool = ?3"
			 " AND released = 0",
	[ST_LEASE_RELEASE] = "UPDATE ipam_lease SET released = ?4"
			     " WHERE set_number = ?1 AND addr = ?2 AND pool = ?3"
			     " AND released = 0",
	[ST_LEASE_DEL_RELEASED] = "DELETE FROM ipam_lease WHERE set_number = ?1"
				  " AND addr BETWEEN ?2 AND ?3 AND released <> 0",
	[ST_LEASE_CONFIRM] = "UPDATE ipam_lease SET round = ?3, owner = ?4"
			     " WHERE set_number = ?1 AND addr = ?2",
	[ST_LEASE_FIND] = "SELECT " LEASE_COLUMNS " FROM ipam_lease"
			  " WHERE set_number = ?1 AND addr = ?2",
	[ST_LEASE_ALL] = "SELECT " LEASE_COLUMNS " FROM ipam_lease"
			 " ORDER BY set_number, addr",
	[ST_LEASE_OF] = "SELECT " LEASE_COLUMNS " FROM ipam_lease"
			" WHERE set_number = ?1 AND pool = ?2 ORDER BY addr",
	[ST_LEASE_AFTER] = "SELECT " LEASE_COLUMNS " FROM ipam_lease"
			   " WHERE (set_number, addr) > (?1, ?2)"
			   " ORDER BY set_number, addr LIMIT ?3",
	[ST_STATE_GET] = "SELECT round, replayed FROM ipam_state",
	[ST_STATE_SET] = "UPDATE ipam_state SET round = ?1, replayed = ?2",
};
static_assert(ARRAY_SIZE(sql) == ST_COUNT, "one text per statement");

static const char *const steps[] = {
	"CREATE TABLE ipam_pool("
	" number INTEGER PRIMARY KEY, set_number INTEGER NOT NULL,"
	" id TEXT NOT NULL UNIQUE, space TEXT NOT NULL,"
	" addr BLOB NOT NULL, prefix INTEGER NOT NULL,"
	" sub BLOB, sub_prefix INTEGER NOT NULL,"
	" vip BLOB, vip_prefix INTEGER NOT NULL, vip_mode INTEGER NOT NULL,"
	" round INTEGER NOT NULL);"
	"CREATE TABLE ipam_lease("
	" set_number INTEGER NOT NULL, addr BLOB NOT NULL, pool INTEGER NOT NULL,"
	" sequence INTEGER NOT NULL, round INTEGER NOT NULL, kind INTEGER NOT NULL,"
	" owner TEXT NOT NULL, PRIMARY KEY(set_number, addr)) WITHOUT ROWID;"
	"CREATE TABLE ipam_state(round INTEGER NOT NULL);"
	"INSERT INTO ipam_state VALUES(0);"
	/* A foreign key would need an index on lease.pool: twice the cost of a lease. */
	"CREATE TRIGGER ipam_pool_gone AFTER DELETE ON ipam_pool BEGIN"
	" DELETE FROM ipam_lease"
	" WHERE set_number = OLD.set_number AND pool = OLD.number;"
	"END;",
	/* A released address keeps its row for a while: giving back and giving again
	 * stay one statement each, and the address still rests after a restart. */
	"ALTER TABLE ipam_lease ADD COLUMN released INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE ipam_state ADD COLUMN replayed INTEGER NOT NULL DEFAULT 0;",
};

static const struct db_schema schema = {
	.name = "ipam",
	.steps = steps,
	.count = ARRAY_SIZE(steps),
};

struct ipam_store {
	struct db *db;
	struct db_stmt **st;
};

int ipam_store_open(struct db *db, struct ipam_store **ret, struct err *e)
{
	auto_free struct ipam_store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(e, -ENOMEM, "address store");
	s->db = db;
	r = db_migrate(db, &schema, e);
	if (r == 0)
		r = db_prepare(db, sql, ST_COUNT, &s->st, e);
	if (r == 0)
		*ret = TAKE(s);
	return r;
}

void ipam_store_close(struct ipam_store *s)
{
	if (!s)
		return;
	db_finalize(s->st, ST_COUNT);
	free(s);
}

static void bind_cidr(struct db_stmt *st, int index, const struct cidr *c)
{
	db_bind_addr(st, index, &c->addr);
	db_bind_int(st, index + 1, c->prefix);
}

int ipam_store_pool_add(struct ipam_store *s, const struct ipam_store_pool *pool,
			struct err *e)
{
	struct db_stmt *st = s->st[ST_POOL_ADD];

	db_bind_int(st, 1, pool->number);
	db_bind_int(st, 2, pool->set);
	db_bind_text(st, 3, pool->id);
	db_bind_text(st, 4, pool->space);
	bind_cidr(st, 5, &pool->shape.pool);
	bind_cidr(st, 7, &pool->shape.sub);
	bind_cidr(st, 9, &pool->shape.vip);
	db_bind_int(st, 11, pool->shape.vip_mode);
	db_bind_int(st, 12, pool->round);
	return db_run(st, e);
}

int ipam_store_pool_del(struct ipam_store *s, int64_t number, struct err *e)
{
	db_bind_int(s->st[ST_POOL_DEL], 1, number);
	return db_run(s->st[ST_POOL_DEL], e);
}

int ipam_store_space_del(struct ipam_store *s, const char *space, struct err *e)
{
	db_bind_text(s->st[ST_SPACE_DEL], 1, space);
	return db_run(s->st[ST_SPACE_DEL], e);
}

int ipam_store_pool_set_vip(struct ipam_store *s, int64_t number,
			    const struct pool_shape *shape, struct err *e)
{
	struct db_stmt *st = s->st[ST_POOL_SET_VIP];

	db_bind_int(st, 1, number);
	bind_cidr(st, 2, &shape->vip);
	db_bind_int(st, 4, shape->vip_mode);
	return db_run(st, e);
}

int ipam_store_pool_set_round(struct ipam_store *s, int64_t number, int64_t round,
			      struct err *e)
{
	struct db_stmt *st = s->st[ST_POOL_SET_ROUND];

	db_bind_int(st, 1, number);
	db_bind_int(st, 2, round);
	return db_run(st, e);
}

int ipam_store_lease_add(struct ipam_store *s, const struct ipam_store_lease *lease,
			 struct err *e)
{
	struct db_stmt *st = s->st[ST_LEASE_ADD];
	int r;

	db_bind_int(st, 1, lease->set);
	db_bind_int(st, 2, lease->pool);
	db_bind_addr(st, 3, &lease->addr);
	db_bind_int(st, 4, lease->sequence);
	db_bind_int(st, 5, lease->round);
	db_bind_int(st, 6, lease->kind);
	db_bind_text(st, 7, lease->owner);
	r = db_run(st, e);
	if (r == 0 && db_changes(s->db) == 0)
		r = err_set(e, -EEXIST, "it is held");
	return r;
}

int ipam_store_lease_release(struct ipam_store *s, const struct ipam_store_lease *lease,
			     bool *ret_gone, struct err *e)
{
	struct db_stmt *st = s->st[lease->released ? ST_LEASE_RELEASE : ST_LEASE_DEL];
	int r;

	db_bind_int(st, 1, lease->set);
	db_bind_addr(st, 2, &lease->addr);
	db_bind_int(st, 3, lease->pool);
	if (lease->released)
		db_bind_int(st, 4, lease->released);
	r = db_run(st, e);
	if (r == 0)
		*ret_gone = db_changes(s->db) > 0;
	return r;
}

int ipam_store_lease_del_released(struct ipam_store *s, int64_t set,
				  const struct addr *first, const struct addr *last,
				  struct err *e)
{
	struct db_stmt *st = s->st[ST_LEASE_DEL_RELEASED];

	db_bind_int(st, 1, set);
	db_bind_addr(st, 2, first);
	db_bind_addr(st, 3, last);
	return db_run(st, e);
}

int ipam_store_lease_confirm(struct ipam_store *s, const struct ipam_store_lease *lease,
			     struct err *e)
{
	struct db_stmt *st = s->st[ST_LEASE_CONFIRM];

	db_bind_int(st, 1, lease->set);
	db_bind_addr(st, 2, &lease->addr);
	db_bind_int(st, 3, lease->round);
	db_bind_text(st, 4, lease->owner);
	return db_run(st, e);
}

static void read_lease(struct db_stmt *st, struct ipam_store_lease *lease)
{
	lease->set = db_col_int(st, 0);
	lease->pool = db_col_int(st, 1);
	lease->addr = db_col_addr(st, 2);
	lease->sequence = db_col_int(st, 3);
	lease->round = db_col_int(st, 4);
	lease->kind = (enum ipam_lease_kind)db_col_int(st, 5);
	lease->released = db_col_int(st, 6);
	lease->owner = db_col_text(st, 7);
}

int ipam_store_lease_find(struct ipam_store *s, struct ipam_store_lease *lease,
			  char *owner, size_t size, struct err *e)
{
	struct db_stmt *st = s->st[ST_LEASE_FIND];
	struct ipam_store_lease found = {0};
	int r;

	db_bind_int(st, 1, lease->set);
	db_bind_addr(st, 2, &lease->addr);
	r = db_step(st, e);
	if (r == 0)
		r = err_set(e, -ENOENT, "no such lease");
	if (r > 0) {
		read_lease(st, &found);
		r = db_col_copy(st, 7, owner, size, e);
	}
	db_reset(st);
	if (r == 0) {
		*lease = found;
		lease->owner = owner;
	}
	return r;
}

int ipam_store_state_get(struct ipam_store *s, struct ipam_store_state *ret,
			 struct err *e)
{
	struct db_stmt *st = s->st[ST_STATE_GET];
	int r = db_step(st, e);

	if (r > 0)
		*ret = (struct ipam_store_state){db_col_int(st, 0), db_col_int(st, 1)};
	else if (r == 0)
		r = err_set(e, -EUCLEAN, "database: table ipam_state is empty");
	db_reset(st);
	return r < 0 ? r : 0;
}

int ipam_store_state_set(struct ipam_store *s, const struct ipam_store_state *state,
			 struct err *e)
{
	struct db_stmt *st = s->st[ST_STATE_SET];

	db_bind_int(st, 1, state->round);
	db_bind_int(st, 2, state->replayed);
	return db_run(st, e);
}

static bool read_cidr(struct db_stmt *st, int column, struct cidr *ret)
{
	int64_t prefix = db_col_int(st, column + 1);
	struct cidr c = {.addr = db_col_addr(st, column)};

	if (prefix < 0 || prefix > (addr_is_set(&c.addr) ? addr_bits(&c.addr) : 0))
		return false;
	c.prefix = (uint8_t)prefix;
	*ret = c;
	return true;
}

/* What the rest relies on: prefixes without host bits, the inner ones in the pool. */
static bool is_sound(const struct pool_shape *s)
{
	const struct cidr *inner[] = {&s->sub, &s->vip};
	struct cidr pool = cidr_network(&s->pool);

	if (!addr_is_set(&s->pool.addr) || !cidr_equal(&pool, &s->pool))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(inner); i++)
		if (addr_is_set(&inner[i]->addr) && !cidr_covers(&s->pool, inner[i]))
			return false;
	return (unsigned int)s->vip_mode < POOL_VIP_COUNT;
}

static int read_pool(struct db_stmt *st, struct ipam_store_pool *pool, struct err *e)
{
	struct pool_shape *shape = &pool->shape;

	pool->number = db_col_int(st, 0);
	pool->set = db_col_int(st, 1);
	pool->id = db_col_text(st, 2);
	pool->space = db_col_text(st, 3);
	shape->vip_mode = (enum pool_vip)db_col_int(st, 10);
	pool->round = db_col_int(st, 11);
	if (!read_cidr(st, 4, &shape->pool) || !read_cidr(st, 6, &shape->sub) ||
	    !read_cidr(st, 8, &shape->vip) || !is_sound(shape))
		return err_set(e, -EUCLEAN, "database: pool number %lld is not sound",
			       (long long)pool->number);
	return 0;
}

int ipam_store_pool_each(struct ipam_store *s,
			 int (*fn)(void *ctx, const struct ipam_store_pool *pool,
				   struct err *e),
			 void *ctx, struct err *e)
{
	struct db_stmt *st = s->st[ST_POOL_ALL];
	struct ipam_store_pool pool;
	int r;

	while ((r = db_step(st, e)) > 0) {
		r = read_pool(st, &pool, e);
		if (r == 0)
			r = fn(ctx, &pool, e);
		if (r < 0)
			break;
	}
	db_reset(st);
	return r;
}

static int each_lease(struct db_stmt *st, ipam_store_lease_fn fn, void *ctx,
		      struct err *e)
{
	struct ipam_store_lease lease;
	int r;

	while ((r = db_step(st, e)) > 0) {
		read_lease(st, &lease);
		r = fn(ctx, &lease, e);
		if (r < 0)
			break;
	}
	db_reset(st);
	return r;
}

int ipam_store_lease_each(struct ipam_store *s, ipam_store_lease_fn fn, void *ctx,
			  struct err *e)
{
	return each_lease(s->st[ST_LEASE_ALL], fn, ctx, e);
}

/* Notes how far a page has come. */
struct page {
	ipam_store_lease_fn fn;
	void *ctx;
	struct ipam_store_mark mark;
	int count;
};

static int on_page_lease(void *ctx, const struct ipam_store_lease *lease, struct err *e)
{
	struct page *p = ctx;

	p->mark = (struct ipam_store_mark){lease->set, lease->addr};
	p->count++;
	return p->fn(p->ctx, lease, e);
}

int ipam_store_lease_each_after(struct ipam_store *s, struct ipam_store_mark *mark,
				ipam_store_lease_fn fn, void *ctx, struct err *e)
{
	struct page p = {.fn = fn, .ctx = ctx, .mark = *mark};
	int r;

	db_bind_int(s->st[ST_LEASE_AFTER], 1, mark->set);
	db_bind_addr(s->st[ST_LEASE_AFTER], 2, &mark->addr);
	db_bind_int(s->st[ST_LEASE_AFTER], 3, IPAM_STORE_PAGE);
	r = each_lease(s->st[ST_LEASE_AFTER], on_page_lease, &p, e);
	if (r < 0)
		return r;
	*mark = p.mark;
	return p.count;
}

int ipam_store_lease_each_of(struct ipam_store *s, const struct ipam_store_pool *pool,
			     ipam_store_lease_fn fn, void *ctx, struct err *e)
{
	db_bind_int(s->st[ST_LEASE_OF], 1, pool->set);
	db_bind_int(s->st[ST_LEASE_OF], 2, pool->number);
	return each_lease(s->st[ST_LEASE_OF], fn, ctx, e);
}
