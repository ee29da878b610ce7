// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Puts driver, balancers and DNS diversion together, on the kernel worker.
 *
 * An endpoint goes: joined (veth made) -> attached (its task's namespace is programmed,
 * balancer and DNS) -> left. Where the namespace is there at Join (Engine 28+, or a
 * running container) attaching is part of it. Else the moment is when the bridge port
 * gets its carrier: Docker sets the container's end up after it has moved it and given
 * it its addresses (libnetwork osl AddInterface), on every engine.
 */
#include "plugin/actual.h"

#include "driver/kern/link.h"
#include "driver/kern/nft.h"
#include "driver/kern/ns.h"
#include "lb/spread.h"
#include "plugin/base/map.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "node"
#include "plugin/base/log.h"

/* A link is up before its namespace can be opened: look again soon, for a while. */
#define ATTACH_RETRY_US	  20000
#define ATTACH_TRIES_MAX  250
#define TIMER_ACCURACY_US 1000 /* 0 would mean a quarter of a second */

struct net {
	UT_hash_handle hh;
	struct actual *actual;
	struct network_config config;
	struct network_sandbox sandbox;
	struct link_monitor *monitor;
	struct err broken; /* code 0: all is well */
};

struct task {
	UT_hash_handle hh; /* by key */
	unsigned int endpoints;
	int nsfd;
	struct nft_sock *dns_owner; /* the table of the DNS diversion lives with it */
	char key[ACTUAL_KEY_SIZE];
};

struct endpoint {
	UT_hash_handle hh;	/* by id */
	UT_hash_handle hh_port; /* by port */
	struct actual_endpoint desired;
	char port[IFNAMSIZ]; /* its bridge port in the sandbox */
	struct task *task;   /* attached to */
	unsigned int tries;  /* to attach; 0: not up yet */
};

struct port {
	UT_hash_handle hh;
	struct {
		uint8_t proto;
		struct addr host_addr;
		uint16_t host_port;
	} key;
	struct firewall_port value;
};

struct actual {
	struct actual_config config;
	sd_event *event;
	struct link_sock *host;
	struct firewall *firewall;
	bool firewall_ready;
	struct spread *spread;
	struct net *nets;
	struct endpoint *endpoints;
	struct endpoint *by_port;
	struct task *tasks;
	struct port *ports;
	sd_event_source *retry;
	sd_event_source *reconcile;
	unsigned int repairs;
};

static struct net *find_net(const struct actual *a, const char *id)
{
	struct net *n;

	HASH_FIND_STR(a->nets, id, n);
	return n;
}

static struct endpoint *find_endpoint(const struct actual *a, const char *id)
{
	struct endpoint *ep;

	HASH_FIND_STR(a->endpoints, id, ep);
	return ep;
}

/* --- tasks --------------------------------------------------------------------- */

static int divert_dns(struct actual *a, struct task *t, struct err *e)
{
	struct dns_sockets sockets;
	int nsfd;
	int r = dns_sockets_open(t->nsfd, &sockets, e);

	if (r < 0)
		return r;
	r = nft_open(t->nsfd, &t->dns_owner, e);
	if (r == 0)
		r = dns_divert(t->dns_owner, sockets.port, e);
	nsfd = r == 0 ? fcntl(t->nsfd, F_DUPFD_CLOEXEC, 3) : -1;
	if (r == 0 && nsfd < 0)
		r = err_sys(e, -errno, "namespace of %s", t->key);
	if (r < 0) {
		/* Docker's own resolver goes on answering. */
		nft_close(TAKE(t->dns_owner));
		dns_sockets_close(&sockets);
		return r;
	}
	a->config.hooks.task_added(a->config.hooks.ctx, t->key, nsfd, &sockets);
	return 0;
}

static void task_put(struct actual *a, struct task *t)
{
	if (--t->endpoints)
		return;
	a->config.hooks.task_removed(a->config.hooks.ctx, t->key);
	nft_close(t->dns_owner);
	(void)close(t->nsfd);
	HASH_DEL(a->tasks, t);
	free(t);
}

/* The task of a sandbox key, made when it is the first endpoint's. */
static int task_get(struct actual *a, const char *key, struct task **ret, struct err *e)
{
	struct task *t;
	int nsfd;

	HASH_FIND_STR(a->tasks, key, t);
	if (t) {
		t->endpoints++;
		*ret = t;
		return 0;
	}
	nsfd = ns_open(key, e);
	if (nsfd < 0)
		return nsfd;
	t = calloc(1, sizeof(*t));
	if (t) {
		t->nsfd = nsfd;
		t->endpoints = 1;
		(void)str_copy(t->key, sizeof(t->key), key); /* as long as its source */
		HASH_ADD_STR(a->tasks, key, t);
	}
	if (!t || !MAP_ADDED(t)) {
		free(t);
		(void)close(nsfd);
		return err_sys(e, -ENOMEM, "task %s", key);
	}
	if (a->config.dns && divert_dns(a, t, e) < 0)
		log_warning("service names of %s are not answered: %s", key, e->text);
	*ret = t;
	return 0;
}

static int attach(struct actual *a, struct endpoint *ep, struct err *e)
{
	const struct balancer_self self = {ep->desired.addr4, ep->desired.addr6};
	struct task *t = NULL;
	int r = task_get(a, ep->desired.key, &t, e);

	if (r < 0 || !t)
		return r;
	ep->task = t;
	ep->tries = 0;
	r = spread_task_join(a->spread, t->key, t->nsfd, ep->desired.network, &self, e);
	if (r <
	    0) /* settled when its link is up, the network's sandbox balances meanwhile */
		log_debug("%s ep=%.12s", e->text, ep->desired.base.id);
	log_debug("attached ep=%.12s to %s", ep->desired.base.id, t->key);
	return 0;
}

static void detach(struct actual *a, struct endpoint *ep)
{
	struct task *t = TAKE(ep->task);

	ep->tries = 0;
	if (!t)
		return;
	spread_task_leave(a->spread, t->key, ep->desired.network);
	task_put(a, t);
}

static void try_attach(struct actual *a, struct endpoint *ep)
{
	struct err e = {0};

	if (!ep->task && attach(a, ep, &e) == 0)
		e.code = 0;
	if (ep->task) {
		if (spread_task_settle(a->spread, ep->task->key, &e) < 0)
			log_warning("%s ep=%.12s", e.text, ep->desired.base.id);
		return;
	}
	if (ep->tries++ < ATTACH_TRIES_MAX) {
		(void)sd_event_source_set_time_relative(a->retry, ATTACH_RETRY_US);
		(void)sd_event_source_set_enabled(a->retry, SD_EVENT_ONESHOT);
		return;
	}
	ep->tries = 0;
	log_warning("task is not programmed, the sandbox balances for it: %s ep=%.12s",
		    e.text, ep->desired.base.id);
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct actual *a = userdata;
	struct endpoint *ep;
	struct endpoint *next;

	(void)source;
	(void)usec;
	HASH_ITER (hh, a->endpoints, ep, next)
		if (ep->tries)
			try_attach(a, ep);
	return 0;
}

/* --- endpoints ------------------------------------------------------------------ */

static void endpoint_free(struct actual *a, struct endpoint *ep)
{
	detach(a, ep);
	HASH_DEL(a->endpoints, ep);
	HASH_DELETE(hh_port, a->by_port, ep);
	free(ep);
}

static void endpoint_lost(struct actual *a, struct endpoint *ep)
{
	char id[NETWORK_ID_SIZE];

	memcpy(id, ep->desired.base.id, sizeof(id));
	endpoint_free(a, ep);
	log_warning("endpoint's link vanished ep=%.12s", id);
	a->config.hooks.endpoint_lost(a->config.hooks.ctx, id);
}

/* Lost messages: looks at every port of the network itself. */
static void look_again(struct actual *a, struct net *n)
{
	struct endpoint *ep;
	struct endpoint *next;

	HASH_ITER (hh, a->endpoints, ep, next) {
		bool running = false;

		if (strcmp(ep->desired.network, n->config.id))
			continue;
		if (!link_index(n->sandbox.links, ep->port, &running))
			endpoint_lost(a, ep);
		else if (running)
			try_attach(a, ep);
	}
}

static void on_link(void *ctx, const struct link_event *ev)
{
	struct net *n = ctx;
	struct actual *a = n->actual;
	struct endpoint *ep;

	if (!ev->name) {
		look_again(a, n);
		return;
	}
	HASH_FIND(hh_port, a->by_port, ev->name, strlen(ev->name), ep);
	if (!ep || strcmp(ep->desired.network, n->config.id))
		return;
	if (ev->gone)
		endpoint_lost(a, ep);
	else if (ev->running)
		try_attach(a, ep);
}

static struct endpoint *endpoint_add(struct actual *a,
				     const struct actual_endpoint *desired)
{
	struct endpoint *ep = find_endpoint(a, desired->base.id);

	if (ep)
		endpoint_free(a, ep);
	ep = calloc(1, sizeof(*ep));
	if (!ep)
		return NULL;
	ep->desired = *desired;
	network_link_name('p', desired->base.id, ep->port);
	HASH_ADD_KEYPTR(hh, a->endpoints, ep->desired.base.id,
			strlen(ep->desired.base.id), ep);
	if (!MAP_ADDED(ep)) {
		free(ep);
		return NULL;
	}
	HASH_ADD_KEYPTR(hh_port, a->by_port, ep->port, strlen(ep->port), ep);
	if (!ep->hh_port.tbl) {
		HASH_DEL(a->endpoints, ep);
		free(ep);
		return NULL;
	}
	return ep;
}

int actual_endpoint_join(struct actual *a, const struct actual_endpoint *desired,
			 char ret_name[IFNAMSIZ], struct err *e)
{
	struct net *n = find_net(a, desired->network);
	struct err early = {0};
	struct endpoint *ep;
	int r;

	if (!n)
		return err_set(e, -ENOENT, "no such network: %.12s", desired->network);
	if (n->broken.code < 0)
		return err_set(e, n->broken.code, "%s", n->broken.text);
	ep = endpoint_add(a, desired);
	if (!ep)
		return err_sys(e, -ENOMEM, "endpoint %.12s", desired->base.id);
	r = network_endpoint_join(a->host, &n->sandbox, &desired->base, ret_name, e);
	if (r < 0) {
		endpoint_free(a, ep);
		(void)network_endpoint_del(a->host, &n->sandbox, desired->base.id, NULL);
		return r;
	}
	/* Engine 28+, or a container that runs: the namespace is there already, and its
	 * first question finds everything in place. */
	if (attach(a, ep, &early) < 0)
		log_debug("not yet: %s ep=%.12s", early.text, desired->base.id);
	return 0;
}

void actual_endpoint_adopt(struct actual *a, const struct actual_endpoint *desired)
{
	struct net *n = find_net(a, desired->network);
	struct endpoint *ep = n ? endpoint_add(a, desired) : NULL;
	bool running = false;

	if (!ep) {
		log_error("cannot adopt endpoint ep=%.12s net=%.12s", desired->base.id,
			  desired->network);
		return;
	}
	if (!n->sandbox.links || !link_index(n->sandbox.links, ep->port, &running))
		endpoint_lost(a, ep);
	else if (running)
		try_attach(a, ep);
}

void actual_endpoint_leave(struct actual *a, const char *id)
{
	struct endpoint *ep = find_endpoint(a, id);

	if (ep)
		endpoint_free(a, ep);
}

int actual_endpoint_del(struct actual *a, const char *network, const char *id,
			struct err *e)
{
	struct net *n = find_net(a, network);

	actual_endpoint_leave(a, id);
	return n ? network_endpoint_del(a->host, &n->sandbox, id, e) : 0;
}

/* --- networks ------------------------------------------------------------------- */

static void net_free(struct actual *a, struct net *n)
{
	struct endpoint *ep;
	struct endpoint *next;

	HASH_ITER (hh, a->endpoints, ep, next)
		if (!strcmp(ep->desired.network, n->config.id))
			endpoint_free(a, ep);
	link_monitor_free(n->monitor);
	network_close(&n->sandbox);
	HASH_DEL(a->nets, n);
	free(n);
}

static struct net *net_new(struct actual *a, const struct network_config *c)
{
	struct net *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->actual = a;
	n->config = *c;
	n->sandbox.nsfd = -1;
	HASH_ADD_KEYPTR(hh, a->nets, n->config.id, strlen(n->config.id), n);
	if (!MAP_ADDED(n)) {
		free(n);
		return NULL;
	}
	return n;
}

/* Everything of a network, on top of whatever is there. */
static int net_build(struct actual *a, struct net *n, struct err *e)
{
	const struct network_config *c = &n->config;
	struct cidr subnets[NETWORK_SUBNETS_MAX];
	int r = network_apply(a->config.run_dir, a->host, c, &n->sandbox, e);

	if (r < 0)
		return r;
	for (unsigned int i = 0; i < c->subnet_count; i++)
		subnets[i] = c->subnets[i].pool;
	r = spread_network_add(a->spread, c->id, n->sandbox.nsfd, subnets,
			       c->subnet_count, e);
	if (r == 0)
		r = link_monitor_new(n->sandbox.nsfd, a->event, on_link, n, &n->monitor,
				     e);
	if (r == 0 && a->firewall_ready && !c->internal) {
		r = firewall_network_add(a->firewall, c, e);
		if (r == 0)
			actual_allow_forward(a);
	}
	return r;
}

/* Builds the network anew; when that fails it stays known as broken. */
static int net_add(struct actual *a, const struct network_config *c, struct err *e)
{
	struct net *n = find_net(a, c->id);
	int r;

	if (n)
		net_free(a, n);
	n = net_new(a, c);
	if (!n)
		return err_sys(e, -ENOMEM, "network %.12s", c->id);
	r = net_build(a, n, e);
	if (r < 0) {
		n->broken = *e;
		n->broken.code = r;
	}
	return r;
}

static bool same_config(const struct network_config *a, const struct network_config *b)
{
	bool same = !strcmp(a->id, b->id) && a->internal == b->internal &&
		    a->mtu == b->mtu && a->subnet_count == b->subnet_count;

	for (unsigned int i = 0; same && i < a->subnet_count; i++) {
		const struct network_subnet *x = &a->subnets[i];
		const struct network_subnet *y = &b->subnets[i];

		same = cidr_equal(&x->pool, &y->pool) &&
		       addr_equal(&x->gateway, &y->gateway) &&
		       cidr_equal(&x->vip_range, &y->vip_range);
	}
	return same;
}

int actual_network_add(struct actual *a, const struct network_config *c, struct err *e)
{
	const struct net *n = find_net(a, c->id);
	int r;

	if (n && n->broken.code == 0 && same_config(&n->config, c))
		return 0;
	r = net_add(a, c, e);
	/* At start nobody waits for the answer: `status` shows it, repair tries again. */
	if (r < 0 && a->firewall_ready)
		(void)actual_network_del(a, c, NULL);
	return r;
}

int actual_network_del(struct actual *a, const struct network_config *c, struct err *e)
{
	struct net *n = find_net(a, c->id);
	struct network_sandbox sandbox = {.nsfd = -1};
	struct err ignored;

	/* Its elements are not there when adding it was refused. */
	if (firewall_network_del(a->firewall, c, &ignored) < 0)
		log_debug("net=%.12s: %s", c->id, ignored.text);
	spread_network_del(a->spread, c->id);
	if (n)
		net_free(a, n);
	return network_remove(a->config.run_dir, a->host, c->id, &sandbox, e);
}

/* --- services and ports ------------------------------------------------------------ */

void actual_service(struct actual *a, uint32_t mark, struct lb_view *v)
{
	if (v)
		spread_set(a->spread, v);
	else
		spread_del(a->spread, mark);
}

static void port_key(struct port *p, const struct firewall_port *value)
{
	memset(&p->key, 0, sizeof(p->key)); /* also its padding: it is hashed */
	p->key.proto = value->proto;
	p->key.host_addr = value->host_addr;
	p->key.host_port = value->host_port;
}

/* Keeps the list that the host table is rebuilt from. */
static void note_port(struct actual *a, const struct firewall_port *value, bool open)
{
	struct port probe;
	struct port *p;

	port_key(&probe, value);
	HASH_FIND(hh, a->ports, &probe.key, sizeof(probe.key), p);
	if (p) {
		HASH_DEL(a->ports, p);
		free(p);
	}
	p = open ? calloc(1, sizeof(*p)) : NULL;
	if (!p)
		return;
	port_key(p, value);
	p->value = *value;
	HASH_ADD(hh, a->ports, key, sizeof(p->key), p);
	if (!MAP_ADDED(p))
		free(p);
}

/* What the host's table is made from. */
struct wanted {
	const struct network_config **networks;
	unsigned int network_count;
	struct firewall_port *ports;
	unsigned int port_count;
};

static void wanted_fini(struct wanted *w)
{
	free(w->networks);
	free(w->ports);
}

static int collect_wanted(const struct actual *a, struct wanted *w, struct err *e)
{
	w->networks = calloc(HASH_COUNT(a->nets) + 1, sizeof(*w->networks));
	w->ports = calloc(HASH_COUNT(a->ports) + 1, sizeof(*w->ports));
	if (!w->networks || !w->ports)
		return err_sys(e, -ENOMEM, "host table");
	for (const struct net *n = a->nets; n; n = n->hh.next)
		if (n->broken.code == 0)
			w->networks[w->network_count++] = &n->config;
	for (const struct port *p = a->ports; p; p = p->hh.next)
		w->ports[w->port_count++] = p->value;
	return 0;
}

static int sync_firewall(struct actual *a, struct err *e)
{
	__attribute__((cleanup(wanted_fini))) struct wanted w = {0};
	int r = collect_wanted(a, &w, e);

	return r < 0 ? r
		     : firewall_sync(a->firewall, w.networks, w.network_count, w.ports,
				     w.port_count, e);
}

/* Somebody may have flushed the ruleset. */
static void repair_firewall(struct actual *a)
{
	__attribute__((cleanup(wanted_fini))) struct wanted w = {0};
	struct err e = {0};
	int r = collect_wanted(a, &w, &e);

	if (r == 0)
		r = firewall_check(a->firewall, w.networks, w.network_count, w.ports,
				   w.port_count, &e);
	if (r == 0) {
		r = sync_firewall(a, &e);
		if (r == 0) {
			a->repairs++;
			log_warning("host table inet " NFT_TABLE
				    " was not as wanted: repaired");
		}
	}
	if (r < 0)
		log_error("%s", e.text);
}

void actual_port(struct actual *a, const struct firewall_port *old,
		 const struct firewall_port *new_port)
{
	struct err e = {0};

	if (old)
		note_port(a, old, false);
	if (new_port)
		note_port(a, new_port, true);
	if (!a->firewall_ready)
		return;
	if (firewall_port_change(a->firewall, old, new_port, &e) < 0) {
		log_debug("%s: building the host table anew", e.text);
		if (sync_firewall(a, &e) < 0)
			log_error("published port is not as wanted: %s", e.text);
	}
}

void actual_allow_forward(struct actual *a)
{
	struct err e = {0};

	if (firewall_allow_forward(a->firewall, &e) < 0)
		log_error("%s", e.text);
}

static bool net_known(void *ctx, const char *short_id)
{
	const struct actual *a = ctx;
	const struct net *n;

	for (n = a->nets; n; n = n->hh.next)
		if (str_has_prefix(n->config.id, short_id))
			return true;
	return false;
}

int actual_start(struct actual *a, struct err *e)
{
	int swept = network_sweep(a->config.run_dir, a->host, net_known, a, e);
	int r;

	if (swept < 0)
		log_warning("left-over sandboxes: %s", e->text);
	else if (swept)
		log_warning("removed left-over sandboxes count=%d", swept);
	r = sync_firewall(a, e);

	a->firewall_ready = r == 0;
	actual_allow_forward(a);
	return r;
}

/* --- repair ------------------------------------------------------------------------- */

static void repair_net(struct actual *a, struct net *n)
{
	const struct network_config config = n->config; /* n is replaced */
	struct err e = {0};

	if (n->broken.code == 0) {
		if (network_complete(a->host, &n->sandbox, &n->config, &e) < 0)
			log_error("%s", e.text);
		return;
	}
	if (net_add(a, &config, &e) == 0) {
		a->repairs++;
		log_info("network is repaired net=%.12s", config.id);
	}
}

static int on_reconcile(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct actual *a = userdata;
	struct net *n;
	struct net *next;

	(void)usec;
	HASH_ITER (hh, a->nets, n, next)
		repair_net(a, n);
	a->repairs += spread_reconcile(a->spread);
	repair_firewall(a);
	actual_allow_forward(a);
	(void)sd_event_source_set_time_relative(source, (uint64_t)a->config.reconcile_s *
								1000000);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

/* --- status --------------------------------------------------------------------------
 */

void actual_count(struct actual *a, const char *network, struct balancer_count *list,
		  unsigned int count)
{
	spread_count(a->spread, network, list, count);
}

unsigned int actual_network_state(struct actual *a, const char *id, char *ret_error,
				  size_t size)
{
	struct net *n = find_net(a, id);

	(void)snprintf(ret_error, size, "%s", n ? n->broken.text : "no sandbox");
	return n && n->broken.code == 0 ? n->sandbox.mtu : 0;
}

unsigned int actual_repairs(const struct actual *a)
{
	return a->repairs;
}

/* --- start and end
 * ---------------------------------------------------------------------- */

static int start_timers(struct actual *a, struct err *e)
{
	int r = sd_event_add_time(a->event, &a->retry, CLOCK_MONOTONIC, UINT64_MAX,
				  TIMER_ACCURACY_US, on_retry, a);

	if (r >= 0)
		r = sd_event_source_set_enabled(a->retry, SD_EVENT_OFF);
	if (r >= 0 && a->config.reconcile_s)
		r = sd_event_add_time_relative(a->event, &a->reconcile, CLOCK_MONOTONIC,
					       (uint64_t)a->config.reconcile_s * 1000000,
					       0, on_reconcile, a);
	return r < 0 ? err_sys(e, r, "timer") : 0;
}

int actual_new(sd_event *event, const struct actual_config *config, struct actual **ret,
	       struct err *e)
{
	struct actual *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return err_sys(e, -ENOMEM, "kernel worker");
	a->config = *config;
	a->event = sd_event_ref(event);
	a->spread = spread_new(config->balancer);
	r = a->spread ? link_open(-1, &a->host, e) : err_sys(e, -ENOMEM, "kernel worker");
	if (r == 0)
		r = firewall_open(&a->firewall, e);
	if (r == 0)
		r = start_timers(a, e);
	if (r < 0) {
		actual_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void actual_free(struct actual *a)
{
	struct net *n;
	struct net *n_next;
	struct task *t;
	struct task *t_next;
	struct endpoint *ep;
	struct endpoint *ep_next;
	struct port *p;
	struct port *p_next;

	if (!a)
		return;
	spread_free(TAKE(a->spread)); /* first: what is programmed stays */
	HASH_ITER (hh, a->endpoints, ep, ep_next) {
		HASH_DEL(a->endpoints, ep);
		HASH_DELETE(hh_port, a->by_port, ep);
		free(ep);
	}
	HASH_ITER (hh, a->tasks, t, t_next) {
		HASH_DEL(a->tasks, t);
		nft_close(t->dns_owner);
		(void)close(t->nsfd);
		free(t);
	}
	HASH_ITER (hh, a->nets, n, n_next)
		net_free(a, n);
	HASH_ITER (hh, a->ports, p, p_next) {
		HASH_DEL(a->ports, p);
		free(p);
	}
	sd_event_source_disable_unref(a->retry);
	sd_event_source_disable_unref(a->reconcile);
	firewall_close(a->firewall);
	link_close(a->host);
	sd_event_unref(a->event);
	free(a);
}
