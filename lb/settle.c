// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Membership and the properties of services. The newest backend decides for its
 * service: after an update of a Compose file it is the one that has the new labels. Only
 * for a fixed VIP the first one does: an address must not move while others use it.
 */
#include "lb/settle.h"

#include "lb/view.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#define LOG_MODULE "service"
#include "plugin/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WHERE_SIZE	  96		       /* "net=... svc=..." */
#define SERVICE_TEXT_SIZE (2UL * LB_NAME_SIZE) /* "name.project" */
#define BACKEND_TEXT_SIZE (MODEL_CONTAINER_NAME + 16)

/* --- endpoints --- */

/* where: "net=... svc=..." */
static void log_new(const struct texts *texts, const struct texts *before,
		    const char *where)
{
	for (unsigned int i = 0; i < texts->count; i++) {
		if (!texts_has(before, texts->list[i]))
			log_warning("%s %s", texts->list[i], where);
	}
}

static void parse(const struct settle_config *config, struct model_endpoint *ep)
{
	struct option_sources sources = {
		.endpoint = &ep->options,
		.container = ep->container ? &ep->container->labels : NULL,
		.network = &ep->network->options,
	};
	struct texts errors = {0};

	options_parse(&sources, &ep->parsed, &errors);
	if (!config->quiet) {
		char where[WHERE_SIZE];

		(void)snprintf(where, sizeof(where), "net=%.12s ep=%.12s",
			       ep->network->id, ep->id);
		log_new(&errors, &ep->errors, where);
	}
	texts_fini(&ep->errors);
	ep->errors = errors;
}

/* *ret NULL: it belongs to none. */
static int find_service(struct model *m, struct model_endpoint *ep,
			struct model_service **ret)
{
	struct model_service_key key = {0};
	int r = 0;

	*ret = NULL;
	if (!ep->parsed.name[0])
		return 0;
	/* Not with memcpy: the key is compared with what is behind the texts' ends. */
	(void)str_copy(key.network, sizeof(key.network), ep->network->id);
	(void)str_copy(key.project, sizeof(key.project), ep->parsed.service_project);
	(void)str_copy(key.name, sizeof(key.name), ep->parsed.name);
	*ret = model_service_find(m, &key);
	if (*ret)
		return 0;
	r = model_service_add(m, ep->network, &key, 0, ret);
	if (r == 0)
		model_service_changed(m, *ret, MODEL_PENDING_ROW);
	if (r != -ENOSPC)
		return r;
	texts_add(&ep->errors, "service %s: there are %u services already", key.name,
		  MODEL_MARKS_MAX);
	return 0;
}

static int settle_endpoint(struct model *m, const struct settle_config *config,
			   struct model_endpoint *ep)
{
	struct model_service *s;
	int r;

	parse(config, ep);
	r = find_service(m, ep, &s);
	if (r == 0 && s != ep->service) {
		model_service_unlink(m, ep);
		if (s)
			r = model_service_link(m, s, ep);
	}
	/* Also when it was just made and the link failed: then it goes again. */
	model_service_changed(m, s, MODEL_PENDING_SETTLE);
	return r;
}

static int settle_endpoints(struct model *m, const struct settle_config *config,
			    struct err *e)
{
	struct model_endpoint *ep;
	int r;

	/* Backends that take the place of one that moves go to the end of this list. */
	TAILQ_FOREACH (ep, &m->changed_endpoints, changed) {
		if (!(ep->pending & MODEL_PENDING_SETTLE))
			continue;
		r = settle_endpoint(m, config, ep);
		if (r < 0)
			return err_sys(e, r, "endpoint %.12s", ep->id);
		ep->pending &= ~(unsigned int)MODEL_PENDING_SETTLE;
		/* Its project counts for the DNS even without a service. */
		ep->pending |= MODEL_PENDING_TELL;
	}
	return 0;
}

/* --- services --- */

static const struct model_endpoint *newest(const struct model_service *s)
{
	const struct model_endpoint *ep = NULL;

	for (unsigned int i = 0; i < s->count; i++) {
		if (!ep || s->backends[i]->sequence > ep->sequence)
			ep = s->backends[i];
	}
	return ep;
}

/* The scheduler that runs, for the wish of the newest backend (NULL: as before). */
static void settle_scheduler(const struct settle_config *config, struct model_service *s,
			     const struct options *wish)
{
	enum lb_scheduler scheduler = LB_SCHEDULER_RR;

	if (wish) {
		memcpy(s->scheduler_wanted, wish->scheduler_wanted,
		       sizeof(s->scheduler_wanted));
		scheduler = wish->scheduler;
	} else if (lb_scheduler_parse(s->scheduler_wanted, &scheduler) < 0) {
		scheduler = LB_SCHEDULER_RR;
	}
	if (!(config->schedulers >> scheduler & 1) && scheduler != LB_SCHEDULER_RR) {
		texts_add(&s->errors,
			  "scheduler %s: the balancer %s does not have it, rr is used",
			  lb_scheduler_name(scheduler), config->balancer);
		scheduler = LB_SCHEDULER_RR;
	}
	s->scheduler = scheduler;
}

/* A VIP of n came free, or can be taken from a service that is unused now. */
static void wake_starved(struct model *m, struct model_network *n, unsigned int family,
			 const struct addr *freed)
{
	struct model_service *s;
	bool taken = false;

	if (!addr_is_set(freed))
		return;
	TAILQ_FOREACH (s, &n->starved, of_starved) {
		if (addr_equal(&s->refused[family], freed))
			model_service_changed(m, s, MODEL_PENDING_SETTLE);
		else if (s->hungry && !taken) {
			model_service_changed(m, s, MODEL_PENDING_SETTLE);
			taken = true;
		}
	}
}

static void give_vip(struct model *m, struct model_service *s, unsigned int family)
{
	struct addr vip = s->vip[family];

	if (!addr_is_set(&vip))
		return;
	vip_pool_give(&s->network->pool[family], &vip);
	s->vip[family] = (struct addr){0};
	wake_starved(m, s->network, family, &vip);
}

/* A service without backends whose VIPs others need more. */
static void forget_service(struct model *m, struct model_service *s)
{
	for (unsigned int i = 0; i < VIP_FAMILY_COUNT; i++)
		give_vip(m, s, i);
	model_service_del(m, s);
}

/* False, and said why, where the range does not allow it. */
static bool check_fixed(struct model_service *s, const struct vip_pool *pool,
			const struct addr *wish)
{
	char text[ADDR_TEXT_SIZE];
	char range[CIDR_TEXT_SIZE];

	(void)addr_format(wish, text);
	(void)cidr_format(&pool->range, range);
	if (!addr_is_set(&pool->range.addr))
		texts_add(&s->errors, "VIP %s: the network has no VIP range for it",
			  text);
	else if (!cidr_contains(&pool->range, wish))
		texts_add(&s->errors,
			  "VIP %s: not in the network's VIP range %s (its option "
			  "vip-range), as it must be",
			  text, range);
	else if (!vip_pool_usable(pool, wish))
		texts_add(&s->errors,
			  "VIP %s: first or last address of the VIP range %s, which are "
			  "never given",
			  text, range);
	else
		return true;
	return false;
}

/* "name" or "name.project". */
static const char *service_text(const struct model_service *s,
				char buf[SERVICE_TEXT_SIZE])
{
	(void)snprintf(buf, SERVICE_TEXT_SIZE, "%s%s%s", s->key.name,
		       s->key.project[0] ? "." : "", s->key.project); /* fits */
	return buf;
}

/* Moves s to the address that its options ask for, or says why not. A name that is only
 * remembered has no right against one that asks. */
static int settle_fixed(struct model *m, struct model_service *s, unsigned int family,
			const struct addr *wish)
{
	struct vip_pool *pool = &s->network->pool[family];
	struct model_service *owner = vip_pool_owner(pool, wish);
	char text[ADDR_TEXT_SIZE];
	char name[SERVICE_TEXT_SIZE];
	char owner_name[SERVICE_TEXT_SIZE];
	int r;

	if (owner == s || !check_fixed(s, pool, wish))
		return 0;
	if (owner && owner->count > 0) {
		texts_add(&s->errors, "VIP %s: service %s asks for it, service %s has it",
			  addr_format(wish, text), service_text(s, name),
			  service_text(owner, owner_name));
		s->refused[family] = *wish;
		return 0;
	}
	if (owner)
		forget_service(m, owner);
	r = vip_pool_take(pool, wish, s);
	if (r < 0)
		return r;
	give_vip(m, s, family);
	s->vip[family] = *wish;
	return 0;
}

/* Removes the longest unused service with a VIP of this range; false: there is none. */
static bool reclaim(struct model *m, struct model_network *n, unsigned int family)
{
	struct model_service *s;

	TAILQ_FOREACH (s, &n->unused, of_unused) {
		if (!vip_pool_usable(&n->pool[family], &s->vip[family]))
			continue;
		forget_service(m, s);
		return true;
	}
	return false;
}

static int settle_chosen(struct model *m, struct model_service *s, unsigned int family)
{
	struct vip_pool *pool = &s->network->pool[family];
	char range[CIDR_TEXT_SIZE];
	int r;

	if (!addr_is_set(&pool->range.addr))
		return 0;
	r = vip_pool_take_next(pool, s, &s->vip[family]);
	if (r == -ENOSPC && reclaim(m, s->network, family))
		r = vip_pool_take_next(pool, s, &s->vip[family]);
	if (r != -ENOSPC)
		return r;
	s->hungry = true;
	texts_add(&s->errors,
		  "no VIP: the range %s is full, services have all of its %llu addresses",
		  cidr_format(&pool->range, range),
		  (unsigned long long)vip_pool_capacity(pool));
	return 0;
}

/* The backend whose wish counts: one that asks for what the service has, else the oldest
 * that asks for an address. NULL: none does. */
static const struct model_endpoint *first_wish(const struct model_service *s,
					       unsigned int family)
{
	const struct model_endpoint *first = NULL;
	bool first_holds = false;

	for (unsigned int i = 0; i < s->count; i++) {
		const struct model_endpoint *ep = s->backends[i];
		const struct addr *wish = &ep->parsed.vip[family];
		bool holds = addr_equal(wish, &s->vip[family]);

		if (!addr_is_set(wish))
			continue;
		if (first &&
		    (holds == first_holds ? first->sequence < ep->sequence : first_holds))
			continue;
		first = ep;
		first_holds = holds;
	}
	return first;
}

static const char *backend_text(const struct model_endpoint *ep,
				char buf[BACKEND_TEXT_SIZE])
{
	if (ep->container && ep->container->name[0])
		(void)snprintf(buf, BACKEND_TEXT_SIZE, "container %s",
			       ep->container->name); /* fits */
	else
		(void)snprintf(buf, BACKEND_TEXT_SIZE, "endpoint %.12s", ep->id);
	return buf;
}

/* Says which backends ask for another address than first. */
static void note_disagreement(struct model_service *s, unsigned int family,
			      const struct model_endpoint *first)
{
	char text[ADDR_TEXT_SIZE];
	char first_text[ADDR_TEXT_SIZE];
	char backend[BACKEND_TEXT_SIZE];
	char first_backend[BACKEND_TEXT_SIZE];

	for (unsigned int i = 0; i < s->count && s->errors.count < TEXTS_MAX; i++) {
		const struct model_endpoint *ep = s->backends[i];
		const struct addr *wish = &ep->parsed.vip[family];

		if (!addr_is_set(wish) || addr_equal(wish, &first->parsed.vip[family]))
			continue;
		texts_add(&s->errors, "%s asks for VIP %s, but %s of %s counts",
			  backend_text(ep, backend), addr_format(wish, text),
			  addr_format(&first->parsed.vip[family], first_text),
			  backend_text(first, first_backend));
	}
}

static int settle_vip(struct model *m, struct model_service *s, unsigned int family)
{
	const struct vip_pool *pool = &s->network->pool[family];
	const struct model_endpoint *first = first_wish(s, family);
	char text[ADDR_TEXT_SIZE];
	int r = 0;

	if (s->dnsrr) {
		if (first)
			texts_add(&s->errors,
				  "VIP %s: not given, the service has mode dnsrr",
				  addr_format(&first->parsed.vip[family], text));
		give_vip(m, s, family);
		return 0;
	}
	if (first) {
		r = settle_fixed(m, s, family, &first->parsed.vip[family]);
		note_disagreement(s, family, first);
	}
	if (r == 0 && s->count > 0 && !addr_is_set(&s->vip[family]))
		r = settle_chosen(m, s, family);
	if (addr_is_set(&s->vip[family]) && !vip_pool_usable(pool, &s->vip[family]))
		texts_add(&s->errors, "VIP %s is outside of the network's VIP range",
			  addr_format(&s->vip[family], text));
	return r;
}

static bool has_vip(const struct model_service *s)
{
	return addr_is_set(&s->vip[VIP_V4]) || addr_is_set(&s->vip[VIP_V6]);
}

static int settle_vips(struct model *m, struct model_service *s)
{
	const struct model_network *n = s->network;
	int r;

	model_service_set_starved(s, false);
	s->hungry = false;
	memset(s->refused, 0, sizeof(s->refused));
	r = settle_vip(m, s, VIP_V4);
	if (r == 0)
		r = settle_vip(m, s, VIP_V6);
	model_service_set_starved(s, s->hungry || addr_is_set(&s->refused[VIP_V4]) ||
					     addr_is_set(&s->refused[VIP_V6]));
	if (!s->dnsrr && !has_vip(s) && !addr_is_set(&n->pool[VIP_V4].range.addr) &&
	    !addr_is_set(&n->pool[VIP_V6].range.addr))
		texts_add(&s->errors, "no VIP: %s", n->reason);
	return r;
}

struct row { /* what a service's row holds and settling may change */
	struct addr vip[VIP_FAMILY_COUNT];
	char scheduler_wanted[OPTIONS_SCHEDULER_SIZE];
	bool dnsrr;
	uint64_t unused;
};

static struct row row_of(const struct model_service *s)
{
	struct row row = {.dnsrr = s->dnsrr, .unused = s->unused};

	memcpy(row.vip, s->vip, sizeof(row.vip));
	memcpy(row.scheduler_wanted, s->scheduler_wanted, sizeof(row.scheduler_wanted));
	return row;
}

static bool row_equal(const struct row *a, const struct row *b)
{
	return a->dnsrr == b->dnsrr && a->unused == b->unused &&
	       addr_equal(&a->vip[VIP_V4], &b->vip[VIP_V4]) &&
	       addr_equal(&a->vip[VIP_V6], &b->vip[VIP_V6]) &&
	       !strcmp(a->scheduler_wanted, b->scheduler_wanted);
}

/* Everything but the view. */
static int decide(struct model *m, const struct settle_config *config,
		  struct model_service *s)
{
	const struct model_endpoint *ep = newest(s);
	const struct options *wish = ep ? &ep->parsed : NULL;
	int r;

	if (wish)
		s->dnsrr = wish->dnsrr;
	settle_scheduler(config, s, wish);
	r = settle_vips(m, s);
	if (s->count > LB_BACKENDS_MAX)
		texts_add(&s->errors, "more than %u backends: the others get no traffic",
			  LB_BACKENDS_MAX);
	if (!wish && !s->unused) {
		model_service_set_unused(s, ++m->sequence);
		for (unsigned int i = 0; i < VIP_FAMILY_COUNT; i++)
			wake_starved(m, s->network, i, &s->vip[i]);
	}
	return r;
}

static int settle_service(struct model *m, const struct settle_config *config,
			  struct model_service *s)
{
	struct row before = row_of(s);
	struct texts errors_before = s->errors;
	struct row after;
	int r;

	s->errors = (struct texts){0};
	r = decide(m, config, s);
	if (!config->quiet) {
		char where[WHERE_SIZE];

		(void)snprintf(where, sizeof(where), "net=%.12s svc=%s", s->key.network,
			       s->key.name);
		log_new(&s->errors, &errors_before, where);
	}
	texts_fini(&errors_before);
	after = row_of(s);
	if (!row_equal(&before, &after))
		model_service_changed(m, s, MODEL_PENDING_ROW);
	if (r < 0)
		return r;
	if (s->count == 0 && !has_vip(s)) {
		model_service_del(m, s);
		return 0;
	}
	/* It is the last in the list, so it is not forgotten itself. */
	while (after.unused && !before.unused &&
	       s->network->unused_count > REGISTRY_KEPT_MAX)
		forget_service(m, TAILQ_FIRST(&s->network->unused));
	lb_view_put(s->next);
	s->next = view_build(s);
	return s->next ? 0 : -ENOMEM;
}

static bool is_due(const struct model_service *s)
{
	return s->pending & MODEL_PENDING_SETTLE && !(s->pending & MODEL_PENDING_GONE);
}

/* Settles the waiting ones with or without backends; *found: there were any. */
static int settle_some(struct model *m, const struct settle_config *config, bool empty,
		       bool *found, struct err *e)
{
	struct model_service *s;
	int r;

	/* Services that are removed or woken meanwhile go to the end of this list. */
	TAILQ_FOREACH (s, &m->changed_services, changed) {
		if (!is_due(s) || empty != (s->count == 0))
			continue;
		*found = true;
		s->pending &= ~(unsigned int)MODEL_PENDING_SETTLE;
		s->pending |= MODEL_PENDING_TELL;
		r = settle_service(m, config, s);
		if (r < 0) {
			s->pending |= MODEL_PENDING_SETTLE;
			return err_sys(e, r, "service %s", s->key.name);
		}
	}
	return 0;
}

int settle(struct model *m, const struct settle_config *config, struct err *e)
{
	int r = settle_endpoints(m, config, e);
	bool found = true;

	/* The empty ones first: others may need their VIPs. It ends, since a service is
	 * woken only when one became empty or moved to the VIP that it asks for. */
	while (r == 0 && found) {
		found = false;
		r = settle_some(m, config, true, &found, e);
		if (r == 0)
			r = settle_some(m, config, false, &found, e);
	}
	return r;
}
