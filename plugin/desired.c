// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The frame of the desired state: what is kept in memory, how it is read, how changes
 * are collected, and the batches. Every verb (desired_net.c, desired_endpoint.c) writes
 * its rows first and then changes the memory; a batch or attempt that is lost is
 * followed by reading everything again, so that memory never says what the database
 * does not.
 */
#include "plugin/desired_internal.h"

#include "plugin/base/clock.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "node"
#include "plugin/base/log.h"

#define OPTION_PREFIX "fairlead."

/* --- changes -------------------------------------------------------------- */

void change_list_free(struct change_list *list)
{
	struct change *c;

	while ((c = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, c, link);
		lb_view_put(c->view);
		free(c);
	}
}

static struct change *change_add(struct desired *d, enum change_type type)
{
	struct change *c = calloc(1, sizeof(*c));

	if (!c) {
		d->untold = true;
		return NULL;
	}
	c->type = type;
	TAILQ_INSERT_TAIL(&d->changes, c, link);
	return c;
}

int desired_from_registry(struct desired *d, int r)
{
	if (r < 0 && r != -EINVAL && r != -ENOENT)
		d->dirty = true;
	return r;
}

static void on_port(void *ctx, const struct firewall_port *old,
		    const struct firewall_port *new_port)
{
	struct change *c = change_add(ctx, CHANGE_PORT);

	if (!c)
		return;
	c->has_old = old != NULL;
	c->has_new = new_port != NULL;
	if (old)
		c->old = *old;
	if (new_port)
		c->new_port = *new_port;
}

struct store_endpoint *desired_find_endpoint(const struct desired *d, const char *id)
{
	struct store_endpoint *ep;

	HASH_FIND_STR(d->endpoints, id, ep);
	return ep;
}

struct store_network *desired_find_network(const struct desired *d, const char *id)
{
	struct store_network *n;

	HASH_FIND_STR(d->networks, id, n);
	return n;
}

void desired_tell_client(struct desired *d, const struct store_endpoint *ep,
			 const char *project)
{
	struct change *c = ep->sandbox_key[0] ? change_add(d, CHANGE_CLIENT) : NULL;

	if (!c)
		return;
	(void)str_copy(c->client.endpoint, sizeof(c->client.endpoint), ep->base.id);
	(void)str_copy(c->client.network, sizeof(c->client.network), ep->network);
	(void)str_copy(c->client.key, sizeof(c->client.key), ep->sandbox_key);
	(void)str_copy(c->client.project, sizeof(c->client.project), project);
}

void desired_tell_client_gone(struct desired *d, const struct store_endpoint *ep)
{
	struct change *c = ep->sandbox_key[0] ? change_add(d, CHANGE_CLIENT_GONE) : NULL;

	if (c)
		(void)str_copy(c->client.endpoint, sizeof(c->client.endpoint),
			       ep->base.id);
}

struct ports_target desired_port_target(const struct store_endpoint *ep,
					const struct lb_view *service)
{
	struct ports_target t = {0, ep->addr4, ep->addr6};

	if (!service || service->dnsrr)
		return t;
	t.mark = service->mark;
	t.addr4 = service->vip4;
	t.addr6 = service->vip6;
	return t;
}

/* A service has other addresses: the published ports of its backends follow. */
static void retarget_backends(struct desired *d, const struct lb_view *service)
{
	for (unsigned int i = 0; i < service->count; i++) {
		const char *id = service->backends[i].endpoint;
		const struct store_endpoint *ep = desired_find_endpoint(d, id);
		struct ports_target target;

		if (!ep)
			continue;
		target = desired_port_target(ep, service);
		ports_retarget(d->ports, id, &target);
	}
}

static void on_service(void *ctx, struct lb_view *old, struct lb_view *new_view)
{
	const struct lb_view *any = new_view ? new_view : old;
	struct change *c = change_add(ctx, CHANGE_SERVICE);

	assert(any);
	if (c) {
		c->mark = any->mark;
		c->view = new_view ? lb_view_get(new_view) : NULL;
	}
	if (old && new_view &&
	    (!addr_equal(&old->vip4, &new_view->vip4) ||
	     !addr_equal(&old->vip6, &new_view->vip6) || old->dnsrr != new_view->dnsrr))
		retarget_backends(ctx, new_view);
}

static void on_assigned(void *ctx, const char *endpoint, const struct lb_view *service,
			const char *project)
{
	struct desired *d = ctx;
	const struct store_endpoint *ep = desired_find_endpoint(d, endpoint);
	struct ports_target target;

	if (!ep)
		return;
	target = desired_port_target(ep, service);
	ports_retarget(d->ports, endpoint, &target);
	desired_tell_client(d, ep, project ? project : "");
}

/* --- memory --------------------------------------------------------------- */

static int hold(struct desired *d, struct store_endpoint *ep, const struct addr *a)
{
	struct holder *h;
	char text[ADDR_TEXT_SIZE];

	if (!addr_is_set(a))
		return 0;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->ep = ep;
	h->addr = *a;
	(void)snprintf(h->key, sizeof(h->key), "%s %s", ep->network,
		       addr_format(a, text));
	HASH_ADD_STR(d->holders, key, h);
	if (!MAP_ADDED(h)) {
		free(h);
		return -ENOMEM;
	}
	HASH_ADD(by_addr, d->by_addr, addr, sizeof(h->addr), h);
	if (!h->by_addr.tbl) {
		HASH_DEL(d->holders, h);
		free(h);
		return -ENOMEM;
	}
	return 0;
}

struct holder *desired_find_holder(const struct desired *d, const char *network,
				   const struct addr *a)
{
	char key[NETWORK_ID_SIZE + ADDR_TEXT_SIZE];
	char text[ADDR_TEXT_SIZE];
	struct holder *h;

	(void)snprintf(key, sizeof(key), "%s %s", network, addr_format(a, text));
	HASH_FIND_STR(d->holders, key, h);
	return h;
}

static void unhold(struct desired *d, const struct store_endpoint *ep,
		   const struct addr *a)
{
	struct holder *h = addr_is_set(a) ? desired_find_holder(d, ep->network, a) : NULL;

	if (!h || h->ep != ep)
		return;
	HASH_DEL(d->holders, h);
	HASH_DELETE(by_addr, d->by_addr, h);
	free(h);
}

void desired_forget_endpoint(struct desired *d, struct store_endpoint *ep)
{
	unhold(d, ep, &ep->addr4);
	unhold(d, ep, &ep->addr6);
	HASH_DEL(d->endpoints, ep);
	store_endpoint_free(ep);
}

int desired_keep_endpoint(struct desired *d, struct store_endpoint *ep, struct err *e)
{
	HASH_ADD_KEYPTR(hh, d->endpoints, ep->base.id, strlen(ep->base.id), ep);
	if (!MAP_ADDED(ep)) {
		store_endpoint_free(ep);
		return err_sys(e, -ENOMEM, "endpoint");
	}
	if (hold(d, ep, &ep->addr4) < 0 || hold(d, ep, &ep->addr6) < 0) {
		desired_forget_endpoint(d, ep);
		return err_sys(e, -ENOMEM, "endpoint");
	}
	return 0;
}

int desired_keep_network(struct desired *d, struct store_network *n, struct err *e)
{
	HASH_ADD_KEYPTR(hh, d->networks, n->config.id, strlen(n->config.id), n);
	if (!MAP_ADDED(n)) {
		store_network_free(n);
		return err_sys(e, -ENOMEM, "network");
	}
	return 0;
}

void desired_forget_network(struct desired *d, struct store_network *n)
{
	HASH_DEL(d->networks, n);
	store_network_free(n);
}

static void forget_all(struct desired *d)
{
	struct store_endpoint *ep;
	struct store_endpoint *ep_next;
	struct store_network *n;
	struct store_network *n_next;

	HASH_ITER (hh, d->endpoints, ep, ep_next)
		desired_forget_endpoint(d, ep);
	HASH_ITER (hh, d->networks, n, n_next)
		desired_forget_network(d, n);
}

int desired_copy_options(const struct api_options *from, struct store_options *to,
			 struct err *e)
{
	for (unsigned int i = 0; i < from->count; i++) {
		int r;

		if (!str_has_prefix(from->list[i].name, OPTION_PREFIX))
			continue;
		r = store_options_add(to, from->list[i].name, from->list[i].value);
		if (r < 0)
			return err_sys(e, r, "option %.64s", from->list[i].name);
	}
	return 0;
}

/* --- loading -------------------------------------------------------------- */

static int on_load_network(void *ctx, struct store_network *n, struct err *e)
{
	return desired_keep_network(ctx, n, e);
}

static int on_load_endpoint(void *ctx, struct store_endpoint *ep, struct err *e)
{
	struct desired *d = ctx;
	const char *project = "";
	int r = desired_keep_endpoint(d, ep, e);

	if (r < 0)
		return r;
	(void)registry_endpoint_service(d->registry, ep->base.id, &project);
	desired_tell_client(d, ep, project ? project : "");
	return 0;
}

static int on_load_port(void *ctx, const char *endpoint, const struct ports_claim *claim,
			struct err *e)
{
	struct desired *d = ctx;
	const struct store_endpoint *ep = desired_find_endpoint(d, endpoint);
	struct ports_target target;

	if (!ep)
		return 0;
	target = desired_port_target(
		ep, registry_endpoint_service(d->registry, endpoint, NULL));
	return ports_add(d->loaded_ports, endpoint, claim, &target) < 0
		       ? err_sys(e, -ENOMEM, "published port")
		       : 0;
}

static int load(struct desired *d, struct err *e)
{
	const struct driver_store_loader loader = {on_load_network, on_load_endpoint,
						   on_load_port, d};

	d->loaded_ports = ports_new(NULL);
	if (!d->loaded_ports)
		return err_sys(e, -ENOMEM, "ports");
	return driver_store_load(d->store, &loader, e);
}

/*
 * After a lost batch or attempt: memory becomes what the database says, and the others
 * are told what that changes. Until it has worked, what was told of the ports is kept
 * and nothing else is done.
 */
static int reload(struct desired *d, struct err *e)
{
	int r;

	d->stale = true;
	for (const struct store_endpoint *ep = d->endpoints; ep; ep = ep->hh.next)
		desired_tell_client_gone(d, ep);
	forget_all(d);
	r = ipam_reload(d->ipam, e);
	if (r == 0)
		r = registry_reload(d->registry, e);
	if (r == 0)
		r = load(d, e);
	if (r < 0) {
		ports_free(TAKE(d->loaded_ports));
		return err_wrap(e, r, "reading the database again");
	}
	ports_replace(d->ports, TAKE(d->loaded_ports));
	d->stale = false;
	d->dirty = false;
	return 0;
}

/* Where nobody is there to be told of it. */
static void note_untold(struct desired *d)
{
	if (d->untold)
		log_error("no memory for a change: kernel and names miss it until the "
			  "next start");
	d->untold = false;
}

static void must_reload(struct desired *d)
{
	struct err e = {0};

	d->untold = false;
	if (reload(d, &e) < 0)
		log_error("%s", e.text);
	note_untold(d);
}

static void on_view(void *ctx, struct lb_view *v)
{
	on_service(ctx, NULL, v);
}

static int open_all(struct desired *d, struct err *e)
{
	const struct registry_config registry = {
		.schedulers = d->config.schedulers,
		.balancer = d->config.balancer,
		.callbacks = {on_service, on_assigned, d},
	};
	const struct ports_callbacks ports = {on_port, d};
	char path[PATH_MAX];
	int r = str_printf(path, sizeof(path), "%s/fairlead.db", d->config.state_dir);

	if (r < 0)
		return err_set(e, r, "state-dir %s: path too long", d->config.state_dir);
	r = db_open(strcmp(d->config.state_dir, ":memory:") ? path : ":memory:", &d->db,
		    e);
	if (r == 0)
		r = ipam_new(d->db, &d->config.ipam, clock_ms(), &d->ipam, e);
	if (r == 0)
		r = driver_store_new(d->db, &d->store, e);
	if (r == 0)
		r = registry_new(d->db, &registry, &d->registry, e);
	if (r == 0) {
		d->ports = ports_new(&ports);
		r = d->ports ? load(d, e) : err_sys(e, -ENOMEM, "ports");
	}
	if (r == -EUCLEAN && e && !strstr(e->text, path))
		return err_wrap(e, r, "%s", path); /* rows that make no sense */
	if (r == 0) {
		registry_each_view(d->registry, on_view, d);
		ports_replace(d->ports, TAKE(d->loaded_ports));
	}
	return r;
}

int desired_new(const struct desired_config *config, struct desired **ret, struct err *e)
{
	struct desired *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return err_sys(e, -ENOMEM, "store worker");
	d->config = *config;
	d->synced_since_ms = UINT64_MAX;
	TAILQ_INIT(&d->changes);
	r = open_all(d, e);
	if (r == 0)
		r = desired_drop_forgotten(d, e);
	if (r < 0) {
		desired_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

void desired_free(struct desired *d)
{
	if (!d)
		return;
	change_list_free(&d->changes);
	ports_free(d->loaded_ports);
	ports_free(d->ports);
	forget_all(d);
	pool_alarm_fini(&d->alarms);
	registry_free(d->registry);
	driver_store_free(d->store);
	ipam_free(d->ipam);
	db_close(d->db);
	free(d);
}

/* --- batches -------------------------------------------------------------- */

int desired_batch_begin(struct desired *d, struct err *e)
{
	int r = db_begin(d->db, e);

	if (r < 0 || !d->stale)
		return r;
	r = reload(d, e);
	if (r < 0)
		db_rollback(d->db);
	return r;
}

int desired_batch_end(struct desired *d, struct err *e)
{
	int r = db_commit(d->db, e);

	if (r < 0) {
		log_error("%s, nothing of the last requests is done", e->text);
		db_rollback(d->db);
		must_reload(d);
	}
	note_untold(d);
	desired_flush_changes(d);
	return r;
}

void desired_flush_changes(struct desired *d)
{
	if (!TAILQ_EMPTY(&d->changes))
		d->config.changes(d->config.ctx, &d->changes);
}

int desired_attempt_begin(struct desired *d, struct err *e)
{
	int r = d->stale ? reload(d, e) : 0;

	return r < 0 ? r : db_attempt_begin(d->db, e);
}

int desired_attempt_end(struct desired *d, int result, struct err *e)
{
	bool undone;

	if (result == 0 && d->untold)
		result = err_sys(e, -ENOMEM, "telling of a change");
	undone = db_attempt_end(d->db, result == 0);
	if (undone || (result < 0 && (d->dirty || d->untold)))
		must_reload(d);
	d->dirty = false;
	return result;
}

struct ipam *desired_ipam(struct desired *d)
{
	return d->ipam;
}

struct registry *desired_registry(struct desired *d)
{
	return d->registry;
}

void desired_fill_actual(const struct store_endpoint *ep, struct actual_endpoint *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->base = ep->base;
	ret->addr4 = ep->addr4;
	ret->addr6 = ep->addr6;
	(void)str_copy(ret->network, sizeof(ret->network), ep->network);
	(void)str_copy(ret->key, sizeof(ret->key), ep->sandbox_key);
}

/* --- looking -------------------------------------------------------------- */

void desired_visit(struct desired *d, const struct desired_visitor *visitor)
{
	struct actual_endpoint endpoint;

	for (struct store_network *n = d->networks; n; n = n->hh.next)
		if (!desired_is_forgotten(d, n))
			visitor->network(visitor->ctx, &n->config);
	for (struct store_endpoint *ep = d->endpoints; ep; ep = ep->hh.next) {
		if (!ep->sandbox_key[0])
			continue;
		desired_fill_actual(ep, &endpoint);
		visitor->endpoint(visitor->ctx, &endpoint);
	}
}

void desired_each_network(struct desired *d,
			  void (*fn)(void *ctx, const struct store_network *n,
				     unsigned int endpoints),
			  void *ctx)
{
	for (struct store_network *n = d->networks; n; n = n->hh.next) {
		unsigned int count = 0;

		for (struct store_endpoint *ep = d->endpoints; ep; ep = ep->hh.next)
			count += !strcmp(ep->network, n->config.id);
		fn(ctx, n, count);
	}
}

struct port_visit {
	const char *endpoint;
	void (*fn)(void *ctx, const char *endpoint, const struct ports_claim *claim,
		   const char *holder);
	void *ctx;
};

static void visit_port(void *ctx, const struct ports_claim *claim, const char *holder)
{
	const struct port_visit *v = ctx;

	v->fn(v->ctx, v->endpoint, claim, holder);
}

void desired_each_port(struct desired *d, const char *network,
		       void (*fn)(void *ctx, const char *endpoint,
				  const struct ports_claim *claim, const char *holder),
		       void *ctx)
{
	for (struct store_endpoint *ep = d->endpoints; ep; ep = ep->hh.next) {
		struct port_visit v = {ep->base.id, fn, ctx};

		if (!strcmp(ep->network, network))
			ports_each_claim(d->ports, ep->base.id, visit_port, &v);
	}
}
