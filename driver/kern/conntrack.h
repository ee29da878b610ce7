/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DRIVER_KERN_CONNTRACK_H
#define DRIVER_KERN_CONNTRACK_H
/* Connection tracking entries of one namespace. The only place with libnl-nf.
 * Thread: kernel. */
#include <stddef.h>

#include "plugin/base/addr.h"
#include "plugin/base/err.h"

struct conntrack_sock;

int conntrack_open(int nsfd, struct conntrack_sock **ret, struct err *e);
void conntrack_close(struct conntrack_sock *cs);

/*
 * Deletes the entries (all protocols) whose original destination was vip and whose
 * packets were sent to backend instead, so that nothing sticks to a dead backend.
 * vip NULL or unset: any destination that is not the backend itself. Returns how many.
 */
int conntrack_del_nat(struct conntrack_sock *cs, const struct addr *vip,
		      const struct addr *backend, struct err *e);

struct conntrack_nat {
	struct addr vip; /* unset: as above */
	struct addr backend;
};

/* The same for several in one go: a dump takes milliseconds, whatever it finds. */
int conntrack_del_nat_list(struct conntrack_sock *cs, const struct conntrack_nat *list,
			   size_t count, struct err *e);

struct conntrack_count {
	struct addr vip;
	struct addr backend;
	unsigned int active; /* out: TCP established and live entries of UDP/SCTP */
};

/* One dump, counted into the entries of list (each pair in it once). */
int conntrack_count_nat(struct conntrack_sock *cs, struct conntrack_count *list,
			size_t count, struct err *e);

#endif
