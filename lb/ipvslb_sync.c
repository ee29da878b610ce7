// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The IPVS balancer, looking into the kernel: settings, services, destinations, sets
 * and local routes are compared with what is wanted, and the differences removed. Two
 * subsystems take part, so there is no transaction over all; the order of changes is
 * that of an update.
 */
#include "lb/ipvslb.h"

#include "driver/kern/ns.h"
#include "plugin/base/mem.h"

#include <errno.h>
#include <string.h>

/* A connection that is silent for longer is forgotten. IPVS begins with 900 s, less
 * than TCP's keepalive of two hours. */
#define TCP_TIMEOUT_S 86400

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
	return r < 0 ? r : ipvslb_add_service(s->l, v, family, e);
}

static int repair_dests(struct sync *s, const struct lb_view *v, uint8_t family,
			const struct addrlist *have, struct err *e)
{
	struct ipvslb_dest_change change = {
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
		r = addrlist_diff(have, &want, ipvslb_change_dest, &change);
	addrlist_fini(&want);
	return r;
}

static int repair_service(struct sync *s, const struct lb_view *v, uint8_t family,
			  struct err *e)
{
	const struct ipvs_service *have = find_service(&s->have, family, v->mark);
	struct ipvs_service want = ipvslb_service_of(v, family);
	struct dest_reading dests;
	int r = 0;

	if (!have)
		return rebuild_service(s, v, family, false, e);
	if (strcmp(have->scheduler, want.scheduler) != 0 || have->flags != want.flags) {
		r = ipvslb_put_service(s->l, v, family, true, e);
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
			ipvslb_own_backend(s->l, &entry->self, entry->view, family);

		if (!own)
			continue;
		r = addrlist_add(want, vip, 0);
		if (r == 0)
			r = ipvslb_set_route(s->l, vip, own, e);
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
		r = nftcommon_read_set(&s->l->common, IPVSLB_SET_LOCAL + index,
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
	return old ? ipvslb_del_route(d->s->l, &old->addr, d->err) : 0;
}

static int local_set_differs(void *ctx, const struct addrlist_item *old,
			     const struct addrlist_item *new_item)
{
	struct local_diff *d = ctx;

	ipvslb_append_local(d->s->batch, d->index,
			    new_item ? &new_item->addr : &old->addr, new_item != NULL);
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

int ipvslb_sync(struct balancer *balancer, const struct balancer_entry *list,
		unsigned int count, unsigned int *ret_repairs, struct err *e)
{
	struct sync s = {.l = ipvslb_of(balancer), .list = list, .count = count};
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

/* --- clear --- */

static int clear_routes(struct ipvslb *l, unsigned int index, struct err *e)
{
	struct addrlist local = {0};
	int r = nftcommon_read_set(&l->common, IPVSLB_SET_LOCAL + index, &local, e);

	for (unsigned int i = 0; r == 0 && l->link && i < local.count; i++)
		r = ipvslb_del_route(l, &local.items[i].addr, e);
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

int ipvslb_clear(struct balancer *balancer, struct err *e)
{
	struct ipvslb *l = ipvslb_of(balancer);
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < NFTCOMMON_FAMILIES; i++)
		r = clear_routes(l, i, e);
	if (r == 0)
		r = clear_services(l, e);
	return r < 0 ? r : nftcommon_clear(&l->common, e);
}
