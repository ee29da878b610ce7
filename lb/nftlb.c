// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The nft balancer: the map of VIPs sends a packet to its service's chain, whose one
 * rule draws a slot and translates the destination to the address in it. For a service
 * with mark M and family F there are chain "svcM-F" and map "slotsM-F". A service that
 * has no backend for new connections has no rule: the packet goes on to the
 * network sandbox, whose own stack refuses it at once.
 */
#include "lb/nftlb.h"

#include "plugin/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Before Docker's own translation of DNS, which is at -100. */
#define PRIORITY_TASK	 -105
#define PRIORITY_SANDBOX -100

/* --- names --- */

static int family_digit(unsigned int index)
{
	return index ? 6 : 4;
}

void nftlb_names_init(struct nftlb_names *n, uint32_t mark, unsigned int index)
{
	*n = (struct nftlb_names){0};
	/* 32 bytes hold any number. */
	(void)snprintf(n->chain, sizeof(n->chain), "svc%u-%d", mark, family_digit(index));
	(void)snprintf(n->slots, sizeof(n->slots), "slots%u-%d", mark,
		       family_digit(index));
	n->set = (struct nft_set){
		.name = n->slots,
		.key = NFT_TYPE_MARK,
		.value = index ? NFT_TYPE_IPV6 : NFT_TYPE_IPV4,
	};
}

static struct nft_value value_of_mark(uint32_t mark, unsigned int index, char *buf)
{
	struct nft_value value = {.type = NFT_TYPE_VERDICT, .name = buf};

	(void)snprintf(buf, NFTCOMMON_VALUE_SIZE, "svc%u-%d", mark, family_digit(index));
	return value;
}

static uint32_t mark_of_value(const struct nft_value *value)
{
	char number[NFTLB_NAME_SIZE];
	uint32_t mark;
	char *end;

	if (!value->name || !str_has_prefix(value->name, "svc") ||
	    str_copy(number, sizeof(number), value->name + strlen("svc")) < 0)
		return 0;
	end = strchr(number, '-');
	if (!end)
		return 0;
	*end = '\0';
	return str_to_u32(number, 1, UINT32_MAX, &mark) == 0 ? mark : 0;
}

static void append_lookup(struct nft_batch *b, uint8_t family, const char *map)
{
	nft_match_l4_ports(b);
	nft_act_daddr_vmap(b, family, map);
}

static int count_entries(struct nftcommon *c, struct conntrack_count *list,
			 unsigned int count, struct err *e)
{
	return conntrack_count_nat(c->conntrack, list, count, e);
}

static const struct nftcommon_spec spec = {
	.chain = "balance",
	.foreign_chain = "marks",
	.type = NFT_CHAIN_TYPE_NAT,
	.priority_task = PRIORITY_TASK,
	.priority_sandbox = PRIORITY_SANDBOX,
	.sets = {{.name = "vip4", .key = NFT_TYPE_IPV4, .value = NFT_TYPE_VERDICT},
		 {.name = "vip6", .key = NFT_TYPE_IPV6, .value = NFT_TYPE_VERDICT}},
	.set_count = 2,
	.rule = append_lookup,
	.value = value_of_mark,
	.mark = mark_of_value,
	.count = count_entries,
};

/* --- one service in one family, as it should be --- */

static enum nft_spread spread_of(enum lb_scheduler s)
{
	if (s == LB_SCHEDULER_RANDOM)
		return NFT_SPREAD_RANDOM;
	return s == LB_SCHEDULER_SH ? NFT_SPREAD_SADDR : NFT_SPREAD_INC;
}

static const char *spread_name(enum nft_spread s)
{
	if (s == NFT_SPREAD_RANDOM)
		return "random";
	return s == NFT_SPREAD_SADDR ? "sh" : "rr";
}

int nftlb_state_init(struct nftlb_state *s, const struct lb_view *v, unsigned int index,
		     struct err *e)
{
	int r;

	*s = (struct nftlb_state){.vip = addrlist_vip(v, nftcommon_family[index])};
	if (!s->vip)
		return 0;
	s->mark = v->mark;
	s->spread = spread_of(v->scheduler);
	r = slots_from_view(v, nftcommon_family[index], &s->slots);
	if (r < 0)
		return err_sys(e, r, "slots of service %s", v->name);
	/* A comment that is cut off still tells what matters, so that comes first. */
	(void)snprintf(s->comment, sizeof(s->comment), "%s %u %s%s%.32s",
		       spread_name(s->spread), s->slots.usable, v->name,
		       *v->project ? "." : "", v->project);
	return 0;
}

static void append_rule(struct nft_batch *b, const struct nftlb_names *n,
			const struct nftlb_state *s, unsigned int index)
{
	if (!s->slots.usable)
		return;
	nft_rule_begin(b, n->chain, s->comment);
	nft_act_dnat_spread(b, nftcommon_family[index], s->spread, s->slots.usable,
			    n->slots);
	nft_rule_end(b);
}

static void append_slot(struct nft_batch *b, const struct nftlb_names *n, uint32_t slot,
			const struct addr *addr)
{
	struct nft_value key = {.type = NFT_TYPE_MARK, .number = slot};
	struct nft_value value = {.type = n->set.value, .addr = *addr};

	nft_elem_add(b, &n->set, &key, &value);
}

static void remove_slot(struct nft_batch *b, const struct nftlb_names *n, uint32_t slot)
{
	struct nft_value key = {.type = NFT_TYPE_MARK, .number = slot};

	nft_elem_del(b, &n->set, &key);
}

const struct addr *nftlb_slot_at(const struct slots *s, uint32_t slot)
{
	return slot < s->count && addr_is_set(&s->list[slot]) ? &s->list[slot] : NULL;
}

static bool slots_equal_at(const struct slots *a, const struct slots *b, uint32_t slot)
{
	const struct addr *x = nftlb_slot_at(a, slot);
	const struct addr *y = nftlb_slot_at(b, slot);

	return x && y ? addr_equal(x, y) : x == y;
}

/* Returns the number of slots that change. All deletions go before all additions, so
 * that each kind fits few messages. */
unsigned int nftlb_append_slot_diff(struct nft_batch *b, const struct nftlb_names *n,
				    const struct slots *old,
				    const struct slots *new_slots)
{
	uint32_t end = old->count > new_slots->count ? old->count : new_slots->count;
	unsigned int changed = 0;

	for (uint32_t i = 0; i < end; i++) {
		if (nftlb_slot_at(old, i) && !slots_equal_at(old, new_slots, i))
			remove_slot(b, n, i);
	}
	for (uint32_t i = 0; i < end; i++) {
		if (slots_equal_at(old, new_slots, i))
			continue;
		changed++;
		if (nftlb_slot_at(new_slots, i))
			append_slot(b, n, i, nftlb_slot_at(new_slots, i));
	}
	return changed;
}

void nftlb_append_rule_change(struct nft_batch *b, const struct nftlb_names *n,
			      const struct nftlb_state *s, unsigned int index)
{
	nft_chain_flush(b, n->chain);
	append_rule(b, n, s, index);
}

/* All of a service but its VIP. What is there already is emptied if need be. */
void nftlb_append_service(struct nft_batch *b, const struct nftlb_state *s,
			  unsigned int index, bool may_exist)
{
	static const struct slots none = {0};
	struct nftlb_names n;

	nftlb_names_init(&n, s->mark, index);
	nft_chain_add(b, n.chain);
	nft_set_add(b, &n.set);
	if (may_exist) {
		nft_chain_flush(b, n.chain);
		nft_set_flush(b, n.slots);
	}
	(void)nftlb_append_slot_diff(b, &n, &none, &s->slots);
	append_rule(b, &n, s, index);
}

void nftlb_remove_service(struct nft_batch *b, uint32_t mark, unsigned int index)
{
	struct nftlb_names n;

	nftlb_names_init(&n, mark, index);
	nft_chain_del(b, n.chain);
	nft_set_del(b, n.slots);
}

/* --- transitions --- */

static void append_vip(struct nftcommon *c, struct nft_batch *b, unsigned int index,
		       const struct nftlb_state *old, const struct nftlb_state *new_state)
{
	if (old->vip && new_state->vip && addr_equal(old->vip, new_state->vip) &&
	    old->mark == new_state->mark)
		return;
	if (old->vip)
		nftcommon_remove_vip(c, b, index, old->vip);
	if (new_state->vip)
		nftcommon_append_vip(c, b, index, new_state->vip, new_state->mark);
}

static void append_transition(struct nftcommon *c, struct nft_batch *b,
			      unsigned int index, const struct nftlb_state *old,
			      const struct nftlb_state *new_state)
{
	bool stays = old->vip && new_state->vip && old->mark == new_state->mark;
	struct nftlb_names n;

	if (stays) {
		nftlb_names_init(&n, new_state->mark, index);
		(void)nftlb_append_slot_diff(b, &n, &old->slots, &new_state->slots);
		if (strcmp(old->comment, new_state->comment) != 0)
			nftlb_append_rule_change(b, &n, new_state, index);
	} else if (new_state->vip) {
		nftlb_append_service(b, new_state, index, false);
	}
	append_vip(c, b, index, old, new_state);
	if (old->vip && !stays)
		nftlb_remove_service(b, old->mark, index);
}

static int append_update(struct nftcommon *c, struct nft_batch *b,
			 const struct lb_view *old, const struct lb_view *new_view,
			 struct err *e)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < NFTCOMMON_FAMILIES; i++) {
		struct nftlb_state before = {0};
		struct nftlb_state after = {0};

		r = nftlb_state_init(&before, old, i, e);
		if (r == 0)
			r = nftlb_state_init(&after, new_view, i, e);
		if (r == 0)
			append_transition(c, b, i, &before, &after);
		slots_fini(&before.slots);
		slots_fini(&after.slots);
	}
	return r;
}

static int nftlb_update(struct balancer *balancer, const struct balancer_self *self,
			const struct lb_view *old, const struct lb_view *new_view,
			struct err *e)
{
	struct nftcommon *c = nftlb_common(balancer);
	struct nftcommon_gone gone = {0};
	struct nft_batch *b = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);
	int r;

	(void)self; /* an address of our own needs no care */
	if (!b)
		return err_sys(e, -ENOMEM, "table %s", NFT_TABLE);
	r = append_update(c, b, old, new_view, e);
	if (r == 0)
		r = nft_commit(c->nft, b, e);
	nft_batch_free(b);
	if (r < 0)
		return r;
	r = nftcommon_gone_add_views(&gone, old, new_view);
	if (r < 0)
		r = err_sys(e, r, "table %s", NFT_TABLE);
	else
		r = nftcommon_forget(c, &gone, e);
	nftcommon_gone_fini(&gone);
	return r;
}

/* --- the rest of the interface --- */

static void append_probe(struct nft_batch *b)
{
	static const enum lb_scheduler each[] = {LB_SCHEDULER_RR, LB_SCHEDULER_RANDOM,
						 LB_SCHEDULER_SH};

	for (unsigned int i = 0; i < NFTCOMMON_FAMILIES; i++) {
		for (unsigned int k = 0; k < ARRAY_SIZE(each); k++) {
			struct nftlb_state s = {
				.mark = k + 1,
				.spread = spread_of(each[k]),
				.slots = {.usable = 1},
				.comment = "probe",
			};

			nftlb_append_service(b, &s, i, false);
		}
	}
}

static int nftlb_probe(struct err *e)
{
	return nftcommon_probe(&spec, append_probe, e);
}

static void nftlb_close(struct balancer *balancer)
{
	struct nftcommon *c = nftlb_common(balancer);

	nftcommon_fini(c);
	free(c);
}

static int nftlb_open(int nsfd, enum balancer_role role, const struct cidr *subnets,
		      unsigned int subnet_count, struct balancer **ret, struct err *e)
{
	struct nftcommon *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return err_sys(e, -ENOMEM, "nft balancer");
	c->balancer.ops = &balancer_nft;
	c->spec = &spec;
	r = nftcommon_init(c, nsfd, role, subnets, subnet_count, e);
	if (r < 0) {
		nftlb_close(&c->balancer);
		return r;
	}
	*ret = &c->balancer;
	return 0;
}

static int nftlb_clear(struct balancer *balancer, struct err *e)
{
	return nftcommon_clear(nftlb_common(balancer), e);
}

const struct balancer_ops balancer_nft = {
	.name = "nft",
	.schedulers = 1U << LB_SCHEDULER_RR | 1U << LB_SCHEDULER_WRR |
		      1U << LB_SCHEDULER_SH | 1U << LB_SCHEDULER_RANDOM,
	.probe = nftlb_probe,
	.open = nftlb_open,
	.close = nftlb_close,
	.sync = nftlb_sync,
	.update = nftlb_update,
	.clear = nftlb_clear,
	.count = nftcommon_count,
};
