/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_DNS_ZONE_H
#define LB_DNS_ZONE_H
/*
 * The names that fairlead answers: services of networks. Pure: no I/O, no time;
 * randomness (the order of several addresses) is an argument. Thread: loop.
 */
#include <stdint.h>

#include "lb/types.h"

struct zone;

struct zone *zone_new(void); /* NULL: no memory */
void zone_free(struct zone *z);

/* Sets or replaces the service v->mark; takes a reference. -ENOMEM. */
int zone_set(struct zone *z, struct lb_view *v);
void zone_del(struct zone *z, uint32_t mark);

/* Who asks: the names that it may see. */
struct zone_client {
	const char (*networks)[LB_ID_SIZE];
	unsigned int network_count;
	const char *project; /* "" = none; its own project wins */
};

enum zone_result {
	ZONE_RESULT_UNKNOWN, /* no such name: ask elsewhere */
	ZONE_RESULT_FOUND,   /* a service; maybe without an address of this family */
};

/* Room for max addresses; count is what zone_lookup found. */
struct zone_answer {
	struct addr *list;
	unsigned int max;
	unsigned int count;
};

/*
 * Looks a name up, in any case, with or without a final dot: "web", "web.project"
 * (VIP, or all active backends for dnsrr) and "tasks.web", "tasks.web.project" (all
 * backends with weight > 0, or all if none has). family: AF_INET or AF_INET6. Several
 * addresses come in an order drawn from random. ret->list and ret->max are the caller's.
 */
enum zone_result zone_lookup(const struct zone *z, const struct zone_client *client,
			     const char *name, uint8_t family, uint32_t random,
			     struct zone_answer *ret);

/* The service name of an address ("web"), or NULL: for PTR. */
const char *zone_reverse(const struct zone *z, const struct zone_client *client,
			 const struct addr *addr);

#endif
