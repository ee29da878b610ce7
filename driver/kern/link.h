/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DRIVER_KERN_LINK_H
#define DRIVER_KERN_LINK_H
/*
 * Links, addresses, routes and neighbours of one namespace, by rtnetlink. The only
 * place with libnl-route. Every change is idempotent: "exists" on add is verified
 * or replaced, "not there" on delete is success. Thread: kernel.
 */
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "plugin/base/addr.h"
#include "plugin/base/err.h"

struct link_sock;

/* Opens a socket into nsfd (-1: the caller's own namespace). The namespace lives as
 * long as the socket is open. */
int link_open(int nsfd, struct link_sock **ret, struct err *e);
void link_close(struct link_sock *ls);

/* mac: NULL = the kernel's choice. mtu 0 = the kernel's default. */
int link_bridge_add(struct link_sock *ls, const char *name, const uint8_t *mac,
		    unsigned int mtu, struct err *e);

struct link_veth {
	const char *name; /* the end in ls's namespace, left down */
	const uint8_t *mac;
	const char *peer; /* the other end, made in peer_nsfd, left down */
	const uint8_t *peer_mac;
	int peer_nsfd;
	unsigned int mtu; /* of both ends */
};

/* One message. An end that exists already with its peer where it should be is
 * adopted; any other link of that name is -EEXIST. */
int link_veth_add(struct link_sock *ls, const struct link_veth *veth, struct err *e);

/* Enslaves name to master (NULL: leaves as is) and sets it up. One message. */
int link_up(struct link_sock *ls, const char *name, const char *master, struct err *e);
/* -ENODEV is success. */
int link_del(struct link_sock *ls, const char *name, struct err *e);
/* Index of a link, 0 when there is none (then *ret_running is untouched), -errno when the
 * kernel did not say. ret_running (may be NULL): it is up and has a carrier. */
int link_index(struct link_sock *ls, const char *name, bool *ret_running);
/* MTU of a link; negative errno. */
int link_mtu(struct link_sock *ls, const char *name, struct err *e);
/* MAC of a link; negative errno. */
int link_mac(struct link_sock *ls, const char *name, uint8_t ret[MAC_SIZE],
	     struct err *e);

/* Calls fn for every link whose name begins with prefix. */
int link_list(struct link_sock *ls, const char *prefix,
	      void (*fn)(void *ctx, const char *name), void *ctx, struct err *e);

enum link_scope {
	LINK_SCOPE_GLOBAL,
	LINK_SCOPE_LINK
};

/* Adds an address (IPv6: without duplicate detection). */
int link_addr_add(struct link_sock *ls, const char *name, const struct cidr *addr,
		  enum link_scope scope, struct err *e);
/* First global address of the family on the link; family 0 if it has none. */
int link_addr_get(struct link_sock *ls, const char *name, uint8_t family,
		  struct addr *ret, struct err *e);

struct link_route {
	struct cidr dst; /* 0.0.0.0/0 or ::/0 = default */
	struct addr via; /* unset = on the link */
	struct addr src; /* preferred source, or unset */
	const char *dev; /* may be NULL for a route with via */
	bool local;	 /* type local (table local, dev is normally "lo") */
	bool onlink;	 /* via need not be in a subnet of dev */
};

/* Replaces a route with the same destination and table. */
int link_route_set(struct link_sock *ls, const struct link_route *route, struct err *e);
/*
 * Adds a route that takes no traffic from anybody: for the host's namespace. One with
 * this destination and device is adopted. -EEXIST: there is a route with the same or a
 * longer prefix in it, a subnet of the host covers it, or it has an address of the host
 * in it; the text names that. Default routes are no conflict. dev is a must.
 */
int link_route_claim(struct link_sock *ls, const struct link_route *route, struct err *e);
/* -ESRCH is success. */
int link_route_del(struct link_sock *ls, const struct link_route *route, struct err *e);

struct link_route_use {
	struct cidr dst;
	bool own;	 /* an address of the namespace itself */
	bool on_link;	 /* without a gateway */
	bool main;	 /* in the main table */
	const char *way; /* " via 192.0.2.1 dev wg0", or "" */
};

typedef void (*link_route_fn)(void *ctx, const struct link_route_use *use);
/* Calls fn for each route of any table that overlaps within, once all are read: not for
 * default routes and those that only drop. */
int link_route_each(struct link_sock *ls, const struct cidr *within, link_route_fn fn,
		    void *ctx, struct err *e);

/* A permanent neighbour entry. */
int link_neigh_set(struct link_sock *ls, const char *name, const struct addr *addr,
		   const uint8_t mac[MAC_SIZE], struct err *e);

/* The MTU of the device that the default route uses (IPv4, else IPv6); 1500 where
 * there is no default route. */
int link_outside_mtu(struct link_sock *ls, unsigned int *ret, struct err *e);

struct link_monitor;

struct link_event {
	const char *name;
	int index;
	bool running; /* up, with carrier */
	bool gone;    /* deleted or moved to another namespace */
};

/*
 * Calls fn on the thread of event for every change of a link in nsfd (-1: own). When
 * messages were lost, fn is called once with name NULL: look for yourself. Not called
 * for the state that exists when the monitor starts. fn must not free the monitor.
 */
int link_monitor_new(int nsfd, sd_event *event,
		     void (*fn)(void *ctx, const struct link_event *ev), void *ctx,
		     struct link_monitor **ret, struct err *e);
void link_monitor_free(struct link_monitor *m);

#endif
