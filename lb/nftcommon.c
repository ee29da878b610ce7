// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The frame of table "inet fairlead" and the care for connection tracking, for both
 * balancers. Every rule of the frame carries a comment, which is how a whole frame is
 * told from a damaged one; a damaged one is replaced in one transaction, so that no
 * packet finds a gap.
 */
#include "lb/nftcommon.h"

#include "plugin/base/mem.h"

#include <errno.h>
#include <string.h>

#define BRIDGE		 "br0" /* of every network sandbox */
#define SKIP_COMMENT	 "open"
#define MASQUERADE_CHAIN "masq" /* no keyword of nft: it reads its own listing */
#define PRIORITY_SNAT	 100
#define GONE_ROOM_FIRST	 8

const uint8_t nftcommon_family[NFTCOMMON_FAMILIES] = {AF_INET, AF_INET6};

int nftcommon_init(struct nftcommon *c, int nsfd, enum balancer_role role,
		   const struct cidr *subnets, unsigned int subnet_count, struct err *e)
{
	int r;

	c->role = role;
	if (role == BALANCER_ROLE_SANDBOX && subnet_count) {
		c->subnets = calloc(subnet_count, sizeof(*subnets));
		if (!c->subnets)
			return err_sys(e, -ENOMEM, "balancer");
		for (unsigned int i = 0; i < subnet_count; i++)
			c->subnets[i] = cidr_network(&subnets[i]);
		c->subnet_count = subnet_count;
	}
	r = nft_open(nsfd, &c->nft, e);
	if (r < 0)
		return r;
	return conntrack_open(nsfd, &c->conntrack, e);
}

void nftcommon_fini(struct nftcommon *c)
{
	if (c->conntrack)
		conntrack_close(c->conntrack);
	if (c->nft)
		nft_close(c->nft);
	free(c->subnets);
}

/* --- the frame --- */

static void append_masquerade(const struct nftcommon *c, struct nft_batch *b)
{
	char text[CIDR_TEXT_SIZE];

	nft_chain_add_base(b, MASQUERADE_CHAIN, NFT_CHAIN_TYPE_NAT, NFT_HOOK_POSTROUTING,
			   PRIORITY_SNAT);
	for (unsigned int i = 0; i < c->subnet_count; i++) {
		const struct cidr *subnet = &c->subnets[i];

		nft_rule_begin(b, MASQUERADE_CHAIN, cidr_format(subnet, text));
		nft_match_addr(b, NFT_FIELD_SADDR, subnet, true);
		nft_match_addr(b, NFT_FIELD_DADDR, subnet, true);
		nft_match_oifname(b, BRIDGE, true);
		nft_act_masquerade(b);
		nft_rule_end(b);
	}
}

static void append_frame(const struct nftcommon *c, struct nft_batch *b)
{
	const struct nftcommon_spec *spec = c->spec;
	bool task = c->role == BALANCER_ROLE_TASK;

	nft_table_add(b, false);
	for (unsigned int i = 0; i < spec->set_count; i++)
		nft_set_add(b, &spec->sets[i]);
	nft_chain_add_base(b, spec->chain, spec->type,
			   task ? NFT_HOOK_OUTPUT : NFT_HOOK_PREROUTING,
			   task ? spec->priority_task : spec->priority_sandbox);
	if (spec->skip) {
		nft_rule_begin(b, spec->chain, SKIP_COMMENT);
		spec->skip(b);
		nft_act_accept(b);
		nft_rule_end(b);
	}
	for (unsigned int i = 0; i < NFTCOMMON_FAMILIES; i++) {
		const char *map = spec->sets[i].name;

		nft_rule_begin(b, spec->chain, map);
		spec->rule(b, nftcommon_family[i], map);
		nft_rule_end(b);
	}
	if (!task)
		append_masquerade(c, b);
}

void nftcommon_append_frame(struct nftcommon *c, struct nft_batch *b)
{
	nft_table_del(b);
	append_frame(c, b);
}

int nftcommon_probe(const struct nftcommon_spec *spec, void (*extra)(struct nft_batch *b),
		    struct err *e)
{
	struct cidr subnets[NFTCOMMON_FAMILIES];
	struct nftcommon c = {
		.spec = spec,
		.role = BALANCER_ROLE_SANDBOX,
		.subnets = subnets,
		.subnet_count = ARRAY_SIZE(subnets),
	};
	struct nft_batch *b;
	int r;

	r = cidr_parse("192.0.2.0/24", &subnets[0]);
	if (r == 0)
		r = cidr_parse("2001:db8::/32", &subnets[1]);
	if (r < 0)
		return err_sys(e, r, "probe");
	b = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE "-probe");
	if (!b)
		return err_sys(e, -ENOMEM, "probe");
	append_frame(&c, b);
	if (extra)
		extra(b);
	nft_table_del(b);
	r = nft_open(-1, &c.nft, e);
	if (r == 0)
		r = nft_commit(c.nft, b, e);
	nft_batch_free(b);
	if (c.nft)
		nft_close(c.nft);
	return r;
}

/* Has the chain exactly these many rules? 1, 0 or negative errno. */
static int chain_has_rules(struct nftcommon *c, const char *chain, unsigned int count,
			   struct err *e)
{
	int r = nft_rule_count(c->nft, NFT_TABLE, chain, e);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return (unsigned int)r == count;
}

static int rule_is_there(struct nftcommon *c, const char *chain, const char *comment,
			 struct err *e)
{
	return nft_rule_exists(c->nft, NFT_FAMILY_INET, NFT_TABLE, chain, comment, e);
}

static int balance_is_whole(struct nftcommon *c, struct err *e)
{
	const struct nftcommon_spec *spec = c->spec;
	unsigned int count = NFTCOMMON_FAMILIES + (spec->skip ? 1 : 0);
	int r = chain_has_rules(c, spec->chain, count, e);

	if (r > 0 && spec->skip)
		r = rule_is_there(c, spec->chain, SKIP_COMMENT, e);
	for (unsigned int i = 0; r > 0 && i < NFTCOMMON_FAMILIES; i++)
		r = rule_is_there(c, spec->chain, spec->sets[i].name, e);
	return r;
}

static int masquerade_is_whole(struct nftcommon *c, struct err *e)
{
	char text[CIDR_TEXT_SIZE];
	int r;

	if (c->role == BALANCER_ROLE_TASK)
		return 1;
	r = chain_has_rules(c, MASQUERADE_CHAIN, c->subnet_count, e);
	for (unsigned int i = 0; r > 0 && i < c->subnet_count; i++)
		r = rule_is_there(c, MASQUERADE_CHAIN, cidr_format(&c->subnets[i], text),
				  e);
	return r;
}

static int ignore_element(void *ctx, const struct nft_value *key,
			  const struct nft_value *value)
{
	(void)ctx;
	(void)key;
	(void)value;
	return 0;
}

/* There, and of the right types. */
static int sets_are_whole(struct nftcommon *c, struct err *e)
{
	for (unsigned int i = 0; i < c->spec->set_count; i++) {
		int r = nft_elem_list(c->nft, NFT_TABLE, &c->spec->sets[i],
				      ignore_element, NULL, e);

		if (r < 0)
			return r == -ENOENT || r == -EUCLEAN ? 0 : r;
	}
	return 1;
}

int nftcommon_state(struct nftcommon *c, struct err *e)
{
	const struct nftcommon_spec *spec = c->spec;
	int r = nft_chain_exists(c->nft, NFT_FAMILY_INET, NFT_TABLE, NULL, e);

	if (r <= 0)
		return r < 0 ? r : NFTCOMMON_STATE_NONE;
	r = nft_chain_exists(c->nft, NFT_FAMILY_INET, NFT_TABLE, spec->foreign_chain, e);
	if (r != 0)
		return r < 0 ? r : NFTCOMMON_STATE_BROKEN;
	r = balance_is_whole(c, e);
	if (r > 0)
		r = masquerade_is_whole(c, e);
	if (r > 0)
		r = sets_are_whole(c, e);
	if (r < 0)
		return r;
	return r ? NFTCOMMON_STATE_WHOLE : NFTCOMMON_STATE_BROKEN;
}

int nftcommon_clear(struct nftcommon *c, struct err *e)
{
	struct nft_batch *b = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);
	int r;

	if (!b)
		return err_sys(e, -ENOMEM, "table %s", NFT_TABLE);
	nft_table_del(b);
	r = nft_commit(c->nft, b, e);
	nft_batch_free(b);
	return r;
}

/* --- the maps of VIPs --- */

struct reading {
	const struct nftcommon_spec *spec;
	struct addrlist *list;
};

static int read_element(void *ctx, const struct nft_value *key,
			const struct nft_value *value)
{
	struct reading *reading = ctx;
	uint32_t mark = value ? reading->spec->mark(value) : 0;

	return addrlist_add(reading->list, &key->addr, mark);
}

int nftcommon_read_set(struct nftcommon *c, unsigned int set, struct addrlist *ret,
		       struct err *e)
{
	struct reading reading = {c->spec, ret};
	int r;

	ret->count = 0; /* what an interrupted reading left */
	r = nft_elem_list(c->nft, NFT_TABLE, &c->spec->sets[set], read_element, &reading,
			  e);
	if (r < 0 && r != -ENOENT && r != -EUCLEAN)
		return r;
	addrlist_sort(ret);
	return 0;
}

void nftcommon_append_vip(struct nftcommon *c, struct nft_batch *b, unsigned int index,
			  const struct addr *vip, uint32_t mark)
{
	const struct nft_set *map = &c->spec->sets[index];
	char buf[NFTCOMMON_VALUE_SIZE];
	struct nft_value key = {.type = map->key, .addr = *vip};
	struct nft_value value = c->spec->value(mark, index, buf);

	nft_elem_add(b, map, &key, &value);
}

void nftcommon_remove_vip(struct nftcommon *c, struct nft_batch *b, unsigned int index,
			  const struct addr *vip)
{
	const struct nft_set *map = &c->spec->sets[index];
	struct nft_value key = {.type = map->key, .addr = *vip};

	nft_elem_del(b, map, &key);
}

int nftcommon_wanted_vips(const struct balancer_entry *list, unsigned int count,
			  unsigned int index, struct addrlist *ret)
{
	for (unsigned int i = 0; i < count; i++) {
		const struct lb_view *v = list[i].view;
		const struct addr *vip = addrlist_vip(v, nftcommon_family[index]);
		int r = vip ? addrlist_add(ret, vip, v->mark) : 0;

		if (r < 0)
			return r;
	}
	addrlist_sort(ret);
	return 0;
}

struct vip_diff {
	struct nftcommon *c;
	struct nft_batch *batch;
	unsigned int index;
	unsigned int *repairs;
};

static int vip_differs(void *ctx, const struct addrlist_item *old,
		       const struct addrlist_item *new_item)
{
	struct vip_diff *d = ctx;

	if (old)
		nftcommon_remove_vip(d->c, d->batch, d->index, &old->addr);
	if (new_item)
		nftcommon_append_vip(d->c, d->batch, d->index, &new_item->addr,
				     new_item->number);
	(*d->repairs)++;
	return 0;
}

int nftcommon_append_vip_diff(struct nftcommon *c, struct nft_batch *b,
			      unsigned int index, const struct addrlist *have,
			      const struct addrlist *want, unsigned int *repairs)
{
	struct vip_diff d = {c, b, index, repairs};

	return addrlist_diff(have, want, vip_differs, &d);
}

/* --- connection tracking --- */

void nftcommon_gone_fini(struct nftcommon_gone *g)
{
	free(g->items);
	*g = (struct nftcommon_gone){0};
}

int nftcommon_gone_add(struct nftcommon_gone *g, const struct addr *vip,
		       const struct addr *backend)
{
	if (g->count == g->room) {
		unsigned int room = g->room ? g->room * 2 : GONE_ROOM_FIRST;
		void *items = reallocarray(g->items, room, sizeof(g->items[0]));

		if (!items)
			return -ENOMEM;
		g->items = items;
		g->room = room;
	}
	g->items[g->count++] = (struct conntrack_nat){*vip, *backend};
	return 0;
}

static int gone_add_family(struct nftcommon_gone *g, const struct lb_view *old,
			   const struct lb_view *new_view, uint8_t family)
{
	const struct addr *vip = addrlist_vip(old, family);
	const struct addr *new_vip = addrlist_vip(new_view, family);
	struct addrlist before = {0};
	struct addrlist after = {0};
	int r;

	if (!vip)
		return 0;
	r = addrlist_add_backends(&before, old, family);
	if (r == 0 && new_vip && addr_equal(vip, new_vip))
		r = addrlist_add_backends(&after, new_view, family);
	for (unsigned int i = 0; r == 0 && i < before.count; i++) {
		const struct addr *backend = &before.items[i].addr;

		if (!addrlist_find(&after, backend))
			r = nftcommon_gone_add(g, vip, backend);
	}
	addrlist_fini(&before);
	addrlist_fini(&after);
	return r;
}

int nftcommon_gone_add_views(struct nftcommon_gone *g, const struct lb_view *old,
			     const struct lb_view *new_view)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < NFTCOMMON_FAMILIES; i++)
		r = gone_add_family(g, old, new_view, nftcommon_family[i]);
	return r;
}

int nftcommon_forget(struct nftcommon *c, const struct nftcommon_gone *g, struct err *e)
{
	int r;

	if (!g->count)
		return 0;
	r = conntrack_del_nat_list(c->conntrack, g->items, g->count, e);
	return r < 0 ? r : 0;
}

static const struct lb_view *find_view(const struct balancer_entry *views,
				       unsigned int count, uint32_t mark)
{
	for (unsigned int i = 0; i < count; i++) {
		if (views[i].view->mark == mark)
			return views[i].view;
	}
	return NULL;
}

int nftcommon_count(struct balancer *b, const struct balancer_entry *views,
		    unsigned int view_count, struct balancer_count *list,
		    unsigned int list_count, struct err *e)
{
	struct nftcommon *c = CONTAINER_OF(b, struct nftcommon, balancer);
	auto_free struct conntrack_count *counts =
		calloc(list_count + 1, sizeof(*counts));
	auto_free unsigned int *index = calloc(list_count + 1, sizeof(*index));
	unsigned int n = 0;
	int r;

	if (!counts || !index)
		return err_sys(e, -ENOMEM, "counting connections");
	for (unsigned int i = 0; i < list_count; i++) {
		const struct lb_view *v = find_view(views, view_count, list[i].mark);
		const struct addr *vip = addrlist_vip(v, list[i].backend.family);

		if (!vip)
			continue;
		counts[n] = (struct conntrack_count){*vip, list[i].backend, 0};
		index[n++] = i;
	}
	r = c->spec->count(c, counts, n, e);
	for (unsigned int i = 0; r >= 0 && i < n; i++)
		list[index[i]].active += counts[i].active;
	return r < 0 ? r : 0;
}
