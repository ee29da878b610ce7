// SPDX-License-Identifier: GPL-2.0-or-later
/* Rows of the driver. Options are rows of their own; subnets are few and in order. */
#include "driver/store.h"

#include "plugin/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const char *const schema_steps[] = {
	"CREATE TABLE network("
	" id TEXT PRIMARY KEY, internal INTEGER NOT NULL, mtu INTEGER NOT NULL,"
	" no_vip_reason TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE subnet("
	" network TEXT NOT NULL REFERENCES network(id) ON DELETE CASCADE,"
	" position INTEGER NOT NULL, pool BLOB NOT NULL, prefix INTEGER NOT NULL,"
	" gateway BLOB, vip_pool BLOB, vip_prefix INTEGER,"
	" PRIMARY KEY(network, position)) WITHOUT ROWID;"
	"CREATE TABLE endpoint("
	" id TEXT PRIMARY KEY,"
	" network TEXT NOT NULL REFERENCES network(id) ON DELETE CASCADE,"
	" addr4 BLOB, addr6 BLOB, mac BLOB, sandbox_key TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE INDEX endpoint_network ON endpoint(network);"
	/* owner: a network or an endpoint */
	"CREATE TABLE driver_option("
	" owner TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,"
	" PRIMARY KEY(owner, name)) WITHOUT ROWID;"
	"CREATE TABLE publication("
	" position INTEGER PRIMARY KEY,"
	" endpoint TEXT NOT NULL REFERENCES endpoint(id) ON DELETE CASCADE,"
	" proto INTEGER NOT NULL, host_addr BLOB, host_port INTEGER NOT NULL,"
	" port INTEGER NOT NULL);"
	"CREATE INDEX publication_endpoint ON publication(endpoint);",
	"ALTER TABLE network ADD COLUMN space TEXT NOT NULL DEFAULT '';",
};

enum statement {
	ST_NETWORK_PUT,
	ST_NETWORK_DEL,
	ST_NETWORK_EACH,
	ST_SUBNET_ADD,
	ST_SUBNET_CLEAR,
	ST_SUBNET_EACH,
	ST_ENDPOINT_PUT,
	ST_ENDPOINT_DEL,
	ST_ENDPOINT_EACH,
	ST_OPTION_ADD,
	ST_OPTION_CLEAR,
	ST_OPTION_CLEAR_OF_NETWORK,
	ST_OPTION_EACH,
	ST_PORT_ADD,
	ST_PORT_CLEAR,
	ST_PORT_EACH,
	ST_COUNT
};

static const char *const sql[] = {
	[ST_NETWORK_PUT] =
		"INSERT INTO network VALUES(?1,?2,?3,?4,?5) ON CONFLICT(id) DO UPDATE SET"
		" internal=?2, mtu=?3, no_vip_reason=?4, space=?5",
	[ST_NETWORK_DEL] = "DELETE FROM network WHERE id=?1",
	[ST_NETWORK_EACH] =
		"SELECT id, internal, mtu, no_vip_reason, space FROM network ORDER BY id",
	[ST_SUBNET_ADD] = "INSERT INTO subnet VALUES(?1,?2,?3,?4,?5,?6,?7)",
	[ST_SUBNET_CLEAR] = "DELETE FROM subnet WHERE network=?1",
	[ST_SUBNET_EACH] =
		"SELECT pool, prefix, gateway, vip_pool, vip_prefix FROM subnet"
		" WHERE network=?1 ORDER BY position",
	[ST_ENDPOINT_PUT] =
		"INSERT INTO endpoint VALUES(?1,?2,?3,?4,?5,?6) ON CONFLICT(id) DO UPDATE"
		" SET network=?2, addr4=?3, addr6=?4, mac=?5, sandbox_key=?6",
	[ST_ENDPOINT_DEL] = "DELETE FROM endpoint WHERE id=?1",
	[ST_ENDPOINT_EACH] =
		"SELECT id, network, addr4, addr6, mac, sandbox_key FROM endpoint"
		" ORDER BY id",
	[ST_OPTION_ADD] = "INSERT OR REPLACE INTO driver_option VALUES(?1,?2,?3)",
	[ST_OPTION_CLEAR] = "DELETE FROM driver_option WHERE owner=?1",
	[ST_OPTION_CLEAR_OF_NETWORK] = "DELETE FROM driver_option WHERE owner IN"
				       " (SELECT id FROM endpoint WHERE network=?1)",
	[ST_OPTION_EACH] = "SELECT name, value FROM driver_option WHERE owner=?1",
	[ST_PORT_ADD] =
		"INSERT INTO publication(endpoint, proto, host_addr, host_port, port)"
		" VALUES(?1,?2,?3,?4,?5)",
	[ST_PORT_CLEAR] = "DELETE FROM publication WHERE endpoint=?1",
	[ST_PORT_EACH] =
		"SELECT endpoint, proto, host_addr, host_port, port FROM publication"
		" ORDER BY position",
};
static_assert(ARRAY_SIZE(sql) == ST_COUNT, "one text per statement");

struct driver_store {
	struct db_stmt **st;
};

/* --- options ----------------------------------------------------------------- */

int store_options_add(struct store_options *o, const char *name, const char *value)
{
	struct store_option *list;

	if (o->count >= STORE_OPTIONS_MAX)
		return -E2BIG;
	list = realloc(o->list, (o->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	o->list = list;
	list[o->count].name = strdup(name);
	list[o->count].value = strdup(value);
	if (!list[o->count].name || !list[o->count].value) {
		free(list[o->count].name);
		free(list[o->count].value);
		return -ENOMEM;
	}
	o->count++;
	return 0;
}

const char *store_options_find(const struct store_options *o, const char *name)
{
	for (unsigned int i = 0; i < o->count; i++)
		if (!strcmp(o->list[i].name, name))
			return o->list[i].value;
	return NULL;
}

static void options_fini(struct store_options *o)
{
	for (unsigned int i = 0; i < o->count; i++) {
		free(o->list[i].name);
		free(o->list[i].value);
	}
	free(o->list);
}

void store_network_free(struct store_network *n)
{
	if (!n)
		return;
	options_fini(&n->options);
	free(n);
}

void store_endpoint_free(struct store_endpoint *ep)
{
	if (!ep)
		return;
	options_fini(&ep->options);
	free(ep);
}

/* --- writing ----------------------------------------------------------------- */

int driver_store_new(struct db *db, struct driver_store **ret, struct err *e)
{
	static const struct db_schema schema = {"driver", schema_steps,
						ARRAY_SIZE(schema_steps)};
	struct driver_store *s;
	int r = db_migrate(db, &schema, e);

	if (r < 0)
		return r;
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_sys(e, -ENOMEM, "driver store");
	r = db_prepare(db, sql, ST_COUNT, &s->st, e);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void driver_store_free(struct driver_store *s)
{
	if (!s)
		return;
	db_finalize(s->st, ST_COUNT);
	free(s);
}

static int run_id(struct driver_store *s, enum statement which, const char *id,
		  struct err *e)
{
	db_bind_text(s->st[which], 1, id);
	return db_run(s->st[which], e);
}

static int put_options(struct driver_store *s, const char *owner,
		       const struct store_options *o, struct err *e)
{
	int r = run_id(s, ST_OPTION_CLEAR, owner, e);

	for (unsigned int i = 0; r == 0 && i < o->count; i++) {
		struct db_stmt *st = s->st[ST_OPTION_ADD];

		db_bind_text(st, 1, owner);
		db_bind_text(st, 2, o->list[i].name);
		db_bind_text(st, 3, o->list[i].value);
		r = db_run(st, e);
	}
	return r;
}

static int put_subnet(struct driver_store *s, const struct network_config *c,
		      unsigned int i, struct err *e)
{
	const struct network_subnet *subnet = &c->subnets[i];
	struct db_stmt *st = s->st[ST_SUBNET_ADD];

	db_bind_text(st, 1, c->id);
	db_bind_int(st, 2, i);
	db_bind_addr(st, 3, &subnet->pool.addr);
	db_bind_int(st, 4, subnet->pool.prefix);
	db_bind_addr(st, 5, &subnet->gateway);
	db_bind_addr(st, 6, &subnet->vip_range.addr);
	db_bind_int(st, 7, subnet->vip_range.prefix);
	return db_run(st, e);
}

int driver_store_network_put(struct driver_store *s, const struct store_network *n,
			     struct err *e)
{
	struct db_stmt *st = s->st[ST_NETWORK_PUT];
	int r;

	db_bind_text(st, 1, n->config.id);
	db_bind_int(st, 2, n->config.internal);
	db_bind_int(st, 3, n->config.mtu);
	db_bind_text(st, 4, n->no_vip_reason);
	db_bind_text(st, 5, n->space);
	r = db_run(st, e);
	if (r == 0)
		r = run_id(s, ST_SUBNET_CLEAR, n->config.id, e);
	for (unsigned int i = 0; r == 0 && i < n->config.subnet_count; i++)
		r = put_subnet(s, &n->config, i, e);
	if (r == 0)
		r = put_options(s, n->config.id, &n->options, e);
	return r;
}

int driver_store_network_del(struct driver_store *s, const char *id, struct err *e)
{
	int r = run_id(s, ST_OPTION_CLEAR_OF_NETWORK, id, e);

	if (r == 0)
		r = run_id(s, ST_OPTION_CLEAR, id, e);
	if (r == 0)
		r = run_id(s, ST_NETWORK_DEL, id, e);
	return r;
}

int driver_store_endpoint_put(struct driver_store *s, const struct store_endpoint *ep,
			      struct err *e)
{
	struct db_stmt *st = s->st[ST_ENDPOINT_PUT];
	int r;

	db_bind_text(st, 1, ep->base.id);
	db_bind_text(st, 2, ep->network);
	db_bind_addr(st, 3, &ep->addr4);
	db_bind_addr(st, 4, &ep->addr6);
	if (ep->base.has_mac)
		db_bind_blob(st, 5, ep->base.mac, sizeof(ep->base.mac));
	db_bind_text(st, 6, ep->sandbox_key);
	r = db_run(st, e);
	if (r == 0)
		r = put_options(s, ep->base.id, &ep->options, e);
	return r;
}

int driver_store_endpoint_del(struct driver_store *s, const char *id, struct err *e)
{
	int r = run_id(s, ST_OPTION_CLEAR, id, e);

	return r < 0 ? r : run_id(s, ST_ENDPOINT_DEL, id, e);
}

int driver_store_port_add(struct driver_store *s, const char *endpoint,
			  const struct ports_claim *claim, struct err *e)
{
	struct db_stmt *st = s->st[ST_PORT_ADD];

	db_bind_text(st, 1, endpoint);
	db_bind_int(st, 2, claim->proto);
	db_bind_addr(st, 3, &claim->host_addr);
	db_bind_int(st, 4, claim->host_port);
	db_bind_int(st, 5, claim->port);
	return db_run(st, e);
}

int driver_store_ports_del(struct driver_store *s, const char *endpoint, struct err *e)
{
	return run_id(s, ST_PORT_CLEAR, endpoint, e);
}

/* --- loading ------------------------------------------------------------------ */

static int load_options(struct driver_store *s, const char *owner,
			struct store_options *ret, struct err *e)
{
	struct db_stmt *st = s->st[ST_OPTION_EACH];
	int r;

	db_bind_text(st, 1, owner);
	while ((r = db_step(st, e)) > 0) {
		r = store_options_add(ret, db_col_text(st, 0), db_col_text(st, 1));
		if (r < 0) {
			(void)err_sys(e, r, "options of %.12s", owner);
			break;
		}
	}
	db_reset(st);
	return r;
}

static int load_subnets(struct driver_store *s, struct network_config *c, struct err *e)
{
	struct db_stmt *st = s->st[ST_SUBNET_EACH];
	int r = 0;

	db_bind_text(st, 1, c->id);
	while (c->subnet_count < NETWORK_SUBNETS_MAX && (r = db_step(st, e)) > 0) {
		struct network_subnet *subnet = &c->subnets[c->subnet_count++];

		subnet->pool.addr = db_col_addr(st, 0);
		subnet->pool.prefix = (uint8_t)db_col_int(st, 1);
		subnet->gateway = db_col_addr(st, 2);
		subnet->vip_range.addr = db_col_addr(st, 3);
		subnet->vip_range.prefix = (uint8_t)db_col_int(st, 4);
	}
	db_reset(st);
	return c->subnet_count < NETWORK_SUBNETS_MAX && r < 0 ? r : 0;
}

static int load_network(struct driver_store *s, const struct driver_store_loader *loader,
			struct err *e)
{
	struct db_stmt *st = s->st[ST_NETWORK_EACH];
	struct store_network *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return err_sys(e, -ENOMEM, "network");
	n->config.internal = db_col_int(st, 1);
	n->config.mtu = (unsigned int)db_col_int(st, 2);
	r = db_col_copy(st, 0, n->config.id, sizeof(n->config.id), e);
	if (r == 0)
		r = db_col_copy(st, 3, n->no_vip_reason, sizeof(n->no_vip_reason), e);
	if (r == 0)
		r = db_col_copy(st, 4, n->space, sizeof(n->space), e);
	if (r == 0)
		r = load_subnets(s, &n->config, e);
	if (r == 0)
		r = load_options(s, n->config.id, &n->options, e);
	if (r < 0) {
		store_network_free(n);
		return r;
	}
	return loader->network(loader->ctx, n, e);
}

static int load_endpoint(struct driver_store *s, const struct driver_store_loader *loader,
			 struct err *e)
{
	struct db_stmt *st = s->st[ST_ENDPOINT_EACH];
	struct store_endpoint *ep = calloc(1, sizeof(*ep));
	int r;

	if (!ep)
		return err_sys(e, -ENOMEM, "endpoint");
	r = db_col_copy(st, 0, ep->base.id, sizeof(ep->base.id), e);
	if (r == 0)
		r = db_col_copy(st, 1, ep->network, sizeof(ep->network), e);
	ep->addr4 = db_col_addr(st, 2);
	ep->addr6 = db_col_addr(st, 3);
	ep->base.has_mac = db_col_blob(st, 4, ep->base.mac, sizeof(ep->base.mac)) == 0;
	if (r == 0)
		r = db_col_copy(st, 5, ep->sandbox_key, sizeof(ep->sandbox_key), e);
	if (r == 0)
		r = load_options(s, ep->base.id, &ep->options, e);
	if (r < 0) {
		store_endpoint_free(ep);
		return r;
	}
	return loader->endpoint(loader->ctx, ep, e);
}

static int load_port(struct driver_store *s, const struct driver_store_loader *loader,
		     struct err *e)
{
	struct db_stmt *st = s->st[ST_PORT_EACH];
	const struct ports_claim claim = {.proto = (uint8_t)db_col_int(st, 1),
					  .host_addr = db_col_addr(st, 2),
					  .host_port = (uint16_t)db_col_int(st, 3),
					  .port = (uint16_t)db_col_int(st, 4)};

	return loader->port(loader->ctx, db_col_text(st, 0), &claim, e);
}

int driver_store_load(struct driver_store *s, const struct driver_store_loader *loader,
		      struct err *e)
{
	static const struct {
		enum statement each;
		int (*load)(struct driver_store *s,
			    const struct driver_store_loader *loader, struct err *e);
	} tables[] = {
		{ST_NETWORK_EACH, load_network},
		{ST_ENDPOINT_EACH, load_endpoint},
		{ST_PORT_EACH, load_port},
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(tables); i++) {
		struct db_stmt *st = s->st[tables[i].each];

		while ((r = db_step(st, e)) > 0) {
			r = tables[i].load(s, loader, e);
			if (r < 0)
				break;
		}
		db_reset(st);
	}
	return r;
}
