/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_DNS_SERVER_H
#define LB_DNS_SERVER_H
/*
 * DNS for the tasks: a UDP and a TCP socket in each task's namespace, to which an
 * nftables rule there (dns_divert) sends what the task asks at 127.0.0.11. Names of
 * the zone are answered from memory, the rest is forwarded to Docker's resolver in the
 * same namespace. Thread: loop, but dns_sockets_open and dns_divert: kernel.
 */
#include <stdint.h>
#include <systemd/sd-event.h>

#include "lb/dns/zone.h"
#include "plugin/base/err.h"

/* Marks our own questions to Docker's resolver, so that they are not diverted. */
#define DNS_FORWARD_MARK 0x666c0035 /* "fl", port 53 */
#define DNS_TABLE	 "fairlead-dns"

struct nft_sock;

struct dns_sockets {
	int udp;
	int tcp;       /* listening */
	uint16_t port; /* of both, on 127.0.0.11 */
};

/* Opens both on the same free port of 127.0.0.11 inside nsfd: where possible always the
 * same, so that connections tracked for an earlier daemon reach this one. Thread: any. */
int dns_sockets_open(int nsfd, struct dns_sockets *ret, struct err *e);
/* Closes what is not -1. */
void dns_sockets_close(struct dns_sockets *s);

/*
 * Diverts the namespace's questions to port, by the table DNS_TABLE that the kernel
 * removes when ns closes (also when the daemon is killed). An older table of ns, or one
 * without a living owner, is replaced; -EPERM: another socket owns it. Thread: kernel.
 */
int dns_divert(struct nft_sock *ns, uint16_t port, struct err *e);

struct dns_server;

/* zone is borrowed and must outlive the server. */
int dns_server_new(sd_event *event, const struct zone *zone, struct dns_server **ret,
		   struct err *e);
void dns_server_free(struct dns_server *s);
/*
 * How long Docker's resolver may take before it is asked a second and last time (with
 * twice the patience; then the answer is SERVFAIL). For tasks whose first foreign name
 * comes later; 4000 at first.
 */
void dns_server_set_timeout(struct dns_server *s, unsigned int timeout_ms);

/*
 * Serves one task under key (its sandbox key), replacing an older entry of that key.
 * Takes the sockets (also on error) and a duplicate of nsfd (borrowed) for the
 * forwarder's sockets.
 */
int dns_server_add(struct dns_server *s, const char *key, int nsfd,
		   struct dns_sockets *sockets, struct err *e);
/* Networks and project of the task, copied; before, it sees no names of the zone.
 * Unknown key: -ENOENT; also -ENOMEM, -E2BIG, -ENAMETOOLONG. */
int dns_server_set_client(struct dns_server *s, const char *key,
			  const struct zone_client *client);
/* Closes its sockets; unknown key: nothing. */
void dns_server_del(struct dns_server *s, const char *key);

#endif
