/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_BALANCER_H
#define LB_BALANCER_H
/*
 * How a VIP's connections are spread over its backends: the interface of all
 * balancers. One balancer object programs one namespace. It is told transitions
 * (old view -> new view) and sends the difference in one netlink transaction per
 * subsystem. What the kernel holds survives the daemon. In a task and in a network
 * sandbox the table "inet fairlead" is the balancer's alone. Thread: kernel.
 */
#include <stdint.h>

#include "lb/types.h"
#include "plugin/base/err.h"

enum balancer_role {
	BALANCER_ROLE_TASK,    /* a container: its own connections (hook OUTPUT) */
	BALANCER_ROLE_SANDBOX, /* a network's sandbox: what is routed to it (PREROUTING)
				*/
};

/* The addresses of the namespace itself on the service's network: a task that is its
 * own backend needs care. Both unset for a sandbox. */
struct balancer_self {
	struct addr addr4;
	struct addr addr6;
};

struct balancer_entry {
	struct balancer_self self;
	struct lb_view *view; /* borrowed */
};

struct balancer_count {
	uint32_t mark;
	struct addr backend;
	unsigned int active; /* in: added to */
};

struct balancer; /* first member of each implementation's own struct */

struct balancer_ops {
	const char *name;    /* "ipvs", "nft" */
	uint32_t schedulers; /* bit 1 << enum lb_scheduler */

	/* Can this kernel do it? 0, or -errno with the reason. May load a module. */
	int (*probe)(struct err *e);

	/*
	 * Opens the sockets into nsfd (borrowed) and changes nothing. subnets: of the
	 * network (role SANDBOX), clients within them are masqueraded; copied.
	 */
	int (*open)(int nsfd, enum balancer_role role, const struct cidr *subnets,
		    unsigned int subnet_count, struct balancer **ret, struct err *e);
	/* Closes the sockets; the kernel goes on with what it has. */
	void (*close)(struct balancer *b);

	/*
	 * Makes the kernel equal to the list, whatever was there: the first call after
	 * open, and later to repair. Equal parts are not touched. ret_repairs (may be
	 * NULL): how many objects were added, changed or removed.
	 */
	int (*sync)(struct balancer *b, const struct balancer_entry *list,
		    unsigned int count, unsigned int *ret_repairs, struct err *e);
	/*
	 * One service goes from old (NULL: it is new) to new (NULL: it is gone). Entries
	 * that point at a removed backend are removed from the kernel's tables. An error
	 * means that the kernel does not hold what old says (then nothing, or with IPVS a
	 * part, has changed): sync puts it right.
	 */
	int (*update)(struct balancer *b, const struct balancer_self *self,
		      const struct lb_view *old, const struct lb_view *new_view,
		      struct err *e);
	/* Removes everything of ours from the namespace. */
	int (*clear)(struct balancer *b, struct err *e);

	/* Adds the open connections to the matching entries of list. */
	int (*count)(struct balancer *b, const struct balancer_entry *views,
		     unsigned int view_count, struct balancer_count *list,
		     unsigned int list_count, struct err *e);
};

struct balancer {
	const struct balancer_ops *ops;
};

extern const struct balancer_ops balancer_ipvs; /* lb/ipvslb.c */
extern const struct balancer_ops balancer_nft;	/* lb/nftlb.c */

#endif
