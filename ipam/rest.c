// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A treap ordered by address in which each node knows the lowest stamp of its subtree,
 * so the oldest of a range is found on the way down its two edges. The heap priority is
 * a hash of where the node lies in memory, as in addrset.c.
 */
#include "ipam/rest.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* Halves instead of one addrnum: its alignment of 16 would cost 16 bytes a node. */
struct rest_node {
	uint64_t high;
	uint64_t low;
	uint64_t stamp;
	uint64_t lowest; /* stamp in the subtree */
	struct rest_node *left;
	struct rest_node *right;
};

static addrnum node_addr(const struct rest_node *node)
{
	return (addrnum)node->high << 64 | node->low;
}

static uint64_t node_priority(const struct rest_node *node)
{
	uint64_t x = (uintptr_t)node; /* mixed as in MurmurHash3's finalizer */

	x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
	x = (x ^ x >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

static uint64_t lowest_of(const struct rest_node *node)
{
	return node ? node->lowest : UINT64_MAX;
}

static uint64_t lower(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void update(struct rest_node *node)
{
	node->lowest =
		lower(node->stamp, lower(lowest_of(node->left), lowest_of(node->right)));
}

/* Parts a tree into the nodes before n and the others; the lowest stamps on the way to n
 * are not updated. */
static void split(struct rest_node *node, addrnum n, struct rest_node **below,
		  struct rest_node **above)
{
	while (node) {
		if (node_addr(node) < n) {
			*below = node;
			below = &node->right;
			node = *below;
		} else {
			*above = node;
			above = &node->left;
			node = *above;
		}
	}
	*below = NULL;
	*above = NULL;
}

/* All nodes of a lie before those of b. */
static struct rest_node *join(struct rest_node *a, struct rest_node *b)
{
	struct rest_node *root = NULL;
	struct rest_node **at = &root;

	while (a && b) {
		bool a_above = node_priority(a) > node_priority(b);
		struct rest_node *top = a_above ? a : b;

		top->lowest = lower(a->lowest, b->lowest); /* all of both is below */
		*at = top;
		at = a_above ? &top->right : &top->left;
		*(a_above ? &a : &b) = *at;
	}
	*at = a ? a : b;
	return root;
}

static struct rest_node **side_of(struct rest_node *node, addrnum n)
{
	return n < node_addr(node) ? &node->left : &node->right;
}

/*
 * Updates the nodes on the way from a tree's root to where n would be, the last one
 * first. Links are turned round on the way down and back on the way up, which needs
 * neither a stack nor a link to the parent. Returns the root.
 */
static struct rest_node *update_towards(struct rest_node *node, addrnum n)
{
	struct rest_node *above = NULL;

	while (node) {
		struct rest_node **side = side_of(node, n);
		struct rest_node *next = *side;

		*side = above;
		above = node;
		node = next;
	}
	while (above) {
		struct rest_node **side = side_of(above, n);
		struct rest_node *next = *side;

		*side = node;
		update(above);
		node = above;
		above = next;
	}
	return node;
}

void rest_fini(struct rest *r)
{
	struct rest_node *node = r->root;

	while (node) { /* turned into a list on the way */
		struct rest_node *next = node->left;

		if (next) {
			node->left = next->right;
			next->right = node;
		} else {
			next = node->right;
			free(node);
		}
		node = next;
	}
	free(r->spare);
	*r = (struct rest){0};
}

int rest_reserve(struct rest *r)
{
	if (!r->spare)
		r->spare = malloc(sizeof(*r->spare));
	return r->spare ? 0 : -ENOMEM;
}

bool rest_has(const struct rest *r, addrnum n)
{
	const struct rest_node *node = r->root;

	while (node && node_addr(node) != n)
		node = n < node_addr(node) ? node->left : node->right;
	return node != NULL;
}

void rest_add(struct rest *r, addrnum n, uint64_t stamp)
{
	struct rest_node *node = r->spare;
	struct rest_node **at = &r->root;

	r->spare = NULL;
	*node = (struct rest_node){
		.high = (uint64_t)(n >> 64), .low = (uint64_t)n, .stamp = stamp};
	while (*at && node_priority(*at) > node_priority(node)) {
		(*at)->lowest = lower((*at)->lowest, stamp);
		at = n < node_addr(*at) ? &(*at)->left : &(*at)->right;
	}
	split(*at, n, &node->left, &node->right);
	node->left = update_towards(node->left, n);
	node->right = update_towards(node->right, n);
	update(node);
	*at = node;
	r->count++;
}

void rest_del(struct rest *r, addrnum n)
{
	struct rest_node **at = &r->root;
	struct rest_node *node;

	while (*at && node_addr(*at) != n)
		at = side_of(*at, n);
	node = *at;
	if (!node)
		return;
	*at = join(node->left, node->right);
	r->root = update_towards(r->root, n);
	r->count--;
	if (r->spare)
		free(node);
	else
		r->spare = node;
}

/* What a search has found so far. */
struct oldest {
	const struct rest_node *node; /* by itself, or ... */
	const struct rest_node *tree; /* ... the lowest one in here */
	uint64_t stamp;
};

static void consider(struct oldest *o, const struct rest_node *node,
		     const struct rest_node *tree)
{
	uint64_t stamp = node ? node->stamp : lowest_of(tree);

	if (stamp < o->stamp)
		*o = (struct oldest){node, tree, stamp};
}

static const struct rest_node *find_lowest(const struct rest_node *node)
{
	while (node->stamp != node->lowest) {
		node = lowest_of(node->left) == node->lowest ? node->left : node->right;
		assert(node); /* the lowest stamp is somewhere */
	}
	return node;
}

bool rest_oldest(const struct rest *r, addrnum first, addrnum last, addrnum *ret,
		 uint64_t *ret_stamp)
{
	const struct rest_node *top = r->root;
	struct oldest o;

	while (top && (node_addr(top) < first || node_addr(top) > last))
		top = node_addr(top) < first ? top->right : top->left;
	if (!top)
		return false;
	o = (struct oldest){.node = top, .stamp = top->stamp};
	/* Down the left edge: what lies to its right is inside, below top. */
	for (const struct rest_node *node = top->left; node;) {
		if (node_addr(node) < first) {
			node = node->right;
			continue;
		}
		consider(&o, NULL, node->right);
		consider(&o, node, NULL);
		node = node->left;
	}
	for (const struct rest_node *node = top->right; node;) {
		if (node_addr(node) > last) {
			node = node->left;
			continue;
		}
		consider(&o, NULL, node->left);
		consider(&o, node, NULL);
		node = node->right;
	}
	if (!o.node)
		o.node = find_lowest(o.tree);
	*ret = node_addr(o.node);
	if (ret_stamp)
		*ret_stamp = o.stamp;
	return true;
}
