// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs of addresses in a treap ordered by first address. Runs never touch: neighbours
 * are merged, so the address after a run is always free. A node's heap priority is a
 * hash of where it lies in memory, which costs no room and is as good as random.
 */
#include "ipam/addrset.h"

#include <errno.h>
#include <stdlib.h>

/* Halves instead of one addrnum: its alignment of 16 would cost 16 bytes a run. */
struct addrset_run {
	uint64_t high;
	uint64_t low;
	uint64_t count;
	struct addrset_run *left;
	struct addrset_run *right;
};

addrnum addrnum_get(const struct addr *a)
{
	addrnum n = 0;

	for (size_t i = 0; i < addr_size(a); i++)
		n = n << 8 | a->bytes[i];
	return n;
}

struct addr addrnum_addr(uint8_t family, addrnum n)
{
	struct addr a = {.family = family};

	for (size_t i = addr_size(&a); i > 0; i--, n >>= 8)
		a.bytes[i - 1] = (uint8_t)n;
	return a;
}

static addrnum run_first(const struct addrset_run *run)
{
	return (addrnum)run->high << 64 | run->low;
}

static addrnum run_last(const struct addrset_run *run)
{
	return run_first(run) + run->count - 1;
}

static void run_set_first(struct addrset_run *run, addrnum first)
{
	run->high = (uint64_t)(first >> 64);
	run->low = (uint64_t)first;
}

static uint64_t run_priority(const struct addrset_run *run)
{
	uint64_t x = (uintptr_t)run; /* mixed as in MurmurHash3's finalizer */

	x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
	x = (x ^ x >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

/* The last run that begins at or before n. */
static struct addrset_run *find_at_most(const struct addrset *s, addrnum n)
{
	struct addrset_run *best = NULL;

	for (struct addrset_run *run = s->root; run;) {
		if (run_first(run) <= n) {
			best = run;
			run = run->right;
		} else {
			run = run->left;
		}
	}
	return best;
}

/* The first run that begins after n. */
static struct addrset_run *find_above(const struct addrset *s, addrnum n)
{
	struct addrset_run *best = NULL;

	for (struct addrset_run *run = s->root; run;) {
		if (run_first(run) > n) {
			best = run;
			run = run->left;
		} else {
			run = run->right;
		}
	}
	return best;
}

/* Parts a tree into the runs that begin before n and the others. */
static void split(struct addrset_run *run, addrnum n, struct addrset_run **below,
		  struct addrset_run **above)
{
	while (run) {
		if (run_first(run) < n) {
			*below = run;
			below = &run->right;
			run = *below;
		} else {
			*above = run;
			above = &run->left;
			run = *above;
		}
	}
	*below = NULL;
	*above = NULL;
}

/* All runs of a lie before those of b. */
static struct addrset_run *join(struct addrset_run *a, struct addrset_run *b)
{
	struct addrset_run *root = NULL;
	struct addrset_run **at = &root;

	while (a && b) {
		if (run_priority(a) > run_priority(b)) {
			*at = a;
			at = &a->right;
			a = *at;
		} else {
			*at = b;
			at = &b->left;
			b = *at;
		}
	}
	*at = a ? a : b;
	return root;
}

/* Puts a run into the tree, made of the spare. */
static void insert(struct addrset *s, addrnum first, uint64_t count)
{
	struct addrset_run *run = s->spare;
	struct addrset_run **at = &s->root;

	s->spare = NULL;
	run_set_first(run, first);
	run->count = count;
	while (*at && run_priority(*at) > run_priority(run))
		at = first < run_first(*at) ? &(*at)->left : &(*at)->right;
	split(*at, first, &run->left, &run->right);
	*at = run;
}

static void erase(struct addrset *s, struct addrset_run *run)
{
	struct addrset_run **at = &s->root;
	addrnum first = run_first(run);

	while (*at != run)
		at = first < run_first(*at) ? &(*at)->left : &(*at)->right;
	*at = join(run->left, run->right);
	if (s->spare)
		free(run);
	else
		s->spare = run;
}

void addrset_fini(struct addrset *s)
{
	struct addrset_run *run = s->root;

	while (run) { /* turned into a list on the way: no recursion, no stack */
		struct addrset_run *next = run->left;

		if (next) {
			run->left = next->right;
			next->right = run;
		} else {
			next = run->right;
			free(run);
		}
		run = next;
	}
	free(s->spare);
	*s = (struct addrset){0};
}

int addrset_reserve(struct addrset *s)
{
	if (!s->spare)
		s->spare = malloc(sizeof(*s->spare));
	return s->spare ? 0 : -ENOMEM;
}

bool addrset_has(const struct addrset *s, addrnum n)
{
	const struct addrset_run *run = find_at_most(s, n);

	return run && n <= run_last(run);
}

void addrset_add(struct addrset *s, addrnum n)
{
	struct addrset_run *before = find_at_most(s, n);
	struct addrset_run *after = find_above(s, n);

	if (before && n <= run_last(before))
		return;
	s->count++;
	if (before && run_last(before) + 1 != n)
		before = NULL;
	if (after && run_first(after) - 1 != n)
		after = NULL;
	if (before && after) {
		before->count += 1 + after->count;
		erase(s, after);
	} else if (before) {
		before->count++;
	} else if (after) {
		run_set_first(after, n); /* keeps its place in the order */
		after->count++;
	} else {
		insert(s, n, 1);
	}
}

void addrset_del(struct addrset *s, addrnum n)
{
	struct addrset_run *run = find_at_most(s, n);
	uint64_t before;

	if (!run || n > run_last(run))
		return;
	s->count--;
	before = (uint64_t)(n - run_first(run));
	if (run->count == 1) {
		erase(s, run);
	} else if (before == 0) {
		run_set_first(run, n + 1);
		run->count--;
	} else {
		uint64_t after = run->count - before - 1;

		run->count = before;
		if (after)
			insert(s, n + 1, after);
	}
}

bool addrset_next_free(const struct addrset *s, addrnum first, addrnum last, addrnum *ret)
{
	const struct addrset_run *run = find_at_most(s, first);

	if (run && run_last(run) >= first) {
		if (run_last(run) >= last)
			return false;
		first = run_last(run) + 1;
	}
	if (first > last)
		return false;
	*ret = first;
	return true;
}

bool addrset_next_used(const struct addrset *s, addrnum first, addrnum last, addrnum *ret)
{
	const struct addrset_run *run = find_at_most(s, first);

	if (!run || run_last(run) < first) {
		run = find_above(s, first);
		if (!run)
			return false;
		first = run_first(run);
	}
	if (first > last)
		return false;
	*ret = first;
	return true;
}
