/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DRIVER_FIREWALL_H
#define DRIVER_FIREWALL_H
/*
 * The host's side of packet filtering and translation: our table "inet fairlead" in
 * the host's namespace (masquerading, isolation of networks, published ports) and the
 * accept rule in Docker's DOCKER-USER chain. Thread: kernel.
 */
#include <stdint.h>

#include "driver/kern/nft.h"
#include "driver/network.h"
#include "plugin/base/err.h"

struct firewall;

/* Opens the sockets and changes nothing. */
int firewall_open(struct firewall **ret, struct err *e);
/* The rules stay. */
void firewall_close(struct firewall *fw);

/*
 * Docker's FORWARD policy is DROP: lets our uplinks pass by two rules in DOCKER-USER,
 * behind the users' own, both families, for iptables-nft and (by running iptables-legacy)
 * iptables-legacy. Where there is no such chain there is nothing to do. Cheap when all is
 * there.
 */
int firewall_allow_forward(struct firewall *fw, struct err *e);

struct firewall_port {
	uint8_t proto;	       /* IPPROTO_TCP, _UDP, _SCTP */
	struct addr host_addr; /* unset: every local address, both families */
	uint16_t host_port;
	struct addr target4; /* where connections go, a VIP or a container */
	struct addr target6;
	uint16_t target_port;
};

/*
 * Makes the table equal to these networks (internal ones have no part in it) and ports,
 * in one transaction; used at start and to repair. NAT entries of open connections
 * live on.
 */
int firewall_sync(struct firewall *fw, const struct network_config *const *networks,
		  unsigned int network_count, const struct firewall_port *ports,
		  unsigned int port_count, struct err *e);

/* 1: the table holds its chains, and these networks and ports; 0: it does not (somebody
 * flushed the ruleset), see firewall_sync. */
int firewall_check(struct firewall *fw, const struct network_config *const *networks,
		   unsigned int network_count, const struct firewall_port *ports,
		   unsigned int port_count, struct err *e);

int firewall_network_add(struct firewall *fw, const struct network_config *c,
			 struct err *e);
/* Removes what is there of it. */
int firewall_network_del(struct firewall *fw, const struct network_config *c,
			 struct err *e);

/* old NULL: new port, new_port NULL: closed, both: the target changes. */
int firewall_port_change(struct firewall *fw, const struct firewall_port *old,
			 const struct firewall_port *new_port, struct err *e);

#endif
