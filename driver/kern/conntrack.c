// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Connection tracking entries that lead to a backend. An entry has the packet as the
 * client sent it (original tuple) and as the answer must look (reply tuple): where
 * the destination was changed, by nftables' dnat or by IPVS with vs.conntrack=1, the
 * reply's source is the backend. The kernel looks through the table of all
 * namespaces for each dump and picks for us where it can (IPv4, Linux 5.8).
 */
#include "driver/kern/conntrack.h"

#include <errno.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netfilter/nfnl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "driver/kern/talk.h"
#include "plugin/base/mem.h"

/* In CTA_FILTER_*_FLAGS: the source address of the tuple counts. The kernel keeps
 * the numbers in a header of its own. */
#define FILTER_IP_SRC 1U

#define TUPLE_SIZE_MAX 128

struct conntrack_sock {
	struct talk talk;
};

int conntrack_open(int nsfd, struct conntrack_sock **ret, struct err *e)
{
	struct conntrack_sock *cs = calloc(1, sizeof(*cs));
	int r;

	if (!cs)
		return err_sys(e, -ENOMEM, "conntrack socket");
	r = talk_open(&cs->talk, nsfd, NETLINK_NETFILTER, e);
	if (r < 0) {
		free(cs);
		return err_wrap(e, r, "conntrack");
	}
	*ret = cs;
	return 0;
}

void conntrack_close(struct conntrack_sock *cs)
{
	if (!cs)
		return;
	talk_close(&cs->talk);
	free(cs);
}

/* --- reading an entry --- */

struct entry {
	struct nlattr *original; /* the whole attribute */
	struct nlattr *zone;	 /* may be NULL */
	struct nlattr *id;	 /* may be NULL */
	struct addr original_dst;
	struct addr reply_src;
	uint8_t proto;
	uint8_t tcp_state;
};

static void read_addr(struct nlattr *attr, uint8_t family, struct addr *ret)
{
	struct addr a = {.family = family};

	if (!attr || nla_len(attr) != (int)addr_size(&a))
		return;
	memcpy(a.bytes, nla_data(attr), addr_size(&a));
	*ret = a;
}

/* One address of a tuple, and the protocol. */
static bool read_tuple(struct nlattr *tuple, uint8_t family, bool source,
		       struct addr *ret_addr, uint8_t *ret_proto)
{
	struct nlattr *parts[CTA_TUPLE_MAX + 1];
	struct nlattr *ip[CTA_IP_MAX + 1];
	struct nlattr *proto[CTA_PROTO_MAX + 1];
	int attr;

	if (!tuple || nla_parse_nested(parts, CTA_TUPLE_MAX, tuple, NULL) < 0 ||
	    !parts[CTA_TUPLE_IP] || !parts[CTA_TUPLE_PROTO] ||
	    nla_parse_nested(ip, CTA_IP_MAX, parts[CTA_TUPLE_IP], NULL) < 0 ||
	    nla_parse_nested(proto, CTA_PROTO_MAX, parts[CTA_TUPLE_PROTO], NULL) < 0)
		return false;
	if (family == AF_INET6)
		attr = source ? CTA_IP_V6_SRC : CTA_IP_V6_DST;
	else
		attr = source ? CTA_IP_V4_SRC : CTA_IP_V4_DST;
	read_addr(ip[attr], family, ret_addr);
	if (!proto[CTA_PROTO_NUM] || nla_len(proto[CTA_PROTO_NUM]) != 1)
		return false;
	*ret_proto = nla_get_u8(proto[CTA_PROTO_NUM]);
	return addr_is_set(ret_addr);
}

static uint8_t read_tcp_state(struct nlattr *info)
{
	struct nlattr *parts[CTA_PROTOINFO_MAX + 1];
	struct nlattr *tcp[CTA_PROTOINFO_TCP_MAX + 1];

	if (!info || nla_parse_nested(parts, CTA_PROTOINFO_MAX, info, NULL) < 0 ||
	    !parts[CTA_PROTOINFO_TCP] ||
	    nla_parse_nested(tcp, CTA_PROTOINFO_TCP_MAX, parts[CTA_PROTOINFO_TCP], NULL) <
		    0 ||
	    !tcp[CTA_PROTOINFO_TCP_STATE] || nla_len(tcp[CTA_PROTOINFO_TCP_STATE]) != 1)
		return TCP_CONNTRACK_NONE;
	return nla_get_u8(tcp[CTA_PROTOINFO_TCP_STATE]);
}

static bool read_entry(struct nlmsghdr *nlh, struct entry *ret)
{
	struct nlattr *attrs[CTA_MAX + 1];
	uint8_t family;
	uint8_t proto;

	memset(ret, 0, sizeof(*ret));
	if (nfnlmsg_subsys(nlh) != NFNL_SUBSYS_CTNETLINK ||
	    nfnlmsg_subtype(nlh) != IPCTNL_MSG_CT_NEW ||
	    nlmsg_parse(nlh, sizeof(struct nfgenmsg), attrs, CTA_MAX, NULL) < 0)
		return false;
	family = nfnlmsg_family(nlh);
	if ((family != AF_INET && family != AF_INET6) ||
	    !read_tuple(attrs[CTA_TUPLE_ORIG], family, false, &ret->original_dst,
			&ret->proto) ||
	    !read_tuple(attrs[CTA_TUPLE_REPLY], family, true, &ret->reply_src, &proto))
		return false;
	ret->original = attrs[CTA_TUPLE_ORIG];
	ret->zone = attrs[CTA_ZONE];
	ret->id = attrs[CTA_ID];
	ret->tcp_state = read_tcp_state(attrs[CTA_PROTOINFO]);
	return true;
}

static void start_request(struct talk_request *q, int type, int flags, uint8_t family)
{
	q->msg = nfnlmsg_alloc_simple(NFNL_SUBSYS_CTNETLINK, (uint8_t)type, flags, family,
				      0);
	q->failed = !q->msg;
}

/* --- how many there are --- */

static int read_count(void *ctx, struct nlmsghdr *nlh)
{
	struct nlattr *attr;
	uint32_t be32;

	attr = nlmsg_find_attr(nlh, sizeof(struct nfgenmsg), CTA_STATS_GLOBAL_ENTRIES);
	if (!attr || nla_len(attr) != sizeof(be32))
		return 0;
	memcpy(&be32, nla_data(attr), sizeof(be32));
	*(bool *)ctx = be32 == 0;
	return 0;
}

/* A question of microseconds that spares many a dump. */
static bool is_empty(struct conntrack_sock *cs)
{
	struct talk_request q;
	bool empty = false;

	start_request(&q, IPCTNL_MSG_CT_GET_STATS, 0, AF_UNSPEC);
	return talk_send(&cs->talk, &q, read_count, &empty) == 0 && empty;
}

/* --- pairs of addresses --- */

static int compare_addrs(const struct addr *vip_a, const struct addr *backend_a,
			 const struct addr *vip_b, const struct addr *backend_b)
{
	int r = memcmp(backend_a, backend_b, sizeof(*backend_a));

	return r ? r : memcmp(vip_a, vip_b, sizeof(*vip_a));
}

static int compare_nats(const void *a, const void *b)
{
	const struct conntrack_nat *x = a;
	const struct conntrack_nat *y = b;

	return compare_addrs(&x->vip, &x->backend, &y->vip, &y->backend);
}

static int compare_counts(const void *a, const void *b)
{
	const struct conntrack_count *x = *(struct conntrack_count *const *)a;
	const struct conntrack_count *y = *(struct conntrack_count *const *)b;

	return compare_addrs(&x->vip, &x->backend, &y->vip, &y->backend);
}

/* --- deleting --- */

/* What the kernel needs to find an entry again, as it sent it. */
struct victim {
	uint8_t family;
	uint8_t original[TUPLE_SIZE_MAX];
	size_t original_size;
	uint16_t zone_be16;
	bool has_zone;
	uint32_t id_be32;
	bool has_id;
};

struct search {
	const struct conntrack_nat *wanted; /* sorted */
	size_t wanted_count;
	uint8_t family; /* of all wanted, or 0 */
	struct victim *list;
	size_t count;
	size_t room;
};

/* Of IPv6 all entries come: the kernel's filter leaves out exactly those that match
 * (seen on 6.18). find_victim looks at each in any case. */
static void make_search(struct talk_request *q, void *ctx)
{
	const struct search *s = ctx;
	const struct addr *backend = &s->wanted[0].backend;
	struct nlattr *tuple;
	struct nlattr *part;

	start_request(q, IPCTNL_MSG_CT_GET, NLM_F_DUMP, s->family);
	if (backend->family != AF_INET ||
	    !addr_equal(backend, &s->wanted[s->wanted_count - 1].backend))
		return;
	tuple = talk_nest(q, CTA_TUPLE_REPLY | NLA_F_NESTED);
	part = talk_nest(q, CTA_TUPLE_IP | NLA_F_NESTED);
	talk_put_addr(q, CTA_IP_V4_SRC, backend);
	talk_nest_end(q, part);
	talk_nest_end(q, tuple);
	part = talk_nest(q, CTA_FILTER | NLA_F_NESTED);
	talk_put_u32(q, CTA_FILTER_ORIG_FLAGS, 0);
	talk_put_u32(q, CTA_FILTER_REPLY_FLAGS, FILTER_IP_SRC);
	talk_nest_end(q, part);
}

static void forget_victims(void *ctx)
{
	struct search *s = ctx;

	s->count = 0;
}

static int add_victim(struct search *s, const struct entry *entry)
{
	struct victim *v;

	if (s->count == s->room) {
		size_t room = s->room ? s->room * 2 : 16;

		v = reallocarray(s->list, room, sizeof(*v));
		if (!v)
			return -ENOMEM;
		s->list = v;
		s->room = room;
	}
	v = &s->list[s->count];
	*v = (struct victim){.family = entry->reply_src.family};
	v->original_size = (size_t)nla_len(entry->original);
	if (v->original_size > sizeof(v->original))
		return -EPROTO;
	memcpy(v->original, nla_data(entry->original), v->original_size);
	if (entry->zone && nla_len(entry->zone) == sizeof(v->zone_be16)) {
		memcpy(&v->zone_be16, nla_data(entry->zone), sizeof(v->zone_be16));
		v->has_zone = true;
	}
	if (entry->id && nla_len(entry->id) == sizeof(v->id_be32)) {
		memcpy(&v->id_be32, nla_data(entry->id), sizeof(v->id_be32));
		v->has_id = true;
	}
	s->count++;
	return 0;
}

static bool is_wanted(const struct search *s, const struct conntrack_nat *nat)
{
	return bsearch(nat, s->wanted, s->wanted_count, sizeof(*nat), compare_nats);
}

static int find_victim(void *ctx, struct nlmsghdr *nlh)
{
	struct search *s = ctx;
	struct conntrack_nat exact;
	struct conntrack_nat any = {0};
	struct entry entry;

	if (!read_entry(nlh, &entry) || addr_equal(&entry.original_dst, &entry.reply_src))
		return 0;
	exact = (struct conntrack_nat){entry.original_dst, entry.reply_src};
	any.backend = entry.reply_src;
	return is_wanted(s, &exact) || is_wanted(s, &any) ? add_victim(s, &entry) : 0;
}

/* 1, or 0 when the entry was gone already. */
static int delete_victim(struct conntrack_sock *cs, const struct victim *v)
{
	struct talk_request q;
	int r;

	start_request(&q, IPCTNL_MSG_CT_DELETE, 0, v->family);
	talk_put(&q, CTA_TUPLE_ORIG | NLA_F_NESTED, v->original, v->original_size);
	if (v->has_zone)
		talk_put(&q, CTA_ZONE, &v->zone_be16, sizeof(v->zone_be16));
	/* A new entry of the same client is not meant. */
	if (v->has_id)
		talk_put(&q, CTA_ID, &v->id_be32, sizeof(v->id_be32));
	r = talk_send(&cs->talk, &q, NULL, NULL);
	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : 1;
}

static int delete_sorted(struct conntrack_sock *cs, const struct conntrack_nat *wanted,
			 size_t count, struct err *e)
{
	static const struct talk_dump dump = {
		.make = make_search, .begin = forget_victims, .on_message = find_victim};
	struct search s = {.wanted = wanted, .wanted_count = count};
	auto_free struct victim *list = NULL;
	char text[ADDR_TEXT_SIZE];
	int deleted = 0;
	size_t i;
	int r;

	/* Sorted: the families are those of the first and the last. */
	if (wanted[0].backend.family == wanted[count - 1].backend.family)
		s.family = wanted[0].backend.family;
	addr_format(&wanted[0].backend, text);
	r = talk_dump(&cs->talk, &dump, &s);
	list = s.list;
	if (r < 0)
		return talk_error(&cs->talk, e, r, "conntrack entries of", text);
	for (i = 0; i < s.count; i++) {
		r = delete_victim(cs, &list[i]);
		if (r < 0)
			return talk_error(&cs->talk, e, r, "deleting conntrack entry of",
					  text);
		deleted += r;
	}
	return deleted;
}

int conntrack_del_nat_list(struct conntrack_sock *cs, const struct conntrack_nat *list,
			   size_t count, struct err *e)
{
	auto_free struct conntrack_nat *sorted = NULL;

	if (count == 0 || is_empty(cs))
		return 0;
	sorted = reallocarray(NULL, count, sizeof(*sorted));
	if (!sorted)
		return err_sys(e, -ENOMEM, "conntrack entries");
	memcpy(sorted, list, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare_nats);
	return delete_sorted(cs, sorted, count, e);
}

int conntrack_del_nat(struct conntrack_sock *cs, const struct addr *vip,
		      const struct addr *backend, struct err *e)
{
	struct conntrack_nat one = {.backend = *backend};

	if (vip)
		one.vip = *vip;
	return conntrack_del_nat_list(cs, &one, 1, e);
}

/* --- counting --- */

struct census {
	struct conntrack_count **sorted;
	size_t count;
	uint8_t family; /* of all, or 0 */
};

static void make_census(struct talk_request *q, void *ctx)
{
	const struct census *c = ctx;

	start_request(q, IPCTNL_MSG_CT_GET, NLM_F_DUMP, c->family);
}

static void reset_census(void *ctx)
{
	struct census *c = ctx;
	size_t i;

	for (i = 0; i < c->count; i++)
		c->sorted[i]->active = 0;
}

static bool is_active(const struct entry *entry)
{
	switch (entry->proto) {
	case IPPROTO_TCP:
		return entry->tcp_state == TCP_CONNTRACK_ESTABLISHED;
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		return true;
	default:
		return false;
	}
}

static int count_entry(void *ctx, struct nlmsghdr *nlh)
{
	struct census *c = ctx;
	struct conntrack_count wanted = {0};
	struct conntrack_count *key = &wanted;
	struct conntrack_count **found;
	struct entry entry;

	if (!read_entry(nlh, &entry) || !is_active(&entry))
		return 0;
	wanted.vip = entry.original_dst;
	wanted.backend = entry.reply_src;
	found = bsearch(&key, c->sorted, c->count, sizeof(*found), compare_counts);
	if (found)
		(*found)->active++;
	return 0;
}

int conntrack_count_nat(struct conntrack_sock *cs, struct conntrack_count *list,
			size_t count, struct err *e)
{
	static const struct talk_dump dump = {
		.make = make_census, .begin = reset_census, .on_message = count_entry};
	auto_free struct conntrack_count **sorted = NULL;
	struct census c = {.count = count};
	size_t i;
	int r;

	if (count == 0)
		return 0;
	sorted = reallocarray(NULL, count, sizeof(struct conntrack_count *));
	if (!sorted)
		return err_sys(e, -ENOMEM, "conntrack entries");
	for (i = 0; i < count; i++)
		sorted[i] = &list[i];
	qsort(sorted, count, sizeof(*sorted), compare_counts);
	c.sorted = sorted;
	reset_census(&c);
	if (is_empty(cs))
		return 0;
	if (sorted[0]->backend.family == sorted[count - 1]->backend.family)
		c.family = sorted[0]->backend.family;
	r = talk_dump(&cs->talk, &dump, &c);
	return r < 0 ? talk_error(&cs->talk, e, r, "counting", "conntrack entries") : 0;
}
