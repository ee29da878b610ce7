/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_ACTUAL_H
#define PLUGIN_ACTUAL_H
/*
 * The kernel's side of the node: sandboxes, links, host rules, balancers and the
 * diversion of DNS, kept equal to what the store side decided. Owns every netlink
 * socket and every namespace. Thread: kernel (all functions, and the hooks).
 */
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "driver/firewall.h"
#include "driver/kern/link.h"
#include "driver/network.h"
#include "lb/balancer.h"
#include "lb/dns/server.h"
#include "plugin/base/err.h"

#define ACTUAL_KEY_SIZE 256 /* path of a sandbox key */

struct actual;

struct actual_hooks {
	/* The endpoint's link vanished without a word from Docker (its namespace died
	 * while dockerd was away): no traffic may go to it. */
	void (*endpoint_lost)(void *ctx, const char *endpoint);
	/* A task can be served: the fds are taken. */
	void (*task_added)(void *ctx, const char *key, int nsfd,
			   struct dns_sockets *sockets);
	void (*task_removed)(void *ctx, const char *key);
	void *ctx;
};

struct actual_config {
	const char *run_dir;		     /* borrowed */
	const struct balancer_ops *balancer; /* one that works on this kernel */
	bool dns;			     /* divert the tasks' DNS */
	unsigned int reconcile_s;	     /* seconds between repairs, 0: never */
	struct actual_hooks hooks;
};

int actual_new(sd_event *event, const struct actual_config *config, struct actual **ret,
	       struct err *e);
/* Closes everything and changes nothing in the kernel, but that the diversion of DNS
 * goes with its sockets. */
void actual_free(struct actual *a);

/* Makes the network; when it fails nothing is left of it. Known already: completed. */
int actual_network_add(struct actual *a, const struct network_config *c, struct err *e);
/* Unknown: what may be there under its names is removed. */
int actual_network_del(struct actual *a, const struct network_config *c, struct err *e);

struct actual_endpoint {
	struct network_endpoint base;
	char network[NETWORK_ID_SIZE];
	struct addr addr4;
	struct addr addr6;
	char key[ACTUAL_KEY_SIZE]; /* the sandbox key: path of the task's namespace */
};

/* Makes the endpoint's link; its task is programmed as soon as Docker has moved the
 * link there and set it up. -ENOENT: no such network. */
int actual_endpoint_join(struct actual *a, const struct actual_endpoint *desired,
			 char ret_name[IFNAMSIZ], struct err *e);
/* An endpoint that had joined before we started. If its link is gone, endpoint_lost. */
void actual_endpoint_adopt(struct actual *a, const struct actual_endpoint *desired);
/* Takes our programming out of its task; unknown: nothing. */
void actual_endpoint_leave(struct actual *a, const char *id);
/* Removes the link; unknown: tried all the same. */
int actual_endpoint_del(struct actual *a, const char *network, const char *id,
			struct err *e);

/* The service with this mark looks so now (NULL: gone). Errors are logged, repaired
 * later. */
void actual_service(struct actual *a, uint32_t mark, struct lb_view *v);
/* As firewall_port_change. Errors are logged. */
void actual_port(struct actual *a, const struct firewall_port *old,
		 const struct firewall_port *new_port);
/* Calls fn for what the host routes within a prefix, as link_route_each. */
int actual_host_routes(struct actual *a, const struct cidr *within, link_route_fn fn,
		       void *ctx, struct err *e);

/* After the networks and ports known at start were told: builds the host's rules in one
 * transaction. Until then they are only collected. */
int actual_start(struct actual *a, struct err *e);

/* Lets forwarded traffic pass Docker's FORWARD chain; for when the engine (re)starts. */
void actual_allow_forward(struct actual *a);

/* Adds the open connections of a network's services to list. */
void actual_count(struct actual *a, const char *network, struct balancer_count *list,
		  unsigned int count);
/* MTU in force, 0: the network has no sandbox; then ret_error (size bytes) says why. */
unsigned int actual_network_state(struct actual *a, const char *id, char *ret_error,
				  size_t size);
/* Repairs made since start. */
unsigned int actual_repairs(const struct actual *a);

#endif
