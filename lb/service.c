// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The registry's verbs. Each changes the model in memory, then flush() decides for the
 * services concerned (settle.c), writes rows (store.c) and tells the differences. When
 * writing fails nothing is told and all stays pending: the next verb tries again, or
 * registry_reload goes back to what the database has. Callbacks must not call back in.
 */
#include "lb/service.h"

#include "lb/model.h"
#include "lb/settle.h"
#include "lb/status.h"
#include "lb/store.h"
#include "lb/view.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct registry {
	struct lb_store *store;
	struct settle_config settle;
	struct registry_callbacks callbacks;
	struct model model;
};

/* --- telling --- */

static void call_changed(const struct registry *r, struct lb_view *old,
			 struct lb_view *new_view)
{
	if (r->callbacks.changed)
		r->callbacks.changed(r->callbacks.ctx, old, new_view);
}

static void call_assigned(const struct registry *r, const char *endpoint,
			  const struct lb_view *service, const char *project)
{
	if (r->callbacks.assigned)
		r->callbacks.assigned(r->callbacks.ctx, endpoint, service, project);
}

static void tell_gone(const struct registry *r, struct model_service *s)
{
	if (s->view)
		call_changed(r, s->view, NULL);
	lb_view_put(s->view);
	s->view = NULL;
}

static void tell_service(const struct registry *r, struct model_service *s)
{
	if (!s->next)
		return;
	if (!view_equal(s->view, s->next)) {
		call_changed(r, s->view, s->next);
		lb_view_put(s->view);
		s->view = TAKE(s->next);
	}
	lb_view_put(s->next);
	s->next = NULL;
}

static void tell_endpoint(const struct registry *r, struct model_endpoint *ep)
{
	bool gone = ep->pending & MODEL_PENDING_GONE;
	const char *project = gone ? "" : ep->parsed.project;

	if (!ep->tell_again && ep->service == ep->told_service &&
	    !strcmp(project, ep->told_project))
		return;
	call_assigned(r, ep->id, ep->service ? ep->service->view : NULL, project);
	ep->tell_again = false;
	ep->told_service = ep->service;
	(void)str_copy(ep->told_project, sizeof(ep->told_project), project); /* fits */
}

/* What is gone first, so that a VIP or mark that wandered is never in two views; the
 * services before the endpoints, so that each assignment has its view. */
static void tell(const struct registry *r, struct model *m)
{
	const unsigned int told = MODEL_PENDING_TELL;
	struct model_endpoint *ep;
	struct model_service *s;

	TAILQ_FOREACH (s, &m->changed_services, changed) {
		if (s->pending & MODEL_PENDING_GONE)
			tell_gone(r, s);
	}
	TAILQ_FOREACH (s, &m->changed_services, changed) {
		if (!(s->pending & MODEL_PENDING_GONE))
			tell_service(r, s);
		s->pending &= ~told;
	}
	/* Also an endpoint that came again under its id stands behind the gone one. */
	TAILQ_FOREACH (ep, &m->changed_endpoints, changed) {
		tell_endpoint(r, ep);
		ep->pending &= ~told;
	}
	model_sweep(m);
}

static int flush(struct registry *r, struct err *e)
{
	int rc = settle(&r->model, &r->settle, e);

	if (rc == 0)
		rc = lb_store_save(r->store, &r->model, e);
	if (rc == 0)
		tell(r, &r->model);
	return rc;
}

/* --- life of the registry --- */

/* Fills m; everything waits to be told. What differs from the tables, because this
 * program decides otherwise than the one that wrote them, is written with the next
 * change. */
static int load(struct registry *r, struct model *m, struct err *e)
{
	struct settle_config config = r->settle;
	struct model_endpoint *ep;
	struct model_endpoint *next;
	struct model_service *s;
	struct model_service *next_s;
	int rc;

	config.quiet = true;
	model_init(m);
	rc = lb_store_load(r->store, m, e);
	/* In the order in which they were added: that of their positions. */
	HASH_ITER (hh, m->endpoints, ep, next)
		model_endpoint_changed(m, ep, MODEL_PENDING_SETTLE);
	HASH_ITER (hh, m->services, s, next_s)
		model_service_changed(m, s, MODEL_PENDING_SETTLE);
	if (rc == 0)
		rc = settle(m, &config, e);
	if (rc < 0)
		model_fini(m);
	return rc;
}

int registry_new(struct db *db, const struct registry_config *config,
		 struct registry **ret, struct err *e)
{
	struct registry *r = calloc(1, sizeof(*r));
	struct model_endpoint *ep;
	struct model_endpoint *next;
	int rc;

	if (!r)
		return err_sys(e, -ENOMEM, "registry");
	r->settle.schedulers = config->schedulers;
	r->settle.balancer = config->balancer;
	model_init(&r->model);
	rc = lb_store_new(db, &r->store, e);
	if (rc == 0)
		rc = load(r, &r->model, e);
	if (rc < 0) {
		registry_free(r);
		return rc;
	}
	HASH_ITER (hh, r->model.endpoints, ep, next)
		ep->old = true;
	tell(r, &r->model); /* there are no callbacks yet */
	r->callbacks = config->callbacks;
	*ret = r;
	return 0;
}

void registry_free(struct registry *r)
{
	if (!r)
		return;
	model_fini(&r->model);
	lb_store_free(r->store);
	free(r);
}

/* The service of m that was told as s; NULL: there is none. */
static struct model_service *same_service(const struct model *m,
					  const struct model_service *s)
{
	struct model_service *same = model_service_find(m, &s->key);

	return same && same->mark == s->mark ? same : NULL;
}

static void adopt_service(const struct registry *r, struct model *m,
			  struct model_service *old)
{
	struct model_service *s = same_service(m, old);

	if (s && old->view)
		s->view = TAKE(old->view);
	else
		tell_gone(r, old);
}

static void adopt_endpoint(const struct registry *r, struct model *m,
			   const struct model_endpoint *old)
{
	struct model_endpoint *ep = model_endpoint_find(m, old->id);

	if (ep)
		ep->old = old->old;
	if (!old->told_service && !old->told_project[0])
		return;
	if (!ep) {
		call_assigned(r, old->id, NULL, "");
		return;
	}
	memcpy(ep->told_project, old->told_project, sizeof(ep->told_project));
	if (old->told_service)
		ep->told_service = same_service(m, old->told_service);
	ep->tell_again = old->told_service && !ep->told_service;
}

/* Gives what was told of the old model to the new one, and tells what is not in it. */
static void adopt(const struct registry *r, struct model *m, struct model *old)
{
	struct model_endpoint *ep;
	struct model_endpoint *next_ep;
	struct model_service *s;
	struct model_service *next_s;

	HASH_ITER (hh, old->services, s, next_s)
		adopt_service(r, m, s);
	TAILQ_FOREACH (s, &old->changed_services, changed) {
		if (s->pending & MODEL_PENDING_GONE)
			adopt_service(r, m, s);
	}
	HASH_ITER (hh, old->endpoints, ep, next_ep)
		adopt_endpoint(r, m, ep);
	TAILQ_FOREACH (ep, &old->changed_endpoints, changed) {
		if (ep->pending & MODEL_PENDING_GONE)
			adopt_endpoint(r, m, ep);
	}
}

/* The lists of a copied model must not point into the original. */
static void move_model(struct model *dst, struct model *src)
{
	model_init(dst);
	dst->networks = src->networks;
	dst->endpoints = src->endpoints;
	dst->containers = src->containers;
	dst->services = src->services;
	TAILQ_CONCAT(&dst->changed_networks, &src->changed_networks, changed);
	TAILQ_CONCAT(&dst->changed_endpoints, &src->changed_endpoints, changed);
	TAILQ_CONCAT(&dst->changed_containers, &src->changed_containers, changed);
	TAILQ_CONCAT(&dst->changed_services, &src->changed_services, changed);
	TAILQ_CONCAT(&dst->draining, &src->draining, draining);
	dst->sequence = src->sequence;
	dst->marks = src->marks;
	dst->mark_words = src->mark_words;
	dst->mark_hint = src->mark_hint;
}

int registry_reload(struct registry *r, struct err *e)
{
	struct model m;
	int rc = load(r, &m, e);

	if (rc < 0)
		return rc;
	adopt(r, &m, &r->model);
	model_fini(&r->model);
	move_model(&r->model, &m);
	tell(r, &r->model);
	return 0;
}

/* --- networks --- */

static int check_id(const char *id, const char *what, struct err *e)
{
	if (id[0] && strlen(id) < LB_ID_SIZE)
		return 0;
	return err_set(e, -EINVAL, "%s id: must have 1 to %d characters", what,
		       LB_ID_SIZE - 1);
}

static int check_range(const struct cidr *range, int family, struct err *e)
{
	if (!addr_is_set(&range->addr) ||
	    (range->addr.family == family && range->prefix <= addr_bits(&range->addr)))
		return 0;
	return err_set(e, -EINVAL, "VIP range: not a prefix of its family");
}

static bool set_range(struct vip_pool *pool, const struct cidr *range)
{
	struct cidr want = {0};

	if (addr_is_set(&range->addr))
		want = cidr_network(range);
	if (cidr_equal(&want, &pool->range))
		return false;
	vip_pool_set_range(pool, &want);
	return true;
}

/* Takes *set over if it differs from *have. */
static bool set_options(struct option_set *have, struct option_set *set)
{
	struct option_set old = *have;

	if (option_set_equal(have, set)) {
		option_set_fini(set);
		return false;
	}
	*have = *set;
	*set = (struct option_set){0};
	option_set_fini(&old);
	return true;
}

/* All its endpoints and services are to be decided anew. */
static void refresh_network(struct registry *r, struct model_network *n)
{
	struct model_endpoint *ep;
	struct model_service *s;

	TAILQ_FOREACH (ep, &n->endpoints, of_network)
		model_endpoint_changed(&r->model, ep, MODEL_PENDING_SETTLE);
	TAILQ_FOREACH (s, &n->services, of_network)
		model_service_changed(&r->model, s, MODEL_PENDING_SETTLE);
}

/* Which pending bits the new description makes. */
static unsigned int update_network(struct model_network *n,
				   const struct registry_network *new_network,
				   struct option_set *options)
{
	char reason[MODEL_REASON_SIZE] = "the network has no VIP range";
	unsigned int bits = 0;

	if (!str_is_empty(new_network->no_vip_reason))
		(void)snprintf(reason, sizeof(reason), "%s",
			       new_network->no_vip_reason); /* cut when longer */
	if (set_range(&n->pool[VIP_V4], &new_network->vip4))
		bits |= MODEL_PENDING_ROW;
	if (set_range(&n->pool[VIP_V6], &new_network->vip6))
		bits |= MODEL_PENDING_ROW;
	if (strcmp(n->reason, reason)) {
		memcpy(n->reason, reason, sizeof(n->reason));
		bits |= MODEL_PENDING_ROW;
	}
	if (set_options(&n->options, options))
		bits |= MODEL_PENDING_OPTIONS;
	return bits;
}

int registry_network_add(struct registry *r, const struct registry_network *new_network,
			 struct err *e)
{
	struct option_set options;
	struct model_network *n;
	unsigned int bits;
	int rc = check_id(new_network->id, "network", e);

	if (rc == 0)
		rc = check_range(&new_network->vip4, AF_INET, e);
	if (rc == 0)
		rc = check_range(&new_network->vip6, AF_INET6, e);
	if (rc < 0)
		return rc;
	if (option_set_copy(new_network->options, new_network->option_count, &options) <
	    0)
		return err_sys(e, -ENOMEM, "network %.12s", new_network->id);
	n = model_network_find(&r->model, new_network->id);
	if (!n)
		n = model_network_add(&r->model, new_network->id);
	if (!n) {
		option_set_fini(&options);
		return err_sys(e, -ENOMEM, "network %.12s", new_network->id);
	}
	bits = update_network(n, new_network, &options);
	if (bits) {
		model_network_changed(&r->model, n, bits);
		refresh_network(r, n);
	}
	return flush(r, e);
}

int registry_network_del(struct registry *r, const char *id, struct err *e)
{
	struct model *m = &r->model;
	struct model_network *n = model_network_find(m, id);
	struct model_endpoint *ep;
	struct model_service *s;

	if (n) {
		while ((ep = TAILQ_FIRST(&n->endpoints)))
			model_endpoint_del(m, ep);
		while ((s = TAILQ_FIRST(&n->services)))
			model_service_del(m, s);
		model_network_del(m, n);
	}
	return flush(r, e);
}

/* --- endpoints --- */

static void update_endpoint(struct registry *r, struct model_endpoint *ep,
			    const struct registry_endpoint *new_ep,
			    struct option_set *options)
{
	unsigned int bits = 0;

	if (ep->detached || !addr_equal(&ep->addr4, &new_ep->addr4) ||
	    !addr_equal(&ep->addr6, &new_ep->addr6))
		bits |= MODEL_PENDING_ROW;
	ep->detached = false;
	ep->old = false;
	ep->addr4 = new_ep->addr4;
	ep->addr6 = new_ep->addr6;
	if (set_options(&ep->options, options))
		bits |= MODEL_PENDING_OPTIONS;
	if (ep->sequence == 0) {
		ep->sequence = ++r->model.sequence;
		bits |= MODEL_PENDING_ROW;
	}
	if (bits)
		model_endpoint_changed(&r->model, ep, bits | MODEL_PENDING_SETTLE);
}

static bool is_family(const struct addr *a, int family)
{
	return !addr_is_set(a) || a->family == family;
}

static int check_endpoint(const struct registry_endpoint *ep, struct err *e)
{
	int rc = check_id(ep->id, "endpoint", e);

	if (rc == 0 &&
	    (!is_family(&ep->addr4, AF_INET) || !is_family(&ep->addr6, AF_INET6)))
		rc = err_set(e, -EINVAL, "endpoint %.12s: address of a wrong family",
			     ep->id);
	return rc;
}

int registry_endpoint_add(struct registry *r, const struct registry_endpoint *new_ep,
			  struct err *e)
{
	struct model *m = &r->model;
	struct option_set options;
	struct model_endpoint *ep;
	struct model_network *n;
	int rc = check_endpoint(new_ep, e);

	if (rc < 0)
		return rc;
	n = model_network_find(m, new_ep->network);
	if (!n)
		return err_set(e, -ENOENT, "endpoint %.12s: network %.12s is not known",
			       new_ep->id, new_ep->network);
	if (option_set_copy(new_ep->options, new_ep->option_count, &options) < 0)
		return err_sys(e, -ENOMEM, "endpoint %.12s", new_ep->id);
	ep = model_endpoint_find(m, new_ep->id);
	if (ep && ep->network != n) {
		model_endpoint_del(m, ep);
		ep = NULL;
	}
	if (!ep)
		ep = model_endpoint_add(m, n, new_ep->id);
	if (!ep) {
		option_set_fini(&options);
		return err_sys(e, -ENOMEM, "endpoint %.12s", new_ep->id);
	}
	update_endpoint(r, ep, new_ep, &options);
	return flush(r, e);
}

int registry_endpoint_del(struct registry *r, const char *id, struct err *e)
{
	struct model_endpoint *ep = model_endpoint_find(&r->model, id);

	if (ep)
		model_endpoint_del(&r->model, ep);
	return flush(r, e);
}

/* --- containers --- */

/* The states of its endpoints may have changed. */
static void refresh_states(struct registry *r, struct model_container *c)
{
	struct model_endpoint *ep;

	model_container_changed(&r->model, c, MODEL_PENDING_ROW);
	model_container_order(&r->model, c);
	TAILQ_FOREACH (ep, &c->endpoints, of_container)
		model_service_changed(&r->model, ep->service, MODEL_PENDING_SETTLE);
}

static void set_detached(struct registry *r, struct model_endpoint *ep, bool detached)
{
	if (ep->detached == detached)
		return;
	ep->detached = detached;
	model_endpoint_changed(&r->model, ep, MODEL_PENDING_ROW);
	model_service_changed(&r->model, ep->service, MODEL_PENDING_SETTLE);
}

static bool is_listed(const struct registry_container *seen, const char *endpoint)
{
	for (unsigned int i = 0; i < seen->endpoint_count; i++) {
		if (!strcmp(seen->endpoints[i], endpoint))
			return true;
	}
	return false;
}

static bool has_known_endpoint(const struct model *m,
			       const struct registry_container *seen)
{
	for (unsigned int i = 0; i < seen->endpoint_count; i++) {
		if (model_endpoint_find(m, seen->endpoints[i]))
			return true;
	}
	return false;
}

static void update_endpoints(struct registry *r, struct model_container *c,
			     const struct registry_container *seen)
{
	struct model_endpoint *ep;

	for (unsigned int i = 0; i < seen->endpoint_count; i++) {
		ep = model_endpoint_find(&r->model, seen->endpoints[i]);
		if (!ep)
			continue;
		ep->old = false;
		if (ep->container != c)
			model_endpoint_changed(&r->model, ep, MODEL_PENDING_SETTLE);
		model_endpoint_set_container(&r->model, ep, c);
		set_detached(r, ep, false);
	}
	/* One that does not run has no endpoints for the engine, but ours are there
	 * until Leave. */
	TAILQ_FOREACH (ep, &c->endpoints, of_container) {
		if (seen->running && !is_listed(seen, ep->id))
			set_detached(r, ep, true);
	}
}

static void update_container(struct registry *r, struct model_container *c,
			     const struct registry_container *seen,
			     struct option_set *labels)
{
	char name[MODEL_CONTAINER_NAME];
	struct model_endpoint *ep;

	texts_clean(name, sizeof(name), seen->name);
	if (strcmp(c->name, name)) {
		memcpy(c->name, name, sizeof(c->name));
		model_container_changed(&r->model, c, MODEL_PENDING_ROW);
	}
	if (backend_life_seen(&c->life, seen))
		refresh_states(r, c);
	if (!set_options(&c->labels, labels))
		return;
	model_container_changed(&r->model, c, MODEL_PENDING_OPTIONS);
	TAILQ_FOREACH (ep, &c->endpoints, of_container)
		model_endpoint_changed(&r->model, ep, MODEL_PENDING_SETTLE);
}

int registry_container_seen(struct registry *r, const struct registry_container *seen,
			    uint64_t now_ms, struct err *e)
{
	struct model *m = &r->model;
	struct model_container *c;
	struct option_set labels;
	int rc = check_id(seen->id, "container", e);

	(void)now_ms; /* being seen starts no clock */
	if (rc < 0)
		return rc;
	c = model_container_find(m, seen->id);
	if (!c && !has_known_endpoint(m, seen))
		return flush(r, e);
	if (option_set_copy(seen->labels, seen->label_count, &labels) < 0)
		return err_sys(e, -ENOMEM, "container %.12s", seen->id);
	if (!c && (c = model_container_add(m, seen->id)))
		model_container_changed(m, c, MODEL_PENDING_ROW);
	if (!c) {
		option_set_fini(&labels);
		return err_sys(e, -ENOMEM, "container %.12s", seen->id);
	}
	update_endpoints(r, c, seen);
	update_container(r, c, seen, &labels);
	return flush(r, e);
}

int registry_container_event(struct registry *r, const char *container,
			     const struct registry_notice *notice, uint64_t now_ms,
			     struct err *e)
{
	struct model_container *c = model_container_find(&r->model, container);

	if (c && backend_life_event(&c->life, notice->event, notice->signal,
				    notice->health, now_ms))
		refresh_states(r, c);
	return flush(r, e);
}

static void mark_listed(struct model *m, const struct registry_running *running)
{
	struct model_container *c;
	struct model_container *next;

	HASH_ITER (hh, m->containers, c, next)
		c->listed = false;
	for (unsigned int i = 0; i < running->count; i++) {
		c = model_container_find(m, running->ids[i]);
		if (c)
			c->listed = true;
	}
}

static bool is_lost(const struct model_endpoint *ep, bool complete)
{
	return ep->container ? !ep->container->listed : complete && ep->old;
}

int registry_containers_only(struct registry *r, const struct registry_running *running,
			     uint64_t now_ms, struct err *e)
{
	struct model *m = &r->model;
	struct model_container *c;
	struct model_container *next;
	struct model_endpoint *ep;
	struct model_endpoint *next_ep;
	int rc;

	mark_listed(m, running);
	HASH_ITER (hh, m->containers, c, next) {
		if (!c->listed && backend_life_event(&c->life, REGISTRY_EVENT_DIE, 0,
						     c->life.health, now_ms))
			refresh_states(r, c);
	}
	rc = flush(r, e);
	if (rc < 0 || !running->lost)
		return rc;
	HASH_ITER (hh, m->endpoints, ep, next_ep) {
		if (is_lost(ep, running->complete))
			running->lost(running->ctx, ep->id);
	}
	return 0;
}

uint64_t registry_deadline(const struct registry *r)
{
	const struct model_container *c = TAILQ_FIRST(&r->model.draining);

	return c ? c->life.drain_until_ms : UINT64_MAX;
}

int registry_expire(struct registry *r, uint64_t now_ms, struct err *e)
{
	struct model_container *c;

	while (registry_deadline(r) <= now_ms) {
		c = TAILQ_FIRST(&r->model.draining);
		backend_life_expire(&c->life, now_ms);
		refresh_states(r, c);
	}
	return flush(r, e);
}

/* --- looking --- */

void registry_each_view(struct registry *r, void (*fn)(void *ctx, struct lb_view *v),
			void *ctx)
{
	struct model_service *s;
	struct model_service *next;

	HASH_ITER (hh, r->model.services, s, next) {
		if (s->view)
			fn(ctx, s->view);
	}
}

const struct lb_view *registry_endpoint_service(struct registry *r, const char *endpoint,
						const char **ret_project)
{
	const struct model_endpoint *ep = model_endpoint_find(&r->model, endpoint);

	if (ret_project)
		*ret_project = ep ? ep->told_project : "";
	return ep && ep->told_service ? ep->told_service->view : NULL;
}

void registry_list(struct registry *r, const char *network,
		   void (*fn)(void *ctx, const struct registry_service_info *info),
		   void *ctx)
{
	lb_status_list(&r->model, network, fn, ctx);
}

int registry_vips(const struct registry *r, const char *network, int family,
		  struct registry_vips *ret)
{
	const struct model_network *n = model_network_find(&r->model, network);

	if (!n)
		return -ENOENT;
	lb_status_vips(n, family == AF_INET ? VIP_V4 : VIP_V6, ret);
	return 0;
}
