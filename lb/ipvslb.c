// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The IPVS balancer: the map of VIPs gives a packet its service's firewall mark, and
 * IPVS has a service per mark and family. A namespace's services with marks from
 * LB_MARK_FIRST on are ours. A task that is its own backend needs a local route of the
 * VIP, with its own address as source, for the packets that come back to it; which
 * routes are ours is noted in the sets "local4" and "local6".
 */
#include "driver/kern/link.h"
#include "driver/kern/ns.h"
#include "lb/balancer.h"
#include "lb/ipvs.h"
#include "lb/nftcommon.h"
#include "plugin/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "ipvs"
#include "plugin/base/log.h"

#define PRIORITY_MARK -150 /* before any translation of addresses */
#define SET_LOCAL     2	   /* index of "local4" in the sets */

/* A connection that is silent for longer is forgotten. IPVS begins with 900 s, less
 * than TCP's keepalive of two hours. */
#define TCP_TIMEOUT_S 86400

struct ipvslb {
	struct nftcommon common; /* first */
	int nsfd;
	struct ipvs_sock *ipvs;
	struct link_sock *link; /* in a task */
};

static struct ipvslb *lb_of(struct balancer *b)
{
	return CONTAINER_OF(b, struct ipvslb, common.balancer);
}

static struct nft_value value_of_mark(uint32_t mark, unsigned int index, char *buf)
{
	(void)index;
	(void)buf;
	return (struct nft_value){.type = NFT_TYPE_MARK, .number = mark};
}

static uint32_t mark_of_value(const struct nft_value *value)
{
	return value->number;
}

static void append_mark_rule(struct nft_batch *b, uint8_t family, const char *map)
{
	nft_match_l4_ports(b);
	nft_act_mark_from_daddr(b, family, map);
}

static const struct nftcommon_spec spec = {
	.chain = "mark",
	.foreign_chain = "balance",
	.type = NFT_CHAIN_TYPE_FILTER,
	.priority_task = PRIORITY_MARK,
	.priority_sandbox = PRIORITY_MARK,
	.sets = {{.name = "mark4", .key = NFT_TYPE_IPV4, .value = NFT_TYPE_MARK},
		 {.name = "mark6", .key = NFT_TYPE_IPV6, .value = NFT_TYPE_MARK},
		 {.name = "local4", .key = NFT_TYPE_IPV4},
		 {.name = "local6", .key = NFT_TYPE_IPV6}},
	.set_count = 4,
	.rule = append_mark_rule,
	.value = value_of_mark,
	.mark = mark_of_value,
};

/* --- the namespace's settings --- */

static const struct ns_sysctl settings[] = {
	{.key = "net/ipv4/vs/conntrack", .value = "1"},
	{.key = "net/ipv4/vs/expire_nodest_conn", .value = "1"},
	{.key = "net/ipv4/vs/expire_quiescent_template", .value = "1"},
	{.key = "net/ipv4/vs/conn_reuse_mode", .value = "0"},
};

static int apply_settings(struct ipvslb *l, unsigned int *repairs, struct err *e)
{
	uint32_t timeout;
	int r;

	for (unsigned int i = 0; i < ARRAY_SIZE(settings); i++) {
		char value[16];

		r = ns_sysctl_get(l->nsfd, settings[i].key, value, sizeof(value), e);
		if (r == 0 && strcmp(value, settings[i].value) != 0) {
			r = ns_sysctl_set(l->nsfd, &settings[i], 1, e);
			(*repairs)++;
		}
		if (r < 0)
			return r;
	}
	r = ipvs_timeout_get(l->ipvs, &timeout, e);
	if (r == 0 && timeout != TCP_TIMEOUT_S) {
		r = ipvs_timeout_set(l->ipvs, TCP_TIMEOUT_S, e);
		(*repairs)++;
	}
	return r;
}

/* --- services and destinations --- */

/*
 * Bit 1 << scheduler: the kernel said that it has none such. Its services run with rr,
 * so that one service's wish does not stop a whole namespace.
 */
static uint32_t missing_schedulers;

static enum lb_scheduler effective_scheduler(const struct lb_view *v)
{
	return missing_schedulers & 1U << v->scheduler ? LB_SCHEDULER_RR : v->scheduler;
}

static struct ipvs_service service_of(const struct lb_view *v, uint8_t family)
{
	struct ipvs_service svc = {.family = family, .mark = v->mark};

	(void)snprintf(svc.scheduler, sizeof(svc.scheduler), "%s",
		       lb_scheduler_name(effective_scheduler(v)));
	return svc;
}

/* Adds the service or changes it, with rr where the kernel has no such scheduler. */
static int put_service(struct ipvslb *l, const struct lb_view *v, uint8_t family,
		       bool exists, struct err *e)
{
	int (*put)(struct ipvs_sock *, const struct ipvs_service *, struct err *) =
		exists ? ipvs_service_set : ipvs_service_add;
	struct ipvs_service svc = service_of(v, family);
	int r = put(l->ipvs, &svc, e);

	if (r != -ENOENT || effective_scheduler(v) == LB_SCHEDULER_RR)
		return r;
	missing_schedulers |= 1U << v->scheduler;
	log_warning("the kernel has no scheduler %s, using rr svc=%s", svc.scheduler,
		    v->name);
	svc = service_of(v, family);
	return put(l->ipvs, &svc, e);
}

struct dest_change {
	struct ipvslb *l;
	uint32_t mark;
	const struct addr *vip;
	struct nftcommon_gone *gone; /* takes what was removed, or NULL */
	unsigned int *repairs;	     /* or NULL */
	struct err *err;
};

static int change_dest(void *ctx, const struct addrlist_item *old,
		       const struct addrlist_item *new_item)
{
	struct dest_change *c = ctx;
	struct ipvs_sock *s = c->l->ipvs;
	int r;

	if (c->repairs)
		(*c->repairs)++;
	if (new_item)
		return (old ? ipvs_dest_set : ipvs_dest_add)(s, c->mark, &new_item->addr,
							     new_item->number, c->err);
	r = ipvs_dest_del(s, c->mark, &old->addr, c->err);
	if (r == 0 && c->gone)
		r = nftcommon_gone_add(c->gone, c->vip, &old->addr);
	return r;
}

/* The destinations go from those of old (NULL: none) to those of v. */
static int change_dests(struct ipvslb *l, const struct lb_view *old,
			const struct lb_view *v, uint8_t family, struct err *e)
{
	struct dest_change change = {.l = l, .mark = v->mark, .err = e};
	struct addrlist before = {0};
	struct addrlist after = {0};
	int r;

	r = addrlist_add_backends(&before, old, family);
	if (r == 0)
		r = addrlist_add_backends(&after, v, family);
	if (r < 0)
		(void)err_sys(e, r, "backends of service %s", v->name);
	else
		r = addrlist_diff(&before, &after, change_dest, &change);
	addrlist_fini(&before);
	addrlist_fini(&after);
	return r;
}

static int add_service(struct ipvslb *l, const struct lb_view *v, uint8_t family,
		       struct err *e)
{
	int r = put_service(l, v, family, false, e);

	return r < 0 ? r : change_dests(l, NULL, v, family, e);
}

static int update_service(struct ipvslb *l, const struct lb_view *old,
			  const struct lb_view *new_view, uint8_t family, struct err *e)
{
	bool was = addrlist_vip(old, family) != NULL;
	bool is = addrlist_vip(new_view, family) != NULL;
	int r = 0;

	if (was && is && old->mark == new_view->mark) {
		if (old->scheduler != new_view->scheduler)
			r = put_service(l, new_view, family, true, e);
		return r < 0 ? r : change_dests(l, old, new_view, family, e);
	}
	if (is)
		r = add_service(l, new_view, family, e);
	if (r == 0 && was)
		r = ipvs_service_del(l->ipvs, family, old->mark, e);
	return r;
}

/* --- the local route of a task that is its own backend --- */

/* The task's own address if the view has a VIP and the address is a backend of it. */
static const struct addr *own_backend(const struct ipvslb *l,
				      const struct balancer_self *self,
				      const struct lb_view *v, uint8_t family)
{
	const struct addr *own = family == AF_INET ? &self->addr4 : &self->addr6;

	if (l->common.role != BALANCER_ROLE_TASK || !addr_is_set(own) ||
	    !addrlist_vip(v, family))
		return NULL;
	for (unsigned int i = 0; i < v->count; i++) {
		const struct lb_backend *b = &v->backends[i];

		if (addr_equal(family == AF_INET ? &b->addr4 : &b->addr6, own))
			return own;
	}
	return NULL;
}

static struct link_route route_of(const struct addr *vip, const struct addr *own)
{
	struct link_route route = {
		.dst = {.addr = *vip, .prefix = (uint8_t)addr_bits(vip)},
		.dev = "lo",
		.local = true,
	};

	if (own)
		route.src = *own;
	return route;
}

static int set_route(struct ipvslb *l, const struct addr *vip, const struct addr *own,
		     struct err *e)
{
	struct link_route route = route_of(vip, own);

	return link_route_set(l->link, &route, e);
}

static int del_route(struct ipvslb *l, const struct addr *vip, struct err *e)
{
	struct link_route route = route_of(vip, NULL);

	return link_route_del(l->link, &route, e);
}

static void append_local(struct nft_batch *b, unsigned int index, const struct addr *vip,
			 bool add)
{
	const struct nft_set *set = &spec.sets[SET_LOCAL + index];
	struct nft_value key = {.type = set->key, .addr = *vip};

	if (add)
		nft_elem_add(b, set, &key, NULL);
	else
		nft_elem_del(b, set, &key);
}

/* --- update --- */

static bool vip_moves(const struct lb_view *a, const struct lb_view *b, uint8_t family)
{
	const struct addr *x = addrlist_vip(a, family);
	const struct addr *y = addrlist_vip(b, family);

	return !x || !y || !addr_equal(x, y);
}

static void append_update(struct ipvslb *l, struct nft_batch *b, unsigned int index,
			  const struct lb_view *old, const struct lb_view *new_view)
{
	uint8_t family = nftcommon_family[index];
	const struct addr *was = addrlist_vip(old, family);
	const struct addr *is = addrlist_vip(new_view, family);

	if (!vip_moves(old, new_view, family) && old->mark == new_view->mark)
		return;
	if (was)
		nftcommon_remove_vip(&l->common, b, index, was);
	if (is)
		nftcommon_append_vip(&l->common, b, index, is, new_view->mark);
}

/*
 * The order keeps every moment sound: a route before the destination that needs it, a
 * service before its mark; a marked packet without a service goes on unchanged.
 */
static int update_family(struct ipvslb *l, struct nft_batch *b,
			 const struct balancer_self *self, unsigned int index,
			 const struct lb_view *old, const struct lb_view *new_view,
			 struct err *e)
{
	uint8_t family = nftcommon_family[index];
	bool moves = vip_moves(old, new_view, family);
	const struct addr *was = own_backend(l, self, old, family);
	const struct addr *is = own_backend(l, self, new_view, family);
	int r = 0;

	if (is && (!was || moves)) {
		append_local(b, index, addrlist_vip(new_view, family), true);
		r = set_route(l, addrlist_vip(new_view, family), is, e);
	}
	if (r == 0)
		r = update_service(l, old, new_view, family, e);
	if (r == 0 && was && (!is || moves)) {
		append_local(b, index, addrlist_vip(old, family), false);
		r = del_route(l, addrlist_vip(old, family), e);
	}
	append_update(l, b, index, old, new_view);
	return r;
}

static int ipvslb_update(struct balancer *balancer, const struct balancer_self *self,
			 const struct lb_view *old, const struct lb_view *new_view,
			 struct err *e)
{
	struct ipvslb *l = lb_of(balancer);
	struct nftcommon_gone gone = {0};
	struct nft_batch *b = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);
	int r = nftcommon_gone_add_views(&gone, old, new_view);

	if (!b || r < 0)
		r = err_sys(e, -ENOMEM, "table %s", NFT_TABLE);
	for (unsigned int i = 0; r == 0 && i < NFTCOMMON_FAMILIES; i++)
		r = update_family(l, b, self, i, old, new_view, e);
	if (r == 0)
		r = nft_commit(l->common.nft, b, e);
	if (r == 0)
		r = nftcommon_forget(&l->common, &gone, e);
	nft_batch_free(b);
	nftcommon_gone_fini(&gone);
	return r;
}

/* --- what the kernel holds --- */

struct services {
	struct ipvs_service *items;
	unsigned int count;
	unsigned int room;
};

static int keep_service(void *ctx, const struct ipvs_service *svc)
{
	struct services *list = ctx;

	if (svc->mark < LB_MARK_FIRST)
		return 0;
	if (list->count == list->room) {
		unsigned int room = list->room ? list->room * 2 : 16;
		void *items = reallocarray(list->items, room, sizeof(*svc));

		if (!items)
			return -ENOMEM;
		list->items = items;
		list->room = room;
	}
	list->items[list->count++] = *svc;
	return 0;
}

static int compare_service(const void *a, const void *b)
{
	const struct ipvs_service *x = a;
	const struct ipvs_service *y = b;

	if (x->mark != y->mark)
		return x->mark < y->mark ? -1 : 1;
	return x->family - y->family;
}

/* Reads our services, sorted; free ret->items. */
static int read_services(struct ipvslb *l, struct services *ret, struct err *e)
{
	int r = ipvs_service_list(l->ipvs, keep_service, ret, e);

	if (r == 0 && ret->count)
		qsort(ret->items, ret->count, sizeof(*ret->items), compare_service);
	return r;
}

static const struct ipvs_service *find_service(const struct services *list,
					       uint8_t family, uint32_t mark)
{
	struct ipvs_service key = {.family = family, .mark = mark};

	return list->count ? bsearch(&key, list->items, list->count, sizeof(key),
				     compare_service)
			   : NULL;
}

struct dest_reading {
	struct addrlist list;
	bool strange; /* one that we do not make */
};

static int keep_dest(void *ctx, const struct addr *addr, uint32_t weight, bool ours)
{
	struct dest_reading *reading = ctx;

	reading->strange |= !ours;
	return addrlist_add(&reading->list, addr, weight);
}

/* addrlist_fini(&ret->list) in any case. */
static int read_dests(struct ipvslb *l, uint8_t family, uint32_t mark,
		      struct dest_reading *ret, struct err *e)
{
	int r;

	*ret = (struct dest_reading){0};
	r = ipvs_dest_list(l->ipvs, family, mark, keep_dest, ret, e);
	addrlist_sort(&ret->list);
	return r;
}

/* --- sync --- */

/* What one family's sets hold and should hold. */
struct family_sets {
	struct addrlist have_vips;
	struct addrlist want_vips;
	struct addrlist have_local; /* VIPs with a local route */
	struct addrlist want_local;
};

struct sync {
	struct ipvslb *l;
	struct nft_batch *batch;
	const struct balancer_entry *list;
	unsigned int count;
	bool anew; /* replace the table, whatever it looks like */
	bool refused;
	enum nftcommon_state state;
	struct services have;
	struct family_sets sets[NFTCOMMON_FAMILIES];
	struct nftcommon_gone gone;
	unsigned int repairs;
};

static int rebuild_service(struct sync *s, const struct lb_view *v, uint8_t family,
			   bool exists, struct err *e)
{
	int r = exists ? ipvs_service_del(s->l->ipvs, family, v->mark, e) : 0;

	s->repairs++;
	return r < 0 ? r : add_service(s->l, v, family, e);
}

static int repair_dests(struct sync *s, const struct lb_view *v, uint8_t family,
			const struct addrlist *have, struct err *e)
{
	struct dest_change change = {
		.l = s->l,
		.mark = v->mark,
		.vip = addrlist_vip(v, family),
		.gone = &s->gone,
		.repairs = &s->repairs,
		.err = e,
	};
	struct addrlist want = {0};
	int r = addrlist_add_backends(&want, v, family);

	if (r == 0)
		r = addrlist_diff(have, &want, change_dest, &change);
	addrlist_fini(&want);
	return r;
}

static int repair_service(struct sync *s, const struct lb_view *v, uint8_t family,
			  struct err *e)
{
	const struct ipvs_service *have = find_service(&s->have, family, v->mark);
	struct ipvs_service want = service_of(v, family);
	struct dest_reading dests;
	int r = 0;

	if (!have)
		return rebuild_service(s, v, family, false, e);
	if (strcmp(have->scheduler, want.scheduler) != 0 || have->flags != want.flags) {
		r = put_service(s->l, v, family, true, e);
		s->repairs++;
	}
	if (r < 0)
		return r;
	r = read_dests(s->l, family, v->mark, &dests, e);
	if (r == 0)
		r = dests.strange ? rebuild_service(s, v, family, true, e)
				  : repair_dests(s, v, family, &dests.list, e);
	addrlist_fini(&dests.list);
	return r;
}

static int repair_services(struct sync *s, struct err *e)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < s->count * NFTCOMMON_FAMILIES; i++) {
		const struct lb_view *v = s->list[i / NFTCOMMON_FAMILIES].view;
		uint8_t family = nftcommon_family[i % NFTCOMMON_FAMILIES];

		if (addrlist_vip(v, family))
			r = repair_service(s, v, family, e);
	}
	return r;
}

static bool service_is_wanted(const struct sync *s, const struct ipvs_service *svc)
{
	const struct addrlist *want = &s->sets[svc->family == AF_INET ? 0 : 1].want_vips;

	for (unsigned int i = 0; i < want->count; i++) {
		if (want->items[i].number == svc->mark)
			return true;
	}
	return false;
}

static int remove_stale_services(struct sync *s, struct err *e)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < s->have.count; i++) {
		const struct ipvs_service *svc = &s->have.items[i];

		if (service_is_wanted(s, svc))
			continue;
		r = ipvs_service_del(s->l->ipvs, svc->family, svc->mark, e);
		s->repairs++;
	}
	return r;
}

/* The wanted local routes, each set: what they look like now is not known. */
static int set_routes(struct sync *s, unsigned int index, struct err *e)
{
	uint8_t family = nftcommon_family[index];
	struct addrlist *want = &s->sets[index].want_local;
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < s->count; i++) {
		const struct balancer_entry *entry = &s->list[i];
		const struct addr *vip = addrlist_vip(entry->view, family);
		const struct addr *own =
			own_backend(s->l, &entry->self, entry->view, family);

		if (!own)
			continue;
		r = addrlist_add(want, vip, 0);
		if (r == 0)
			r = set_route(s->l, vip, own, e);
	}
	addrlist_sort(want);
	return r;
}

/* The connections of VIPs that are not wanted as they are. */
static int find_gone(struct sync *s, unsigned int index, struct err *e)
{
	const struct family_sets *sets = &s->sets[index];
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < sets->have_vips.count; i++) {
		const struct addrlist_item *vip = &sets->have_vips.items[i];
		const struct addrlist_item *same =
			addrlist_find(&sets->want_vips, &vip->addr);
		struct dest_reading dests;

		if (same && same->number == vip->number)
			continue;
		r = read_dests(s->l, nftcommon_family[index], vip->number, &dests, e);
		for (unsigned int k = 0; r == 0 && k < dests.list.count; k++)
			r = nftcommon_gone_add(&s->gone, &vip->addr,
					       &dests.list.items[k].addr);
		addrlist_fini(&dests.list);
	}
	return r;
}

static int read_family(struct sync *s, unsigned int index, struct err *e)
{
	struct family_sets *sets = &s->sets[index];
	int r = nftcommon_wanted_vips(s->list, s->count, index, &sets->want_vips);

	if (r < 0 || s->state == NFTCOMMON_STATE_NONE)
		return r;
	r = nftcommon_read_set(&s->l->common, index, &sets->have_vips, e);
	if (r == 0)
		r = nftcommon_read_set(&s->l->common, SET_LOCAL + index,
				       &sets->have_local, e);
	if (r == 0)
		r = find_gone(s, index, e);
	return r;
}

struct local_diff {
	struct sync *s;
	unsigned int index;
	struct err *err;
};

static int local_route_differs(void *ctx, const struct addrlist_item *old,
			       const struct addrlist_item *new_item)
{
	struct local_diff *d = ctx;

	(void)new_item; /* was set before */
	d->s->repairs++;
	return old ? del_route(d->s->l, &old->addr, d->err) : 0;
}

static int local_set_differs(void *ctx, const struct addrlist_item *old,
			     const struct addrlist_item *new_item)
{
	struct local_diff *d = ctx;

	append_local(d->s->batch, d->index, new_item ? &new_item->addr : &old->addr,
		     new_item != NULL);
	return 0;
}

/* After the services: routes that go, then the elements of all sets. */
static int sync_sets(struct sync *s, unsigned int index, struct err *e)
{
	static const struct addrlist none = {0};
	bool whole = s->state == NFTCOMMON_STATE_WHOLE;
	struct family_sets *sets = &s->sets[index];
	struct local_diff d = {s, index, e};
	int r;

	r = addrlist_diff(&sets->have_local, &sets->want_local, local_route_differs, &d);
	if (r == 0)
		r = addrlist_diff(whole ? &sets->have_local : &none, &sets->want_local,
				  local_set_differs, &d);
	if (r == 0)
		r = nftcommon_append_vip_diff(&s->l->common, s->batch, index,
					      whole ? &sets->have_vips : &none,
					      &sets->want_vips, &s->repairs);
	return r;
}

static int sync_read(struct sync *s, struct err *e)
{
	int r = apply_settings(s->l, &s->repairs, e);

	if (r == 0)
		r = nftcommon_state(&s->l->common, e);
	if (r < 0)
		return r;
	s->state = (enum nftcommon_state)r;
	if (s->anew && s->state == NFTCOMMON_STATE_WHOLE)
		s->state = NFTCOMMON_STATE_BROKEN;
	if (s->state != NFTCOMMON_STATE_WHOLE) {
		nftcommon_append_frame(&s->l->common, s->batch);
		s->repairs++;
	}
	r = read_services(s->l, &s->have, e);
	for (unsigned int i = 0; r == 0 && i < NFTCOMMON_FAMILIES; i++)
		r = read_family(s, i, e);
	return r;
}

/* In the order of update_family. */
static int sync_apply(struct sync *s, struct err *e)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < NFTCOMMON_FAMILIES; i++)
		r = set_routes(s, i, e);
	if (r == 0)
		r = repair_services(s, e);
	if (r == 0)
		r = remove_stale_services(s, e);
	for (unsigned int i = 0; r == 0 && i < NFTCOMMON_FAMILIES; i++)
		r = sync_sets(s, i, e);
	if (r == 0) {
		r = nft_commit(s->l->common.nft, s->batch, e);
		s->refused = r < 0;
	}
	if (r == 0)
		r = nftcommon_forget(&s->l->common, &s->gone, e);
	return r;
}

static void sync_fini(struct sync *s)
{
	for (unsigned int i = 0; i < NFTCOMMON_FAMILIES; i++) {
		addrlist_fini(&s->sets[i].have_vips);
		addrlist_fini(&s->sets[i].want_vips);
		addrlist_fini(&s->sets[i].have_local);
		addrlist_fini(&s->sets[i].want_local);
	}
	nftcommon_gone_fini(&s->gone);
	free(s->have.items);
	nft_batch_free(s->batch);
}

static int sync_once(struct sync *s, struct err *e)
{
	int r = -ENOMEM;

	s->batch = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);
	if (s->batch)
		r = sync_read(s, e);
	if (r == 0)
		r = sync_apply(s, e);
	sync_fini(s);
	if (r < 0 && !e->code)
		(void)err_sys(e, r, "IPVS balancer");
	return r;
}

static int ipvslb_sync(struct balancer *balancer, const struct balancer_entry *list,
		       unsigned int count, unsigned int *ret_repairs, struct err *e)
{
	struct sync s = {.l = lb_of(balancer), .list = list, .count = count};
	struct err inner = {0};
	int r = sync_once(&s, &inner);

	/* There is something in the way that we did not look for. */
	if (r < 0 && s.refused) {
		s = (struct sync){.l = s.l, .list = list, .count = count, .anew = true};
		inner = (struct err){0};
		r = sync_once(&s, &inner);
	}
	if (r < 0)
		return err_set(e, r, "%s", inner.text);
	if (ret_repairs)
		*ret_repairs = s.repairs;
	return 0;
}

/* --- the rest of the interface --- */

static int ipvslb_probe(struct err *e)
{
	struct ipvs_sock *s = NULL;
	int r = ipvs_open(-1, &s, e);

	ipvs_close(s);
	return r < 0 ? r : nftcommon_probe(&spec, NULL, e);
}

static void ipvslb_close(struct balancer *balancer)
{
	struct ipvslb *l = lb_of(balancer);

	ipvs_close(l->ipvs);
	if (l->link)
		link_close(l->link);
	nftcommon_fini(&l->common);
	mem_cleanup_close(&l->nsfd);
	free(l);
}

static int open_sockets(struct ipvslb *l, int nsfd, const struct cidr *subnets,
			unsigned int subnet_count, enum balancer_role role, struct err *e)
{
	int r;

	/* The settings have no socket that could stay open. */
	l->nsfd = fcntl(nsfd, F_DUPFD_CLOEXEC, 0);
	if (l->nsfd < 0)
		return err_sys(e, -errno, "IPVS balancer");
	r = ipvs_open(nsfd, &l->ipvs, e);
	if (r == 0)
		r = nftcommon_init(&l->common, &spec, nsfd, role, subnets, subnet_count,
				   e);
	if (r == 0 && role == BALANCER_ROLE_TASK)
		r = link_open(nsfd, &l->link, e);
	return r;
}

static int ipvslb_open(int nsfd, enum balancer_role role, const struct cidr *subnets,
		       unsigned int subnet_count, struct balancer **ret, struct err *e)
{
	struct ipvslb *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return err_sys(e, -ENOMEM, "IPVS balancer");
	l->common.balancer.ops = &balancer_ipvs;
	r = open_sockets(l, nsfd, subnets, subnet_count, role, e);
	if (r < 0) {
		ipvslb_close(&l->common.balancer);
		return r;
	}
	*ret = &l->common.balancer;
	return 0;
}

static int clear_routes(struct ipvslb *l, unsigned int index, struct err *e)
{
	struct addrlist local = {0};
	int r = nftcommon_read_set(&l->common, SET_LOCAL + index, &local, e);

	for (unsigned int i = 0; r == 0 && l->link && i < local.count; i++)
		r = del_route(l, &local.items[i].addr, e);
	addrlist_fini(&local);
	return r;
}

static int clear_services(struct ipvslb *l, struct err *e)
{
	struct services list = {0};
	int r = read_services(l, &list, e);

	for (unsigned int i = 0; r == 0 && i < list.count; i++)
		r = ipvs_service_del(l->ipvs, list.items[i].family, list.items[i].mark,
				     e);
	free(list.items);
	return r;
}

static int ipvslb_clear(struct balancer *balancer, struct err *e)
{
	struct ipvslb *l = lb_of(balancer);
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < NFTCOMMON_FAMILIES; i++)
		r = clear_routes(l, i, e);
	if (r == 0)
		r = clear_services(l, e);
	return r < 0 ? r : nftcommon_clear(&l->common, e);
}

const struct balancer_ops balancer_ipvs = {
	.name = "ipvs",
	.schedulers = (1U << LB_SCHEDULER_COUNT) - 1U - (1U << LB_SCHEDULER_RANDOM),
	.probe = ipvslb_probe,
	.open = ipvslb_open,
	.close = ipvslb_close,
	.sync = ipvslb_sync,
	.update = ipvslb_update,
	.clear = ipvslb_clear,
	.count = nftcommon_count,
};
