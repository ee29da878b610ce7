/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DRIVER_KERN_LINK_INTERNAL_H
#define DRIVER_KERN_LINK_INTERNAL_H
/*
 * What the link*.c files share: link.c knows links, link_addr.c has addresses, routes
 * and neighbours, link_routes.c and link_claim.c the routes in a namespace of others,
 * link_monitor.c the events.
 * Nobody else includes this.
 */
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/kern/link.h"
#include "driver/kern/talk.h"
#include "plugin/base/addr.h"

#define LINK_KIND_SIZE 16

struct link_sock {
	struct talk talk;
};

struct link_info {
	int index; /* 0: none found */
	unsigned int flags;
	uint32_t mtu;
	uint8_t mac[MAC_SIZE];
	char kind[LINK_KIND_SIZE]; /* "" for a real device */
	int peer;		   /* index of the other end of a veth, or 0 */
};

/* 0 or -ENODEV or another errno; the text is left to the caller. */
int link_get(struct link_sock *ls, const char *name, struct link_info *ret);
int link_get_index(struct link_sock *ls, int index, struct link_info *ret);

/* Adds a route with these flags of netlink; 0 or an errno, the text is left to the
 * caller. */
int link_route_new(struct link_sock *ls, const struct link_route *route, int flags,
		   int oif);
/* "<what> <destination> via <gateway> dev <device>: ..." */
int link_route_error(struct link_sock *ls, struct err *e, int code, const char *what,
		     const struct link_route *route);

/* A route as the kernel tells it. */
struct link_found_route {
	struct cidr dst;
	struct addr via; /* unset: none */
	unsigned char type;
	unsigned char scope;
	unsigned char table; /* those above 255 are RT_TABLE_COMPAT */
	int oif;	     /* 0: none, or several */
	bool connected;	     /* a subnet of the host, made with one of its addresses */
};

/* False for what is no route, or only a cached one. */
bool link_route_read(struct nlmsghdr *nlh, struct link_found_route *ret);
#define LINK_WAY_SIZE (ADDR_TEXT_SIZE + IFNAMSIZ + 24)
/* " via GATEWAY dev DEVICE", as far as there are such. */
void link_route_way(struct link_sock *ls, const struct link_found_route *fr,
		    char ret[LINK_WAY_SIZE]);

static inline bool link_flags_running(unsigned int flags)
{
	/* From the carrier itself: IFF_RUNNING follows it later. */
	return (flags & IFF_UP) && (flags & (1U << 16)); /* IFF_LOWER_UP */
}

#endif
