/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_SERVICE_H
#define LB_SERVICE_H
/*
 * The registry: which services there are on this node's networks, their VIPs and
 * backends, and the life of each backend. It is the desired state, kept in the
 * database; every change is told as a transition of views (lb/types.h), which the
 * caller passes on when the batch is durable. Thread: store.
 *
 * A service is (network, project, name). A backend is an endpoint whose container (or
 * driver option) names the service. Its state:
 *   starting -> active <-> unhealthy, paused; active -> draining -> gone (at Leave).
 * Only active backends have weight > 0; when none has, unhealthy ones (not starting,
 * draining or paused ones) get traffic: fail open.
 *
 * Bad input (-EINVAL, -ENOENT) changes nothing. After another error (database, memory)
 * what was to change waits, written and told by the next call that succeeds, or undone
 * by registry_reload. Callbacks must not call the registry.
 */
#include <stdbool.h>
#include <stdint.h>

#include "lb/types.h"
#include "plugin/base/db.h"
#include "plugin/base/err.h"

struct registry;

struct registry_callbacks {
	/* A service goes from old (NULL: new) to new_view (NULL: gone). Both are
	 * borrowed. Not called when nothing that a balancer or the DNS sees changed. */
	void (*changed)(void *ctx, struct lb_view *old, struct lb_view *new_view);
	/* The endpoint now belongs to this service (NULL: to none any more) and its
	 * container to this project ("" = none). */
	void (*assigned)(void *ctx, const char *endpoint, const struct lb_view *service,
			 const char *project);
	void *ctx;
};

struct registry_config {
	uint32_t schedulers;  /* of the balancer in use: bit 1 << enum lb_scheduler */
	const char *balancer; /* its name, for error texts; borrowed, constant */
	struct registry_callbacks callbacks;
};

/* Migrates and loads everything; no callback is called for what was there before. */
int registry_new(struct db *db, const struct registry_config *config,
		 struct registry **ret, struct err *e);
void registry_free(struct registry *r);
/* Forgets the memory and loads again, after a lost transaction. Tells the differences
 * by callbacks. */
int registry_reload(struct registry *r, struct err *e);

/* A label of a container, or a driver option of an endpoint or network. */
struct registry_option {
	const char *name;
	const char *value;
};

struct registry_network {
	const char *id;
	struct cidr vip4; /* range; family 0: none */
	struct cidr vip6;
	const char *no_vip_reason; /* for the status of services, when both are none */
	const struct registry_option *options; /* defaults of its services: fairlead.* */
	unsigned int option_count;
};

/* Known already: its ranges and options are replaced, services keep their VIPs. */
int registry_network_add(struct registry *r, const struct registry_network *n,
			 struct err *e);
/* Gives back all its services and VIPs. Unknown: success. */
int registry_network_del(struct registry *r, const char *id, struct err *e);

struct registry_endpoint {
	const char *id;
	const char *network;
	struct addr addr4;
	struct addr addr6;
	const struct registry_option *options; /* driver-opts: fairlead.service ... */
	unsigned int option_count;
};

/* At Join. With the option fairlead.service it is a backend at once, else when its
 * container is known. Known already: replaced. */
int registry_endpoint_add(struct registry *r, const struct registry_endpoint *ep,
			  struct err *e);
/* At Leave: its backend is gone. Unknown: success. */
int registry_endpoint_del(struct registry *r, const char *id, struct err *e);

enum registry_health {
	REGISTRY_HEALTH_NONE,
	REGISTRY_HEALTH_STARTING,
	REGISTRY_HEALTH_HEALTHY,
	REGISTRY_HEALTH_UNHEALTHY,
};

struct registry_container {
	const char *id;
	const char *name;
	bool running;
	bool paused;
	enum registry_health health;
	int stop_signal;
	unsigned int stop_timeout_s;
	const struct registry_option *labels;
	unsigned int label_count;
	const char *const *endpoints; /* ids; foreign ones are ignored */
	unsigned int endpoint_count;
};

/* What the engine said of a container: its endpoints become backends, change, or stop
 * being backends. A bad option is logged once, kept for the status, and its default
 * used. */
int registry_container_seen(struct registry *r, const struct registry_container *seen,
			    uint64_t now_ms, struct err *e);

struct registry_running {
	const char (*ids)[LB_ID_SIZE];
	unsigned int count;
	bool complete; /* each of them was seen since the start */
	/* May be NULL. An endpoint that nobody will take back: its container does not
	 * run, or (if complete) it was there before the start and no container that
	 * runs has it. Must not call the registry. */
	void (*lost)(void *ctx, const char *endpoint);
	void *ctx;
};

/* All containers that run or may, as the engine says: the others that are known have
 * ended while nobody looked. Endpoints that joined since the start and whose container
 * was not seen yet stay as they are. */
int registry_containers_only(struct registry *r, const struct registry_running *running,
			     uint64_t now_ms, struct err *e);

enum registry_event {
	/* A signal was sent; SIGKILL, SIGTERM or the container's stop signal drain it.
	 * If it still runs stop_timeout_s + 5 s later, it is active again. */
	REGISTRY_EVENT_KILL,
	REGISTRY_EVENT_DIE,
	REGISTRY_EVENT_PAUSE,
	REGISTRY_EVENT_UNPAUSE,
	REGISTRY_EVENT_HEALTH,
};

struct registry_notice {
	enum registry_event event;
	int signal;		     /* REGISTRY_EVENT_KILL */
	enum registry_health health; /* REGISTRY_EVENT_HEALTH */
};

/* Unknown container: success, nothing. now_ms: CLOCK_MONOTONIC. */
int registry_container_event(struct registry *r, const char *container,
			     const struct registry_notice *notice, uint64_t now_ms,
			     struct err *e);

/* When registry_expire wants to be called next; UINT64_MAX: never. */
uint64_t registry_deadline(const struct registry *r);
int registry_expire(struct registry *r, uint64_t now_ms, struct err *e);

/*
 * Services without backends that a network remembers, with their VIPs: whichever comes
 * again finds its address. With more of them the longest unused goes; so it does when its
 * VIP is needed. Enough for every service of a large network to be made anew at once,
 * and a bound for one where each run has another name.
 */
#define REGISTRY_KEPT_MAX 1024

/* Calls fn for the view of every service: the kernel's and the DNS' first picture at
 * start. A service stays without backends while it has a VIP. */
void registry_each_view(struct registry *r, void (*fn)(void *ctx, struct lb_view *v),
			void *ctx);
/* Service and project of an endpoint, as told by assigned; NULL: none or unknown. */
const struct lb_view *registry_endpoint_service(struct registry *r, const char *endpoint,
						const char **ret_project);

/* --- for the status --- */
struct registry_backend_info {
	const char *endpoint;
	const char *container; /* its name, "" when not known */
	struct addr addr4;
	struct addr addr6;
	uint32_t weight;
	const char *state; /* "starting", "active", "unhealthy", "paused", "draining" */
};

struct registry_service_info {
	const struct lb_view *view;
	const char *scheduler_wanted; /* as the user wrote it */
	const char *const *errors;
	unsigned int error_count;
	const struct registry_backend_info *backends;
	unsigned int backend_count;
};

/* A VIP range and how full it is. */
struct registry_vips {
	struct cidr range; /* family 0: the network has none */
	uint64_t capacity; /* addresses that services can get */
	uint64_t used;	   /* of services with backends */
	uint64_t kept;	   /* of names that are only remembered: free when needed */
};

/* family: AF_INET or AF_INET6. -ENOENT: no such network. */
int registry_vips(const struct registry *r, const char *network, int family,
		  struct registry_vips *ret);

/* network NULL: of all. By network, project and name. */
void registry_list(struct registry *r, const char *network,
		   void (*fn)(void *ctx, const struct registry_service_info *info),
		   void *ctx);

#endif
