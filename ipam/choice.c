// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Choosing a pool: the lowest prefix of a size within the default pools that overlaps
 * neither one of ours nor anything that others use on this host. All of them are put in
 * order once, so that the search passes each a single time.
 */
#include "ipam/choice.h"

#include "plugin/base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What no pool may overlap: our own pools and what is taken by others, in order. */
struct obstacles {
	struct pool_span *others;
	const struct pool_span **all;
	size_t count;
};

static int compare_spans(const void *a, const void *b)
{
	return pool_span_compare(*(const struct pool_span *const *)a,
				 *(const struct pool_span *const *)b);
}

static int collect_obstacles(const struct ipam_table *t,
			     const struct ipam_pool_request *rq, struct obstacles *ret)
{
	size_t own = t->span_count;

	ret->count = own + rq->taken_count;
	ret->others = calloc(rq->taken_count + 1, sizeof(*ret->others));
	ret->all = calloc(ret->count + 1, sizeof(*ret->all));
	if (!ret->others || !ret->all)
		return -ENOMEM;
	if (own)
		memcpy(ret->all, t->spans, own * sizeof(*ret->all));
	for (unsigned int i = 0; i < rq->taken_count; i++) {
		ret->others[i] = pool_span_of(&rq->taken[i].prefix);
		ret->all[own + i] = &ret->others[i];
	}
	if (rq->taken_count)
		qsort(ret->all, ret->count, sizeof(*ret->all), compare_spans);
	return 0;
}

static void free_obstacles(struct obstacles *o)
{
	free(o->others);
	free(o->all);
}

/* Says what is in the way of the first prefix that none of our pools overlaps. */
static int no_free_pool(const struct ipam_table *t, const struct ipam_pool_request *rq,
			const struct cidr *base, uint8_t size, struct err *e)
{
	char base_text[CIDR_TEXT_SIZE];
	char text[CIDR_TEXT_SIZE];
	struct pool_choice choice;
	struct cidr c;

	cidr_format(base, base_text);
	pool_choice_init(&choice, base, size, t->spans, t->span_count);
	if (!pool_choice_next(&choice, &c))
		return err_set(e, -ENOSPC, "no /%u is free in default pools %s", size,
			       base_text);
	for (unsigned int i = 0; i < rq->taken_count; i++)
		if (cidr_overlaps(&rq->taken[i].prefix, &c))
			return err_set(e, -ENOSPC,
				       "no /%u is free in default pools %s: %s overlaps "
				       "%s",
				       size, base_text, cidr_format(&c, text),
				       rq->taken[i].what);
	return err_set(e, -ENOSPC, "no /%u is free in default pools %s", size, base_text);
}

int ipam_choose(const struct ipam_table *t, const struct ipam_config *config,
		const struct ipam_pool_request *rq, struct pool_wish *w, struct err *e)
{
	bool v4 = w->pool.addr.family == AF_INET;
	const struct cidr *base = v4 ? &config->default_pools4 : &config->default_pools6;
	uint8_t size = v4 ? config->default_size4 : config->default_size6;
	struct obstacles obstacles = {0};
	struct pool_choice choice;
	char text[CIDR_TEXT_SIZE];
	int r;

	if (w->pool.prefix)
		size = w->pool.prefix;
	if (!addr_is_set(&base->addr))
		return err_set(e, -ENOSPC, "there are no default %s pools",
			       v4 ? "IPv4" : "IPv6");
	if (size < base->prefix)
		return err_set(e, -ENOSPC, "default pools %s hold no /%u",
			       cidr_format(base, text), size);
	r = collect_obstacles(t, rq, &obstacles);
	if (r == 0) {
		pool_choice_init(&choice, base, size, obstacles.all, obstacles.count);
		if (!pool_choice_next(&choice, &w->pool))
			r = no_free_pool(t, rq, base, size, e);
	} else {
		r = err_sys(e, r, "choosing a pool");
	}
	free_obstacles(&obstacles);
	return r;
}
