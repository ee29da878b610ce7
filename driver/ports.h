/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DRIVER_PORTS_H
#define DRIVER_PORTS_H
/*
 * Who publishes which port of the host. Replicas of one service share a port; a claim
 * of somebody else waits until the holder is gone. Pure bookkeeping: what must change
 * in the kernel is told by a callback. Thread: store.
 */
#include <stdint.h>

#include "driver/firewall.h"
#include "driver/network.h"

#define PORTS_PER_ENDPOINT_MAX 1024 /* claims of one container */
/* Where a port is picked from when the user leaves the choice to us: the kernel's own
 * default range of local ports. */
#define PORTS_PICK_FIRST 32768
#define PORTS_PICK_LAST	 60999

struct ports;

struct ports_callbacks {
	/* As firewall_port_change; both are borrowed. */
	void (*changed)(void *ctx, const struct firewall_port *old,
			const struct firewall_port *new_port);
	void *ctx;
};

/* callbacks: copied; NULL: tells nobody (for ports_replace). NULL: no memory. */
struct ports *ports_new(const struct ports_callbacks *callbacks);
void ports_free(struct ports *p);

struct ports_claim {
	uint8_t proto;
	struct addr host_addr; /* unset: all */
	uint16_t host_port;
	uint16_t port; /* of the container */
};

/* Where an endpoint's claims go, and who shares them. */
struct ports_target {
	uint32_t mark; /* of its service; 0: none, it stands for itself */
	struct addr addr4;
	struct addr addr6;
};

/*
 * The first port in [first, last] (both 0: any) that nobody holds for (proto,
 * host_addr), or that a claim of the same mark holds already. 0: none.
 */
uint16_t ports_pick(const struct ports *p, const struct ports_claim *claim,
		    uint16_t first, uint16_t last, uint32_t mark);
/* Known (endpoint, claim): nothing. All claims of an endpoint have one target, that of
 * the first until ports_retarget. -ENOMEM. */
int ports_add(struct ports *p, const char *endpoint, const struct ports_claim *claim,
	      const struct ports_target *target);
/* Moves all claims of the endpoint to another target. */
void ports_retarget(struct ports *p, const char *endpoint,
		    const struct ports_target *target);
/* Drops all claims of the endpoint. */
void ports_del(struct ports *p, const char *endpoint);

/* The claims become those of next, which is freed; only what differs is told. */
void ports_replace(struct ports *p, struct ports *next);

/* Calls fn for each port that is open now. */
void ports_each(const struct ports *p,
		void (*fn)(void *ctx, const struct firewall_port *port), void *ctx);
/* Calls fn for each claim of an endpoint; holder: another endpoint that has the port
 * instead, or NULL. */
void ports_each_claim(const struct ports *p, const char *endpoint,
		      void (*fn)(void *ctx, const struct ports_claim *claim,
				 const char *holder),
		      void *ctx);

#endif
