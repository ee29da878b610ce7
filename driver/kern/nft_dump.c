// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading back what the kernel holds, for repair. A dump that a change interrupted
 * is taken again, with a limit, and nothing is told to the caller before one is
 * complete.
 */
#include <errno.h>
#include <stdio.h> /* libnftnl/expr.h needs it */
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/udata.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "driver/kern/nft_internal.h"
#include "plugin/base/mem.h"

#define DUMP_TRIES   10
#define REQUEST_SIZE 1024

/* A request for objects of a table; buf has REQUEST_SIZE bytes. */
static struct nlmsghdr *request(char *buf, uint16_t type, enum nft_family family,
				const char *table, uint16_t flags)
{
	struct nlmsghdr *nlh;

	nlh = nftnl_nlmsg_build_hdr(buf, type, nft_family_number(family), flags, 0);
	/* The table's name is attribute 1 of all messages. */
	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, table);
	return nlh;
}

static int check_names(const char *table, const char *name)
{
	return strlen(table) < NFT_NAME_SIZE && (!name || strlen(name) < NFT_NAME_SIZE)
		       ? 0
		       : -ENAMETOOLONG;
}

/* --- elements --- */

static int parse_elems(const struct nlmsghdr *nlh, void *ctx)
{
	return nftnl_set_elems_nlmsg_parse(nlh, ctx) < 0 ? -EPROTO : 0;
}

DEFINE_CLEANUP(struct nftnl_set *, nftnl_set_free);

static int read_elems(struct nft_sock *ns, const char *table, const char *set,
		      struct nftnl_set **ret)
{
	struct nftnl_set *s auto_with(nftnl_set_free) = nftnl_set_alloc();
	char buf[REQUEST_SIZE] __attribute__((aligned(8)));
	struct nlmsghdr *nlh;
	int r;

	if (!s)
		return -ENOMEM;
	nlh = request(buf, NFT_MSG_GETSETELEM, NFT_FAMILY_INET, table, NLM_F_DUMP);
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, set);
	r = nft_request(ns, nlh, parse_elems, s);
	if (r < 0)
		return r;
	*ret = TAKE(s);
	return 0;
}

static int decode_value(const struct nft_set *set, struct nftnl_set_elem *el,
			struct nft_value *ret, char *ret_name)
{
	const void *data;
	uint32_t size;

	memset(ret, 0, sizeof(*ret));
	if (set->value == NFT_TYPE_NONE)
		return 0;
	if (set->value != NFT_TYPE_VERDICT) {
		data = nftnl_set_elem_get(el, NFTNL_SET_ELEM_DATA, &size);
		return data ? nft_value_decode(set->value, data, size, ret, ret_name)
			    : -EINVAL;
	}
	ret->type = NFT_TYPE_VERDICT;
	ret->name = "";
	/* A verdict that is not ours equals none of ours: it has no name. */
	if (nftnl_set_elem_is_set(el, NFTNL_SET_ELEM_CHAIN) &&
	    (int)nftnl_set_elem_get_u32(el, NFTNL_SET_ELEM_VERDICT) == NFT_GOTO)
		ret->name = nftnl_set_elem_get_str(el, NFTNL_SET_ELEM_CHAIN);
	return 0;
}

struct elem_walk {
	const struct nft_set *set;
	int (*fn)(void *ctx, const struct nft_value *key, const struct nft_value *value);
	void *ctx;
	int result;
};

static int walk_elem(struct nftnl_set_elem *el, void *arg)
{
	struct elem_walk *w = arg;
	char key_name[IFNAMSIZ];
	char value_name[IFNAMSIZ];
	struct nft_value key;
	struct nft_value value;
	const void *data;
	uint32_t size = 0;

	data = nftnl_set_elem_get(el, NFTNL_SET_ELEM_KEY, &size);
	if (!data || nft_value_decode(w->set->key, data, size, &key, key_name) < 0 ||
	    decode_value(w->set, el, &value, value_name) < 0)
		w->result = -EUCLEAN;
	else
		w->result = w->fn(w->ctx, &key,
				  w->set->value == NFT_TYPE_NONE ? NULL : &value);
	return w->result < 0 ? -1 : 0;
}

/* --- intervals --- */

struct bound {
	struct nft_value key;
	bool end;
};

struct bounds {
	enum nft_type key;
	struct bound *list;
	size_t count;
	size_t room;
	int error;
};

static int collect_bound(struct nftnl_set_elem *el, void *arg)
{
	struct bounds *bs = arg;
	char name[IFNAMSIZ];
	struct bound bound = {0};
	uint32_t size = 0;
	const void *data;

	if (bs->count == bs->room) {
		size_t room = bs->room ? bs->room * 2 : 32;
		struct bound *list = reallocarray(bs->list, room, sizeof(*list));

		if (!list) {
			bs->error = -ENOMEM;
			return -1;
		}
		bs->list = list;
		bs->room = room;
	}
	if (nftnl_set_elem_is_set(el, NFTNL_SET_ELEM_FLAGS))
		bound.end = nftnl_set_elem_get_u32(el, NFTNL_SET_ELEM_FLAGS) &
			    NFT_SET_ELEM_INTERVAL_END;
	data = nftnl_set_elem_get(el, NFTNL_SET_ELEM_KEY, &size);
	if (!data || nft_value_decode(bs->key, data, size, &bound.key, name) < 0) {
		bs->error = -EUCLEAN;
		return -1;
	}
	bs->list[bs->count++] = bound;
	return 0;
}

/* Where one prefix ends and the next begins, the end comes first. */
static int compare_bounds(const void *a, const void *b)
{
	const struct bound *x = a;
	const struct bound *y = b;
	int r = memcmp(x->key.addr.bytes, y->key.addr.bytes, sizeof(x->key.addr.bytes));

	return r ? r : (int)y->end - (int)x->end;
}

/* Sets the length of the prefix from key up to (not with) end, NULL: up to the end of
 * the address space; false if that is no prefix. */
static bool set_prefix(struct nft_value *key, const struct nft_value *end)
{
	unsigned int bits = addr_bits(&key->addr);
	struct cidr c = {.addr = key->addr};
	unsigned int prefix;

	for (prefix = 0; prefix <= bits; prefix++) {
		struct cidr network;
		struct addr behind;
		size_t i;

		c.prefix = (uint8_t)prefix;
		network = cidr_network(&c);
		if (!addr_equal(&network.addr, &key->addr))
			continue;
		behind = cidr_last(&c);
		i = addr_size(&behind);
		while (i > 0 && ++behind.bytes[i - 1] == 0)
			i--;
		if (i == 0 ? !end : end && addr_equal(&behind, &end->addr))
			break;
	}
	key->prefix = (uint8_t)prefix;
	return prefix <= bits;
}

static int walk_bounds(struct bounds *bs, struct elem_walk *w)
{
	size_t i;
	int r;

	qsort(bs->list, bs->count, sizeof(*bs->list), compare_bounds);
	for (i = 0; i < bs->count; i++) {
		struct nft_value *key = &bs->list[i].key;
		bool closed = i + 1 < bs->count && bs->list[i + 1].end;

		if (bs->list[i].end)
			continue; /* nft(8) closes the space before the first one */
		if (!set_prefix(key, closed ? &bs->list[i + 1].key : NULL))
			return -EUCLEAN;
		r = w->fn(w->ctx, key, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

static int walk_intervals(struct nftnl_set *s, struct elem_walk *w)
{
	struct bounds bs = {.key = w->set->key};
	int r = 0;

	if (w->set->key != NFT_TYPE_IPV4 && w->set->key != NFT_TYPE_IPV6)
		return -EINVAL;
	(void)nftnl_set_elem_foreach(s, collect_bound, &bs); /* bs.error tells */
	r = bs.error;
	if (r == 0 && bs.count > 0)
		r = walk_bounds(&bs, w);
	free(bs.list);
	return r;
}

int nft_elem_list(struct nft_sock *ns, const char *table, const struct nft_set *set,
		  int (*fn)(void *ctx, const struct nft_value *key,
			    const struct nft_value *value),
		  void *ctx, struct err *e)
{
	struct nftnl_set *s auto_with(nftnl_set_free) = NULL;
	struct elem_walk w = {.set = set, .fn = fn, .ctx = ctx};
	int r = check_names(table, set->name);
	int tries;

	if (r == 0)
		r = -EINTR;
	for (tries = 0; r == -EINTR && tries < DUMP_TRIES; tries++)
		r = read_elems(ns, table, set->name, &s);
	if (r < 0)
		return err_sys(e, r, "nftables: elements of %s in table inet %s",
			       set->name, table);
	if (set->interval) {
		r = walk_intervals(s, &w);
	} else {
		(void)nftnl_set_elem_foreach(s, walk_elem, &w); /* w.result tells */
		r = w.result;
	}
	if (r == -EUCLEAN)
		return err_set(e, r, "nftables: %s in table inet %s is not of our types",
			       set->name, table);
	return r < 0 ? err_sys(e, r, "nftables: elements of %s", set->name) : 0;
}

/* --- rules --- */

DEFINE_CLEANUP(struct nftnl_rule *, nftnl_rule_free);

struct rule_search {
	const char *chain;
	const char *comment; /* NULL: any */
	int count;
};

struct text_match {
	const char *text;
	bool found;
};

static int match_userdata(const struct nftnl_udata *attr, void *arg)
{
	struct text_match *m = arg;
	const char *text = nftnl_udata_get(attr);
	uint8_t len = nftnl_udata_len(attr);

	if (nftnl_udata_type(attr) == NFTNL_UDATA_RULE_COMMENT && len > 0 &&
	    text[len - 1] == '\0' && strcmp(text, m->text) == 0)
		m->found = true;
	return 0;
}

/* What iptables-restore makes of a comment: an xt match with the text as its data. */
static int match_xt_comment(struct nftnl_expr *x, void *arg)
{
	struct text_match *m = arg;
	const char *kind = nftnl_expr_get_str(x, NFTNL_EXPR_NAME);
	const char *name;
	const char *text;
	uint32_t size = 0;

	if (!kind || strcmp(kind, "match") != 0)
		return 0;
	name = nftnl_expr_get_str(x, NFTNL_EXPR_MT_NAME);
	text = nftnl_expr_get_data(x, NFTNL_EXPR_MT_INFO, &size);
	if (name && text && strcmp(name, "comment") == 0 && strnlen(text, size) < size &&
	    strcmp(text, m->text) == 0)
		m->found = true;
	return 0;
}

static bool has_comment(struct nftnl_rule *rule, const char *comment)
{
	struct text_match m = {.text = comment};
	uint32_t size = 0;
	const void *data = nftnl_rule_get_data(rule, NFTNL_RULE_USERDATA, &size);

	if (data)
		(void)nftnl_udata_parse(data, size, match_userdata, &m); /* m tells */
	(void)nftnl_expr_foreach(rule, match_xt_comment, &m);		 /* m tells */
	return m.found;
}

static int find_rule(const struct nlmsghdr *nlh, void *ctx)
{
	struct nftnl_rule *rule auto_with(nftnl_rule_free) = nftnl_rule_alloc();
	struct rule_search *rs = ctx;
	const char *chain;

	if (!rule)
		return -ENOMEM;
	if (nftnl_rule_nlmsg_parse(nlh, rule) < 0)
		return -EPROTO;
	chain = nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN);
	if (!chain || strcmp(chain, rs->chain) != 0)
		return 0;
	if (rs->comment && !has_comment(rule, rs->comment))
		return 0;
	rs->count++;
	return 0;
}

/* Fills rs; no such table or chain: nothing found. */
static int search_rules(struct nft_sock *ns, enum nft_family family, const char *table,
			struct rule_search *rs)
{
	char buf[REQUEST_SIZE] __attribute__((aligned(8)));
	int r = check_names(table, rs->chain);
	int tries;

	if (r == 0)
		r = -EINTR;
	for (tries = 0; r == -EINTR && tries < DUMP_TRIES; tries++) {
		struct nlmsghdr *nlh;

		nlh = request(buf, NFT_MSG_GETRULE, family, table, NLM_F_DUMP);
		mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, rs->chain);
		rs->count = 0;
		r = nft_request(ns, nlh, find_rule, rs);
	}
	return r == -ENOENT ? 0 : r;
}

int nft_rule_count(struct nft_sock *ns, const char *table, const char *chain,
		   struct err *e)
{
	struct rule_search rs = {.chain = chain};
	int r = search_rules(ns, NFT_FAMILY_INET, table, &rs);

	if (r < 0)
		return err_sys(e, r, "nftables: rules of chain %s in table inet %s",
			       chain, table);
	if (rs.count > 0)
		return rs.count;
	r = nft_chain_exists(ns, NFT_FAMILY_INET, table, chain, e);
	if (r == 0)
		return err_sys(e, -ENOENT, "nftables: chain %s in table inet %s", chain,
			       table);
	return r < 0 ? r : 0;
}

int nft_rule_exists(struct nft_sock *ns, enum nft_family family, const char *table,
		    const char *chain, const char *comment, struct err *e)
{
	struct rule_search rs = {.chain = chain, .comment = comment};
	int r = search_rules(ns, family, table, &rs);

	if (r < 0)
		return err_sys(e, r, "nftables: rules of chain %s in table %s %s", chain,
			       nft_family_name(family), table);
	return rs.count > 0;
}

/* --- the place of rules in a chain of others --- */

struct place_search {
	const char *chain;
	const char *comment;
	struct nft_rules found;
};

struct plain_return {
	bool returns;
	bool other; /* it does more than that */
};

static int match_plain(struct nftnl_expr *x, void *arg)
{
	struct plain_return *p = arg;
	const char *kind = nftnl_expr_get_str(x, NFTNL_EXPR_NAME);

	if (kind && strcmp(kind, "counter") == 0)
		return 0;
	if (kind && strcmp(kind, "immediate") == 0 &&
	    nftnl_expr_is_set(x, NFTNL_EXPR_IMM_VERDICT) &&
	    (int)nftnl_expr_get_u32(x, NFTNL_EXPR_IMM_VERDICT) == NFT_RETURN)
		p->returns = true;
	else
		p->other = true;
	return 0;
}

static bool is_plain_return(struct nftnl_rule *rule)
{
	struct plain_return p = {0};

	(void)nftnl_expr_foreach(rule, match_plain, &p); /* p tells */
	return p.returns && !p.other;
}

static int place_rule(const struct nlmsghdr *nlh, void *ctx)
{
	struct nftnl_rule *rule auto_with(nftnl_rule_free) = nftnl_rule_alloc();
	struct place_search *ps = ctx;
	struct nft_rules *found = &ps->found;
	const char *chain;
	uint64_t handle;

	if (!rule)
		return -ENOMEM;
	if (nftnl_rule_nlmsg_parse(nlh, rule) < 0)
		return -EPROTO;
	chain = nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN);
	if (!chain || strcmp(chain, ps->chain) != 0)
		return 0;
	handle = nftnl_rule_get_u64(rule, NFTNL_RULE_HANDLE);
	if (has_comment(rule, ps->comment)) {
		found->at_end &= !found->end;
		if (found->count < NFT_RULES_MAX)
			found->handles[found->count++] = handle;
	} else if (!found->end) {
		if (is_plain_return(rule))
			found->end = handle;
		else
			found->at_end &= found->count == 0;
	}
	return 0;
}

int nft_rule_find(struct nft_sock *ns, const struct nft_place *place, const char *comment,
		  struct nft_rules *ret, struct err *e)
{
	struct place_search ps = {.chain = place->chain, .comment = comment};
	char buf[REQUEST_SIZE] __attribute__((aligned(8)));
	int r = check_names(place->table, place->chain);
	int tries;

	if (r == 0)
		r = -EINTR;
	for (tries = 0; r == -EINTR && tries < DUMP_TRIES; tries++) {
		struct nlmsghdr *nlh;

		nlh = request(buf, NFT_MSG_GETRULE, place->family, place->table,
			      NLM_F_DUMP);
		mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, place->chain);
		ps.found = (struct nft_rules){.at_end = true};
		r = nft_request(ns, nlh, place_rule, &ps);
	}
	if (r < 0 && r != -ENOENT)
		return err_sys(e, r, "nftables: rules of chain %s in table %s %s",
			       place->chain, nft_family_name(place->family),
			       place->table);
	*ret = ps.found;
	return 0;
}

/* --- chains --- */

static int ignore_answer(const struct nlmsghdr *nlh, void *ctx)
{
	(void)nlh;
	(void)ctx;
	return 0;
}

int nft_chain_exists(struct nft_sock *ns, enum nft_family family, const char *table,
		     const char *chain, struct err *e)
{
	char buf[REQUEST_SIZE] __attribute__((aligned(8)));
	struct nlmsghdr *nlh;
	int r = check_names(table, chain);

	if (r == 0) {
		nlh = request(buf, chain ? NFT_MSG_GETCHAIN : NFT_MSG_GETTABLE, family,
			      table, 0);
		if (chain)
			mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, chain);
		r = nft_request(ns, nlh, ignore_answer, NULL);
	}
	if (r == 0)
		return 1;
	if (r == -ENOENT)
		return 0;
	return err_sys(e, r, "nftables: chain %s in table %s %s", chain ? chain : "(any)",
		       nft_family_name(family), table);
}
