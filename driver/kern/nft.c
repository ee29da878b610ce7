// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * nftables transactions. A batch is one buffer of netlink messages that is sent
 * with one system call; the kernel takes all of it or nothing and has queued every
 * reply when the call returns. Only the last message asks for an acknowledgement,
 * refusals come without asking. One refusal voids the batch.
 *
 * This file: the buffer, naming what was refused, tables and chains.
 */
#include "driver/kern/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/kern/nft_internal.h"
#include "plugin/base/str.h"

#ifndef NFT_TABLE_F_OWNER
#define NFT_TABLE_F_OWNER 0x2 /* Linux 5.12 */
#endif

#define BUFFER_FIRST (2UL * NFT_MESSAGE_SIZE)
#define BUFFER_MAX   (256U << 20)
#define BUFFER_KEEP  (1U << 20) /* a bigger one is given back after a commit */

/* --- the buffer --- */

uint8_t nft_family_number(enum nft_family family)
{
	static const uint8_t number[NFT_FAMILY_COUNT] = {
		[NFT_FAMILY_INET] = NFPROTO_INET,
		[NFT_FAMILY_IPV4] = NFPROTO_IPV4,
		[NFT_FAMILY_IPV6] = NFPROTO_IPV6,
	};

	return number[family];
}

const char *nft_family_name(enum nft_family family)
{
	static const char *const name[NFT_FAMILY_COUNT] = {
		[NFT_FAMILY_INET] = "inet",
		[NFT_FAMILY_IPV4] = "ip",
		[NFT_FAMILY_IPV6] = "ip6",
	};

	return name[family];
}

struct nft_batch *nft_batch_new(enum nft_family family, const char *table)
{
	struct nft_batch *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->family = family;
	if (str_copy(b->table, sizeof(b->table), table) < 0)
		nft_batch_fail(b, -ENAMETOOLONG, "name of a table");
	return b;
}

static void batch_clear(struct nft_batch *b)
{
	b->size = 0;
	b->count = 0;
	b->err = (struct err){0};
	b->elems.open = false;
	b->set_id = 0;
	if (b->rule)
		nftnl_rule_free(b->rule);
	b->rule = NULL;
	if (b->room > BUFFER_KEEP) {
		free(b->buf);
		b->buf = NULL;
		b->room = 0;
	}
}

void nft_batch_free(struct nft_batch *b)
{
	if (!b)
		return;
	batch_clear(b);
	free(b->messages);
	free(b->buf);
	free(b);
}

void nft_batch_fail(struct nft_batch *b, int code, const char *what)
{
	if (b->err.code == 0)
		(void)err_sys(&b->err, code, "nftables: %s of table %s %s", what,
			      nft_family_name(b->family), b->table);
}

bool nft_name_ok(struct nft_batch *b, const char *name)
{
	size_t len = name ? strlen(name) : 0;

	if (len > 0 && len < NFT_NAME_SIZE)
		return true;
	nft_batch_fail(b, len ? -ENAMETOOLONG : -EINVAL, "a name");
	return false;
}

int nft_batch_reserve(struct nft_batch *b, size_t size)
{
	size_t room = b->room ? b->room : BUFFER_FIRST;
	char *buf;

	if (b->size + size > BUFFER_MAX)
		return -E2BIG;
	while (room < b->size + size)
		room *= 2;
	if (room == b->room)
		return 0;
	buf = realloc(b->buf, room);
	if (!buf)
		return -ENOMEM;
	b->buf = buf;
	b->room = room;
	return 0;
}

static int reserve_message(struct nft_batch *b)
{
	size_t room = b->messages_room ? b->messages_room * 2 : 64;
	struct nft_message *list;

	if (b->count < b->messages_room)
		return 0;
	list = reallocarray(b->messages, room, sizeof(*list));
	if (!list)
		return -ENOMEM;
	b->messages = list;
	b->messages_room = room;
	return 0;
}

static struct nlmsghdr *message_at(const struct nft_batch *b, size_t index)
{
	return (struct nlmsghdr *)(b->buf + b->messages[index].offset);
}

static struct nlmsghdr *message_begin(struct nft_batch *b)
{
	int r;

	b->elems.open = false;
	if (b->err.code)
		return NULL;
	r = reserve_message(b);
	if (r == 0)
		r = nft_batch_reserve(b, NFT_MESSAGE_SIZE);
	if (r < 0) {
		nft_batch_fail(b, r, "a transaction");
		return NULL;
	}
	b->messages[b->count++] = (struct nft_message){.offset = b->size};
	return (struct nlmsghdr *)(b->buf + b->size);
}

struct nlmsghdr *nft_message_begin(struct nft_batch *b, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *nlh;

	if (b->count == 0) {
		nlh = message_begin(b);
		if (!nlh)
			return NULL;
		nft_message_end(b, nftnl_batch_begin((char *)nlh, 0));
	}
	nlh = message_begin(b);
	if (!nlh)
		return NULL;
	return nftnl_nlmsg_build_hdr((char *)nlh, type, nft_family_number(b->family),
				     flags, 0);
}

void nft_message_end(struct nft_batch *b, const struct nlmsghdr *nlh)
{
	b->size = b->messages[b->count - 1].offset + MNL_ALIGN(nlh->nlmsg_len);
}

/* --- naming the refused object --- */

struct object_kind {
	const char *verb;
	const char *noun;
	uint16_t name_attr; /* 0: the table itself */
};

static const struct object_kind *object_kind(uint16_t type)
{
	static const struct object_kind kinds[NFT_MSG_MAX] = {
		[NFT_MSG_NEWTABLE] = {"add", "table", 0},
		[NFT_MSG_DELTABLE] = {"delete", "table", 0},
		[NFT_MSG_NEWCHAIN] = {"add", "chain", NFTA_CHAIN_NAME},
		[NFT_MSG_DELCHAIN] = {"delete", "chain", NFTA_CHAIN_NAME},
		[NFT_MSG_NEWRULE] = {"add", "a rule of chain", NFTA_RULE_CHAIN},
		[NFT_MSG_DELRULE] = {"delete", "rules of chain", NFTA_RULE_CHAIN},
		[NFT_MSG_NEWSET] = {"add", "set", NFTA_SET_NAME},
		[NFT_MSG_DELSET] = {"delete", "set", NFTA_SET_NAME},
		[NFT_MSG_NEWSETELEM] = {"add", "an element of", NFTA_SET_ELEM_LIST_SET},
		[NFT_MSG_DELSETELEM] = {"delete", "an element of",
					NFTA_SET_ELEM_LIST_SET},
	};
	uint16_t index = type & 0xff;

	return index < NFT_MSG_MAX && kinds[index].verb ? &kinds[index] : NULL;
}

/* The key of the element that the refused attribute lies in, or of the only one. */
static void find_elem(const struct nlmsghdr *nlh, uint32_t offset, enum nft_type type,
		      char *buf, size_t size)
{
	const struct nlattr *list;
	const struct nlattr *elem;
	const struct nlattr *attr;
	const char *refused = (const char *)nlh + offset;

	mnl_attr_for_each(list, nlh, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(list) != NFTA_SET_ELEM_LIST_ELEMENTS)
			continue;
		mnl_attr_for_each_nested(elem, list)
		{
			const char *end = (const char *)mnl_attr_next(elem);
			char name[NFT_VALUE_SIZE];
			struct nft_value v;

			if (offset && (refused < (const char *)elem || refused >= end))
				continue;
			if (!offset && elem->nla_len + 4 < list->nla_len)
				return; /* one of many: unknown which */
			mnl_attr_for_each_nested(attr, elem)
			{
				const struct nlattr *data = mnl_attr_get_payload(attr);

				if (mnl_attr_get_type(attr) != NFTA_SET_ELEM_KEY ||
				    nft_value_decode(type, mnl_attr_get_payload(data),
						     mnl_attr_get_payload_len(data), &v,
						     name) < 0)
					continue;
				nft_value_format(&v, buf, size);
				return;
			}
		}
	}
}

static int refused(const struct nft_batch *b, uint32_t base, const struct nft_refusal *r,
		   struct err *e)
{
	const char *family = nft_family_name(b->family);
	const struct object_kind *kind = NULL;
	const struct nlmsghdr *nlh = NULL;
	uint32_t index = r->seq - base;
	const char *colon = *r->text ? ": " : "";
	const char *name = "";
	char elem[96] = "";
	const struct nlattr *attr;

	if (index < b->count) {
		nlh = message_at(b, index);
		kind = object_kind(nlh->nlmsg_type);
	}
	if (!kind)
		return err_sys(e, r->code, "nftables: table %s %s%s%s", family, b->table,
			       colon, r->text);
	if (!kind->name_attr)
		return err_sys(e, r->code, "nftables: %s table %s %s%s%s", kind->verb,
			       family, b->table, colon, r->text);
	mnl_attr_for_each(attr, nlh, sizeof(struct nfgenmsg))
	{
		if (mnl_attr_get_type(attr) == kind->name_attr)
			name = mnl_attr_get_str(attr);
	}
	if (kind->name_attr == NFTA_SET_ELEM_LIST_SET)
		find_elem(nlh, r->offset, b->messages[index].key, elem, sizeof(elem));
	return err_sys(e, r->code, "nftables: %s %s %s%s%s in table %s %s%s%s",
		       kind->verb, kind->noun, name, *elem ? " " : "", elem, family,
		       b->table, colon, r->text);
}

/* --- commit --- */

static int batch_finish(struct nft_sock *ns, struct nft_batch *b, uint32_t *ret_base)
{
	uint32_t base = ns->seq;
	struct nlmsghdr *nlh;
	size_t i;
	int r;

	r = nft_batch_reserve(b, NFT_MESSAGE_SIZE);
	if (r < 0)
		return r;
	for (i = 0; i < b->count; i++) {
		nlh = message_at(b, i);
		nlh->nlmsg_seq = base + (uint32_t)i;
		if (i + 1 == b->count)
			nlh->nlmsg_flags |= NLM_F_ACK;
	}
	nlh = nftnl_batch_end(b->buf + b->size, base + (uint32_t)b->count);
	b->size += MNL_ALIGN(nlh->nlmsg_len);
	ns->seq = base + (uint32_t)b->count + 1;
	*ret_base = base;
	return 0;
}

static int batch_send(struct nft_sock *ns, struct nft_batch *b, struct err *e)
{
	struct nft_refusal refusal = {0};
	uint32_t base;
	int r;

	r = batch_finish(ns, b, &base);
	if (r == 0)
		r = nft_send(ns, b->buf, b->size);
	if (r == 0)
		r = nft_read_replies(ns, base + (uint32_t)b->count - 1, &refusal);
	if (r < 0)
		return err_sys(e, r, "nftables: %zu bytes for table %s %s", b->size,
			       nft_family_name(b->family), b->table);
	if (refusal.code)
		return refused(b, base, &refusal, e);
	return 0;
}

int nft_commit(struct nft_sock *ns, struct nft_batch *b, struct err *e)
{
	int r = 0;

	if (b->rule)
		nft_batch_fail(b, -EINVAL, "a rule without its end");
	if (b->err.code)
		r = err_set(e, b->err.code, "%s", b->err.text);
	else if (b->count > 0)
		r = batch_send(ns, b, e);
	batch_clear(b);
	return r;
}

/* --- tables and chains --- */

static void append_table(struct nft_batch *b, uint16_t type, uint32_t flags)
{
	struct nlmsghdr *nlh;

	nlh = nft_message_begin(b, type, type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0);
	if (!nlh)
		return;
	mnl_attr_put_strz(nlh, NFTA_TABLE_NAME, b->table);
	/* Without the attribute an existing table keeps its flags. */
	if (flags)
		mnl_attr_put_u32(nlh, NFTA_TABLE_FLAGS, htonl(flags));
	nft_message_end(b, nlh);
}

void nft_table_add(struct nft_batch *b, bool owner)
{
	append_table(b, NFT_MSG_NEWTABLE, owner ? NFT_TABLE_F_OWNER : 0);
}

void nft_table_del(struct nft_batch *b)
{
	append_table(b, NFT_MSG_NEWTABLE, 0);
	append_table(b, NFT_MSG_DELTABLE, 0);
}

static struct nlmsghdr *chain_begin(struct nft_batch *b, uint16_t type, const char *chain)
{
	struct nlmsghdr *nlh;

	if (!nft_name_ok(b, chain))
		return NULL;
	nlh = nft_message_begin(b, type, type == NFT_MSG_NEWCHAIN ? NLM_F_CREATE : 0);
	if (!nlh)
		return NULL;
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TABLE, b->table);
	mnl_attr_put_strz(nlh, NFTA_CHAIN_NAME, chain);
	return nlh;
}

void nft_chain_add_base(struct nft_batch *b, const char *chain, enum nft_chain_type type,
			enum nft_hook hook, int priority)
{
	static const char *const types[NFT_CHAIN_TYPE_COUNT] = {
		[NFT_CHAIN_TYPE_FILTER] = "filter",
		[NFT_CHAIN_TYPE_ROUTE] = "route",
		[NFT_CHAIN_TYPE_NAT] = "nat",
	};
	static const uint32_t hooks[NFT_HOOK_COUNT] = {
		[NFT_HOOK_PREROUTING] = NF_INET_PRE_ROUTING,
		[NFT_HOOK_INPUT] = NF_INET_LOCAL_IN,
		[NFT_HOOK_FORWARD] = NF_INET_FORWARD,
		[NFT_HOOK_OUTPUT] = NF_INET_LOCAL_OUT,
		[NFT_HOOK_POSTROUTING] = NF_INET_POST_ROUTING,
	};
	struct nlmsghdr *nlh = chain_begin(b, NFT_MSG_NEWCHAIN, chain);
	struct nlattr *nest;

	if (!nlh)
		return;
	nest = mnl_attr_nest_start(nlh, NFTA_CHAIN_HOOK);
	mnl_attr_put_u32(nlh, NFTA_HOOK_HOOKNUM, htonl(hooks[hook]));
	mnl_attr_put_u32(nlh, NFTA_HOOK_PRIORITY, htonl((uint32_t)priority));
	mnl_attr_nest_end(nlh, nest);
	mnl_attr_put_u32(nlh, NFTA_CHAIN_POLICY, htonl(NF_ACCEPT));
	mnl_attr_put_strz(nlh, NFTA_CHAIN_TYPE, types[type]);
	nft_message_end(b, nlh);
}

void nft_chain_add(struct nft_batch *b, const char *chain)
{
	struct nlmsghdr *nlh = chain_begin(b, NFT_MSG_NEWCHAIN, chain);

	if (nlh)
		nft_message_end(b, nlh);
}

void nft_chain_flush(struct nft_batch *b, const char *chain)
{
	struct nlmsghdr *nlh;

	if (!nft_name_ok(b, chain))
		return;
	nlh = nft_message_begin(b, NFT_MSG_DELRULE, 0);
	if (!nlh)
		return;
	mnl_attr_put_strz(nlh, NFTA_RULE_TABLE, b->table);
	mnl_attr_put_strz(nlh, NFTA_RULE_CHAIN, chain);
	nft_message_end(b, nlh);
}

void nft_chain_del(struct nft_batch *b, const char *chain)
{
	struct nlmsghdr *nlh;

	nft_chain_flush(b, chain);
	nlh = chain_begin(b, NFT_MSG_DELCHAIN, chain);
	if (nlh)
		nft_message_end(b, nlh);
}
