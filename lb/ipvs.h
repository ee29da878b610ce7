/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_IPVS_H
#define LB_IPVS_H
/*
 * IPVS services by firewall mark and their destinations (masquerading), in one
 * namespace. The only place with generic netlink. Thread: kernel.
 */
#include <stdbool.h>
#include <stdint.h>

#include "plugin/base/addr.h"
#include "plugin/base/err.h"

#define IPVS_SCHEDULER_SIZE 16

struct ipvs_sock;

/* Opens a socket into nsfd (-1: own). Loads ip_vs if need be; -ENOENT: the kernel has
 * none. */
int ipvs_open(int nsfd, struct ipvs_sock **ret, struct err *e);
void ipvs_close(struct ipvs_sock *s);

struct ipvs_service {
	uint8_t family;
	uint32_t mark;
	char scheduler[IPVS_SCHEDULER_SIZE];
	uint32_t flags; /* of persistence and schedulers; ours have none */
};

/* -EEXIST; -ENOENT: the kernel has no such scheduler. */
int ipvs_service_add(struct ipvs_sock *s, const struct ipvs_service *svc, struct err *e);
/* Scheduler and flags; -ESRCH: no such service, -ENOENT: no such scheduler. */
int ipvs_service_set(struct ipvs_sock *s, const struct ipvs_service *svc, struct err *e);
/* With its destinations. -ESRCH. Connections stay until their next packet. */
int ipvs_service_del(struct ipvs_sock *s, uint8_t family, uint32_t mark, struct err *e);
/* Calls fn for each service by mark; fn must not use s. */
int ipvs_service_list(struct ipvs_sock *s,
		      int (*fn)(void *ctx, const struct ipvs_service *svc), void *ctx,
		      struct err *e);

/* A destination of the service (family of addr, mark). -EEXIST, -ENOENT, -ESRCH. */
int ipvs_dest_add(struct ipvs_sock *s, uint32_t mark, const struct addr *addr,
		  uint32_t weight, struct err *e);
int ipvs_dest_set(struct ipvs_sock *s, uint32_t mark, const struct addr *addr,
		  uint32_t weight, struct err *e);
int ipvs_dest_del(struct ipvs_sock *s, uint32_t mark, const struct addr *addr,
		  struct err *e);
/* ours: a destination as ipvs_dest_add makes it. None for a service that is not there.
 * fn must not use s. */
int ipvs_dest_list(struct ipvs_sock *s, uint8_t family, uint32_t mark,
		   int (*fn)(void *ctx, const struct addr *addr, uint32_t weight,
			     bool ours),
		   void *ctx, struct err *e);

struct ipvs_conn {
	struct addr vip;
	struct addr backend;
	uint8_t proto;
	bool established; /* TCP and SCTP; a flow of UDP always is */
};

/*
 * Calls fn for each connection in the namespace, on another thread while it waits. No
 * netlink for that: it is read from the namespace's /proc/net/ip_vs_conn.
 */
int ipvs_conn_list(int nsfd, int (*fn)(void *ctx, const struct ipvs_conn *conn),
		   void *ctx, struct err *e);

/* Seconds until a silent TCP connection is forgotten, of the namespace. */
int ipvs_timeout_get(struct ipvs_sock *s, uint32_t *ret_tcp_s, struct err *e);
int ipvs_timeout_set(struct ipvs_sock *s, uint32_t tcp_s, struct err *e);

#endif
