/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_IPVSLB_H
#define LB_IPVSLB_H
/*
 * What the two files of the IPVS balancer share; nobody else includes this. ipvslb.c
 * changes what it is told, ipvslb_sync.c looks first. Thread: kernel.
 */
#include "lb/balancer.h"
#include "lb/ipvs.h"
#include "lb/nftcommon.h"
#include "plugin/base/mem.h"

struct link_sock;

#define IPVSLB_SET_LOCAL 2 /* index of "local4" in the sets */

extern const struct nftcommon_spec ipvslb_spec;

struct ipvslb {
	struct nftcommon common; /* first */
	int nsfd;
	struct ipvs_sock *ipvs;
	struct link_sock *link; /* in a task */
};

static inline struct ipvslb *ipvslb_of(struct balancer *b)
{
	return CONTAINER_OF(b, struct ipvslb, common.balancer);
}

/* The service as it should be, with a scheduler that the kernel is known to have. */
struct ipvs_service ipvslb_service_of(const struct lb_view *v, uint8_t family);
/* Adds the service or changes it, with rr where the kernel has no such scheduler. */
int ipvslb_put_service(struct ipvslb *l, const struct lb_view *v, uint8_t family,
		       bool exists, struct err *e);
/* Adds a service with all its destinations. */
int ipvslb_add_service(struct ipvslb *l, const struct lb_view *v, uint8_t family,
		       struct err *e);

struct ipvslb_dest_change {
	struct ipvslb *l;
	uint32_t mark;
	const struct addr *vip;
	struct nftcommon_gone *gone; /* takes what was removed, or NULL */
	unsigned int *repairs;	     /* or NULL */
	struct err *err;
};

/* An addrlist_diff_fn whose ctx is a struct ipvslb_dest_change. */
int ipvslb_change_dest(void *ctx, const struct addrlist_item *old,
		       const struct addrlist_item *new_item);

/* The task's own address if the view has a VIP and the address is a backend of it. */
const struct addr *ipvslb_own_backend(const struct ipvslb *l,
				      const struct balancer_self *self,
				      const struct lb_view *v, uint8_t family);
/* The local route of a VIP, with the task's own address as its source. */
int ipvslb_set_route(struct ipvslb *l, const struct addr *vip, const struct addr *own,
		     struct err *e);
int ipvslb_del_route(struct ipvslb *l, const struct addr *vip, struct err *e);
/* Appends the note that there is such a route, or its removal. */
void ipvslb_append_local(struct nft_batch *b, unsigned int index, const struct addr *vip,
			 bool add);

/* balancer_ops.sync and .clear */
int ipvslb_sync(struct balancer *balancer, const struct balancer_entry *list,
		unsigned int count, unsigned int *ret_repairs, struct err *e);
int ipvslb_clear(struct balancer *balancer, struct err *e);

#endif
