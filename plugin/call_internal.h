/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_CALL_INTERNAL_H
#define PLUGIN_CALL_INTERNAL_H
/*
 * What the call*.c files share: call.c has the way of a call through the threads,
 * call_net.c and call_ipam.c what the methods do on it. Nobody else includes this.
 */
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin/api_ipam.h"
#include "plugin/api_net.h"
#include "plugin/call.h"

struct call {
	struct job job;
	const struct calls *calls;
	const struct call_method *method;
	struct http_request *rq; /* NULL once answered */
	uint64_t since_us;	 /* when it came */
	struct taken taken;	 /* for the choice of a pool */
	bool checked;		 /* Docker will look at the pool that is chosen: */
	bool all_routes;	 /* as in calls, when it came */
	union {
		struct api_network_create network_create;
		struct api_network_allocate allocate;
		struct api_gw_check gw_check;
		struct api_network_id network;
		struct api_endpoint_create endpoint_create;
		struct api_endpoint_id endpoint;
		struct api_join join;
		struct api_external external;
		struct api_discover discover;
		struct api_pool_request pool_request;
		struct api_pool_release pool_release;
		struct api_address_request address_request;
		struct api_address_release address_release;
	} in;
	union {
		struct desired_network made;
		struct network_config gone;
		struct desired_created created;
		struct {
			struct desired_joined desired;
			char link[IFNAMSIZ];
		} joined;
		struct ipam_pool_answer pool;
		struct cidr address;
	} out;
};

struct call_method {
	const char *path; /* "/NetworkDriver.Join" */
	/* NULL: takes no arguments. */
	int (*decode)(struct call *c, const char *body, size_t len, struct err *e);
	void (*free)(struct call *c); /* what decode made */
	/* Takes what the loop knows; 1: look comes before store. Thread: loop */
	int (*prepare)(struct call *c, struct err *e);
	int (*look)(struct call *c, struct err *e);   /* Thread: kernel */
	int (*store)(struct call *c, struct err *e);  /* Thread: store */
	int (*kernel)(struct call *c, struct err *e); /* Thread: kernel */
	int (*undo)(struct call *c, struct err *e);   /* Thread: store, kernel failed */
	char *(*encode)(struct call *c, size_t *ret_len); /* NULL: {} */
	bool registers; /* sent when dockerd (re)registers the driver */
};

static inline struct desired *call_store(struct call *c)
{
	return node_desired(c->calls->node);
}

static inline struct actual *call_kernel(struct call *c)
{
	return node_actual(c->calls->node);
}

static inline const char *call_name(const struct call *c)
{
	return c->method->path + 1;
}

#define CALL_NET_METHODS  16
#define CALL_IPAM_METHODS 6

extern const struct call_method call_net_methods[CALL_NET_METHODS];
extern const struct call_method call_ipam_methods[CALL_IPAM_METHODS];

_Static_assert(CALL_NET_METHODS + CALL_IPAM_METHODS <= METRICS_METHODS_MAX,
	       "each method is counted");

#endif
