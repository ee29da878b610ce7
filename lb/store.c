// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tables of the registry. Removed rows go before others are written, and a changed
 * service is removed and written anew, so that a VIP can wander from one to another in
 * one step under its UNIQUE rule. Foreign keys guard the order.
 */
#include "lb/store.h"

#include "plugin/base/mem.h"

#include <errno.h>
#include <stdlib.h>

static const char *const steps[] = {
	"CREATE TABLE lb_network("
	" id TEXT PRIMARY KEY, vip4 BLOB, prefix4 INTEGER NOT NULL,"
	" vip6 BLOB, prefix6 INTEGER NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE lb_container("
	" id TEXT PRIMARY KEY, name TEXT NOT NULL, running INTEGER NOT NULL,"
	" paused INTEGER NOT NULL, draining INTEGER NOT NULL, health INTEGER NOT NULL,"
	" stop_signal INTEGER NOT NULL, stop_timeout INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE lb_backend("
	" endpoint TEXT PRIMARY KEY, network TEXT NOT NULL REFERENCES lb_network(id),"
	" container TEXT REFERENCES lb_container(id), detached INTEGER NOT NULL,"
	" addr4 BLOB, addr6 BLOB, sequence INTEGER NOT NULL,"
	" position INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX lb_backend_network ON lb_backend(network);"
	"CREATE INDEX lb_backend_container ON lb_backend(container);"
	"CREATE TABLE lb_service("
	" mark INTEGER PRIMARY KEY, network TEXT NOT NULL REFERENCES lb_network(id),"
	" project TEXT NOT NULL, name TEXT NOT NULL, vip4 BLOB, vip6 BLOB,"
	" scheduler TEXT NOT NULL, dnsrr INTEGER NOT NULL, unused INTEGER NOT NULL,"
	" UNIQUE(network, project, name), UNIQUE(network, vip4), UNIQUE(network, vip6));"
	"CREATE TABLE lb_option("
	" kind INTEGER NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL,"
	" value TEXT NOT NULL, PRIMARY KEY(kind, owner, name)) WITHOUT ROWID;",
};

static const struct db_schema schema = {
	.name = "lb",
	.steps = steps,
	.count = ARRAY_SIZE(steps),
};

enum option_kind {
	KIND_NETWORK,
	KIND_CONTAINER,
	KIND_ENDPOINT,
};

enum {
	ST_NETWORK_LIST,
	ST_NETWORK_SET,
	ST_NETWORK_DEL,
	ST_CONTAINER_LIST,
	ST_CONTAINER_SET,
	ST_CONTAINER_DEL,
	ST_BACKEND_LIST,
	ST_BACKEND_SET,
	ST_BACKEND_DEL,
	ST_SERVICE_LIST,
	ST_SERVICE_ADD,
	ST_SERVICE_DEL,
	ST_OPTION_LIST,
	ST_OPTION_ADD,
	ST_OPTION_DEL,
	ST_COUNT
};

static const char *const sql[] = {
	[ST_NETWORK_LIST] = "SELECT id, vip4, prefix4, vip6, prefix6, reason"
			    " FROM lb_network",
	[ST_NETWORK_SET] = "INSERT INTO lb_network VALUES(?1, ?2, ?3, ?4, ?5, ?6)"
			   " ON CONFLICT(id) DO UPDATE SET vip4=?2, prefix4=?3, vip6=?4,"
			   " prefix6=?5, reason=?6",
	[ST_NETWORK_DEL] = "DELETE FROM lb_network WHERE id=?1",
	/* One without endpoints would never be removed. */
	[ST_CONTAINER_LIST] =
		"SELECT id, name, running, paused, draining, health, stop_signal,"
		" stop_timeout FROM lb_container"
		" WHERE id IN (SELECT container FROM lb_backend)",
	[ST_CONTAINER_SET] =
		"INSERT INTO lb_container VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
		" ON CONFLICT(id) DO UPDATE SET name=?2, running=?3, paused=?4,"
		" draining=?5, health=?6, stop_signal=?7, stop_timeout=?8",
	[ST_CONTAINER_DEL] = "DELETE FROM lb_container WHERE id=?1",
	[ST_BACKEND_LIST] =
		"SELECT endpoint, network, container, detached, addr4, addr6,"
		" sequence, position FROM lb_backend ORDER BY position, sequence",
	[ST_BACKEND_SET] =
		"INSERT INTO lb_backend VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
		" ON CONFLICT(endpoint) DO UPDATE SET network=?2, container=?3,"
		" detached=?4, addr4=?5, addr6=?6, sequence=?7, position=?8",
	[ST_BACKEND_DEL] = "DELETE FROM lb_backend WHERE endpoint=?1",
	[ST_SERVICE_LIST] = "SELECT mark, network, project, name, vip4, vip6, scheduler,"
			    " dnsrr, unused FROM lb_service ORDER BY unused, mark",
	[ST_SERVICE_ADD] =
		"INSERT INTO lb_service VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
	[ST_SERVICE_DEL] = "DELETE FROM lb_service WHERE mark=?1",
	[ST_OPTION_LIST] = "SELECT kind, owner, name, value FROM lb_option",
	[ST_OPTION_ADD] = "INSERT INTO lb_option VALUES(?1, ?2, ?3, ?4)",
	[ST_OPTION_DEL] = "DELETE FROM lb_option WHERE kind=?1 AND owner=?2",
};
_Static_assert(ARRAY_SIZE(sql) == ST_COUNT, "one text per statement");

struct lb_store {
	struct db_stmt **st;
};

int lb_store_new(struct db *db, struct lb_store **ret, struct err *e)
{
	struct lb_store *st = calloc(1, sizeof(*st));
	int r;

	if (!st)
		return err_sys(e, -ENOMEM, "service tables");
	r = db_migrate(db, &schema, e);
	if (r == 0)
		r = db_prepare(db, sql, ST_COUNT, &st->st, e);
	if (r < 0) {
		free(st);
		return err_wrap(e, r, "service tables");
	}
	*ret = st;
	return 0;
}

void lb_store_free(struct lb_store *st)
{
	if (!st)
		return;
	db_finalize(st->st, ST_COUNT);
	free(st);
}

/* --- load --- */

/* Calls fn for each row of a statement without parameters. */
static int each_row(struct lb_store *st, unsigned int statement, struct model *m,
		    int (*fn)(struct db_stmt *row, struct model *m, struct err *e),
		    struct err *e)
{
	struct db_stmt *row = st->st[statement];
	int r;

	while ((r = db_step(row, e)) > 0) {
		r = fn(row, m, e);
		if (r < 0)
			break;
	}
	db_reset(row);
	return r;
}

static int no_memory(struct err *e)
{
	return err_sys(e, -ENOMEM, "service tables");
}

static int col_id(struct db_stmt *row, int column, char id[LB_ID_SIZE], struct err *e)
{
	return db_col_copy(row, column, id, LB_ID_SIZE, e);
}

static int load_range(struct db_stmt *row, int column, struct vip_pool *pool,
		      struct err *e)
{
	struct cidr range = {.addr = db_col_addr(row, column)};
	int64_t prefix = db_col_int(row, column + 1);

	if (prefix < 0 ||
	    (addr_is_set(&range.addr) && prefix > (int64_t)addr_bits(&range.addr)))
		return err_set(e, -EUCLEAN, "table lb_network: bad prefix");
	range.prefix = (uint8_t)prefix;
	if (addr_is_set(&range.addr))
		vip_pool_set_range(pool, &range);
	return 0;
}

static int load_network(struct db_stmt *row, struct model *m, struct err *e)
{
	struct model_network *n;
	char id[LB_ID_SIZE];
	int r = col_id(row, 0, id, e);

	if (r < 0)
		return r;
	n = model_network_add(m, id);
	if (!n)
		return no_memory(e);
	r = load_range(row, 1, &n->pool[VIP_V4], e);
	if (r == 0)
		r = load_range(row, 3, &n->pool[VIP_V6], e);
	if (r == 0)
		r = db_col_copy(row, 5, n->reason, sizeof(n->reason), e);
	return r;
}

static int load_container(struct db_stmt *row, struct model *m, struct err *e)
{
	struct model_container *c;
	char id[LB_ID_SIZE];
	int64_t health = db_col_int(row, 5);
	int r = col_id(row, 0, id, e);

	if (r < 0)
		return r;
	if (health < 0 || health > REGISTRY_HEALTH_UNHEALTHY)
		return err_set(e, -EUCLEAN, "table lb_container: bad health");
	c = model_container_add(m, id);
	if (!c)
		return no_memory(e);
	c->life = (struct backend_life){
		.running = db_col_int(row, 2) != 0,
		.paused = db_col_int(row, 3) != 0,
		.draining = db_col_int(row, 4) != 0,
		.health = (enum registry_health)health,
		.stop_signal = (int)db_col_int(row, 6),
		.stop_timeout_s = (unsigned int)db_col_int(row, 7),
	};
	model_container_order(m, c);
	return db_col_copy(row, 1, c->name, sizeof(c->name), e);
}

static void note_sequence(struct model *m, int64_t sequence)
{
	if (sequence > 0 && (uint64_t)sequence > m->sequence)
		m->sequence = (uint64_t)sequence;
}

static int load_backend(struct db_stmt *row, struct model *m, struct err *e)
{
	struct model_endpoint *ep;
	struct model_network *n;
	char id[LB_ID_SIZE];
	int r = col_id(row, 0, id, e);

	if (r < 0)
		return r;
	n = model_network_find(m, db_col_text(row, 1));
	if (!n)
		return err_set(e, -EUCLEAN, "table lb_backend: %.12s has no network", id);
	ep = model_endpoint_add(m, n, id);
	if (!ep)
		return no_memory(e);
	model_endpoint_set_container(m, ep, model_container_find(m, db_col_text(row, 2)));
	ep->detached = db_col_int(row, 3) != 0;
	ep->addr4 = db_col_addr(row, 4);
	ep->addr6 = db_col_addr(row, 5);
	ep->sequence = (uint64_t)db_col_int(row, 6);
	ep->position = (unsigned int)db_col_int(row, 7);
	note_sequence(m, db_col_int(row, 6));
	return 0;
}

static int load_vip(struct db_stmt *row, int column, struct model_service *s,
		    unsigned int family, struct err *e)
{
	struct addr vip = db_col_addr(row, column);
	int r;

	if (!addr_is_set(&vip))
		return 0;
	r = vip_pool_take(&s->network->pool[family], &vip, s);
	if (r == 0)
		s->vip[family] = vip;
	else if (r == -EEXIST)
		r = err_set(e, -EUCLEAN, "table lb_service: two have the VIP of %s",
			    s->key.name);
	else
		r = no_memory(e);
	return r;
}

static int load_service_rest(struct db_stmt *row, struct model_service *s, struct err *e)
{
	int r = load_vip(row, 4, s, VIP_V4, e);

	if (r == 0)
		r = load_vip(row, 5, s, VIP_V6, e);
	if (r == 0)
		r = db_col_copy(row, 6, s->scheduler_wanted, sizeof(s->scheduler_wanted),
				e);
	s->dnsrr = db_col_int(row, 7) != 0;
	model_service_set_unused(s, (uint64_t)db_col_int(row, 8));
	return r;
}

static int load_service(struct db_stmt *row, struct model *m, struct err *e)
{
	struct model_service_key key = {0};
	int64_t mark = db_col_int(row, 0);
	struct model_network *n;
	struct model_service *s;
	int r = col_id(row, 1, key.network, e);

	if (r == 0)
		r = db_col_copy(row, 2, key.project, sizeof(key.project), e);
	if (r == 0)
		r = db_col_copy(row, 3, key.name, sizeof(key.name), e);
	if (r < 0)
		return r;
	n = model_network_find(m, key.network);
	if (!n || mark < LB_MARK_FIRST || mark >= LB_MARK_FIRST + MODEL_MARKS_MAX)
		return err_set(e, -EUCLEAN, "table lb_service: bad row of %s", key.name);
	r = model_service_add(m, n, &key, (uint32_t)mark, &s);
	if (r < 0)
		return no_memory(e);
	note_sequence(m, db_col_int(row, 8));
	return load_service_rest(row, s, e);
}

/* NULL: the owner is not known (any more). */
static struct option_set *option_owner(struct model *m, int64_t kind, const char *id)
{
	struct model_network *n = kind == KIND_NETWORK ? model_network_find(m, id) : NULL;
	struct model_container *c =
		kind == KIND_CONTAINER ? model_container_find(m, id) : NULL;
	struct model_endpoint *ep =
		kind == KIND_ENDPOINT ? model_endpoint_find(m, id) : NULL;

	if (n)
		return &n->options;
	if (c)
		return &c->labels;
	return ep ? &ep->options : NULL;
}

static int load_option(struct db_stmt *row, struct model *m, struct err *e)
{
	struct option_set *set = option_owner(m, db_col_int(row, 0), db_col_text(row, 1));

	if (set && option_set_add(set, db_col_text(row, 2), db_col_text(row, 3)) < 0)
		return no_memory(e);
	return 0;
}

int lb_store_load(struct lb_store *st, struct model *m, struct err *e)
{
	static const struct {
		unsigned int statement;
		int (*fn)(struct db_stmt *row, struct model *m, struct err *e);
	} parts[] = {
		{ST_NETWORK_LIST, load_network}, {ST_CONTAINER_LIST, load_container},
		{ST_BACKEND_LIST, load_backend}, {ST_SERVICE_LIST, load_service},
		{ST_OPTION_LIST, load_option},
	};
	struct model_endpoint *ep;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++)
		r = each_row(st, parts[i].statement, m, parts[i].fn, e);
	/* Linking noted changes, but these are in the tables. */
	TAILQ_FOREACH (ep, &m->changed_endpoints, changed)
		ep->pending = 0;
	model_sweep(m);
	return r < 0 ? err_wrap(e, r, "loading services") : 0;
}

/* --- save --- */

static int run_text(struct lb_store *st, unsigned int statement, const char *text,
		    struct err *e)
{
	db_bind_text(st->st[statement], 1, text);
	return db_run(st->st[statement], e);
}

static int del_options(struct lb_store *st, enum option_kind kind, const char *owner,
		       struct err *e)
{
	struct db_stmt *del = st->st[ST_OPTION_DEL];

	db_bind_int(del, 1, kind);
	db_bind_text(del, 2, owner);
	return db_run(del, e);
}

static int set_options(struct lb_store *st, enum option_kind kind, const char *owner,
		       const struct option_set *set, struct err *e)
{
	struct db_stmt *add = st->st[ST_OPTION_ADD];
	int r = del_options(st, kind, owner, e);

	for (unsigned int i = 0; r == 0 && i < set->count; i++) {
		db_bind_int(add, 1, kind);
		db_bind_text(add, 2, owner);
		db_bind_text(add, 3, set->items[i].name);
		db_bind_text(add, 4, set->items[i].value);
		r = db_run(add, e);
	}
	return r;
}

static int write_network(struct lb_store *st, const struct model_network *n,
			 struct err *e)
{
	struct db_stmt *set = st->st[ST_NETWORK_SET];

	db_bind_text(set, 1, n->id);
	db_bind_addr(set, 2, &n->pool[VIP_V4].range.addr);
	db_bind_int(set, 3, n->pool[VIP_V4].range.prefix);
	db_bind_addr(set, 4, &n->pool[VIP_V6].range.addr);
	db_bind_int(set, 5, n->pool[VIP_V6].range.prefix);
	db_bind_text(set, 6, n->reason);
	return db_run(set, e);
}

static int write_container(struct lb_store *st, const struct model_container *c,
			   struct err *e)
{
	struct db_stmt *set = st->st[ST_CONTAINER_SET];

	db_bind_text(set, 1, c->id);
	db_bind_text(set, 2, c->name);
	db_bind_int(set, 3, c->life.running);
	db_bind_int(set, 4, c->life.paused);
	db_bind_int(set, 5, c->life.draining);
	db_bind_int(set, 6, c->life.health);
	db_bind_int(set, 7, c->life.stop_signal);
	db_bind_int(set, 8, c->life.stop_timeout_s);
	return db_run(set, e);
}

static int write_backend(struct lb_store *st, const struct model_endpoint *ep,
			 struct err *e)
{
	struct db_stmt *set = st->st[ST_BACKEND_SET];

	db_bind_text(set, 1, ep->id);
	db_bind_text(set, 2, ep->network->id);
	db_bind_text(set, 3, ep->container ? ep->container->id : NULL);
	db_bind_int(set, 4, ep->detached);
	db_bind_addr(set, 5, &ep->addr4);
	db_bind_addr(set, 6, &ep->addr6);
	db_bind_int(set, 7, (int64_t)ep->sequence);
	db_bind_int(set, 8, ep->position);
	return db_run(set, e);
}

static int write_service(struct lb_store *st, const struct model_service *s,
			 struct err *e)
{
	struct db_stmt *add = st->st[ST_SERVICE_ADD];

	db_bind_int(add, 1, s->mark);
	db_bind_text(add, 2, s->key.network);
	db_bind_text(add, 3, s->key.project);
	db_bind_text(add, 4, s->key.name);
	db_bind_addr(add, 5, &s->vip[VIP_V4]);
	db_bind_addr(add, 6, &s->vip[VIP_V6]);
	db_bind_text(add, 7, s->scheduler_wanted);
	db_bind_int(add, 8, s->dnsrr);
	db_bind_int(add, 9, (int64_t)s->unused);
	return db_run(add, e);
}

#define IS_GONE(o)    ((o)->pending & MODEL_PENDING_GONE)
#define HAS_ROW(o)    ((o)->pending & MODEL_PENDING_ROW)
#define HAS_OPTION(o) ((o)->pending & MODEL_PENDING_OPTIONS)

/* From the children to the parents. */
static int save_removed(struct lb_store *st, struct model *m, struct err *e)
{
	struct model_container *c;
	struct model_endpoint *ep;
	struct model_network *n;
	struct model_service *s;
	int r = 0;

	TAILQ_FOREACH (s, &m->changed_services, changed) {
		if (r < 0 || !HAS_ROW(s))
			continue;
		db_bind_int(st->st[ST_SERVICE_DEL], 1, s->mark);
		r = db_run(st->st[ST_SERVICE_DEL], e);
	}
	TAILQ_FOREACH (ep, &m->changed_endpoints, changed) {
		if (r == 0 && IS_GONE(ep))
			r = run_text(st, ST_BACKEND_DEL, ep->id, e);
		if (r == 0 && IS_GONE(ep))
			r = del_options(st, KIND_ENDPOINT, ep->id, e);
	}
	TAILQ_FOREACH (n, &m->changed_networks, changed) {
		if (r == 0 && IS_GONE(n))
			r = run_text(st, ST_NETWORK_DEL, n->id, e);
		if (r == 0 && IS_GONE(n))
			r = del_options(st, KIND_NETWORK, n->id, e);
	}
	/* Containers go after the endpoints that left them have been written. */
	TAILQ_FOREACH (c, &m->changed_containers, changed) {
		if (r == 0 && IS_GONE(c))
			r = del_options(st, KIND_CONTAINER, c->id, e);
	}
	return r;
}

static int save_networks(struct lb_store *st, struct model *m, struct err *e)
{
	struct model_network *n;
	int r = 0;

	TAILQ_FOREACH (n, &m->changed_networks, changed) {
		if (IS_GONE(n))
			continue;
		if (r == 0 && HAS_ROW(n))
			r = write_network(st, n, e);
		if (r == 0 && HAS_OPTION(n))
			r = set_options(st, KIND_NETWORK, n->id, &n->options, e);
	}
	return r;
}

static int save_containers(struct lb_store *st, struct model *m, struct err *e)
{
	struct model_container *c;
	int r = 0;

	TAILQ_FOREACH (c, &m->changed_containers, changed) {
		if (IS_GONE(c))
			continue;
		if (r == 0 && HAS_ROW(c))
			r = write_container(st, c, e);
		if (r == 0 && HAS_OPTION(c))
			r = set_options(st, KIND_CONTAINER, c->id, &c->labels, e);
	}
	return r;
}

static int save_endpoints(struct lb_store *st, struct model *m, struct err *e)
{
	struct model_endpoint *ep;
	int r = 0;

	TAILQ_FOREACH (ep, &m->changed_endpoints, changed) {
		if (IS_GONE(ep))
			continue;
		if (r == 0 && HAS_ROW(ep))
			r = write_backend(st, ep, e);
		if (r == 0 && HAS_OPTION(ep))
			r = set_options(st, KIND_ENDPOINT, ep->id, &ep->options, e);
	}
	return r;
}

/* A container that came again under its id while the old object waits has its row
 * written by now: it must stay. */
static int del_containers(struct lb_store *st, struct model *m, struct err *e)
{
	struct model_container *c;
	int r = 0;

	TAILQ_FOREACH (c, &m->changed_containers, changed) {
		if (r == 0 && IS_GONE(c) && !model_container_find(m, c->id))
			r = run_text(st, ST_CONTAINER_DEL, c->id, e);
	}
	return r;
}

static int save_services(struct lb_store *st, struct model *m, struct err *e)
{
	struct model_service *s;
	int r = 0;

	TAILQ_FOREACH (s, &m->changed_services, changed) {
		if (r == 0 && HAS_ROW(s) && !IS_GONE(s))
			r = write_service(st, s, e);
	}
	return r;
}

/* Only when everything was written: what was written before an error is written again
 * next time, so it does not matter whether the caller keeps that part. */
static void clear_pending(struct model *m)
{
	const unsigned int keep =
		~(unsigned int)(MODEL_PENDING_ROW | MODEL_PENDING_OPTIONS);
	struct model_container *c;
	struct model_endpoint *ep;
	struct model_network *n;
	struct model_service *s;

	TAILQ_FOREACH (n, &m->changed_networks, changed)
		n->pending &= keep;
	TAILQ_FOREACH (c, &m->changed_containers, changed)
		c->pending &= keep;
	TAILQ_FOREACH (ep, &m->changed_endpoints, changed)
		ep->pending &= keep;
	TAILQ_FOREACH (s, &m->changed_services, changed)
		s->pending &= keep;
}

int lb_store_save(struct lb_store *st, struct model *m, struct err *e)
{
	static int (*const parts[])(struct lb_store *, struct model *, struct err *) = {
		save_removed,	save_networks, save_containers,
		save_endpoints, save_services, del_containers,
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++)
		r = parts[i](st, m, e);
	if (r == 0)
		clear_pending(m);
	return r < 0 ? err_wrap(e, r, "saving services") : 0;
}
