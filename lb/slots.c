// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The slot layout goes in rounds: round r has one slot for each backend of more than r
 * shares, so a heavy backend's slots are spread. Within a round a gap (a backend that
 * has no share) is filled with the round's last one, as views do it: the others
 * keep their places.
 */
#include "lb/slots.h"

#include "lb/addrlist.h"
#include "plugin/base/mem.h"

#include <assert.h>
#include <errno.h>

static_assert(SLOTS_USABLE_MAX >= 2 * LB_BACKENDS_MAX, "room for everybody");

void slots_fini(struct slots *s)
{
	free(s->list);
	*s = (struct slots){0};
}

/* A backend of the family and how many slots it gets. */
struct share {
	const struct addr *addr;
	uint32_t slots;
};

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* Returns the number of slots. */
static unsigned int scale(struct share *shares, unsigned int count)
{
	uint32_t common = 0;
	uint64_t total = 0;
	unsigned int slots = 0;

	for (unsigned int i = 0; i < count; i++)
		common = gcd(shares[i].slots, common);
	for (unsigned int i = 0; common && i < count; i++)
		total += shares[i].slots /= common;
	if (total <= SLOTS_USABLE_MAX)
		return (unsigned int)total;
	for (unsigned int i = 0; i < count; i++) {
		uint64_t part = shares[i].slots * (uint64_t)(SLOTS_USABLE_MAX - count);

		if (shares[i].slots)
			shares[i].slots = (uint32_t)(part / total) + (part < total);
		slots += shares[i].slots;
	}
	return slots;
}

static unsigned int shares_from_view(const struct lb_view *v, uint8_t family,
				     struct share *shares)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < v->count; i++) {
		const struct lb_backend *b = &v->backends[i];
		const struct addr *addr = family == AF_INET ? &b->addr4 : &b->addr6;
		uint32_t weight = b->weight;

		if (!addr_is_set(addr))
			continue;
		if (v->scheduler == LB_SCHEDULER_RR && weight)
			weight = 1;
		shares[count++] = (struct share){addr, weight};
	}
	return count;
}

/* Appends one round and returns whether it had a slot. */
static bool append_round(struct slots *s, const struct share *shares, unsigned int count,
			 uint32_t round)
{
	unsigned int end = count;
	unsigned int before = s->usable;

	for (unsigned int i = 0; i < end; i++) {
		const struct share *share = &shares[i];

		while (share->slots <= round && --end > i)
			share = &shares[end];
		if (share->slots > round)
			s->list[s->usable++] = *share->addr;
	}
	return s->usable > before;
}

static void append_quiet(struct slots *s, const struct share *shares, unsigned int count)
{
	s->count = s->usable;
	for (unsigned int i = 0; i < count; i++) {
		if (!shares[i].slots)
			s->list[s->count++] = *shares[i].addr;
	}
}

int slots_from_view(const struct lb_view *v, uint8_t family, struct slots *ret)
{
	auto_free struct share *shares = NULL;
	struct slots s = {0};
	unsigned int count;

	*ret = s;
	if (!addrlist_vip(v, family) || !v->count)
		return 0;
	if (v->count > LB_BACKENDS_MAX)
		return -E2BIG;
	shares = calloc(v->count, sizeof(*shares));
	if (!shares)
		return -ENOMEM;
	count = shares_from_view(v, family, shares);
	s.list = calloc((size_t)scale(shares, count) + count + 1, sizeof(*s.list));
	if (!s.list)
		return -ENOMEM;
	for (uint32_t round = 0; append_round(&s, shares, count, round); round++)
		;
	append_quiet(&s, shares, count);
	*ret = s;
	return 0;
}
