/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_TYPES_H
#define LB_TYPES_H
/*
 * What a service is, for everybody who balances or names it: immutable values that
 * travel in messages from the store worker to the kernel worker and the loop.
 */
#include <stdbool.h>
#include <stdint.h>

#include "plugin/base/addr.h"

#define LB_ID_SIZE   65 /* 64 hex digits or 25 base36 and the end */
#define LB_NAME_SIZE 64 /* of a service or project: a DNS label and the end */
#define LB_WEIGHT_MAX \
	256 /* of one backend; also the slots that the nft balancer gives it */
#define LB_BACKENDS_MAX 4096
#define LB_MARK_FIRST	0x100 /* as Docker's own: fwmark = 0x100 + service number */

enum lb_scheduler {
	LB_SCHEDULER_RR,
	LB_SCHEDULER_WRR,
	LB_SCHEDULER_LC,
	LB_SCHEDULER_WLC,
	LB_SCHEDULER_SED,
	LB_SCHEDULER_NQ,
	LB_SCHEDULER_SH,
	LB_SCHEDULER_MH,
	LB_SCHEDULER_DH,
	LB_SCHEDULER_LBLC,
	LB_SCHEDULER_LBLCR,
	LB_SCHEDULER_FO,
	LB_SCHEDULER_OVF,
	LB_SCHEDULER_RANDOM,
	LB_SCHEDULER_COUNT
};

/* "rr", ...; the names are those of IPVS and "random". */
const char *lb_scheduler_name(enum lb_scheduler s);
/* -EINVAL: no such scheduler. */
int lb_scheduler_parse(const char *text, enum lb_scheduler *ret);

struct lb_backend {
	char endpoint[LB_ID_SIZE];
	struct addr addr4; /* family 0: has none */
	struct addr addr6;
	uint32_t weight; /* 0: no new connections */
};

/* One state of a service. Never changed after it was made; freed by lb_view_put. */
struct lb_view {
	unsigned int refs; /* atomic */
	char network[LB_ID_SIZE];
	char project[LB_NAME_SIZE]; /* "" = none */
	char name[LB_NAME_SIZE];
	uint32_t mark;	  /* unique on the node */
	struct addr vip4; /* family 0: has none */
	struct addr vip6;
	enum lb_scheduler scheduler; /* one that the balancer knows */
	bool dnsrr;		     /* names give the backends, there is no VIP */
	unsigned int count;
	struct lb_backend backends[]; /* a backend that leaves is replaced by the last */
};

/* A view with room for count backends, one reference, all else 0; NULL: no memory.
 * Thread: any. */
struct lb_view *lb_view_new(unsigned int count);
struct lb_view *lb_view_get(struct lb_view *v);
void lb_view_put(struct lb_view *v);

#endif
