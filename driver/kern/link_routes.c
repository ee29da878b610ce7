// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a namespace of others routes: all tables, so that a VPN's own are seen. Routes
 * that only drop say nothing of who uses an address.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver/kern/link_internal.h"
#include "plugin/base/mem.h"

#define FOUND_FIRST 32

static void read_attr_addr(const struct nlattr *attr, uint8_t family, struct addr *ret)
{
	struct addr a = {.family = family};

	if (!attr || nla_len(attr) != (int)addr_size(&a))
		return;
	memcpy(a.bytes, nla_data(attr), addr_size(&a));
	*ret = a;
}

static bool is_connected(const struct rtmsg *rtm, struct nlattr *const *attrs,
			 const struct link_found_route *fr)
{
	struct addr src = {0};

	if (rtm->rtm_type != RTN_UNICAST || attrs[RTA_GATEWAY] || attrs[RTA_VIA] ||
	    attrs[RTA_MULTIPATH])
		return false;
	read_attr_addr(attrs[RTA_PREFSRC], rtm->rtm_family, &src);
	return rtm->rtm_protocol == RTPROT_KERNEL || rtm->rtm_protocol == RTPROT_RA ||
	       (addr_is_set(&src) && cidr_contains(&fr->dst, &src));
}

bool link_route_read(struct nlmsghdr *nlh, struct link_found_route *ret)
{
	const struct rtmsg *rtm = nlmsg_data(nlh);
	struct nlattr *attrs[RTA_MAX + 1];

	if (nlh->nlmsg_type != RTM_NEWROUTE ||
	    nlmsg_parse(nlh, sizeof(*rtm), attrs, RTA_MAX, NULL) < 0 ||
	    (rtm->rtm_family != AF_INET && rtm->rtm_family != AF_INET6) ||
	    (rtm->rtm_flags & RTM_F_CLONED))
		return false;
	memset(ret, 0, sizeof(*ret));
	ret->type = rtm->rtm_type;
	ret->scope = rtm->rtm_scope;
	ret->table = rtm->rtm_table;
	ret->dst.addr.family = rtm->rtm_family;
	ret->dst.prefix = rtm->rtm_dst_len;
	read_attr_addr(attrs[RTA_DST], rtm->rtm_family, &ret->dst.addr);
	read_attr_addr(attrs[RTA_GATEWAY], rtm->rtm_family, &ret->via);
	if (attrs[RTA_OIF] && nla_len(attrs[RTA_OIF]) == sizeof(uint32_t))
		ret->oif = (int)nla_get_u32(attrs[RTA_OIF]);
	ret->connected = is_connected(rtm, attrs, ret);
	return true;
}

/* --- saying which one --- */

static int read_name(void *ctx, struct nlmsghdr *nlh)
{
	struct nlattr *attr = NULL;

	if (nlh->nlmsg_type == RTM_NEWLINK)
		attr = nlmsg_find_attr(nlh, sizeof(struct ifinfomsg), IFLA_IFNAME);
	if (attr)
		(void)nla_strlcpy(ctx, attr, IFNAMSIZ); /* the kernel's fit */
	return 0;
}

static void device_name(struct link_sock *ls, int index, char ret[IFNAMSIZ])
{
	struct ifinfomsg ifi = {.ifi_index = index};
	struct talk_request q;

	ret[0] = '\0';
	if (!index)
		return;
	talk_request_init(&q, RTM_GETLINK, 0, &ifi, sizeof(ifi));
	(void)talk_send(&ls->talk, &q, read_name, ret); /* may be gone by now */
}

void link_route_way(struct link_sock *ls, const struct link_found_route *fr,
		    char ret[LINK_WAY_SIZE])
{
	char dev[IFNAMSIZ];
	char via[ADDR_TEXT_SIZE];

	device_name(ls, fr->oif, dev);
	addr_format(&fr->via, via);
	(void)snprintf(ret, LINK_WAY_SIZE, "%s%s%s%s%s", *via ? " via " : "", via,
		       *dev ? " dev " : "", dev,
		       *via || *dev ? "" : " not to one device"); /* fits */
}

/* --- all of them --- */

struct search {
	struct cidr within;
	struct link_found_route *found;
	size_t count;
	size_t size;
};

static void make_dump(struct talk_request *q, void *ctx)
{
	const struct search *s = ctx;
	struct rtmsg rtm = {.rtm_family = s->within.addr.family}; /* every table */

	talk_request_init(q, RTM_GETROUTE, NLM_F_DUMP, &rtm, sizeof(rtm));
}

static void forget_found(void *ctx)
{
	struct search *s = ctx;

	s->count = 0;
}

static bool tells_of_use(const struct search *s, const struct link_found_route *fr)
{
	return (fr->type == RTN_UNICAST || fr->type == RTN_LOCAL) &&
	       fr->dst.addr.family == s->within.addr.family && fr->dst.prefix > 0 &&
	       cidr_overlaps(&fr->dst, &s->within);
}

static int keep_found(void *ctx, struct nlmsghdr *nlh)
{
	struct search *s = ctx;
	struct link_found_route fr;
	struct link_found_route *bigger;
	size_t size = s->size ? s->size * 2 : FOUND_FIRST;

	if (!link_route_read(nlh, &fr) || !tells_of_use(s, &fr))
		return 0;
	if (s->count == s->size) {
		bigger = reallocarray(s->found, size, sizeof(*s->found));
		if (!bigger)
			return -ENOMEM;
		s->found = bigger;
		s->size = size;
	}
	s->found[s->count++] = fr;
	return 0;
}

int link_route_each(struct link_sock *ls, const struct cidr *within, link_route_fn fn,
		    void *ctx, struct err *e)
{
	static const struct talk_dump dump = {
		.make = make_dump, .begin = forget_found, .on_message = keep_found};
	struct search s = {.within = *within};
	char text[CIDR_TEXT_SIZE];
	int r = talk_dump(&ls->talk, &dump, &s);

	for (size_t i = 0; r == 0 && i < s.count; i++) {
		const struct link_found_route *fr = &s.found[i];
		char way[LINK_WAY_SIZE];
		const struct link_route_use use = {
			.dst = fr->dst,
			.own = fr->type == RTN_LOCAL,
			.on_link = fr->scope == RT_SCOPE_LINK,
			.main = fr->table == RT_TABLE_MAIN,
			.way = way,
		};

		link_route_way(ls, fr, way);
		fn(ctx, &use);
	}
	free(s.found);
	return r < 0 ? talk_error(&ls->talk, e, r, "routes within",
				  cidr_format(within, text))
		     : 0;
}
