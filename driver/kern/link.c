// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Links by rtnetlink. Links are named, not numbered, in requests: the kernel finds
 * them itself, which saves a question before each change, and nothing is cached.
 */
#include "driver/kern/link.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/link/veth.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "driver/kern/link_internal.h"
#include "plugin/base/map.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

/* --- the socket --- */

int link_open(int nsfd, struct link_sock **ret, struct err *e)
{
	struct link_sock *ls = calloc(1, sizeof(*ls));
	int r;

	if (!ls)
		return err_sys(e, -ENOMEM, "rtnetlink socket");
	r = talk_open(&ls->talk, nsfd, NETLINK_ROUTE, e);
	if (r < 0) {
		free(ls);
		return r;
	}
	*ret = ls;
	return 0;
}

void link_close(struct link_sock *ls)
{
	if (!ls)
		return;
	talk_close(&ls->talk);
	free(ls);
}

/* --- reading a link --- */

static int read_link(void *ctx, struct nlmsghdr *nlh)
{
	static struct nla_policy policy[IFLA_MAX + 1] = {
		[IFLA_MTU] = {.type = NLA_U32},
		[IFLA_LINK] = {.type = NLA_U32},
		[IFLA_LINKINFO] = {.type = NLA_NESTED},
	};
	struct nlattr *attrs[IFLA_MAX + 1];
	struct nlattr *info[IFLA_INFO_MAX + 1];
	const struct ifinfomsg *ifi = nlmsg_data(nlh);
	struct link_info *ret = ctx;

	if (nlh->nlmsg_type != RTM_NEWLINK ||
	    nlmsg_parse(nlh, sizeof(*ifi), attrs, IFLA_MAX, policy) < 0)
		return 0;
	memset(ret, 0, sizeof(*ret));
	ret->index = ifi->ifi_index;
	ret->flags = ifi->ifi_flags;
	if (attrs[IFLA_MTU])
		ret->mtu = nla_get_u32(attrs[IFLA_MTU]);
	if (attrs[IFLA_LINK])
		ret->peer = (int)nla_get_u32(attrs[IFLA_LINK]);
	if (attrs[IFLA_ADDRESS] && nla_len(attrs[IFLA_ADDRESS]) == MAC_SIZE)
		memcpy(ret->mac, nla_data(attrs[IFLA_ADDRESS]), MAC_SIZE);
	if (attrs[IFLA_LINKINFO] &&
	    nla_parse_nested(info, IFLA_INFO_MAX, attrs[IFLA_LINKINFO], NULL) == 0 &&
	    info[IFLA_INFO_KIND])
		(void)nla_strlcpy(ret->kind, info[IFLA_INFO_KIND], sizeof(ret->kind));
	return 0;
}

static int get_link(struct link_sock *ls, const char *name, int index,
		    struct link_info *ret)
{
	struct ifinfomsg ifi = {.ifi_index = index};
	struct link_info found = {0};
	struct talk_request q;
	int r;

	talk_request_init(&q, RTM_GETLINK, 0, &ifi, sizeof(ifi));
	if (name)
		talk_put_name(&q, IFLA_IFNAME, name);
	talk_put_u32(&q, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	r = talk_send(&ls->talk, &q, read_link, &found);
	if (r == 0 && found.index == 0)
		r = -ENODEV;
	if (r == 0)
		*ret = found;
	return r;
}

int link_get(struct link_sock *ls, const char *name, struct link_info *ret)
{
	return get_link(ls, name, 0, ret);
}

int link_get_index(struct link_sock *ls, int index, struct link_info *ret)
{
	return get_link(ls, NULL, index, ret);
}

int link_index(struct link_sock *ls, const char *name, bool *ret_running)
{
	struct link_info info = {0};
	int r = link_get(ls, name, &info);

	if (r < 0)
		return r == -ENODEV ? 0 : r;
	if (ret_running)
		*ret_running = link_flags_running(info.flags);
	return info.index;
}

int link_mtu(struct link_sock *ls, const char *name, struct err *e)
{
	struct link_info info = {0};
	int r = link_get(ls, name, &info);

	return r < 0 ? talk_error(&ls->talk, e, r, "link", name) : (int)info.mtu;
}

int link_mac(struct link_sock *ls, const char *name, uint8_t ret[MAC_SIZE], struct err *e)
{
	struct link_info info = {0};
	int r = link_get(ls, name, &info);

	if (r < 0)
		return talk_error(&ls->talk, e, r, "link", name);
	memcpy(ret, info.mac, MAC_SIZE);
	return 0;
}

/* --- making and changing links --- */

/* Gives a link that was there the MAC and MTU that were asked for. */
static int adjust(struct link_sock *ls, const char *name, const struct link_info *info,
		  const uint8_t *mac, unsigned int mtu)
{
	struct ifinfomsg ifi = {0};
	struct talk_request q;
	bool same_mac = !mac || memcmp(mac, info->mac, MAC_SIZE) == 0;
	bool same_mtu = !mtu || mtu == info->mtu;

	if (same_mac && same_mtu)
		return 0;
	talk_request_init(&q, RTM_NEWLINK, 0, &ifi, sizeof(ifi));
	talk_put_name(&q, IFLA_IFNAME, name);
	if (!same_mac)
		talk_put(&q, IFLA_ADDRESS, mac, MAC_SIZE);
	if (!same_mtu)
		talk_put_u32(&q, IFLA_MTU, mtu);
	return talk_send(&ls->talk, &q, NULL, NULL);
}

DEFINE_CLEANUP(struct rtnl_link *, rtnl_link_put);

static int describe_link(struct rtnl_link *link, const char *name, const uint8_t *mac,
			 unsigned int mtu)
{
	struct nl_addr *addr;

	if (str_is_empty(name) || strlen(name) >= IFNAMSIZ)
		return -EINVAL;
	rtnl_link_set_name(link, name);
	if (mtu)
		rtnl_link_set_mtu(link, mtu);
	if (!mac)
		return 0;
	addr = nl_addr_build(AF_LLC, mac, MAC_SIZE);
	if (!addr)
		return -ENOMEM;
	rtnl_link_set_addr(link, addr);
	nl_addr_put(addr);
	return 0;
}

static int add_link(struct link_sock *ls, struct rtnl_link *link)
{
	struct talk_request q = {0};

	q.failed =
		rtnl_link_build_add_request(link, NLM_F_CREATE | NLM_F_EXCL, &q.msg) < 0;
	return q.failed ? -ENOMEM : talk_send(&ls->talk, &q, NULL, NULL);
}

int link_bridge_add(struct link_sock *ls, const char *name, const uint8_t *mac,
		    unsigned int mtu, struct err *e)
{
	struct rtnl_link *link auto_with(rtnl_link_put) = rtnl_link_alloc();
	struct link_info info = {0};
	int r = -ENOMEM;

	if (link && rtnl_link_set_type(link, "bridge") == 0)
		r = describe_link(link, name, mac, mtu);
	if (r == 0)
		r = add_link(ls, link);
	if (r == -EEXIST && link_get(ls, name, &info) == 0) {
		if (strcmp(info.kind, "bridge") != 0)
			return err_set(e, -EEXIST, "link %s exists and is no bridge",
				       name);
		r = adjust(ls, name, &info, mac, mtu);
	}
	return r < 0 ? talk_error(&ls->talk, e, r, "adding bridge", name) : 0;
}

static int describe_veth(struct rtnl_link *link, const struct link_veth *veth)
{
	struct rtnl_link *peer = rtnl_link_veth_get_peer(link);
	int r;

	if (!peer)
		return -ENOMEM;
	r = describe_link(link, veth->name, veth->mac, veth->mtu);
	if (r == 0)
		r = describe_link(peer, veth->peer, veth->peer_mac, veth->mtu);
	if (r == 0 && veth->peer_nsfd >= 0)
		rtnl_link_set_ns_fd(peer, veth->peer_nsfd);
	rtnl_link_put(peer);
	return r;
}

/* Both ends are there and each is the other's peer. */
static int adopt_veth(struct link_sock *ls, struct link_sock *there,
		      const struct link_veth *veth, struct err *e)
{
	struct link_info near = {0};
	struct link_info far = {0};
	int r;

	if (link_get(ls, veth->name, &near) < 0)
		return err_set(e, -EEXIST, "link %s exists, its peer %s does not",
			       veth->peer, veth->name);
	if (link_get(there, veth->peer, &far) < 0 || strcmp(near.kind, "veth") != 0 ||
	    strcmp(far.kind, "veth") != 0 || near.peer != far.index ||
	    far.peer != near.index)
		return err_set(e, -EEXIST, "link %s exists and is no peer of %s",
			       veth->name, veth->peer);
	r = adjust(ls, veth->name, &near, veth->mac, veth->mtu);
	if (r < 0)
		return talk_error(&ls->talk, e, r, "changing link", veth->name);
	r = adjust(there, veth->peer, &far, veth->peer_mac, veth->mtu);
	return r < 0 ? talk_error(&there->talk, e, r, "changing link", veth->peer) : 0;
}

int link_veth_add(struct link_sock *ls, const struct link_veth *veth, struct err *e)
{
	struct rtnl_link *link auto_with(rtnl_link_put) = rtnl_link_veth_alloc();
	struct link_sock *there = NULL;
	int r = -ENOMEM;

	if (link)
		r = describe_veth(link, veth);
	if (r == 0)
		r = add_link(ls, link);
	if (r == -EEXIST) {
		if (veth->peer_nsfd < 0)
			return adopt_veth(ls, ls, veth, e);
		r = link_open(veth->peer_nsfd, &there, e);
		if (r < 0)
			return r;
		r = adopt_veth(ls, there, veth, e);
		link_close(there);
		return r;
	}
	return r < 0 ? talk_error(&ls->talk, e, r, "adding veth", veth->name) : 0;
}

int link_up(struct link_sock *ls, const char *name, const char *master, struct err *e)
{
	struct ifinfomsg ifi = {.ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	struct link_info info = {0};
	struct talk_request q;
	int r;

	if (master) {
		r = link_get(ls, master, &info);
		if (r < 0)
			return talk_error(&ls->talk, e, r, "link", master);
	}
	talk_request_init(&q, RTM_NEWLINK, 0, &ifi, sizeof(ifi));
	talk_put_name(&q, IFLA_IFNAME, name);
	if (master)
		talk_put_u32(&q, IFLA_MASTER, (uint32_t)info.index);
	r = talk_send(&ls->talk, &q, NULL, NULL);
	return r < 0 ? talk_error(&ls->talk, e, r, "setting up link", name) : 0;
}

int link_del(struct link_sock *ls, const char *name, struct err *e)
{
	struct ifinfomsg ifi = {0};
	struct talk_request q;
	int r;

	talk_request_init(&q, RTM_DELLINK, 0, &ifi, sizeof(ifi));
	talk_put_name(&q, IFLA_IFNAME, name);
	r = talk_send(&ls->talk, &q, NULL, NULL);
	return r < 0 && r != -ENODEV ? talk_error(&ls->talk, e, r, "deleting link", name)
				     : 0;
}

/* --- listing --- */

struct name_entry {
	STAILQ_ENTRY(name_entry) link;
	char name[IFNAMSIZ];
};
STAILQ_HEAD(name_list, name_entry);

struct listing {
	const char *prefix;
	struct name_list names;
};

static void free_names(void *ctx)
{
	struct listing *l = ctx;
	struct name_entry *n;

	while ((n = STAILQ_FIRST(&l->names)) != NULL) {
		STAILQ_REMOVE_HEAD(&l->names, link);
		free(n);
	}
}

static int collect_name(void *ctx, struct nlmsghdr *nlh)
{
	struct listing *l = ctx;
	struct nlattr *attr;
	struct name_entry *n;

	if (nlh->nlmsg_type != RTM_NEWLINK)
		return 0;
	attr = nlmsg_find_attr(nlh, sizeof(struct ifinfomsg), IFLA_IFNAME);
	if (!attr || strncmp(nla_get_string(attr), l->prefix, strlen(l->prefix)) != 0)
		return 0;
	n = calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	(void)nla_strlcpy(n->name, attr, sizeof(n->name)); /* the kernel's fit */
	STAILQ_INSERT_TAIL(&l->names, n, link);
	return 0;
}

static void make_list_request(struct talk_request *q, void *ctx)
{
	struct ifinfomsg ifi = {0};

	(void)ctx;
	talk_request_init(q, RTM_GETLINK, NLM_F_DUMP, &ifi, sizeof(ifi));
	talk_put_u32(q, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

int link_list(struct link_sock *ls, const char *prefix,
	      void (*fn)(void *ctx, const char *name), void *ctx, struct err *e)
{
	static const struct talk_dump dump = {.make = make_list_request,
					      .begin = free_names,
					      .on_message = collect_name};
	struct listing l = {.prefix = prefix, .names = STAILQ_HEAD_INITIALIZER(l.names)};
	struct name_entry *n;
	int r;

	r = talk_dump(&ls->talk, &dump, &l);
	/* Only now: fn may use the socket. */
	for (n = r == 0 ? STAILQ_FIRST(&l.names) : NULL; n; n = STAILQ_NEXT(n, link))
		fn(ctx, n->name);
	free_names(&l);
	return r < 0 ? talk_error(&ls->talk, e, r, "listing links", prefix) : 0;
}
