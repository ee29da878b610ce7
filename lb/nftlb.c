// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The nft balancer: the map of VIPs sends a packet to its service's chain, whose one
 * rule draws a slot and translates the destination to the address in it. For a service
 * with mark M and family F there are chain "svcM-F" and map "slotsM-F". A service that
 * has no backend for new connections has no rule: the packet goes on to the
 * network sandbox, whose own stack refuses it at once.
 */
#include "driver/kern/nft.h"
#include "lb/balancer.h"
#include "lb/nftcommon.h"
#include "lb/slots.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Before Docker's own translation of DNS, which is at -100. */
#define PRIORITY_TASK	 -105
#define PRIORITY_SANDBOX -100
#define NAME_SIZE	 NFTCOMMON_VALUE_SIZE

static struct nftcommon *common_of(struct balancer *b)
{
	return CONTAINER_OF(b, struct nftcommon, balancer);
}

/* --- names --- */

struct names {
	char chain[NAME_SIZE];
	char slots[NAME_SIZE];
	struct nft_set set;
};

static int family_digit(unsigned int index)
{
	return index ? 6 : 4;
}

static void names_init(struct names *n, uint32_t mark, unsigned int index)
{
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
	char number[NAME_SIZE];
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

static const struct nftcommon_spec spec = {
	.chain = "balance",
	.foreign_chain = "mark",
	.type = NFT_CHAIN_TYPE_NAT,
	.priority_task = PRIORITY_TASK,
	.priority_sandbox = PRIORITY_SANDBOX,
	.sets = {{.name = "vip4", .key = NFT_TYPE_IPV4, .value = NFT_TYPE_VERDICT},
		 {.name = "vip6", .key = NFT_TYPE_IPV6, .value = NFT_TYPE_VERDICT}},
	.set_count = 2,
	.rule = nft_act_daddr_vmap,
	.value = value_of_mark,
	.mark = mark_of_value,
};

/* --- one service in one family, as it should be --- */

struct state {
	const struct addr *vip; /* NULL: there is no such service */
	uint32_t mark;
	struct slots slots;
	enum nft_spread spread;
	char comment[NFTCOMMON_COMMENT_SIZE]; /* of the rule: it tells all about it */
};

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

static int state_init(struct state *s, const struct lb_view *v, unsigned int index,
		      struct err *e)
{
	int r;

	*s = (struct state){.vip = addrlist_vip(v, nftcommon_family[index])};
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

static void append_rule(struct nft_batch *b, const struct names *n, const struct state *s,
			unsigned int index)
{
	if (!s->slots.usable)
		return;
	nft_rule_begin(b, n->chain, s->comment);
	nft_match_l4_ports(b);
	nft_act_dnat_spread(b, nftcommon_family[index], s->spread, s->slots.usable,
			    n->slots);
	nft_rule_end(b);
}

static void append_slot(struct nft_batch *b, const struct names *n, uint32_t slot,
			const struct addr *addr)
{
	struct nft_value key = {.type = NFT_TYPE_MARK, .number = slot};
	struct nft_value value = {.type = n->set.value, .addr = *addr};

	nft_elem_add(b, &n->set, &key, &value);
}

static void remove_slot(struct nft_batch *b, const struct names *n, uint32_t slot)
{
	struct nft_value key = {.type = NFT_TYPE_MARK, .number = slot};

	nft_elem_del(b, &n->set, &key);
}

static const struct addr *slot_at(const struct slots *s, uint32_t slot)
{
	return slot < s->count && addr_is_set(&s->list[slot]) ? &s->list[slot] : NULL;
}

static bool slots_equal_at(const struct slots *a, const struct slots *b, uint32_t slot)
{
	const struct addr *x = slot_at(a, slot);
	const struct addr *y = slot_at(b, slot);

	return x && y ? addr_equal(x, y) : x == y;
}

/* Returns the number of slots that change. All deletions go before all additions, so
 * that each kind fits few messages. */
static unsigned int append_slot_diff(struct nft_batch *b, const struct names *n,
				     const struct slots *old,
				     const struct slots *new_slots)
{
	uint32_t end = old->count > new_slots->count ? old->count : new_slots->count;
	unsigned int changed = 0;

	for (uint32_t i = 0; i < end; i++) {
		if (slot_at(old, i) && !slots_equal_at(old, new_slots, i))
			remove_slot(b, n, i);
	}
	for (uint32_t i = 0; i < end; i++) {
		if (slots_equal_at(old, new_slots, i))
			continue;
		changed++;
		if (slot_at(new_slots, i))
			append_slot(b, n, i, slot_at(new_slots, i));
	}
	return changed;
}

static void append_rule_change(struct nft_batch *b, const struct names *n,
			       const struct state *s, unsigned int index)
{
	nft_chain_flush(b, n->chain);
	append_rule(b, n, s, index);
}

/* All of a service but its VIP. What is there already is emptied if need be. */
static void append_service(struct nft_batch *b, const struct state *s, unsigned int index,
			   bool may_exist)
{
	static const struct slots none = {0};
	struct names n;

	names_init(&n, s->mark, index);
	nft_chain_add(b, n.chain);
	nft_set_add(b, &n.set);
	if (may_exist) {
		nft_chain_flush(b, n.chain);
		nft_set_flush(b, n.slots);
	}
	(void)append_slot_diff(b, &n, &none, &s->slots);
	append_rule(b, &n, s, index);
}

static void remove_service(struct nft_batch *b, uint32_t mark, unsigned int index)
{
	struct names n;

	names_init(&n, mark, index);
	nft_chain_del(b, n.chain);
	nft_set_del(b, n.slots);
}

/* --- transitions --- */

static void append_vip(struct nftcommon *c, struct nft_batch *b, unsigned int index,
		       const struct state *old, const struct state *new_state)
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
			      unsigned int index, const struct state *old,
			      const struct state *new_state)
{
	bool stays = old->vip && new_state->vip && old->mark == new_state->mark;
	struct names n;

	if (stays) {
		names_init(&n, new_state->mark, index);
		(void)append_slot_diff(b, &n, &old->slots, &new_state->slots);
		if (strcmp(old->comment, new_state->comment) != 0)
			append_rule_change(b, &n, new_state, index);
	} else if (new_state->vip) {
		append_service(b, new_state, index, false);
	}
	append_vip(c, b, index, old, new_state);
	if (old->vip && !stays)
		remove_service(b, old->mark, index);
}

static int append_update(struct nftcommon *c, struct nft_batch *b,
			 const struct lb_view *old, const struct lb_view *new_view,
			 struct err *e)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < NFTCOMMON_FAMILIES; i++) {
		struct state before = {0};
		struct state after = {0};

		r = state_init(&before, old, i, e);
		if (r == 0)
			r = state_init(&after, new_view, i, e);
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
	struct nftcommon *c = common_of(balancer);
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

/* --- what the kernel holds --- */

struct kernel_slots {
	struct slots slots;
	unsigned int room;
	bool strange; /* a key that we never make */
};

static int read_slot(void *ctx, const struct nft_value *key,
		     const struct nft_value *value)
{
	struct kernel_slots *k = ctx;
	unsigned int room = k->room ? k->room : 8;
	struct addr *list;

	if (key->number >= SLOTS_MAX || !value) {
		k->strange = true;
		return 0;
	}
	while (room <= key->number)
		room *= 2;
	if (room != k->room) {
		list = reallocarray(k->slots.list, room, sizeof(*list));
		if (!list)
			return -ENOMEM;
		memset(&list[k->room], 0, (room - k->room) * sizeof(*list));
		k->slots.list = list;
		k->room = room;
	}
	k->slots.list[key->number] = value->addr;
	if (key->number >= k->slots.count)
		k->slots.count = key->number + 1;
	return 0;
}

/* -ENOENT: there is no such map of ours. slots_fini(&ret->slots) in any case. */
static int read_slots(struct nftcommon *c, const struct names *n,
		      struct kernel_slots *ret, struct err *e)
{
	int r;

	*ret = (struct kernel_slots){0};
	r = nft_elem_list(c->nft, NFT_TABLE, &n->set, read_slot, ret, e);
	return r == -EUCLEAN ? -ENOENT : r;
}

/* Is the rule (or, without usable slots, its absence) there? -ENOENT: no chain. */
static int rule_is_right(struct nftcommon *c, const struct names *n,
			 const struct state *s, struct err *e)
{
	int r = nft_rule_count(c->nft, NFT_TABLE, n->chain, e);

	if (r < 0)
		return r;
	if (r != (s->slots.usable ? 1 : 0))
		return 0;
	return r ? nft_rule_exists(c->nft, NFT_FAMILY_INET, NFT_TABLE, n->chain,
				   s->comment, e)
		 : 1;
}

/* --- sync --- */

struct sync {
	struct nftcommon *c;
	struct nft_batch *batch;
	const struct balancer_entry *list;
	unsigned int count;
	bool anew; /* replace the table, whatever it looks like */
	bool refused;
	enum nftcommon_state state;
	struct addrlist have[NFTCOMMON_FAMILIES]; /* the maps of VIPs */
	struct addrlist want[NFTCOMMON_FAMILIES];
	struct nftcommon_gone gone;
	unsigned int repairs;
};

/* Backends in the kernel's slots that the view does not know (NULL: all of them). */
static int find_gone(struct sync *s, const struct slots *slots, const struct addr *vip,
		     const struct lb_view *v, unsigned int index)
{
	struct addrlist backends = {0};
	struct addrlist seen = {0};
	int r = addrlist_add_backends(&backends, v, nftcommon_family[index]);

	for (uint32_t i = 0; r == 0 && i < slots->count; i++) {
		if (slot_at(slots, i) && !addrlist_find(&backends, slot_at(slots, i)))
			r = addrlist_add(&seen, slot_at(slots, i), 0);
	}
	addrlist_sort(&seen);
	for (unsigned int i = 0; r == 0 && i < seen.count; i++)
		r = nftcommon_gone_add(&s->gone, vip, &seen.items[i].addr);
	addrlist_fini(&backends);
	addrlist_fini(&seen);
	return r;
}

static int repair_rule(struct sync *s, const struct names *n, const struct state *want,
		       unsigned int index, struct err *e)
{
	int r = rule_is_right(s->c, n, want, e);

	if (r == 0) {
		append_rule_change(s->batch, n, want, index);
		s->repairs++;
	}
	return r < 0 ? r : 0;
}

static int repair_service(struct sync *s, const struct state *want,
			  const struct lb_view *v, unsigned int index, struct err *e)
{
	struct kernel_slots have = {0};
	struct names n;
	bool rebuild;
	int r = 0;

	names_init(&n, want->mark, index);
	if (s->state != NFTCOMMON_STATE_NONE)
		r = read_slots(s->c, &n, &have, e);
	rebuild = s->state != NFTCOMMON_STATE_WHOLE || r == -ENOENT || have.strange;
	if (r == 0)
		r = find_gone(s, &have.slots, want->vip, v, index);
	if (!rebuild && r == 0) {
		r = repair_rule(s, &n, want, index, e);
		rebuild = r == -ENOENT; /* no chain */
		if (!rebuild)
			s->repairs +=
				append_slot_diff(s->batch, &n, &have.slots, &want->slots);
	}
	if (rebuild && (r == 0 || r == -ENOENT)) {
		append_service(s->batch, want, index, s->state == NFTCOMMON_STATE_WHOLE);
		s->repairs++;
		r = 0;
	}
	slots_fini(&have.slots);
	return r;
}

static bool mark_is_wanted(const struct sync *s, uint32_t mark, unsigned int index)
{
	for (unsigned int i = 0; i < s->want[index].count; i++) {
		if (s->want[index].items[i].number == mark)
			return true;
	}
	return false;
}

/* A VIP in the kernel that leads, or led, elsewhere: its connections must end. */
static int forget_vip(struct sync *s, const struct addrlist_item *vip, unsigned int index,
		      struct err *e)
{
	struct kernel_slots have;
	struct names n;
	int r;

	if (!vip->number)
		return 0;
	names_init(&n, vip->number, index);
	r = read_slots(s->c, &n, &have, e);
	if (r == 0)
		r = find_gone(s, &have.slots, &vip->addr, NULL, index);
	slots_fini(&have.slots);
	return r == -ENOENT ? 0 : r;
}

/* VIPs that are not wanted as they are, and chains that no wanted VIP leads to. */
static int find_stale(struct sync *s, unsigned int index, struct addrlist *ret_marks,
		      struct err *e)
{
	const struct addrlist *have = &s->have[index];
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < have->count; i++) {
		const struct addrlist_item *vip = &have->items[i];
		const struct addrlist_item *want =
			addrlist_find(&s->want[index], &vip->addr);
		/* The mark as a key: each stale service is deleted once. */
		struct addr key = {.family = AF_INET};

		if (want && want->number == vip->number)
			continue;
		r = forget_vip(s, vip, index, e);
		if (r < 0 || !vip->number || mark_is_wanted(s, vip->number, index))
			continue;
		memcpy(key.bytes, &vip->number, sizeof(vip->number));
		r = addrlist_add(ret_marks, &key, vip->number);
	}
	addrlist_sort(ret_marks);
	return r;
}

static int sync_services(struct sync *s, unsigned int index, struct err *e)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < s->count; i++) {
		struct state want;

		r = state_init(&want, s->list[i].view, index, e);
		if (r == 0 && want.vip)
			r = repair_service(s, &want, s->list[i].view, index, e);
		slots_fini(&want.slots);
	}
	return r;
}

static int sync_family(struct sync *s, unsigned int index, struct err *e)
{
	static const struct addrlist none = {0};
	bool whole = s->state == NFTCOMMON_STATE_WHOLE;
	struct addrlist stale = {0};
	int r;

	r = nftcommon_wanted_vips(s->list, s->count, index, &s->want[index]);
	if (r == 0 && s->state != NFTCOMMON_STATE_NONE)
		r = nftcommon_read_set(s->c, index, &s->have[index], e);
	if (r == 0)
		r = sync_services(s, index, e);
	if (r == 0)
		r = find_stale(s, index, &stale, e);
	if (r == 0)
		r = nftcommon_append_vip_diff(s->c, s->batch, index,
					      whole ? &s->have[index] : &none,
					      &s->want[index], &s->repairs);
	for (unsigned int i = 0; r == 0 && whole && i < stale.count; i++) {
		remove_service(s->batch, stale.items[i].number, index);
		s->repairs++;
	}
	addrlist_fini(&stale);
	return r;
}

static int sync_append(struct sync *s, struct err *e)
{
	int r = nftcommon_state(s->c, e);

	if (r < 0)
		return r;
	s->state = (enum nftcommon_state)r;
	if (s->anew && s->state == NFTCOMMON_STATE_WHOLE)
		s->state = NFTCOMMON_STATE_BROKEN;
	if (s->state != NFTCOMMON_STATE_WHOLE) {
		nftcommon_append_frame(s->c, s->batch);
		s->repairs++;
	}
	r = 0;
	for (unsigned int i = 0; r == 0 && i < NFTCOMMON_FAMILIES; i++)
		r = sync_family(s, i, e);
	return r;
}

static void sync_fini(struct sync *s)
{
	for (unsigned int i = 0; i < NFTCOMMON_FAMILIES; i++) {
		addrlist_fini(&s->have[i]);
		addrlist_fini(&s->want[i]);
	}
	nftcommon_gone_fini(&s->gone);
	nft_batch_free(s->batch);
}

static int sync_once(struct sync *s, struct err *e)
{
	int r = -ENOMEM;

	s->batch = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);
	if (s->batch)
		r = sync_append(s, e);
	if (r == 0) {
		r = nft_commit(s->c->nft, s->batch, e);
		s->refused = r < 0;
	}
	if (r == 0)
		r = nftcommon_forget(s->c, &s->gone, e);
	sync_fini(s);
	if (r < 0 && !e->code)
		(void)err_sys(e, r, "table %s", NFT_TABLE);
	return r;
}

static int nftlb_sync(struct balancer *balancer, const struct balancer_entry *list,
		      unsigned int count, unsigned int *ret_repairs, struct err *e)
{
	struct sync s = {.c = common_of(balancer), .list = list, .count = count};
	struct err inner = {0};
	int r = sync_once(&s, &inner);

	/* There is something in the way that we did not look for. */
	if (r < 0 && s.refused) {
		s = (struct sync){.c = s.c, .list = list, .count = count, .anew = true};
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

static void append_probe(struct nft_batch *b)
{
	static const enum lb_scheduler each[] = {LB_SCHEDULER_RR, LB_SCHEDULER_RANDOM,
						 LB_SCHEDULER_SH};

	for (unsigned int i = 0; i < NFTCOMMON_FAMILIES; i++) {
		for (unsigned int k = 0; k < ARRAY_SIZE(each); k++) {
			struct state s = {
				.mark = k + 1,
				.spread = spread_of(each[k]),
				.slots = {.usable = 1},
				.comment = "probe",
			};

			append_service(b, &s, i, false);
		}
	}
}

static int nftlb_probe(struct err *e)
{
	return nftcommon_probe(&spec, append_probe, e);
}

static void nftlb_close(struct balancer *balancer)
{
	struct nftcommon *c = common_of(balancer);

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
	r = nftcommon_init(c, &spec, nsfd, role, subnets, subnet_count, e);
	if (r < 0) {
		nftlb_close(&c->balancer);
		return r;
	}
	*ret = &c->balancer;
	return 0;
}

static int nftlb_clear(struct balancer *balancer, struct err *e)
{
	return nftcommon_clear(common_of(balancer), e);
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
