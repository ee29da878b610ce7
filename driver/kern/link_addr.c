// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Addresses, routes and neighbours by rtnetlink. The kernel's "replace" makes adding
 * idempotent. Nothing here lists a routing table: hosts may have very long ones
 * (link_claim.c does, where it must).
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>
#include <sys/socket.h>

#include "driver/kern/link_internal.h"
#include "plugin/base/addr.h"

#define MTU_DEFAULT 1500

/* --- addresses --- */

int link_addr_add(struct link_sock *ls, const char *name, const struct cidr *addr,
		  enum link_scope scope, struct err *e)
{
	struct ifaddrmsg ifa = {
		.ifa_family = addr->addr.family,
		.ifa_prefixlen = addr->prefix,
		.ifa_flags = addr->addr.family == AF_INET6 ? IFA_F_NODAD : 0,
		.ifa_scope = scope == LINK_SCOPE_LINK ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
	};
	char text[CIDR_TEXT_SIZE + IFNAMSIZ + 8];
	char address[CIDR_TEXT_SIZE];
	struct link_info info = {0};
	struct talk_request q;
	int r = link_get(ls, name, &info);

	if (r < 0)
		return talk_error(&ls->talk, e, r, "link", name);
	ifa.ifa_index = (unsigned int)info.index;
	talk_request_init(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &ifa,
			  sizeof(ifa));
	talk_put_addr(&q, IFA_LOCAL, &addr->addr);
	talk_put_addr(&q, IFA_ADDRESS, &addr->addr);
	r = talk_send(&ls->talk, &q, NULL, NULL);
	if (r == 0)
		return 0;
	(void)snprintf(text, sizeof(text), "%s to %.15s", cidr_format(addr, address),
		       name); /* it fits */
	return talk_error(&ls->talk, e, r, "adding address", text);
}

struct addr_search {
	unsigned int index;
	uint8_t family;
	struct addr found;
};

static void make_addr_request(struct talk_request *q, void *ctx)
{
	const struct addr_search *as = ctx;
	struct ifaddrmsg ifa = {.ifa_family = as->family, .ifa_index = as->index};

	talk_request_init(q, RTM_GETADDR, NLM_F_DUMP, &ifa, sizeof(ifa));
}

static void forget_addr(void *ctx)
{
	struct addr_search *as = ctx;

	as->found = (struct addr){0};
}

static int read_addr(void *ctx, struct nlmsghdr *nlh)
{
	struct addr_search *as = ctx;
	const struct ifaddrmsg *ifa = nlmsg_data(nlh);
	struct nlattr *attrs[IFA_MAX + 1];
	struct nlattr *attr;

	if (nlh->nlmsg_type != RTM_NEWADDR || addr_is_set(&as->found) ||
	    nlmsg_parse(nlh, sizeof(*ifa), attrs, IFA_MAX, NULL) < 0 ||
	    ifa->ifa_index != as->index || ifa->ifa_family != as->family ||
	    ifa->ifa_scope != RT_SCOPE_UNIVERSE)
		return 0;
	attr = attrs[IFA_LOCAL] ? attrs[IFA_LOCAL] : attrs[IFA_ADDRESS];
	as->found.family = as->family;
	if (attr && nla_len(attr) == (int)addr_size(&as->found))
		memcpy(as->found.bytes, nla_data(attr), addr_size(&as->found));
	else
		as->found.family = 0;
	return 0;
}

int link_addr_get(struct link_sock *ls, const char *name, uint8_t family,
		  struct addr *ret, struct err *e)
{
	static const struct talk_dump dump = {
		.make = make_addr_request, .begin = forget_addr, .on_message = read_addr};
	struct addr_search as = {.family = family};
	struct link_info info = {0};
	int r = link_get(ls, name, &info);

	if (r < 0)
		return talk_error(&ls->talk, e, r, "link", name);
	as.index = (unsigned int)info.index;
	r = talk_dump(&ls->talk, &dump, &as);
	if (r < 0)
		return talk_error(&ls->talk, e, r, "addresses of link", name);
	*ret = as.found;
	return 0;
}

/* --- routes --- */

static unsigned char route_scope(const struct link_route *route)
{
	if (route->local)
		return RT_SCOPE_HOST;
	return addr_is_set(&route->via) ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
}

/* flags: of the netlink message. */
static int change_route(struct link_sock *ls, int type, int flags,
			const struct link_route *route, int oif)
{
	struct cidr dst = cidr_network(&route->dst);
	bool is_new = type == RTM_NEWROUTE;
	struct rtmsg rtm = {
		.rtm_family = dst.addr.family,
		.rtm_dst_len = dst.prefix,
		.rtm_table = route->local ? RT_TABLE_LOCAL : RT_TABLE_MAIN,
		.rtm_protocol = is_new ? RTPROT_STATIC : RTPROT_UNSPEC,
		.rtm_scope = is_new ? route_scope(route) : RT_SCOPE_NOWHERE,
		.rtm_type = route->local ? RTN_LOCAL : RTN_UNICAST,
		.rtm_flags = route->onlink ? RTNH_F_ONLINK : 0,
	};
	struct talk_request q;

	talk_request_init(&q, type, flags, &rtm, sizeof(rtm));
	if (dst.prefix > 0)
		talk_put_addr(&q, RTA_DST, &dst.addr);
	if (addr_is_set(&route->via))
		talk_put_addr(&q, RTA_GATEWAY, &route->via);
	if (addr_is_set(&route->src) && is_new)
		talk_put_addr(&q, RTA_PREFSRC, &route->src);
	if (oif)
		talk_put_u32(&q, RTA_OIF, (uint32_t)oif);
	return talk_send(&ls->talk, &q, NULL, NULL);
}

int link_route_new(struct link_sock *ls, const struct link_route *route, int flags,
		   int oif)
{
	return change_route(ls, RTM_NEWROUTE, flags, route, oif);
}

int link_route_error(struct link_sock *ls, struct err *e, int code, const char *what,
		     const struct link_route *route)
{
	char dst[CIDR_TEXT_SIZE];
	char via[ADDR_TEXT_SIZE];
	char text[CIDR_TEXT_SIZE + ADDR_TEXT_SIZE + IFNAMSIZ + 16];

	addr_format(&route->via, via);
	(void)snprintf(text, sizeof(text), "%s%s%s%s%.15s", cidr_format(&route->dst, dst),
		       *via ? " via " : "", via, route->dev ? " dev " : "",
		       route->dev ? route->dev : ""); /* it fits */
	return talk_error(&ls->talk, e, code, what, text);
}

int link_route_set(struct link_sock *ls, const struct link_route *route, struct err *e)
{
	struct link_info info = {0};
	int r = route->dev ? link_get(ls, route->dev, &info) : 0;

	if (r == 0)
		r = link_route_new(ls, route, NLM_F_CREATE | NLM_F_REPLACE, info.index);
	return r < 0 ? link_route_error(ls, e, r, "adding route", route) : 0;
}

int link_route_del(struct link_sock *ls, const struct link_route *route, struct err *e)
{
	struct link_info info = {0};
	int r = route->dev ? link_get(ls, route->dev, &info) : 0;

	if (r == 0)
		r = change_route(ls, RTM_DELROUTE, 0, route, info.index);
	if (r == -ESRCH || r == -ENODEV) /* a route goes with its device */
		return 0;
	return r < 0 ? link_route_error(ls, e, r, "deleting route", route) : 0;
}

/* --- neighbours --- */

int link_neigh_set(struct link_sock *ls, const char *name, const struct addr *addr,
		   const uint8_t mac[MAC_SIZE], struct err *e)
{
	struct ndmsg nd = {.ndm_family = addr->family, .ndm_state = NUD_PERMANENT};
	char text[ADDR_TEXT_SIZE];
	struct link_info info = {0};
	struct talk_request q;
	int r = link_get(ls, name, &info);

	if (r < 0)
		return talk_error(&ls->talk, e, r, "link", name);
	nd.ndm_ifindex = info.index;
	talk_request_init(&q, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &nd,
			  sizeof(nd));
	talk_put_addr(&q, NDA_DST, addr);
	talk_put(&q, NDA_LLADDR, mac, MAC_SIZE);
	r = talk_send(&ls->talk, &q, NULL, NULL);
	return r < 0 ? talk_error(&ls->talk, e, r, "adding neighbour",
				  addr_format(addr, text))
		     : 0;
}

/* --- the way out --- */

static int read_oif(void *ctx, struct nlmsghdr *nlh)
{
	const struct rtmsg *rtm = nlmsg_data(nlh);
	struct nlattr *attrs[RTA_MAX + 1];
	int *ret = ctx;

	if (nlh->nlmsg_type == RTM_NEWROUTE &&
	    nlmsg_parse(nlh, sizeof(*rtm), attrs, RTA_MAX, NULL) == 0 &&
	    rtm->rtm_type == RTN_UNICAST && attrs[RTA_OIF] &&
	    nla_len(attrs[RTA_OIF]) == sizeof(uint32_t))
		*ret = (int)nla_get_u32(attrs[RTA_OIF]);
	return 0;
}

/* The kernel's choice for an address that nobody has: index, or 0. */
static int outside_index(struct link_sock *ls, const char *probe)
{
	struct rtmsg rtm = {0};
	struct talk_request q;
	struct addr dst;
	int index = 0;
	int r;

	if (addr_parse(probe, &dst) < 0)
		return 0;
	rtm.rtm_family = dst.family;
	rtm.rtm_dst_len = (unsigned char)addr_bits(&dst);
	talk_request_init(&q, RTM_GETROUTE, 0, &rtm, sizeof(rtm));
	talk_put_addr(&q, RTA_DST, &dst);
	r = talk_send(&ls->talk, &q, read_oif, &index);
	return r < 0 ? 0 : index;
}

int link_outside_mtu(struct link_sock *ls, unsigned int *ret, struct err *e)
{
	/* Reserved, resp. for documentation: reached by the default route only. A
	 * lookup also knows rules and the two halves that VPNs make of it. */
	int index = outside_index(ls, "240.0.0.1");
	struct link_info info = {0};
	int r;

	if (!index)
		index = outside_index(ls, "3fff::1");
	if (!index) {
		*ret = MTU_DEFAULT;
		return 0;
	}
	r = link_get_index(ls, index, &info);
	if (r < 0)
		return talk_error(&ls->talk, e, r, "link of the default", "route");
	*ret = info.mtu;
	return 0;
}
