// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pools in memory: by id, by number, and their prefixes in order. Nothing here touches
 * the database; ipam.c keeps the two in step. The only failure is lack of memory (and
 * an id that does not fit), and then the table is as before.
 */
#include "ipam/table.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <string.h>

struct pool_set *ipam_table_set_at(const struct ipam_table *t, size_t i)
{
	return CONTAINER_OF(t->spans[i], struct pool_set, span);
}

/* Place of the first span that is not before span. */
static size_t span_place(const struct ipam_table *t, const struct pool_span *span)
{
	size_t low = 0;
	size_t high = t->span_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (pool_span_compare(t->spans[middle], span) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct pool_set *ipam_table_set_find(const struct ipam_table *t, const char *space,
				     const struct cidr *pool)
{
	struct pool_span span = pool_span_of(pool);

	for (size_t i = span_place(t, &span);
	     i < t->span_count && !pool_span_compare(t->spans[i], &span); i++)
		if (!strcmp(ipam_table_set_at(t, i)->space, space))
			return ipam_table_set_at(t, i);
	return NULL;
}

static int span_insert(struct ipam_table *t, const struct pool_span *span)
{
	size_t place = span_place(t, span);

	if (t->span_count == t->span_size) {
		size_t size = t->span_size ? t->span_size * 2 : 16;
		const struct pool_span **spans =
			reallocarray(t->spans, size, sizeof(struct pool_span *));

		if (!spans)
			return -ENOMEM;
		t->spans = spans;
		t->span_size = size;
	}
	memmove(t->spans + place + 1, t->spans + place,
		(t->span_count - place) * sizeof(struct pool_span *));
	t->spans[place] = span;
	t->span_count++;
	return 0;
}

static void set_free(struct ipam_table *t, struct pool_set *set)
{
	size_t place = span_place(t, &set->span);

	while (t->spans[place] != &set->span)
		place++;
	t->span_count--;
	memmove(t->spans + place, t->spans + place + 1,
		(t->span_count - place) * sizeof(struct pool_span *));
	addrset_fini(&set->used);
	rest_fini(&set->resting);
	addrset_fini(&set->spent);
	free(set);
}

static int set_new(struct ipam_table *t, const struct ipam_store_pool *row,
		   struct pool_set **ret, struct err *e)
{
	auto_free struct pool_set *set = calloc(1, sizeof(*set));

	if (!set)
		return err_sys(e, -ENOMEM, "pool %s", row->id);
	set->span = pool_span_of(&row->shape.pool);
	if (str_copy(set->space, sizeof(set->space), row->space) < 0)
		return err_set(e, -EUCLEAN, "pool number %lld has a wrong space",
			       (long long)row->number);
	set->number = row->set;
	TAILQ_INIT(&set->pools);
	if (span_insert(t, &set->span) < 0)
		return err_sys(e, -ENOMEM, "pool %s", row->id);
	*ret = TAKE(set);
	return 0;
}

struct ipam_pool *ipam_table_find(const struct ipam_table *t, const char *id)
{
	struct ipam_pool *pool = NULL;

	if (id)
		HASH_FIND(by_id, t->by_id, id, strlen(id), pool);
	return pool;
}

struct ipam_pool *ipam_table_find_number(const struct ipam_table *t, int64_t number)
{
	struct ipam_pool *pool;

	HASH_FIND(by_number, t->by_number, &number, sizeof(number), pool);
	return pool;
}

void ipam_table_del(struct ipam_table *t, struct ipam_pool *pool)
{
	if (pool->by_number.tbl)
		HASH_DELETE(by_number, t->by_number, pool);
	if (pool->by_id.tbl)
		HASH_DELETE(by_id, t->by_id, pool);
	TAILQ_REMOVE(&pool->set->pools, pool, link);
	if (TAILQ_EMPTY(&pool->set->pools))
		set_free(t, pool->set);
	free(pool);
}

int ipam_table_add(struct ipam_table *t, const struct ipam_store_pool *row,
		   struct ipam_pool **ret, struct err *e)
{
	struct pool_set *set = ipam_table_set_find(t, row->space, &row->shape.pool);
	auto_free struct ipam_pool *pool = calloc(1, sizeof(*pool));
	struct ipam_pool *added;
	int r;

	if (!pool)
		return err_sys(e, -ENOMEM, "pool %s", row->id);
	if (str_copy(pool->id, sizeof(pool->id), row->id) < 0)
		return err_set(e, -EUCLEAN, "pool number %lld has too long an id",
			       (long long)row->number);
	r = set ? 0 : set_new(t, row, &set, e);
	if (r < 0)
		return r;
	pool->number = row->number;
	pool->set = set;
	pool->shape = row->shape;
	pool->round = row->round;
	added = TAKE(pool);
	TAILQ_INSERT_TAIL(&set->pools, added, link);
	HASH_ADD(by_id, t->by_id, id, strlen(added->id), added);
	HASH_ADD(by_number, t->by_number, number, sizeof(added->number), added);
	if (!added->by_id.tbl || !added->by_number.tbl) {
		ipam_table_del(t, added);
		return err_sys(e, -ENOMEM, "pool %s", row->id);
	}
	if (t->number < row->number)
		t->number = row->number;
	*ret = added;
	return 0;
}

void ipam_table_clear(struct ipam_table *t)
{
	struct ipam_pool *pool;
	struct ipam_pool *next;

	HASH_ITER (by_id, t->by_id, pool, next) {
		ipam_table_del(t, pool);
	}
	free(t->spans);
	t->spans = NULL;
	t->span_count = 0;
	t->span_size = 0;
	t->number = 0;
}

static int compare_ids(const struct ipam_pool *a, const struct ipam_pool *b)
{
	return strcmp(a->id, b->id);
}

void ipam_table_sort(struct ipam_table *t)
{
	HASH_SRT(by_id, t->by_id, compare_ids);
}
