/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_SPREAD_H
#define LB_SPREAD_H
/*
 * Which namespace is programmed with which services: each network's sandbox with all
 * of its network, each task with all of the networks that it is on. Takes new views and
 * passes the difference to the balancer of every namespace concerned; what fails there
 * is logged, remembered, and repaired by spread_reconcile. Thread: kernel.
 */

#include "lb/balancer.h"
#include "lb/types.h"
#include "plugin/base/err.h"

struct spread;

struct spread *spread_new(const struct balancer_ops *ops); /* NULL: no memory */
/* Closes all; the kernel goes on. */
void spread_free(struct spread *s);

/*
 * Programs a network's sandbox with what is known of its services. nsfd: borrowed.
 * Known already: its namespace is replaced.
 */
int spread_network_add(struct spread *s, const char *network, int nsfd,
		       const struct cidr *subnets, unsigned int subnet_count,
		       struct err *e);
/* Forgets the network, its sandbox and its views. */
void spread_network_del(struct spread *s, const char *network);

/* The task (any unique key) with namespace nsfd (borrowed) is on the network, with its
 * addresses there. Joining again replaces the addresses. */
int spread_task_join(struct spread *s, const char *task, int nsfd, const char *network,
		     const struct balancer_self *self, struct err *e);
/* Tries again what could not be programmed in the task yet; all is well: nothing. */
int spread_task_settle(struct spread *s, const char *task, struct err *e);
/* Leaves the namespace as it is without this network's services; after its last network
 * nothing of ours is left in it and no socket is open into it. */
void spread_task_leave(struct spread *s, const char *task, const char *network);

/* The service's state now; v is borrowed. Its network need not be known yet. */
void spread_set(struct spread *s, struct lb_view *v);
void spread_del(struct spread *s, uint32_t mark);

/* Compares every namespace with the views and repairs differences; returns how many
 * repairs were made. */
unsigned int spread_reconcile(struct spread *s);

/* Adds the open connections of the network's services, over all namespaces. */
void spread_count(struct spread *s, const char *network, struct balancer_count *list,
		  unsigned int count);

#endif
