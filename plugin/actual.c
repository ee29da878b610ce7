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
#include "plugin/actual_internal.h"

#include "driver/kern/ns.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "node"
#include "plugin/base/log.h"

/* A link is up before its namespace can be opened: look again soon, for a while. */
#define ATTACH_RETRY_US	  20000
#define STRAY_LIMIT_US	  60000000
#define ATTACH_TRIES_MAX  250
#define TIMER_ACCURACY_US 1000 /* 0 would mean a quarter of a second */

struct endpoint {
	UT_hash_handle hh;	/* by id */
	UT_hash_handle hh_port; /* by port */
	struct actual_endpoint desired;
	char port[IFNAMSIZ];  /* its bridge port in the sandbox */
	struct task *task;    /* attached to */
	unsigned int tries;   /* to attach; 0: not up yet */
	uint64_t stray_since; /* us, its container's end is on the host; 0: it is not */
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

/* --- endpoints ------------------------------------------------------------------ */

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
	/* Settled when its link is up; the network's sandbox balances meanwhile. */
	if (r < 0)
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

static void endpoint_free(struct actual *a, struct endpoint *ep)
{
	detach(a, ep);
	HASH_DEL(a->endpoints, ep);
	HASH_DELETE(hh_port, a->by_port, ep);
	free(ep);
}

static void endpoint_lost(struct actual *a, struct net *n, struct endpoint *ep,
			  const char *why)
{
	char id[NETWORK_ID_SIZE];
	struct err e = {0};

	memcpy(id, ep->desired.base.id, sizeof(id));
	endpoint_free(a, ep);
	log_warning("endpoint is lost: %s ep=%.12s", why, id);
	if (network_endpoint_del(a->host, &n->sandbox, id, &e) < 0)
		log_warning("%s", e.text);
	a->config.hooks.endpoint_lost(a->config.hooks.ctx, id);
}

static uint64_t now_us(struct actual *a)
{
	uint64_t now = 0;

	(void)sd_event_now(a->event, CLOCK_MONOTONIC, &now); /* 0: before the loop runs */
	return now;
}

/* Docker puts a container's end back on the host when it stops, and takes it from there
 * when it starts: there for long, it belongs to nobody. */
static bool is_stray(struct actual *a, struct endpoint *ep)
{
	char name[IFNAMSIZ];

	network_link_name('v', ep->desired.base.id, name);
	if (link_index(a->host, name, NULL) <= 0)
		ep->stray_since = 0;
	else if (!ep->stray_since)
		ep->stray_since = now_us(a);
	return ep->stray_since && now_us(a) - ep->stray_since > STRAY_LIMIT_US;
}

/* Looks at what the messages of the kernel would have told. */
static void endpoint_check(struct actual *a, struct net *n, struct endpoint *ep)
{
	bool running = false;
	int index = link_index(n->sandbox.links, ep->port, &running);

	if (index < 0)
		return; /* no answer is no loss */
	if (index == 0)
		endpoint_lost(a, n, ep, "its link is gone");
	else if (ep->task && task_is_stale(ep->task))
		endpoint_lost(a, n, ep, "its container is gone");
	else if (running)
		try_attach(a, ep);
	else if (is_stray(a, ep))
		endpoint_lost(a, n, ep, "its container does not use it");
}

static void check_endpoints(struct actual *a, struct net *n)
{
	struct endpoint *ep;
	struct endpoint *next;

	HASH_ITER (hh, a->endpoints, ep, next)
		if (!strcmp(ep->desired.network, n->config.id))
			endpoint_check(a, n, ep);
}

static void on_link(void *ctx, const struct link_event *ev)
{
	struct net *n = ctx;
	struct actual *a = n->actual;
	struct endpoint *ep;

	if (!ev->name) { /* messages were lost */
		check_endpoints(a, n);
		return;
	}
	HASH_FIND(hh_port, a->by_port, ev->name, strlen(ev->name), ep);
	if (!ep || strcmp(ep->desired.network, n->config.id))
		return;
	if (ev->gone)
		endpoint_lost(a, n, ep, "its link vanished");
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

/* Docker repeats a call whose answer it has not got. */
static bool has_joined(const struct actual *a, const struct net *n,
		       const struct actual_endpoint *desired)
{
	const struct endpoint *ep = find_endpoint(a, desired->base.id);

	return ep && !strcmp(ep->desired.network, desired->network) &&
	       !strcmp(ep->desired.key, desired->key) &&
	       link_index(n->sandbox.links, ep->port, NULL) > 0;
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
	if (has_joined(a, n, desired)) {
		network_link_name('v', desired->base.id, ret_name);
		return 0;
	}
	ep = endpoint_add(a, desired);
	if (!ep)
		return err_sys(e, -ENOMEM, "endpoint %.12s", desired->base.id);
	r = network_endpoint_join(a->host, &n->sandbox, &desired->base, ret_name, e);
	if (r < 0) {
		endpoint_free(a, ep);
		/* What exists already is not of this call's making. */
		if (r != -EEXIST)
			(void)network_endpoint_del(a->host, &n->sandbox, desired->base.id,
						   NULL);
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

	if (!ep)
		log_error("cannot adopt endpoint ep=%.12s net=%.12s", desired->base.id,
			  desired->network);
	else if (n->broken.code == 0) /* else when the network is repaired */
		endpoint_check(a, n, ep);
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

static void net_close(struct net *n)
{
	link_monitor_free(TAKE(n->monitor));
	network_close(&n->sandbox);
}

static void net_free(struct actual *a, struct net *n)
{
	struct endpoint *ep;
	struct endpoint *next;

	HASH_ITER (hh, a->endpoints, ep, next)
		if (!strcmp(ep->desired.network, n->config.id))
			endpoint_free(a, ep);
	net_close(n);
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

/* Builds the network anew, under its endpoints; when that fails it is broken until a
 * repair succeeds, and its endpoints wait. */
static int net_rebuild(struct actual *a, struct net *n, struct err *e)
{
	int r;

	net_close(n);
	n->broken = (struct err){0};
	r = net_build(a, n, e);
	if (r < 0) {
		n->broken = *e;
		n->broken.code = r;
		return r;
	}
	n->bridge = link_index(n->sandbox.links, NETWORK_BRIDGE, NULL);
	check_endpoints(a, n);
	return 0;
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
	struct net *n = find_net(a, c->id);
	bool is_new = !n;
	int r;

	if (n && n->broken.code == 0 && same_config(&n->config, c))
		return 0;
	if (is_new)
		n = net_new(a, c);
	if (!n)
		return err_sys(e, -ENOMEM, "network %.12s", c->id);
	n->config = *c;
	r = net_rebuild(a, n, e);
	/* At start nobody waits for the answer: `status` shows it, repair tries again. */
	if (r < 0 && is_new && a->firewall_ready)
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

/* --- services ---------------------------------------------------------------------- */

void actual_service(struct actual *a, uint32_t mark, struct lb_view *v)
{
	if (v)
		spread_set(a->spread, v);
	else
		spread_del(a->spread, mark);
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
	r = host_sync(a, e);
	actual_allow_forward(a);
	return r;
}

/* --- repair ------------------------------------------------------------------------- */

/* A bridge that was made again has lost its ports. */
static void return_ports(struct actual *a, struct net *n)
{
	int bridge = link_index(n->sandbox.links, NETWORK_BRIDGE, NULL);
	struct err e = {0};

	if (bridge == n->bridge || bridge < 0)
		return;
	n->bridge = bridge;
	a->repairs++;
	for (struct endpoint *ep = a->endpoints; ep; ep = ep->hh.next) {
		if (strcmp(ep->desired.network, n->config.id))
			continue;
		if (link_up(n->sandbox.links, ep->port, NETWORK_BRIDGE, &e) < 0)
			log_error("%s", e.text);
	}
}

static void repair_net(struct actual *a, struct net *n)
{
	struct err e = {0};

	if (n->broken.code < 0) {
		if (net_rebuild(a, n, &e) == 0) {
			a->repairs++;
			log_info("network is repaired net=%.12s", n->config.id);
		}
		return;
	}
	if (network_complete(a->host, &n->sandbox, &n->config, &e) < 0) {
		log_error("%s", e.text);
		return;
	}
	return_ports(a, n);
	check_endpoints(a, n);
}

static int on_reconcile(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct actual *a = userdata;
	struct task *t;
	struct net *n;

	(void)usec;
	for (n = a->nets; n; n = n->hh.next)
		repair_net(a, n);
	for (t = a->tasks; t; t = t->hh.next)
		task_repair(a, t);
	a->repairs += spread_reconcile(a->spread);
	host_repair(a);
	actual_allow_forward(a);
	(void)sd_event_source_set_time_relative(source, (uint64_t)a->config.reconcile_s *
								1000000);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

/* --- status ------------------------------------------------------------------------ */

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

/* --- start and end ---------------------------------------------------------------- */

static int start_timers(struct actual *a, struct err *e)
{
	int r = sd_event_add_time(a->event, &a->retry, CLOCK_MONOTONIC, UINT64_MAX,
				  TIMER_ACCURACY_US, on_retry, a);

	if (r >= 0)
		r = sd_event_source_set_enabled(a->retry, SD_EVENT_OFF);
	if (r >= 0 && a->config.reconcile_s)
		r = sd_event_add_time_relative(a->event, &a->reconcile, CLOCK_MONOTONIC,
					       (uint64_t)a->config.reconcile_s * 1000000,
					       TIMER_ACCURACY_US, on_reconcile, a);
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
	a->own_nsfd = ns_open_own(e);
	r = a->own_nsfd < 0 ? a->own_nsfd : 0;
	if (r == 0)
		r = a->spread ? link_open(-1, &a->host, e)
			      : err_sys(e, -ENOMEM, "kernel worker");
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
	struct endpoint *ep;
	struct endpoint *ep_next;

	if (!a)
		return;
	spread_free(TAKE(a->spread)); /* first: what is programmed stays */
	HASH_ITER (hh, a->endpoints, ep, ep_next) {
		HASH_DEL(a->endpoints, ep);
		HASH_DELETE(hh_port, a->by_port, ep);
		free(ep);
	}
	task_free_all(a);
	HASH_ITER (hh, a->nets, n, n_next)
		net_free(a, n);
	host_free_ports(a);
	sd_event_source_disable_unref(a->retry);
	sd_event_source_disable_unref(a->reconcile);
	firewall_close(a->firewall);
	link_close(a->host);
	if (a->own_nsfd >= 0)
		(void)close(a->own_nsfd);
	sd_event_unref(a->event);
	free(a);
}
