// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The IPVS balancer: the map of VIPs gives a packet its service's firewall mark, and
 * IPVS has a service per mark and family. A namespace's services with marks from
 * LB_MARK_FIRST on are ours. A task that is its own backend needs a local route of the
 * VIP, with its own address as source, for the packets that come back to it; which
 * routes are ours is noted in the sets "local4" and "local6".
 */
#include "lb/ipvslb.h"

#include "driver/kern/link.h"
#include "plugin/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#define LOG_MODULE "ipvs"
#include "plugin/base/log.h"

#define PRIORITY_MARK -150 /* before any translation of addresses */

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

/*
 * IPVS needs the mark only to choose a backend: it knows the later packets of a
 * connection by its addresses and ports, and a TCP packet that it does not know and that
 * begins none is of no use to it. (UDP has no beginning: a flow goes on after its backend
 * has gone, and gets another.)
 */
static void append_skip(struct nft_batch *b)
{
	nft_match_ct_established(b);
	nft_match_l4proto(b, IPPROTO_TCP);
}

static void append_mark_rule(struct nft_batch *b, uint8_t family, const char *map)
{
	nft_match_family(b, family);
	nft_match_l4_ports(b);
	nft_act_mark_from_daddr(b, family, map);
}

/* --- counting --- */

struct census {
	struct conntrack_count **sorted;
	size_t count;
};

static int compare_counts(const void *a, const void *b)
{
	const struct conntrack_count *x = *(struct conntrack_count *const *)a;
	const struct conntrack_count *y = *(struct conntrack_count *const *)b;
	int r = memcmp(&x->vip, &y->vip, sizeof(x->vip));

	return r ? r : memcmp(&x->backend, &y->backend, sizeof(x->backend));
}

static int count_conn(void *ctx, const struct ipvs_conn *conn)
{
	const struct census *census = ctx;
	struct conntrack_count wanted = {.vip = conn->vip, .backend = conn->backend};
	struct conntrack_count *key = &wanted;
	struct conntrack_count **found;

	if (!conn->established)
		return 0;
	found = bsearch(&key, census->sorted, census->count, sizeof(key), compare_counts);
	if (found)
		(*found)->active++;
	return 0;
}

/* Not by connection tracking: a task may have none, and a destination's own counter
 * knows nothing of UDP. */
static int count_conns(struct nftcommon *c, struct conntrack_count *list,
		       unsigned int count, struct err *e)
{
	struct ipvslb *l = CONTAINER_OF(c, struct ipvslb, common);
	auto_free struct conntrack_count **sorted = NULL;
	struct census census = {.count = count};

	if (!count)
		return 0;
	sorted = reallocarray(NULL, count, sizeof(struct conntrack_count *));
	if (!sorted)
		return err_sys(e, -ENOMEM, "connections of IPVS");
	for (unsigned int i = 0; i < count; i++)
		sorted[i] = &list[i];
	qsort(sorted, count, sizeof(*sorted), compare_counts);
	census.sorted = sorted;
	return ipvs_conn_list(l->nsfd, count_conn, &census, e);
}

const struct nftcommon_spec ipvslb_spec = {
	.chain = "marks",
	.foreign_chain = "balance",
	.type = NFT_CHAIN_TYPE_FILTER,
	.priority_task = PRIORITY_MARK,
	.priority_sandbox = PRIORITY_MARK,
	.sets = {{.name = "mark4", .key = NFT_TYPE_IPV4, .value = NFT_TYPE_MARK},
		 {.name = "mark6", .key = NFT_TYPE_IPV6, .value = NFT_TYPE_MARK},
		 {.name = "local4", .key = NFT_TYPE_IPV4},
		 {.name = "local6", .key = NFT_TYPE_IPV6}},
	.set_count = 4,
	.skip = append_skip,
	.rule = append_mark_rule,
	.value = value_of_mark,
	.mark = mark_of_value,
	.count = count_conns,
};

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

struct ipvs_service ipvslb_service_of(const struct lb_view *v, uint8_t family)
{
	struct ipvs_service svc = {.family = family, .mark = v->mark};

	(void)snprintf(svc.scheduler, sizeof(svc.scheduler), "%s",
		       lb_scheduler_name(effective_scheduler(v)));
	return svc;
}

/* Adds the service or changes it, with rr where the kernel has no such scheduler. */
int ipvslb_put_service(struct ipvslb *l, const struct lb_view *v, uint8_t family,
		       bool exists, struct err *e)
{
	int (*put)(struct ipvs_sock *, const struct ipvs_service *, struct err *) =
		exists ? ipvs_service_set : ipvs_service_add;
	struct ipvs_service svc = ipvslb_service_of(v, family);
	int r = put(l->ipvs, &svc, e);

	if (r != -ENOENT || effective_scheduler(v) == LB_SCHEDULER_RR)
		return r;
	missing_schedulers |= 1U << v->scheduler;
	log_warning("the kernel has no scheduler %s, using rr svc=%s", svc.scheduler,
		    v->name);
	svc = ipvslb_service_of(v, family);
	return put(l->ipvs, &svc, e);
}

int ipvslb_change_dest(void *ctx, const struct addrlist_item *old,
		       const struct addrlist_item *new_item)
{
	struct ipvslb_dest_change *c = ctx;
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
	struct ipvslb_dest_change change = {.l = l, .mark = v->mark, .err = e};
	struct addrlist before = {0};
	struct addrlist after = {0};
	int r;

	r = addrlist_add_backends(&before, old, family);
	if (r == 0)
		r = addrlist_add_backends(&after, v, family);
	if (r < 0)
		(void)err_sys(e, r, "backends of service %s", v->name);
	else
		r = addrlist_diff(&before, &after, ipvslb_change_dest, &change);
	addrlist_fini(&before);
	addrlist_fini(&after);
	return r;
}

int ipvslb_add_service(struct ipvslb *l, const struct lb_view *v, uint8_t family,
		       struct err *e)
{
	int r = ipvslb_put_service(l, v, family, false, e);

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
			r = ipvslb_put_service(l, new_view, family, true, e);
		return r < 0 ? r : change_dests(l, old, new_view, family, e);
	}
	if (is)
		r = ipvslb_add_service(l, new_view, family, e);
	if (r == 0 && was)
		r = ipvs_service_del(l->ipvs, family, old->mark, e);
	return r;
}

/* --- the local route of a task that is its own backend --- */

/* The task's own address if the view has a VIP and the address is a backend of it. */
const struct addr *ipvslb_own_backend(const struct ipvslb *l,
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

int ipvslb_set_route(struct ipvslb *l, const struct addr *vip, const struct addr *own,
		     struct err *e)
{
	struct link_route route = route_of(vip, own);

	return link_route_set(l->link, &route, e);
}

int ipvslb_del_route(struct ipvslb *l, const struct addr *vip, struct err *e)
{
	struct link_route route = route_of(vip, NULL);

	return link_route_del(l->link, &route, e);
}

void ipvslb_append_local(struct nft_batch *b, unsigned int index, const struct addr *vip,
			 bool add)
{
	const struct nft_set *set = &ipvslb_spec.sets[IPVSLB_SET_LOCAL + index];
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

struct transition {
	const struct balancer_self *self;
	const struct lb_view *old; /* or NULL */
	const struct lb_view *new_view;
};

static void append_update(struct ipvslb *l, struct nft_batch *b, unsigned int index,
			  const struct transition *t)
{
	uint8_t family = nftcommon_family[index];
	const struct addr *was = addrlist_vip(t->old, family);
	const struct addr *is = addrlist_vip(t->new_view, family);

	if (!vip_moves(t->old, t->new_view, family) && t->old->mark == t->new_view->mark)
		return;
	if (was)
		nftcommon_remove_vip(&l->common, b, index, was);
	if (is)
		nftcommon_append_vip(&l->common, b, index, is, t->new_view->mark);
}

/*
 * The order keeps every moment sound: a route before the destination that needs it, a
 * service before its mark; a marked packet without a service goes on unchanged.
 */
static int update_family(struct ipvslb *l, struct nft_batch *b, unsigned int index,
			 const struct transition *t, struct err *e)
{
	uint8_t family = nftcommon_family[index];
	bool moves = vip_moves(t->old, t->new_view, family);
	const struct addr *was = ipvslb_own_backend(l, t->self, t->old, family);
	const struct addr *is = ipvslb_own_backend(l, t->self, t->new_view, family);
	int r = 0;

	if (is && (!was || moves)) {
		const struct addr *vip = addrlist_vip(t->new_view, family);

		ipvslb_append_local(b, index, vip, true);
		r = ipvslb_set_route(l, vip, is, e);
	}
	if (r == 0)
		r = update_service(l, t->old, t->new_view, family, e);
	if (r == 0 && was && (!is || moves)) {
		const struct addr *vip = addrlist_vip(t->old, family);

		ipvslb_append_local(b, index, vip, false);
		r = ipvslb_del_route(l, vip, e);
	}
	append_update(l, b, index, t);
	return r;
}

static int ipvslb_update(struct balancer *balancer, const struct balancer_self *self,
			 const struct lb_view *old, const struct lb_view *new_view,
			 struct err *e)
{
	struct transition t = {self, old, new_view};
	struct ipvslb *l = ipvslb_of(balancer);
	struct nftcommon_gone gone = {0};
	struct nft_batch *b = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);
	int r = nftcommon_gone_add_views(&gone, old, new_view);

	if (!b || r < 0)
		r = err_sys(e, -ENOMEM, "table %s", NFT_TABLE);
	for (unsigned int i = 0; r == 0 && i < NFTCOMMON_FAMILIES; i++)
		r = update_family(l, b, i, &t, e);
	if (r == 0)
		r = nft_commit(l->common.nft, b, e);
	if (r == 0)
		r = nftcommon_forget(&l->common, &gone, e);
	nft_batch_free(b);
	nftcommon_gone_fini(&gone);
	return r;
}

/* --- the rest of the interface --- */

static int ipvslb_probe(struct err *e)
{
	struct ipvs_sock *s = NULL;
	int r = ipvs_open(-1, &s, e);

	ipvs_close(s);
	return r < 0 ? r : nftcommon_probe(&ipvslb_spec, NULL, e);
}

static void ipvslb_close(struct balancer *balancer)
{
	struct ipvslb *l = ipvslb_of(balancer);

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
		r = nftcommon_init(&l->common, nsfd, role, subnets, subnet_count, e);
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
	l->common.spec = &ipvslb_spec;
	r = open_sockets(l, nsfd, subnets, subnet_count, role, e);
	if (r < 0) {
		ipvslb_close(&l->common.balancer);
		return r;
	}
	*ret = &l->common.balancer;
	return 0;
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
