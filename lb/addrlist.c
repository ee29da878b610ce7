// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sorted lists of (address, number). A difference is found by walking two of them
 * side by side, so it costs what the two lists hold and nothing more.
 */
#include "lb/addrlist.h"

#include "plugin/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define ROOM_FIRST 8

void addrlist_fini(struct addrlist *l)
{
	free(l->items);
	*l = (struct addrlist){0};
}

int addrlist_add(struct addrlist *l, const struct addr *addr, uint32_t number)
{
	if (l->count == l->room) {
		unsigned int room = l->room ? l->room * 2 : ROOM_FIRST;
		void *items = reallocarray(l->items, room, sizeof(l->items[0]));

		if (!items)
			return -ENOMEM;
		l->items = items;
		l->room = room;
	}
	l->items[l->count++] = (struct addrlist_item){*addr, number};
	return 0;
}

static int compare_addr(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct addr));
}

static int compare_item(const void *a, const void *b)
{
	const struct addrlist_item *x = a;
	const struct addrlist_item *y = b;
	int r = compare_addr(&x->addr, &y->addr);

	if (r)
		return r;
	return (x->number > y->number) - (x->number < y->number);
}

void addrlist_sort(struct addrlist *l)
{
	unsigned int kept = 0;

	if (l->count < 2)
		return;
	qsort(l->items, l->count, sizeof(l->items[0]), compare_item);
	for (unsigned int i = 1; i < l->count; i++) {
		if (compare_addr(&l->items[i].addr, &l->items[kept].addr))
			l->items[++kept] = l->items[i];
	}
	l->count = kept + 1;
}

const struct addrlist_item *addrlist_find(const struct addrlist *l,
					  const struct addr *addr)
{
	static_assert(offsetof(struct addrlist_item, addr) == 0, "items compare as keys");

	return l->count ? bsearch(addr, l->items, l->count, sizeof(l->items[0]),
				  compare_addr)
			: NULL;
}

int addrlist_diff(const struct addrlist *old, const struct addrlist *new_list,
		  addrlist_diff_fn fn, void *ctx)
{
	unsigned int i = 0;
	unsigned int j = 0;
	int r = 0;

	while (!r && (i < old->count || j < new_list->count)) {
		const struct addrlist_item *a = i < old->count ? &old->items[i] : NULL;
		const struct addrlist_item *b =
			j < new_list->count ? &new_list->items[j] : NULL;
		int order = !a ? 1 : !b ? -1 : compare_addr(&a->addr, &b->addr);

		i += order <= 0;
		j += order >= 0;
		if (order)
			r = order < 0 ? fn(ctx, a, NULL) : fn(ctx, NULL, b);
		else if (a->number != b->number)
			r = fn(ctx, a, b);
	}
	return r;
}

const struct addr *addrlist_vip(const struct lb_view *v, uint8_t family)
{
	const struct addr *vip;

	if (!v || v->dnsrr)
		return NULL;
	vip = family == AF_INET ? &v->vip4 : &v->vip6;
	return addr_is_set(vip) ? vip : NULL;
}

int addrlist_add_backends(struct addrlist *l, const struct lb_view *v, uint8_t family)
{
	if (!addrlist_vip(v, family))
		return 0;
	for (unsigned int i = 0; i < v->count; i++) {
		const struct lb_backend *b = &v->backends[i];
		const struct addr *addr = family == AF_INET ? &b->addr4 : &b->addr6;
		int r = addr_is_set(addr) ? addrlist_add(l, addr, b->weight) : 0;

		if (r < 0)
			return r;
	}
	addrlist_sort(l);
	return 0;
}
