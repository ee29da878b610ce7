/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DRIVER_NETWORK_H
#define DRIVER_NETWORK_H
/*
 * A network's sandbox in the kernel: its namespace with bridge, gateway, VIP routes
 * and uplink to the host. Everything is idempotent: applying a network that exists
 * adopts it and adds what is missing. Thread: kernel.
 */
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "driver/kern/link.h"
#include "plugin/base/addr.h"
#include "plugin/base/err.h"

#define NETWORK_ID_SIZE	    65 /* 64 hex digits or 25 base36, and the end */
#define NETWORK_SUBNETS_MAX 8  /* address pools of one network, both families */
#define NETWORK_BRIDGE	    "br0"
#define NETWORK_UPLINK	    "up0"  /* in the sandbox */
#define NETWORK_LINK_PREFIX "fl"   /* of all our links on the host */
#define NETWORK_UPLINK_ANY  "flu*" /* all uplinks' host ends */

struct network_subnet {
	struct cidr pool;
	struct addr gateway;   /* unset: none (then there is no way out) */
	struct cidr vip_range; /* family 0: none */
};

struct network_config {
	char id[NETWORK_ID_SIZE];
	bool internal; /* no uplink */
	/* Bytes, of every link of the network; 0: that of the route to outside, found
	 * when the sandbox is made. */
	unsigned int mtu;
	unsigned int subnet_count;
	struct network_subnet subnets[NETWORK_SUBNETS_MAX];
};

/* An open sandbox. */
struct network_sandbox {
	int nsfd;
	struct link_sock *links;
	unsigned int mtu; /* in force */
};

/*
 * The uplink is unnumbered: the host's end has this address on every network, the
 * sandbox' end is a permanent neighbour. 169.254.0/24 is reserved by RFC 3927, so no
 * auto-configuration picks it; the IPv6 one is a ULA of our own.
 */
extern const struct addr network_host_addr4;
extern const struct addr network_host_addr6;

/* "fl" + role + the first 12 characters of the id: 15 characters. */
void network_link_name(char role, const char *id, char ret[IFNAMSIZ]);

/*
 * Makes or completes the sandbox of c and opens it into *ret. host: the host's
 * namespace. run_dir: the pinned namespaces lie in its netns/.
 */
int network_apply(const char *run_dir, struct link_sock *host,
		  const struct network_config *c, struct network_sandbox *ret,
		  struct err *e);
/* Makes what is missing in an open sandbox and at its uplink, and sets what differs. */
int network_complete(struct link_sock *host, struct network_sandbox *sb,
		     const struct network_config *c, struct err *e);
/* Closes the fds; the kernel's side stays. */
void network_close(struct network_sandbox *sb);
/* Removes uplink and namespace, each also when the other cannot be removed; what is not
 * there is success. sb is closed. */
int network_remove(const char *run_dir, struct link_sock *host, const char *id,
		   struct network_sandbox *sb, struct err *e);

/*
 * Removes what a crash has left of networks that are not wanted any more: every
 * namespace pinned in run_dir whose id (its first 12 characters) known refuses. Returns
 * how many.
 */
int network_sweep(const char *run_dir, struct link_sock *host,
		  bool (*known)(void *ctx, const char *short_id), void *ctx,
		  struct err *e);

struct network_endpoint {
	char id[NETWORK_ID_SIZE];
	uint8_t mac[MAC_SIZE];
	bool has_mac;
};

/*
 * Makes the endpoint's veth: ret_name is the end in the host's namespace that Docker
 * moves into the container, the other one is on the sandbox' bridge, up.
 */
int network_endpoint_join(struct link_sock *host, const struct network_sandbox *sb,
			  const struct network_endpoint *ep, char ret_name[IFNAMSIZ],
			  struct err *e);
/* Removes the veth wherever its container's end is; not there: success. */
int network_endpoint_del(struct link_sock *host, const struct network_sandbox *sb,
			 const char *id, struct err *e);

#endif
