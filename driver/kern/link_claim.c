// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Routes in a namespace that is not ours, the host's: one is added only where it takes
 * no traffic from a route or an address that is there. An exclusive request alone does
 * not tell: for the kernel a route with another metric is another route. The tables are
 * read once, before the route is made; later one look-up finds it again.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdio.h>
#include <string.h>

#include "driver/kern/link_internal.h"
#include "plugin/base/addr.h"
#include "plugin/base/mem.h"

struct claim {
	struct cidr dst;
	int oif;
	unsigned char table;
	bool ours;    /* our own route is there */
	bool refused; /* by this one: */
	struct link_found_route by;
};

/* False for what is no route of the claim's family and table. */
static bool parse_route(struct nlmsghdr *nlh, const struct claim *c,
			struct link_found_route *ret)
{
	return link_route_read(nlh, ret) && ret->dst.addr.family == c->dst.addr.family &&
	       ret->table == c->table;
}

/* --- is it there? --- */

static int match_ours(void *ctx, struct nlmsghdr *nlh)
{
	struct claim *c = ctx;
	struct link_found_route fr;

	if (parse_route(nlh, c, &fr) && fr.oif == c->oif && cidr_equal(&fr.dst, &c->dst))
		c->ours = true;
	return 0;
}

/* One look-up among the routes of our device; no answer is no route. */
static void look_up_ours(struct link_sock *ls, struct claim *c)
{
	struct rtmsg rtm = {.rtm_family = c->dst.addr.family,
			    .rtm_dst_len = (unsigned char)addr_bits(&c->dst.addr),
			    .rtm_flags = RTM_F_FIB_MATCH};
	struct talk_request q;

	c->table = RT_TABLE_MAIN;
	talk_request_init(&q, RTM_GETROUTE, 0, &rtm, sizeof(rtm));
	talk_put_addr(&q, RTA_DST, &c->dst.addr);
	talk_put_u32(&q, RTA_OIF, (uint32_t)c->oif);
	(void)talk_send(&ls->talk, &q, match_ours, c); /* c->ours tells */
}

/* --- may it be there? --- */

/*
 * A shorter route that others use keeps the rest: only a subnet that the host is in must
 * stay whole. The default route, and the two halves that VPNs make of it, are no
 * conflict.
 */
static bool takes_from(const struct claim *c, const struct link_found_route *fr)
{
	if (c->table == RT_TABLE_LOCAL)
		return fr->type == RTN_LOCAL && cidr_overlaps(&c->dst, &fr->dst);
	if (fr->dst.prefix <= 1)
		return cidr_equal(&c->dst, &fr->dst);
	return cidr_covers(&c->dst, &fr->dst) ||
	       (fr->connected && cidr_covers(&fr->dst, &c->dst));
}

static void make_route_dump(struct talk_request *q, void *ctx)
{
	const struct claim *c = ctx;
	struct rtmsg rtm = {.rtm_family = c->dst.addr.family, .rtm_table = c->table};

	talk_request_init(q, RTM_GETROUTE, NLM_F_DUMP, &rtm, sizeof(rtm));
}

static void forget_routes(void *ctx)
{
	struct claim *c = ctx;

	c->ours = false;
	c->refused = false;
}

static int check_route(void *ctx, struct nlmsghdr *nlh)
{
	struct claim *c = ctx;
	struct link_found_route fr;

	if (!parse_route(nlh, c, &fr))
		return 0;
	if (fr.oif == c->oif) {
		c->ours |= cidr_equal(&fr.dst, &c->dst);
		return 0;
	}
	/* Of several the one with the same prefix is told. */
	if (takes_from(c, &fr) && (!c->refused || cidr_equal(&fr.dst, &c->dst))) {
		c->refused = true;
		c->by = fr;
	}
	return 0;
}

static int check_tables(struct link_sock *ls, struct claim *c)
{
	static const struct talk_dump dump = {.make = make_route_dump,
					      .begin = forget_routes,
					      .on_message = check_route};
	static const unsigned char tables[] = {RT_TABLE_MAIN, RT_TABLE_LOCAL};

	for (size_t i = 0; i < ARRAY_SIZE(tables) && !c->ours && !c->refused; i++) {
		int r;

		c->table = tables[i];
		r = talk_dump(&ls->talk, &dump, c);
		if (r < 0 && r != -ENOENT) /* a table without routes is none */
			return r;
	}
	return 0;
}

/* --- saying so --- */

static int say_refused(struct link_sock *ls, const struct claim *c, struct err *e)
{
	const struct link_found_route *by = &c->by;
	char way[LINK_WAY_SIZE];
	char dst[CIDR_TEXT_SIZE];
	char other[CIDR_TEXT_SIZE];

	link_route_way(ls, by, way);
	cidr_format(&c->dst, dst);
	cidr_format(&by->dst, other);
	if (c->table == RT_TABLE_LOCAL)
		return err_set(e, -EEXIST, "%s has an address of this host in it: %s%s",
			       dst, other, way);
	if (cidr_equal(&c->dst, &by->dst))
		return err_set(e, -EEXIST, "%s is routed already:%s", dst, way);
	return err_set(e, -EEXIST, "%s overlaps a route of this host: %s%s", dst, other,
		       way);
}

int link_route_claim(struct link_sock *ls, const struct link_route *route, struct err *e)
{
	struct claim c = {.dst = cidr_network(&route->dst)};
	struct link_info info = {0};
	int r = link_get(ls, route->dev, &info);

	if (r < 0)
		return link_route_error(ls, e, r, "adding route", route);
	c.oif = info.index;
	look_up_ours(ls, &c);
	if (c.ours)
		return 0;
	r = check_tables(ls, &c);
	if (r < 0)
		return link_route_error(ls, e, r, "looking for routes like", route);
	if (c.ours)
		return 0;
	if (c.refused)
		return say_refused(ls, &c, e);
	r = link_route_new(ls, route, NLM_F_CREATE | NLM_F_EXCL, info.index);
	return r < 0 ? link_route_error(ls, e, r, "adding route", route) : 0;
}
