// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Sets, maps and their elements. The numbers of types and the user data are those
 * that nft(8) writes, so that it can show what we made; the kernel itself only
 * looks at sizes. Elements for one set that follow each other share messages.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <libnftnl/set.h>
#include <libnftnl/udata.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "driver/kern/nft_internal.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#define ELEMS_MESSAGE_MAX 49152 /* the list's length has 16 bits */
#define ELEM_SIZE	  1024	/* more than one element with the longest name */
#define USERDATA_SIZE	  NFT_USERDATA_MAXLEN

/* nft's numbers; a concatenation has 6 bits for each part. */
enum {
	T_INTEGER = 4,
	T_IPV4 = 7,
	T_IPV6 = 8,
	T_PROTO = 12,
	T_SERVICE = 13,
	T_MARK = 19,
	T_IFNAME = 41,
};
#define T_CONCAT2(a, b)	   ((a) << 6 | (b))
#define T_CONCAT3(a, b, c) ((a) << 12 | (b) << 6 | (c))
#define T_VERDICT	   0xffffff00U

/* Numbers in nft's user data: byte orders, expressions, header fields. */
enum {
	ORDER_NONE = 0,
	ORDER_HOST = 1,
	ORDER_NETWORK = 2,
};
enum {
	EXPR_PAYLOAD = 7,
	EXPR_NUMGEN = 23,
	HEADER_IPV4 = 12,
	HEADER_IPV6 = 13,
	FIELD_DADDR4 = 12,
	FIELD_DADDR6 = 9,
};

struct type_info {
	uint32_t number;
	uint8_t size;
	uint8_t order;
	uint8_t family; /* begins with an address */
	bool proto;	/* then a protocol, in 4 bytes */
	bool port;	/* ends with a port, in 4 bytes */
};

static const struct type_info types[NFT_TYPE_COUNT] = {
	[NFT_TYPE_IPV4] = {T_IPV4, 4, ORDER_NETWORK, AF_INET, false, false},
	[NFT_TYPE_IPV6] = {T_IPV6, 16, ORDER_NETWORK, AF_INET6, false, false},
	[NFT_TYPE_MARK] = {T_MARK, 4, ORDER_HOST, 0, false, false},
	[NFT_TYPE_IFNAME] = {T_IFNAME, IFNAMSIZ, ORDER_HOST, 0, false, false},
	[NFT_TYPE_VERDICT] = {T_VERDICT, 0, ORDER_NONE, 0, false, false},
	[NFT_TYPE_PROTO_PORT] = {T_CONCAT2(T_PROTO, T_SERVICE), 8, ORDER_NONE, 0, true,
				 true},
	[NFT_TYPE_IPV4_PORT] = {T_CONCAT2(T_IPV4, T_SERVICE), 8, ORDER_NONE, AF_INET,
				false, true},
	[NFT_TYPE_IPV6_PORT] = {T_CONCAT2(T_IPV6, T_SERVICE), 20, ORDER_NONE, AF_INET6,
				false, true},
	[NFT_TYPE_IPV4_PROTO_PORT] = {T_CONCAT3(T_IPV4, T_PROTO, T_SERVICE), 12,
				      ORDER_NONE, AF_INET, true, true},
	[NFT_TYPE_IPV6_PROTO_PORT] = {T_CONCAT3(T_IPV6, T_PROTO, T_SERVICE), 24,
				      ORDER_NONE, AF_INET6, true, true},
};

/* --- values --- */

size_t nft_type_size(enum nft_type type)
{
	return types[type].size;
}

int nft_value_encode(const struct nft_value *v, uint8_t ret[NFT_VALUE_SIZE])
{
	const struct type_info *t = &types[v->type];
	uint16_t port = htons(v->port);
	size_t at = 0;

	memset(ret, 0, NFT_VALUE_SIZE);
	if (v->type == NFT_TYPE_MARK) {
		memcpy(ret, &v->number, sizeof(v->number));
		return 0;
	}
	if (v->type == NFT_TYPE_IFNAME)
		return v->name && str_copy((char *)ret, IFNAMSIZ, v->name) == 0 ? 0
										: -EINVAL;
	if (t->family) {
		if (v->addr.family != t->family)
			return -EINVAL;
		memcpy(ret, v->addr.bytes, addr_size(&v->addr));
		at += addr_size(&v->addr);
	}
	if (t->proto) {
		ret[at] = v->proto;
		at += 4;
	}
	if (t->port)
		memcpy(ret + at, &port, sizeof(port));
	return t->size ? 0 : -EINVAL;
}

int nft_value_decode(enum nft_type type, const void *data, size_t size,
		     struct nft_value *ret, char *ret_name)
{
	const struct type_info *t = &types[type];
	const uint8_t *p = data;

	memset(ret, 0, sizeof(*ret));
	ret->type = type;
	if (!t->size || size != t->size)
		return -EINVAL;
	if (type == NFT_TYPE_MARK)
		memcpy(&ret->number, p, sizeof(ret->number));
	if (type == NFT_TYPE_IFNAME) {
		memcpy(ret_name, p, IFNAMSIZ);
		ret_name[IFNAMSIZ - 1] = '\0';
		ret->name = ret_name;
	}
	if (t->family) {
		ret->addr.family = t->family;
		memcpy(ret->addr.bytes, p, addr_size(&ret->addr));
		p += addr_size(&ret->addr);
	}
	if (t->proto) {
		ret->proto = *p;
		p += 4;
	}
	if (t->port)
		ret->port = (uint16_t)(p[0] << 8 | p[1]);
	return 0;
}

void nft_value_format(const struct nft_value *v, char *buf, size_t size)
{
	const struct type_info *t = &types[v->type];
	char addr[ADDR_TEXT_SIZE] = "";
	char proto[16] = "";
	char port[16] = "";

	if (v->type == NFT_TYPE_MARK) {
		(void)snprintf(buf, size, "%u", v->number); /* cut off is fine */
		return;
	}
	if (v->type == NFT_TYPE_IFNAME) {
		(void)snprintf(buf, size, "%s", v->name); /* cut off is fine */
		return;
	}
	if (t->family)
		addr_format(&v->addr, addr);
	if (t->proto)
		(void)snprintf(proto, sizeof(proto), "%s%u", *addr ? " . " : "",
			       v->proto);
	if (t->port)
		(void)snprintf(port, sizeof(port), " . %u", v->port);
	(void)snprintf(buf, size, "%s%s%s", addr, proto, port); /* cut off is fine */
}

/* --- sets --- */

DEFINE_CLEANUP(struct nftnl_udata_buf *, nftnl_udata_buf_free);

/* The key is what "numgen" gives: nft knows no name for that type. */
static void put_typeof_numgen(struct nftnl_udata_buf *u)
{
	struct nftnl_udata *outer;
	struct nftnl_udata *inner;

	outer = nftnl_udata_nest_start(u, NFTNL_UDATA_SET_KEY_TYPEOF);
	nftnl_udata_put_u32(u, NFTNL_UDATA_SET_TYPEOF_EXPR, EXPR_NUMGEN);
	inner = nftnl_udata_nest_start(u, NFTNL_UDATA_SET_TYPEOF_DATA);
	nftnl_udata_put_u32(u, 0, NFT_NG_INCREMENTAL);
	nftnl_udata_put_u32(u, 1, 2); /* the modulus: any shows the type */
	nftnl_udata_put_u32(u, 2, 0); /* the offset */
	nftnl_udata_nest_end(u, inner);
	nftnl_udata_nest_end(u, outer);
}

static void put_typeof_daddr(struct nftnl_udata_buf *u, uint8_t family)
{
	struct nftnl_udata *outer;
	struct nftnl_udata *inner;
	bool ipv4 = family == AF_INET;

	outer = nftnl_udata_nest_start(u, NFTNL_UDATA_SET_DATA_TYPEOF);
	nftnl_udata_put_u32(u, NFTNL_UDATA_SET_TYPEOF_EXPR, EXPR_PAYLOAD);
	inner = nftnl_udata_nest_start(u, NFTNL_UDATA_SET_TYPEOF_DATA);
	nftnl_udata_put_u32(u, 0, ipv4 ? HEADER_IPV4 : HEADER_IPV6);
	nftnl_udata_put_u32(u, 1, ipv4 ? FIELD_DADDR4 : FIELD_DADDR6);
	nftnl_udata_nest_end(u, inner);
	nftnl_udata_nest_end(u, outer);
}

/* A map from slots to addresses; all other uses of MARK are marks. */
static bool is_slot_map(const struct nft_set *set)
{
	return set->key == NFT_TYPE_MARK &&
	       (set->value == NFT_TYPE_IPV4 || set->value == NFT_TYPE_IPV6);
}

static int set_userdata(struct nftnl_set *s, const struct nft_set *set)
{
	struct nftnl_udata_buf *u auto_with(nftnl_udata_buf_free) = NULL;

	u = nftnl_udata_buf_alloc(USERDATA_SIZE);
	if (!u)
		return -ENOMEM;
	nftnl_udata_put_u32(u, NFTNL_UDATA_SET_KEYBYTEORDER, types[set->key].order);
	if (set->value != NFT_TYPE_NONE)
		nftnl_udata_put_u32(u, NFTNL_UDATA_SET_DATABYTEORDER,
				    types[set->value].order);
	if (is_slot_map(set)) {
		put_typeof_numgen(u);
		put_typeof_daddr(u, types[set->value].family);
	}
	return nftnl_set_set_data(s, NFTNL_SET_USERDATA, nftnl_udata_buf_data(u),
				  nftnl_udata_buf_len(u));
}

static void append_set(struct nft_batch *b, struct nftnl_set *s)
{
	struct nlmsghdr *nlh = nft_message_begin(b, NFT_MSG_NEWSET, NLM_F_CREATE);

	if (!nlh)
		return;
	nftnl_set_nlmsg_build_payload(nlh, s);
	nft_message_end(b, nlh);
}

static void set_flags(struct nftnl_set *s, const struct nft_set *set)
{
	uint32_t flags = 0;

	if (set->interval)
		flags |= NFT_SET_INTERVAL;
	if (set->value != NFT_TYPE_NONE) {
		flags |= NFT_SET_MAP;
		nftnl_set_set_u32(s, NFTNL_SET_DATA_TYPE, types[set->value].number);
		nftnl_set_set_u32(s, NFTNL_SET_DATA_LEN, types[set->value].size);
	}
	nftnl_set_set_u32(s, NFTNL_SET_FLAGS, flags);
}

DEFINE_CLEANUP(struct nftnl_set *, nftnl_set_free);

void nft_set_add(struct nft_batch *b, const struct nft_set *set)
{
	struct nftnl_set *s auto_with(nftnl_set_free) = NULL;
	uint32_t key = types[set->key].number;

	if (!nft_name_ok(b, set->name))
		return;
	s = nftnl_set_alloc();
	if (!s || nftnl_set_set_str(s, NFTNL_SET_TABLE, b->table) < 0 ||
	    nftnl_set_set_str(s, NFTNL_SET_NAME, set->name) < 0 ||
	    set_userdata(s, set) < 0) {
		nft_batch_fail(b, -ENOMEM, "a set");
		return;
	}
	nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, is_slot_map(set) ? T_INTEGER : key);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, types[set->key].size);
	nftnl_set_set_u32(s, NFTNL_SET_ID, ++b->set_id);
	set_flags(s, set);
	append_set(b, s);
}

static void append_set_name(struct nft_batch *b, uint16_t type, const char *name)
{
	struct nlmsghdr *nlh;

	if (!nft_name_ok(b, name))
		return;
	nlh = nft_message_begin(b, type, 0);
	if (!nlh)
		return;
	/* Both kinds of message have the same two attributes. */
	mnl_attr_put_strz(nlh, NFTA_SET_TABLE, b->table);
	mnl_attr_put_strz(nlh, NFTA_SET_NAME, name);
	nft_message_end(b, nlh);
}

void nft_set_del(struct nft_batch *b, const char *name)
{
	append_set_name(b, NFT_MSG_DELSET, name);
}

void nft_set_flush(struct nft_batch *b, const char *name)
{
	append_set_name(b, NFT_MSG_DELSETELEM, name);
}

/* --- elements --- */

/* The open message for elements of this set, or a new one. */
static struct nlmsghdr *elems_message(struct nft_batch *b, uint16_t type,
				      const struct nft_set *set)
{
	struct nft_message *last;
	struct nlmsghdr *nlh;

	if (b->elems.open && b->err.code == 0 && b->elems.type == type &&
	    strcmp(b->elems.set, set->name) == 0 &&
	    nft_batch_reserve(b, ELEM_SIZE) == 0) {
		last = &b->messages[b->count - 1];
		nlh = (struct nlmsghdr *)(b->buf + last->offset);
		if (nlh->nlmsg_len < ELEMS_MESSAGE_MAX)
			return nlh;
	}
	if (!nft_name_ok(b, set->name))
		return NULL;
	nlh = nft_message_begin(b, type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);
	if (!nlh)
		return NULL;
	b->messages[b->count - 1].key = set->key;
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_TABLE, b->table);
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, set->name);
	b->elems.open = true;
	b->elems.type = type;
	(void)str_copy(b->elems.set, sizeof(b->elems.set), set->name); /* it fits */
	b->elems.list_offset = nlh->nlmsg_len;
	(void)mnl_attr_nest_start(nlh, NFTA_SET_ELEM_LIST_ELEMENTS); /* by its offset */
	return nlh;
}

static void elems_message_end(struct nft_batch *b, struct nlmsghdr *nlh)
{
	mnl_attr_nest_end(nlh, (struct nlattr *)((char *)nlh + b->elems.list_offset));
	nft_message_end(b, nlh);
}

struct elem {
	uint8_t key[NFT_VALUE_SIZE];
	const struct nft_value *value; /* may be NULL */
	bool interval_end;
	bool interval_open; /* reaches to the end of the address space */
};

static void put_elem_value(struct nft_batch *b, struct nlmsghdr *nlh,
			   const struct nft_value *v)
{
	struct nlattr *data = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_DATA);
	uint8_t bytes[NFT_VALUE_SIZE];
	struct nlattr *verdict;

	if (v->type == NFT_TYPE_VERDICT) {
		verdict = mnl_attr_nest_start(nlh, NFTA_DATA_VERDICT);
		mnl_attr_put_u32(nlh, NFTA_VERDICT_CODE, htonl((uint32_t)NFT_GOTO));
		if (nft_name_ok(b, v->name))
			mnl_attr_put_strz(nlh, NFTA_VERDICT_CHAIN, v->name);
		mnl_attr_nest_end(nlh, verdict);
	} else if (nft_value_encode(v, bytes) == 0) {
		mnl_attr_put(nlh, NFTA_DATA_VALUE, types[v->type].size, bytes);
	} else {
		nft_batch_fail(b, -EINVAL, "the value of an element");
	}
	mnl_attr_nest_end(nlh, data);
}

static void append_elem(struct nft_batch *b, uint16_t type, const struct nft_set *set,
			const struct elem *el)
{
	/* nft's user data of an element: type 1, length 4, flags = open interval */
	static const uint8_t open_mark[] = {1, 4, 1, 0, 0, 0};
	struct nlmsghdr *nlh = elems_message(b, type, set);
	struct nlattr *elem;
	struct nlattr *key;

	if (!nlh)
		return;
	elem = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);
	if (el->interval_end)
		mnl_attr_put_u32(nlh, NFTA_SET_ELEM_FLAGS,
				 htonl(NFT_SET_ELEM_INTERVAL_END));
	key = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_KEY);
	mnl_attr_put(nlh, NFTA_DATA_VALUE, types[set->key].size, el->key);
	mnl_attr_nest_end(nlh, key);
	if (el->value)
		put_elem_value(b, nlh, el->value);
	if (el->interval_open)
		mnl_attr_put(nlh, NFTA_SET_ELEM_USERDATA, sizeof(open_mark), open_mark);
	mnl_attr_nest_end(nlh, elem);
	elems_message_end(b, nlh);
}

static void change_elem(struct nft_batch *b, uint16_t type, const struct nft_set *set,
			const struct nft_value *key, const struct nft_value *value)
{
	enum nft_type value_type = value ? value->type : NFT_TYPE_NONE;
	struct elem el = {.value = value};

	if (key->type != set->key || nft_value_encode(key, el.key) < 0)
		nft_batch_fail(b, -EINVAL, "the key of an element");
	else if (type == NFT_MSG_NEWSETELEM && value_type != set->value)
		nft_batch_fail(b, -EINVAL, "the value of an element");
	else
		append_elem(b, type, set, &el);
}

void nft_elem_add(struct nft_batch *b, const struct nft_set *set,
		  const struct nft_value *key, const struct nft_value *value)
{
	change_elem(b, NFT_MSG_NEWSETELEM, set, key, value);
}

void nft_elem_del(struct nft_batch *b, const struct nft_set *set,
		  const struct nft_value *key)
{
	change_elem(b, NFT_MSG_DELSETELEM, set, key, NULL);
}

/* The first address behind the prefix; false at the end of the address space. */
static bool after_prefix(const struct cidr *prefix, uint8_t ret[NFT_VALUE_SIZE])
{
	struct addr last = cidr_last(prefix);
	size_t i = addr_size(&last);

	memcpy(ret, last.bytes, sizeof(last.bytes));
	while (i > 0 && ++ret[i - 1] == 0)
		i--;
	return i > 0;
}

/* An interval is two elements: its first address and the first one behind it. */
static void change_prefix(struct nft_batch *b, uint16_t type, const struct nft_set *set,
			  const struct cidr *prefix)
{
	struct cidr network = cidr_network(prefix);
	struct elem start = {0};
	struct elem end = {.interval_end = true};

	if (!set->interval || network.addr.family != types[set->key].family) {
		nft_batch_fail(b, -EINVAL, "a prefix");
		return;
	}
	memcpy(start.key, network.addr.bytes, sizeof(network.addr.bytes));
	start.interval_open = !after_prefix(&network, end.key);
	append_elem(b, type, set, &start);
	if (!start.interval_open)
		append_elem(b, type, set, &end);
}

void nft_elem_add_prefix(struct nft_batch *b, const struct nft_set *set,
			 const struct cidr *prefix)
{
	change_prefix(b, NFT_MSG_NEWSETELEM, set, prefix);
}

void nft_elem_del_prefix(struct nft_batch *b, const struct nft_set *set,
			 const struct cidr *prefix)
{
	change_prefix(b, NFT_MSG_DELSETELEM, set, prefix);
}

/* --- the set of a rule's "{ ... }" --- */

static struct nftnl_set *l4_ports_set(const char *table, uint32_t id)
{
	struct nftnl_set *s = nftnl_set_alloc();

	if (!s)
		return NULL;
	if (nftnl_set_set_str(s, NFTNL_SET_TABLE, table) < 0 ||
	    nftnl_set_set_str(s, NFTNL_SET_NAME, NFT_ANONYMOUS_SET) < 0) {
		nftnl_set_free(s);
		return NULL;
	}
	nftnl_set_set_u32(s, NFTNL_SET_FLAGS, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, T_PROTO);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, 1);
	nftnl_set_set_u32(s, NFTNL_SET_ID, id);
	return s;
}

uint32_t nft_set_add_l4_ports(struct nft_batch *b)
{
	static const uint8_t protocols[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP};
	struct nftnl_set *s auto_with(nftnl_set_free) = NULL;
	struct nlmsghdr *nlh;
	struct nlattr *list;
	size_t i;

	s = l4_ports_set(b->table, ++b->set_id);
	if (!s) {
		nft_batch_fail(b, -ENOMEM, "a set");
		return 0;
	}
	append_set(b, s);
	nlh = nft_message_begin(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE);
	if (!nlh)
		return 0;
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_TABLE, b->table);
	mnl_attr_put_strz(nlh, NFTA_SET_ELEM_LIST_SET, NFT_ANONYMOUS_SET);
	mnl_attr_put_u32(nlh, NFTA_SET_ELEM_LIST_SET_ID, htonl(b->set_id));
	list = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_LIST_ELEMENTS);
	for (i = 0; i < ARRAY_SIZE(protocols); i++) {
		struct nlattr *elem = mnl_attr_nest_start(nlh, NFTA_LIST_ELEM);
		struct nlattr *key = mnl_attr_nest_start(nlh, NFTA_SET_ELEM_KEY);

		mnl_attr_put_u8(nlh, NFTA_DATA_VALUE, protocols[i]);
		mnl_attr_nest_end(nlh, key);
		mnl_attr_nest_end(nlh, elem);
	}
	mnl_attr_nest_end(nlh, list);
	nft_message_end(b, nlh);
	return b->set_id;
}
