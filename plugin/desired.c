// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Verbs on the desired state. Every verb writes its rows first and then changes the
 * memory; a batch that is lost is followed by reading everything again, so that memory
 * never says what the database does not.
 */
#include "plugin/desired.h"

#include "plugin/base/map.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "node"
#include "plugin/base/log.h"

#define OPTION_MTU	 "com.docker.network.driver.mtu"
#define OPTION_VIP_RANGE "vip-range"
#define OPTION_PREFIX	 "fairlead."
#define MTU_MIN		 68 /* RFC 791 */
#define MTU_MAX		 65535
#define NOT_OUR_IPAM                                                                    \
	"the network's addresses are not from fairlead: create it with --ipam-driver, " \
	"or "                                                                           \
	"give -o vip-range"

/* An endpoint's place in the look-up by address: ghosts are found by it. */
struct holder {
	UT_hash_handle hh;
	struct store_endpoint *ep;
	char key[NETWORK_ID_SIZE + ADDR_TEXT_SIZE];
};

struct desired {
	struct desired_config config;
	struct db *db;
	struct ipam *ipam;
	struct driver_store *store;
	struct registry *registry;
	struct ports *ports;
	struct ports *loaded_ports; /* while loading */
	struct store_network *networks;
	struct store_endpoint *endpoints;
	struct holder *holders;
	struct change_list changes; /* of the batch */
	bool untold;		    /* there was no memory for a change */
	bool dirty; /* an attempt has changed memory, perhaps without its rows */
	bool stale; /* memory could not be read again: nothing is done until it is */
};

/* --- changes ------------------------------------------------------------------------ */

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

/* After bad input the registry is as it was; after another error it may hold what it
 * could not write. */
static int from_registry(struct desired *d, int r)
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

static struct store_endpoint *find_endpoint(const struct desired *d, const char *id)
{
	struct store_endpoint *ep;

	HASH_FIND_STR(d->endpoints, id, ep);
	return ep;
}

static struct store_network *find_network(const struct desired *d, const char *id)
{
	struct store_network *n;

	HASH_FIND_STR(d->networks, id, n);
	return n;
}

static void tell_client(struct desired *d, const struct store_endpoint *ep,
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

static void tell_client_gone(struct desired *d, const struct store_endpoint *ep)
{
	struct change *c = ep->sandbox_key[0] ? change_add(d, CHANGE_CLIENT_GONE) : NULL;

	if (c)
		(void)str_copy(c->client.endpoint, sizeof(c->client.endpoint),
			       ep->base.id);
}

/* Where the endpoint's ports go: to its service's VIP, or to itself. */
static struct ports_target port_target(const struct store_endpoint *ep,
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
		const struct store_endpoint *ep = find_endpoint(d, id);
		struct ports_target target;

		if (!ep)
			continue;
		target = port_target(ep, service);
		ports_retarget(d->ports, id, &target);
	}
}

static void on_service(void *ctx, struct lb_view *old, struct lb_view *new_view)
{
	struct change *c = change_add(ctx, CHANGE_SERVICE);

	if (c) {
		c->mark = (new_view ? new_view : old)->mark;
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
	const struct store_endpoint *ep = find_endpoint(d, endpoint);
	struct ports_target target;

	if (!ep)
		return;
	target = port_target(ep, service);
	ports_retarget(d->ports, endpoint, &target);
	tell_client(d, ep, project ? project : "");
}

/* --- memory ------------------------------------------------------------------------- */

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
	(void)snprintf(h->key, sizeof(h->key), "%s %s", ep->network,
		       addr_format(a, text));
	HASH_ADD_STR(d->holders, key, h);
	if (!MAP_ADDED(h)) {
		free(h);
		return -ENOMEM;
	}
	return 0;
}

static struct holder *find_holder(const struct desired *d, const char *network,
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
	struct holder *h = addr_is_set(a) ? find_holder(d, ep->network, a) : NULL;

	if (!h || h->ep != ep)
		return;
	HASH_DEL(d->holders, h);
	free(h);
}

static void forget_endpoint(struct desired *d, struct store_endpoint *ep)
{
	unhold(d, ep, &ep->addr4);
	unhold(d, ep, &ep->addr6);
	HASH_DEL(d->endpoints, ep);
	store_endpoint_free(ep);
}

static int keep_endpoint(struct desired *d, struct store_endpoint *ep, struct err *e)
{
	HASH_ADD_KEYPTR(hh, d->endpoints, ep->base.id, strlen(ep->base.id), ep);
	if (!MAP_ADDED(ep)) {
		store_endpoint_free(ep);
		return err_sys(e, -ENOMEM, "endpoint");
	}
	if (hold(d, ep, &ep->addr4) < 0 || hold(d, ep, &ep->addr6) < 0) {
		forget_endpoint(d, ep);
		return err_sys(e, -ENOMEM, "endpoint");
	}
	return 0;
}

static int keep_network(struct desired *d, struct store_network *n, struct err *e)
{
	HASH_ADD_KEYPTR(hh, d->networks, n->config.id, strlen(n->config.id), n);
	if (!MAP_ADDED(n)) {
		store_network_free(n);
		return err_sys(e, -ENOMEM, "network");
	}
	return 0;
}

static void forget_network(struct desired *d, struct store_network *n)
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
		forget_endpoint(d, ep);
	HASH_ITER (hh, d->networks, n, n_next)
		forget_network(d, n);
}

/* --- loading --------------------------------------------------------------------------
 */

static int on_load_network(void *ctx, struct store_network *n, struct err *e)
{
	return keep_network(ctx, n, e);
}

static int on_load_endpoint(void *ctx, struct store_endpoint *ep, struct err *e)
{
	struct desired *d = ctx;
	const char *project = "";
	int r = keep_endpoint(d, ep, e);

	if (r < 0)
		return r;
	(void)registry_endpoint_service(d->registry, ep->base.id, &project);
	tell_client(d, ep, project ? project : "");
	return 0;
}

static int on_load_port(void *ctx, const char *endpoint, const struct ports_claim *claim,
			struct err *e)
{
	struct desired *d = ctx;
	const struct store_endpoint *ep = find_endpoint(d, endpoint);
	struct ports_target target;

	if (!ep)
		return 0;
	target = port_target(ep, registry_endpoint_service(d->registry, endpoint, NULL));
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
		tell_client_gone(d, ep);
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
		r = ipam_new(d->db, &d->config.ipam, &d->ipam, e);
	if (r == 0)
		r = driver_store_new(d->db, &d->store, e);
	if (r == 0)
		r = registry_new(d->db, &registry, &d->registry, e);
	if (r == 0) {
		d->ports = ports_new(&ports);
		r = d->ports ? load(d, e) : err_sys(e, -ENOMEM, "ports");
	}
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
	TAILQ_INIT(&d->changes);
	r = open_all(d, e);
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
	registry_free(d->registry);
	driver_store_free(d->store);
	ipam_free(d->ipam);
	db_close(d->db);
	free(d);
}

/* --- batches
 * ---------------------------------------------------------------------------- */

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

/* --- networks
 * ---------------------------------------------------------------------------- */

static int parse_mtu(const struct desired *d, const struct api_options *o,
		     unsigned int *ret, struct err *e)
{
	const char *text = api_options_find(o, OPTION_MTU);
	uint32_t mtu;

	if (!text)
		text = api_options_find(o, "mtu");
	if (!text) {
		*ret = d->config.mtu;
		return 0;
	}
	if (str_to_u32(text, MTU_MIN, MTU_MAX, &mtu) < 0)
		return err_set(e, -EINVAL,
			       "option " OPTION_MTU "=%.32s: not a number of %u to %u",
			       text, MTU_MIN, MTU_MAX);
	*ret = mtu;
	return 0;
}

/* The option vip-range: "none" or prefixes, each for the pool that it lies in. */
struct vip_wishes {
	bool none;
	bool ours; /* a pool of the network is of our address management */
	unsigned int count;
	struct {
		struct cidr range;
		bool used;
	} list[NETWORK_SUBNETS_MAX];
};

static int parse_vip_wish(struct vip_wishes *w, const char *text, struct err *e)
{
	struct cidr range;

	if (!strcmp(text, "none")) {
		w->none = true;
		return 0;
	}
	if (cidr_parse(text, &range) < 0)
		return err_set(e, -EINVAL, "option " OPTION_VIP_RANGE "=%s: not a prefix",
			       text);
	if (w->count == ARRAY_SIZE(w->list))
		return err_set(e, -E2BIG, "option " OPTION_VIP_RANGE ": too many");
	w->list[w->count++].range = cidr_network(&range);
	return 0;
}

static int parse_vip_wishes(const char *text, struct vip_wishes *w, struct err *e)
{
	char part[CIDR_TEXT_SIZE];

	memset(w, 0, sizeof(*w));
	while (text && *text) {
		size_t len = strcspn(text, ",");
		int r = 0;

		if (str_printf(part, sizeof(part), "%.*s", (int)len, text) < 0)
			r = err_set(e, -EINVAL,
				    "option " OPTION_VIP_RANGE "=%.64s: not a prefix",
				    text);
		else if (part[0])
			r = parse_vip_wish(w, part, e);
		if (r < 0)
			return r;
		text += len + (text[len] == ',');
	}
	return 0;
}

/* "" for what is not said, as ipam_vip_range_set wants it. */
static void wish_for_pool(struct vip_wishes *w, const struct cidr *pool,
			  char text[CIDR_TEXT_SIZE])
{
	(void)str_copy(text, CIDR_TEXT_SIZE, w->none ? "none" : ""); /* fits */
	for (unsigned int i = 0; i < w->count; i++) {
		if (!cidr_covers(pool, &w->list[i].range))
			continue;
		w->list[i].used = true;
		(void)cidr_format(&w->list[i].range, text);
		return;
	}
}

static int check_wishes_used(const struct vip_wishes *w, struct err *e)
{
	char text[CIDR_TEXT_SIZE];

	for (unsigned int i = 0; i < w->count; i++)
		if (!w->list[i].used)
			return err_set(e, -EINVAL,
				       "option " OPTION_VIP_RANGE
				       "=%s: not inside a pool of the network",
				       cidr_format(&w->list[i].range, text));
	return 0;
}

/* The range of a pool that is not ours: only as the user says. */
static int foreign_vip_range(struct network_subnet *s, const char *text, struct err *e)
{
	struct cidr range;

	if (cidr_parse(text, &range) < 0) /* "" or "none" */
		return 0;
	if (cidr_contains(&range, &s->gateway))
		return err_set(e, -EINVAL,
			       "option " OPTION_VIP_RANGE
			       "=%s: the gateway's address is in it",
			       text);
	s->vip_range = range;
	return 0;
}

static int find_vip_range(struct desired *d, const char *space, struct network_subnet *s,
			  struct vip_wishes *w, struct err *e)
{
	char text[CIDR_TEXT_SIZE];
	int r = ipam_vip_range(d->ipam, space, &s->pool, &s->vip_range);

	if (r < 0 && r != -ENOENT)
		return err_sys(e, r, "VIP range of the pool");
	wish_for_pool(w, &s->pool, text);
	if (r == -ENOENT)
		return foreign_vip_range(s, text, e);
	w->ours = true;
	if (!text[0])
		return 0;
	r = ipam_vip_range_set(d->ipam, space, &s->pool, text, e);
	return r < 0 ? r : ipam_vip_range(d->ipam, space, &s->pool, &s->vip_range);
}

static int add_subnets(struct desired *d, struct network_config *c,
		       const struct api_pool *pools, unsigned int count,
		       struct vip_wishes *w, struct err *e)
{
	for (unsigned int i = 0; i < count; i++) {
		struct network_subnet *s = &c->subnets[c->subnet_count];
		int r;

		if (c->subnet_count == NETWORK_SUBNETS_MAX)
			return err_set(e, -E2BIG,
				       "network %.12s: more than %u address pools", c->id,
				       NETWORK_SUBNETS_MAX);
		s->pool = cidr_network(&pools[i].pool);
		s->gateway = pools[i].gateway.addr;
		r = find_vip_range(d, pools[i].space, s, w, e);
		if (r < 0)
			return r;
		c->subnet_count++;
	}
	return 0;
}

static int copy_options(const struct api_options *from, struct store_options *to,
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

/* family 0: the network has no VIPs of this family. */
static struct cidr first_range(const struct network_config *c, uint8_t family)
{
	for (unsigned int i = 0; i < c->subnet_count; i++)
		if (c->subnets[i].vip_range.addr.family == family)
			return c->subnets[i].vip_range;
	return (struct cidr){0};
}

static int register_network(struct desired *d, const struct store_network *n,
			    struct err *e)
{
	const struct registry_network rn = {
		.id = n->config.id,
		.vip4 = first_range(&n->config, AF_INET),
		.vip6 = first_range(&n->config, AF_INET6),
		.no_vip_reason = n->no_vip_reason,
		/* The same two pointers: struct registry_option is the read-only form. */
		.options = (const struct registry_option *)n->options.list,
		.option_count = n->options.count,
	};

	return from_registry(d, registry_network_add(d->registry, &rn, e));
}

static const char *no_vip_reason(const struct network_config *c,
				 const struct vip_wishes *w)
{
	if (first_range(c, AF_INET).addr.family || first_range(c, AF_INET6).addr.family)
		return "";
	if (w->none)
		return "the network has vip-range=none";
	return w->ours ? "the network's pool has no VIP range" : NOT_OUR_IPAM;
}

static int fill_network(struct desired *d, const struct api_network_create *rq,
			struct store_network *n, struct err *e)
{
	const struct api_options *generic = &rq->options.generic;
	struct network_config *c = &n->config;
	struct vip_wishes w;
	int r = str_copy(c->id, sizeof(c->id), rq->network);

	if (r < 0)
		return err_set(e, r, "network id %.80s: too long", rq->network);
	c->internal = rq->options.internal;
	r = parse_mtu(d, generic, &c->mtu, e);
	if (r == 0)
		r = parse_vip_wishes(api_options_find(generic, OPTION_VIP_RANGE), &w, e);
	if (r == 0)
		r = add_subnets(d, c, rq->pools.ipv4, rq->pools.count4, &w, e);
	if (r == 0)
		r = add_subnets(d, c, rq->pools.ipv6, rq->pools.count6, &w, e);
	if (r == 0 && c->subnet_count == 0)
		r = err_set(e, -EINVAL, "network %.12s: has no address pool", c->id);
	if (r == 0)
		r = check_wishes_used(&w, e);
	if (r == 0)
		r = copy_options(generic, &n->options, e);
	if (r == 0)
		r = str_copy(n->no_vip_reason, sizeof(n->no_vip_reason),
			     no_vip_reason(c, &w));
	return r;
}

int desired_network_create(struct desired *d, const struct api_network_create *rq,
			   struct network_config *ret, struct err *e)
{
	struct store_network *old = find_network(d, rq->network);
	struct store_network *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return err_sys(e, -ENOMEM, "network %.12s", rq->network);
	r = fill_network(d, rq, n, e);
	if (r == 0)
		r = driver_store_network_put(d->store, n, e);
	if (r == 0)
		r = register_network(d, n, e);
	if (r < 0) {
		store_network_free(n);
		return r;
	}
	*ret = n->config;
	if (old)
		forget_network(d, old);
	return keep_network(d, n, e);
}

int desired_network_delete(struct desired *d, const char *id, struct network_config *ret,
			   struct err *e)
{
	struct store_network *n = find_network(d, id);
	struct store_endpoint *ep;
	struct store_endpoint *next;
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	(void)str_copy(ret->id, sizeof(ret->id), id);
	if (!n)
		return 0;
	*ret = n->config;
	HASH_ITER (hh, d->endpoints, ep, next)
		if (r == 0 && !strcmp(ep->network, id))
			r = desired_endpoint_delete(d, ep->base.id, e);
	if (r == 0)
		r = from_registry(d, registry_network_del(d->registry, id, e));
	if (r == 0)
		r = driver_store_network_del(d->store, id, e);
	if (r == 0)
		forget_network(d, n);
	return r;
}

/* --- endpoints
 * ------------------------------------------------------------------------------ */

/* Docker never tells of an endpoint that died with dockerd; a new one with its address
 * replaces it. */
static int replace_ghosts(struct desired *d, const struct store_endpoint *ep,
			  struct desired_created *ret, struct err *e)
{
	const struct addr *addrs[DESIRED_GHOSTS_MAX] = {&ep->addr4, &ep->addr6};

	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		struct holder *h = addr_is_set(addrs[i])
					   ? find_holder(d, ep->network, addrs[i])
					   : NULL;
		char *ghost = ret->ghosts[i];
		int r;

		if (!h)
			continue;
		(void)str_copy(ghost, sizeof(ret->ghosts[i]), h->ep->base.id);
		if (strcmp(ghost, ep->base.id))
			log_warning("endpoint replaces one that Docker forgot ep=%.12s "
				    "old=%.12s",
				    ep->base.id, ghost);
		r = desired_endpoint_delete(d, ghost, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static void choose_mac(const struct api_endpoint_create *rq, struct store_endpoint *ep,
		       struct desired_created *ret)
{
	ret->ours = !rq->has_mac;
	if (rq->has_mac)
		memcpy(ep->base.mac, rq->mac, sizeof(rq->mac));
	else if (addr_is_set(&ep->addr4))
		mac_from_addr(&ep->addr4, ep->base.mac);
	else
		mac_from_addr(&ep->addr6, ep->base.mac);
	ep->base.has_mac = true;
	memcpy(ret->mac, ep->base.mac, sizeof(ret->mac));
}

int desired_endpoint_create(struct desired *d, const struct api_endpoint_create *rq,
			    struct desired_created *ret, struct err *e)
{
	struct store_endpoint *ep;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!find_network(d, rq->network))
		return err_set(e, -ENOENT, "no such network: %.12s", rq->network);
	ep = calloc(1, sizeof(*ep));
	if (!ep)
		return err_sys(e, -ENOMEM, "endpoint %.12s", rq->endpoint);
	(void)str_copy(ep->base.id, sizeof(ep->base.id), rq->endpoint); /* same size */
	(void)str_copy(ep->network, sizeof(ep->network), rq->network);
	ep->addr4 = rq->addr4.addr;
	ep->addr6 = rq->addr6.addr;
	choose_mac(rq, ep, ret);
	r = copy_options(&rq->options.list, &ep->options, e);
	if (r == 0)
		r = replace_ghosts(d, ep, ret, e);
	if (r == 0)
		r = desired_endpoint_delete(d, ep->base.id, e); /* a repeated request */
	if (r == 0)
		r = driver_store_endpoint_put(d->store, ep, e);
	if (r < 0) {
		store_endpoint_free(ep);
		return r;
	}
	return keep_endpoint(d, ep, e);
}

static struct addr gateway_of(const struct network_config *c, const struct addr *a)
{
	for (unsigned int i = 0; addr_is_set(a) && !c->internal && i < c->subnet_count;
	     i++)
		if (cidr_contains(&c->subnets[i].pool, a))
			return c->subnets[i].gateway;
	return (struct addr){0};
}

static void fill_actual(const struct store_endpoint *ep, struct actual_endpoint *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->base = ep->base;
	ret->addr4 = ep->addr4;
	ret->addr6 = ep->addr6;
	(void)str_copy(ret->network, sizeof(ret->network), ep->network);
	(void)str_copy(ret->key, sizeof(ret->key), ep->sandbox_key);
}

static int register_endpoint(struct desired *d, const struct store_endpoint *ep,
			     struct err *e)
{
	const struct registry_endpoint re = {
		.id = ep->base.id,
		.network = ep->network,
		.addr4 = ep->addr4,
		.addr6 = ep->addr6,
		.options = (const struct registry_option *)ep->options.list,
		.option_count = ep->options.count,
	};

	return from_registry(d, registry_endpoint_add(d->registry, &re, e));
}

int desired_endpoint_join(struct desired *d, const struct api_join *rq,
			  struct desired_joined *ret, struct err *e)
{
	struct store_endpoint *ep = find_endpoint(d, rq->endpoint);
	const struct store_network *n = ep ? find_network(d, ep->network) : NULL;
	struct store_endpoint row;
	int r;

	if (!n || strcmp(ep->network, rq->network))
		return err_set(e, -ENOENT, "no such endpoint: %.12s on network %.12s",
			       rq->endpoint, rq->network);
	row = *ep;
	if (str_copy(row.sandbox_key, sizeof(row.sandbox_key), rq->sandbox) < 0)
		return err_set(e, -ENAMETOOLONG, "endpoint %.12s: SandboxKey is too long",
			       rq->endpoint);
	r = driver_store_endpoint_put(d->store, &row, e);
	if (r < 0)
		return r;
	if (strcmp(ep->sandbox_key, row.sandbox_key))
		tell_client_gone(d, ep);
	memcpy(ep->sandbox_key, row.sandbox_key, sizeof(ep->sandbox_key));
	tell_client(d, ep, "");
	r = register_endpoint(d, ep, e);
	if (r < 0)
		return r;
	fill_actual(ep, &ret->endpoint);
	ret->gateway4 = gateway_of(&n->config, &ep->addr4);
	ret->gateway6 = gateway_of(&n->config, &ep->addr6);
	return 0;
}

int desired_endpoint_leave(struct desired *d, const char *id, struct err *e)
{
	struct store_endpoint *ep = find_endpoint(d, id);
	struct store_endpoint row;
	int r;

	if (!ep)
		return 0;
	r = desired_unpublish(d, id, e);
	if (r == 0)
		r = from_registry(d, registry_endpoint_del(d->registry, id, e));
	if (r < 0 || !ep->sandbox_key[0])
		return r;
	row = *ep;
	row.sandbox_key[0] = '\0';
	r = driver_store_endpoint_put(d->store, &row, e);
	if (r < 0)
		return r;
	tell_client_gone(d, ep);
	ep->sandbox_key[0] = '\0';
	return 0;
}

int desired_endpoint_delete(struct desired *d, const char *id, struct err *e)
{
	struct store_endpoint *ep = find_endpoint(d, id);
	int r;

	if (!ep)
		return 0;
	r = desired_endpoint_leave(d, id, e);
	if (r == 0)
		r = driver_store_endpoint_del(d->store, ep->base.id, e);
	if (r == 0)
		forget_endpoint(d, ep);
	return r;
}

/* --- published ports
 * ---------------------------------------------------------------------------- */

/* 0.0.0.0 and :: say what an empty address says; one claim serves both. */
static struct ports_claim claim_of(const struct api_port_map *map)
{
	const struct addr any4 = {.family = AF_INET};
	const struct addr any6 = {.family = AF_INET6};
	struct ports_claim claim = {.proto = map->proto,
				    .host_addr = map->host_addr,
				    .host_port = map->host_port,
				    .port = map->port};

	if (addr_equal(&claim.host_addr, &any4) || addr_equal(&claim.host_addr, &any6))
		claim.host_addr = (struct addr){0};
	return claim;
}

static int publish_one(struct desired *d, const struct store_endpoint *ep,
		       const struct api_port_map *map, struct err *e)
{
	const struct lb_view *service =
		registry_endpoint_service(d->registry, ep->base.id, NULL);
	const struct ports_target target = port_target(ep, service);
	struct ports_claim claim = claim_of(map);
	int r;

	if (map->host_port == 0 || map->host_port_end > map->host_port)
		claim.host_port = ports_pick(d->ports, &claim, map->host_port,
					     map->host_port_end, target.mark);
	if (claim.host_port == 0)
		return err_set(e, -ENOSPC,
			       "endpoint %.12s: no free host port for port %u",
			       ep->base.id, map->port);
	r = driver_store_port_add(d->store, ep->base.id, &claim, e);
	if (r == 0 && ports_add(d->ports, ep->base.id, &claim, &target) < 0)
		r = err_sys(e, -ENOMEM, "published port %u", claim.host_port);
	return r;
}

/* The claims of an endpoint, and which of them are wished for again. */
struct claimed {
	unsigned int count;
	unsigned int wished;
	struct {
		struct ports_claim claim;
		bool wished;
	} list[PORTS_PER_ENDPOINT_MAX];
};

static void collect_claim(void *ctx, const struct ports_claim *claim, const char *holder)
{
	struct claimed *c = ctx;

	(void)holder;
	if (c->count < ARRAY_SIZE(c->list))
		c->list[c->count++].claim = *claim;
}

static bool claim_serves(const struct ports_claim *have, const struct api_port_map *map)
{
	const struct ports_claim want = claim_of(map);

	return have->proto == want.proto && have->port == want.port &&
	       addr_equal(&have->host_addr, &want.host_addr) &&
	       (map->host_port == 0 || (have->host_port >= map->host_port &&
					have->host_port <= map->host_port_end));
}

/* Marks a claim that serves map, one that nobody wished for yet if there is one. */
static bool wish(struct claimed *c, const struct api_port_map *map)
{
	bool served = false;

	for (unsigned int i = 0; i < c->count; i++) {
		if (!claim_serves(&c->list[i].claim, map))
			continue;
		served = true;
		if (c->list[i].wished)
			continue;
		c->list[i].wished = true;
		c->wished++;
		break;
	}
	return served;
}

/* All that is wished for is claimed already, and nothing else is. */
static bool is_published(struct desired *d, const struct api_external *rq)
{
	auto_free struct claimed *c = calloc(1, sizeof(*c));

	if (!c)
		return false;
	ports_each_claim(d->ports, rq->endpoint, collect_claim, c);
	for (unsigned int i = 0; i < rq->options.map_count; i++)
		if (!wish(c, &rq->options.map[i]))
			return false;
	return c->wished == c->count;
}

int desired_publish(struct desired *d, const struct api_external *rq, struct err *e)
{
	const struct store_endpoint *ep = find_endpoint(d, rq->endpoint);
	int r;

	if (!ep)
		return err_set(e, -ENOENT, "no such endpoint: %.12s", rq->endpoint);
	if (rq->options.map_count > PORTS_PER_ENDPOINT_MAX)
		return err_set(e, -E2BIG, "endpoint %.12s: more than %u published ports",
			       rq->endpoint, PORTS_PER_ENDPOINT_MAX);
	/* Docker may say it twice (29+): the last list counts. One who repeats himself
	 * must not lose his port to somebody who waits for it. */
	if (is_published(d, rq))
		return 0;
	r = desired_unpublish(d, rq->endpoint, e);
	for (unsigned int i = 0; r == 0 && i < rq->options.map_count; i++)
		r = publish_one(d, ep, &rq->options.map[i], e);
	return r;
}

int desired_unpublish(struct desired *d, const char *endpoint, struct err *e)
{
	int r = driver_store_ports_del(d->store, endpoint, e);

	if (r == 0)
		ports_del(d->ports, endpoint);
	return r;
}

/* --- looking
 * ----------------------------------------------------------------------------------------
 */

void desired_visit(struct desired *d, const struct desired_visitor *visitor)
{
	struct actual_endpoint endpoint;

	for (struct store_network *n = d->networks; n; n = n->hh.next)
		visitor->network(visitor->ctx, &n->config);
	for (struct store_endpoint *ep = d->endpoints; ep; ep = ep->hh.next) {
		if (!ep->sandbox_key[0])
			continue;
		fill_actual(ep, &endpoint);
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
