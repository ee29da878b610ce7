// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The nft balancer, looking into the kernel: the frame, the map of VIPs, each service's
 * rule and slots are compared with what is wanted, and all differences go into one
 * transaction.
 */
#include "lb/nftlb.h"

#include "plugin/base/mem.h"

#include <errno.h>
#include <string.h>

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
static int read_slots(struct nftcommon *c, const struct nftlb_names *n,
		      struct kernel_slots *ret, struct err *e)
{
	int r;

	*ret = (struct kernel_slots){0};
	r = nft_elem_list(c->nft, NFT_TABLE, &n->set, read_slot, ret, e);
	return r == -EUCLEAN ? -ENOENT : r;
}

/* Is the rule (or, without usable slots, its absence) there? -ENOENT: no chain. */
static int rule_is_right(struct nftcommon *c, const struct nftlb_names *n,
			 const struct nftlb_state *s, struct err *e)
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
		if (nftlb_slot_at(slots, i) &&
		    !addrlist_find(&backends, nftlb_slot_at(slots, i)))
			r = addrlist_add(&seen, nftlb_slot_at(slots, i), 0);
	}
	addrlist_sort(&seen);
	for (unsigned int i = 0; r == 0 && i < seen.count; i++)
		r = nftcommon_gone_add(&s->gone, vip, &seen.items[i].addr);
	addrlist_fini(&backends);
	addrlist_fini(&seen);
	return r;
}

static int repair_rule(struct sync *s, const struct nftlb_names *n,
		       const struct nftlb_state *want, unsigned int index, struct err *e)
{
	int r = rule_is_right(s->c, n, want, e);

	if (r == 0) {
		nftlb_append_rule_change(s->batch, n, want, index);
		s->repairs++;
	}
	return r < 0 ? r : 0;
}

static int repair_service(struct sync *s, const struct nftlb_state *want,
			  const struct lb_view *v, unsigned int index, struct err *e)
{
	struct kernel_slots have = {0};
	struct nftlb_names n;
	bool rebuild;
	int r = 0;

	nftlb_names_init(&n, want->mark, index);
	if (s->state != NFTCOMMON_STATE_NONE)
		r = read_slots(s->c, &n, &have, e);
	rebuild = s->state != NFTCOMMON_STATE_WHOLE || r == -ENOENT || have.strange;
	if (r == 0)
		r = find_gone(s, &have.slots, want->vip, v, index);
	if (!rebuild && r == 0) {
		r = repair_rule(s, &n, want, index, e);
		rebuild = r == -ENOENT; /* no chain */
		if (!rebuild)
			s->repairs += nftlb_append_slot_diff(s->batch, &n, &have.slots,
							     &want->slots);
	}
	if (rebuild && (r == 0 || r == -ENOENT)) {
		nftlb_append_service(s->batch, want, index,
				     s->state == NFTCOMMON_STATE_WHOLE);
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
	struct nftlb_names n;
	int r;

	if (!vip->number)
		return 0;
	nftlb_names_init(&n, vip->number, index);
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
		struct nftlb_state want;

		r = nftlb_state_init(&want, s->list[i].view, index, e);
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
		nftlb_remove_service(s->batch, stale.items[i].number, index);
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

int nftlb_sync(struct balancer *balancer, const struct balancer_entry *list,
	       unsigned int count, unsigned int *ret_repairs, struct err *e)
{
	struct sync s = {.c = nftlb_common(balancer), .list = list, .count = count};
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
