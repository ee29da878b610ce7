/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_ACTUAL_INTERNAL_H
#define PLUGIN_ACTUAL_INTERNAL_H
/* What the files of the kernel's side share: actual.c (networks and endpoints),
 * actual_task.c (namespaces of tasks), actual_host.c (host rules). Thread: kernel. */
#include "driver/kern/link.h"
#include "driver/kern/nft.h"
#include "lb/spread.h"
#include "plugin/actual.h"
#include "plugin/base/map.h"

struct net {
	UT_hash_handle hh;
	struct actual *actual;
	struct network_config config;
	struct network_sandbox sandbox;
	struct link_monitor *monitor;
	int bridge;	   /* its index: another one means a bridge without ports */
	struct err broken; /* code 0: all is well */
};

struct task {
	UT_hash_handle hh; /* by key */
	unsigned int endpoints;
	int nsfd;
	struct nft_sock *dns_owner; /* the table of the DNS diversion lives with it */
	char key[ACTUAL_KEY_SIZE];
};

struct port {
	UT_hash_handle hh;
	struct {
		uint8_t proto;
		struct addr host_addr;
		uint16_t host_port;
	} key;
	struct firewall_port value;
};

struct actual {
	struct actual_config config;
	sd_event *event;
	int own_nsfd; /* the host's namespace */
	struct link_sock *host;
	struct firewall *firewall;
	bool firewall_ready; /* the host table was made: from now on it is changed */
	struct spread *spread;
	struct net *nets;
	struct endpoint *endpoints;
	struct endpoint *by_port;
	struct task *tasks;
	struct port *ports;
	sd_event_source *retry;
	sd_event_source *reconcile;
	unsigned int repairs;
};

/* --- actual_task.c --- */

/* The task of a sandbox key, opened and its DNS diverted when it is the first
 * endpoint's. -ENOENT, -EINVAL: the namespace is not there (yet), or not a task's. */
int task_get(struct actual *a, const char *key, struct task **ret, struct err *e);
/* Closes it after its last endpoint. */
void task_put(struct actual *a, struct task *t);
/* Diverts the DNS where that has failed before. */
void task_repair(struct actual *a, struct task *t);
/* The namespace that the key names is not (any more) the one that is open. */
bool task_is_stale(const struct task *t);
void task_free_all(struct actual *a);

/* --- actual_host.c --- */

/* Builds the host's table anew from networks and ports. */
int host_sync(struct actual *a, struct err *e);
/* Compares the host's table, and builds it anew where it differs. */
void host_repair(struct actual *a);
void host_free_ports(struct actual *a);

#endif
