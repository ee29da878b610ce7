/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_DESIRED_H
#define PLUGIN_DESIRED_H
/*
 * The store's side of the node: what shall be. Puts addresses (ipam), networks and
 * endpoints (driver), published ports and the service registry (lb) together on one
 * database. What the kernel and the DNS must do about it is collected as changes,
 * which leave when the batch is durable. Thread: store (all functions, and the hook).
 */
#include <stdbool.h>

#include "driver/firewall.h"
#include "driver/store.h"
#include "ipam/ipam.h"
#include "lb/service.h"
#include "plugin/actual.h"
#include "plugin/api_net.h"
#include "plugin/base/err.h"
#include "plugin/base/worker.h"

enum change_type {
	CHANGE_SERVICE, /* mark, view (NULL: gone) */
	CHANGE_PORT,	/* has_old/old, has_new/new_port */
	CHANGE_CLIENT,	/* client: an endpoint that may ask for names, or its project */
	CHANGE_CLIENT_GONE, /* client.endpoint */
};

struct change_client {
	char endpoint[NETWORK_ID_SIZE];
	char network[NETWORK_ID_SIZE];
	char key[ACTUAL_KEY_SIZE];
	char project[LB_NAME_SIZE];
};

struct change {
	TAILQ_ENTRY(change) link;
	enum change_type type;
	uint32_t mark;
	struct lb_view *view; /* one reference */
	bool has_old;
	bool has_new;
	struct firewall_port old;
	struct firewall_port new_port;
	struct change_client client;
};
TAILQ_HEAD(change_list, change);

void change_list_free(struct change_list *list);

struct desired;

struct desired_config {
	const char *state_dir; /* borrowed; ":memory:" for tests */
	struct ipam_config ipam;
	unsigned int mtu;     /* of networks without a wish, 0: route to outside */
	uint32_t schedulers;  /* of the balancer in use */
	const char *balancer; /* its name; borrowed */
	/* Takes the changes out of list (may be empty never). */
	void (*changes)(void *ctx, struct change_list *list);
	void *ctx;
};

int desired_new(const struct desired_config *config, struct desired **ret, struct err *e);
void desired_free(struct desired *d);

/* Around a batch of jobs: one transaction. After a lost one the memory is read again. */
int desired_batch_begin(struct desired *d, struct err *e);
int desired_batch_end(struct desired *d, struct err *e);

/* Sends what was found at start. */
void desired_flush_changes(struct desired *d);

/* Around one job of the batch: what a failed one (result negative) has written is
 * undone. Returns result, or an error when the job's changes could not be told. */
int desired_attempt_begin(struct desired *d, struct err *e);
int desired_attempt_end(struct desired *d, int result, struct err *e);

struct ipam *desired_ipam(struct desired *d);
struct registry *desired_registry(struct desired *d);

/* An address of the pool was leased or given back, or the pool was: warns when it runs
 * full, see plugin/pool_alarm.h. */
void desired_pool_used(struct desired *d, const char *pool_id);

#define DESIRED_GHOST_NETWORKS_MAX NETWORK_SUBNETS_MAX

struct desired_network {
	struct network_config config; /* what the kernel shall make */
	bool known;		      /* it was there before, with whatever is on it */
	/* before that, what it shall remove: networks that Docker forgot */
	unsigned int ghost_count;
	struct network_config ghosts[DESIRED_GHOST_NETWORKS_MAX];
};

/* Known id: updated. -EEXIST: another network has some of its addresses. */
int desired_network_create(struct desired *d, const struct api_network_create *rq,
			   struct desired_network *ret, struct err *e);
/* Unknown id: success, ret has only the id. */
int desired_network_delete(struct desired *d, const char *id, struct network_config *ret,
			   struct err *e);

#define DESIRED_GHOSTS_MAX 2 /* one an address */

struct desired_created {
	uint8_t mac[MAC_SIZE];
	bool ours; /* we chose it: to be told to Docker */
	/* endpoints that this one replaces, or "" */
	char ghosts[DESIRED_GHOSTS_MAX][NETWORK_ID_SIZE];
};

int desired_endpoint_create(struct desired *d, const struct api_endpoint_create *rq,
			    struct desired_created *ret, struct err *e);

struct desired_joined {
	struct actual_endpoint endpoint;
	struct addr gateway4;
	struct addr gateway6;
	/* IPv6 VIPs are reached through the gateway: a local route answers ARP for its
	 * addresses, but no neighbour solicitation. prefix family 0: none. */
	struct cidr vips6;
	struct addr vips6_via;
};

/* -ENOENT: unknown network or endpoint. */
int desired_endpoint_join(struct desired *d, const struct api_join *rq,
			  struct desired_joined *ret, struct err *e);
/* Unknown: success. */
int desired_endpoint_leave(struct desired *d, const char *id, struct err *e);
int desired_endpoint_delete(struct desired *d, const char *id, struct err *e);

/* As ipam_pool_release; nothing happens while containers live in it. */
int desired_pool_release(struct desired *d, const char *pool_id, struct err *e);
/* As ipam_address_release; nothing happens while an endpoint has the address, or
 * containers have it as their gateway. */
int desired_address_release(struct desired *d, const char *pool_id, const char *address,
			    uint64_t now_ms, struct err *e);

/* The engine has told all that runs, or is away: its silence about an endpoint or an
 * address tells only while it is there. now_ms, here and below: clock_ms(). */
void desired_engine_synced(struct desired *d, bool synced, uint64_t now_ms);

/*
 * How long an endpoint that has not joined, or has left, is kept without a word about it:
 * Docker deletes one milliseconds after it has left, or is between two calls of the same
 * start of a container. Also how long the engine must have been there without a break.
 */
#define DESIRED_SILENCE_MS 300000UL
#define DESIRED_SWEEP_MAX  64

/* Endpoints that were dropped: their links are to be removed. */
struct desired_swept {
	bool more; /* there is more to sweep */
	unsigned int count;
	struct {
		char id[NETWORK_ID_SIZE];
		char network[NETWORK_ID_SIZE];
	} list[DESIRED_SWEEP_MAX];
};

/* Is there anything to sweep? To be asked from time to time, it also looks at who is
 * idle. */
bool desired_sweep_due(struct desired *d, uint64_t now_ms);
/* Drops what Docker has forgotten: idle endpoints with their addresses, addresses and
 * pools that it has not confirmed (see ipam_drop_unconfirmed), and rows that have had
 * their time. *ret is as it was if that fails. */
int desired_sweep(struct desired *d, uint64_t now_ms, struct desired_swept *ret,
		  struct err *e);

/* Ports of the host, see driver/ports.h. -ENOSPC: no free port in a range. */
int desired_publish(struct desired *d, const struct api_external *rq, struct err *e);
int desired_unpublish(struct desired *d, const char *endpoint, struct err *e);

/* Everything that was there at start, in an order that the kernel's side can take:
 * networks, endpoints that have joined; services and ports come as changes. */
struct desired_visitor {
	void (*network)(void *ctx, const struct network_config *c);
	void (*endpoint)(void *ctx, const struct actual_endpoint *ep);
	void *ctx;
};

void desired_visit(struct desired *d, const struct desired_visitor *visitor);

/* For the status: networks and endpoints as they stand. */
void desired_each_network(struct desired *d,
			  void (*fn)(void *ctx, const struct store_network *n,
				     unsigned int endpoints),
			  void *ctx);
void desired_each_port(struct desired *d, const char *network,
		       void (*fn)(void *ctx, const char *endpoint,
				  const struct ports_claim *claim, const char *holder),
		       void *ctx);

#endif
