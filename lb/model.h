/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_MODEL_H
#define LB_MODEL_H
/*
 * The registry's memory: networks, endpoints, containers and services, how they hang
 * together, and which of them changed since they were last saved and told. Whoever
 * changes an object says so with model_*_changed; service.c saves, tells, and calls
 * model_sweep. Private to service.c, settle.c, view.c and store.c. Thread: store.
 */
#include <stdbool.h>
#include <stdint.h>

#include "lb/backend.h"
#include "lb/options.h"
#include "lb/texts.h"
#include "lb/types.h"
#include "lb/vip.h"
#include "plugin/base/map.h"

#define MODEL_REASON_SIZE    200
#define MODEL_CONTAINER_NAME 128
#define MODEL_MARKS_MAX	     (1U << 20) /* services on one node */

/* What is pending for an object; it is in its list of changed ones while any bit is. */
enum model_pending {
	MODEL_PENDING_ROW = 1,	   /* its row is to be written */
	MODEL_PENDING_OPTIONS = 2, /* its option rows too */
	MODEL_PENDING_SETTLE = 4,  /* endpoint or service: to be decided, see settle.h */
	MODEL_PENDING_TELL = 8,	   /* callbacks may be due */
	MODEL_PENDING_GONE = 16,   /* removed: rows to be deleted, then freed */
};

struct model_service;
struct model_endpoint;
struct model_container;
TAILQ_HEAD(model_service_list, model_service);
TAILQ_HEAD(model_endpoint_list, model_endpoint);
TAILQ_HEAD(model_container_list, model_container);
TAILQ_HEAD(model_network_list, model_network);

struct model_network {
	char id[LB_ID_SIZE];
	char reason[MODEL_REASON_SIZE]; /* why it has no VIPs */
	struct vip_pool pool[VIP_FAMILY_COUNT];
	struct option_set options;
	struct model_service_list services;
	struct model_service_list unused; /* those without backends, longest first */
	unsigned int unused_count;
	struct model_service_list starved; /* those that wait for a VIP */
	struct model_endpoint_list endpoints;
	unsigned int pending; /* enum model_pending, as in all of these */
	TAILQ_ENTRY(model_network) changed;
	UT_hash_handle hh;
};

struct model_container {
	char id[LB_ID_SIZE];
	char name[MODEL_CONTAINER_NAME];
	struct backend_life life;
	struct option_set labels;
	struct model_endpoint_list endpoints; /* never empty */
	bool waiting;			      /* in the list of draining ones */
	bool listed;			      /* while registry_containers_only runs */
	unsigned int pending;
	TAILQ_ENTRY(model_container) draining;
	TAILQ_ENTRY(model_container) changed;
	UT_hash_handle hh;
};

struct model_endpoint {
	char id[LB_ID_SIZE];
	struct model_network *network;
	struct model_container *container; /* NULL: not known */
	bool detached; /* its container runs without it: about to leave */
	bool old;      /* from before the start, and nobody spoke of it since */
	struct addr addr4;
	struct addr addr6;
	struct option_set options;
	struct options parsed;
	struct texts errors;
	uint64_t sequence;	       /* the newest of a service has the highest */
	struct model_service *service; /* NULL: none */
	unsigned int position;	       /* in service->backends */
	struct model_service *told_service;
	char told_project[LB_NAME_SIZE];
	bool tell_again; /* what was told is not a service any more */
	unsigned int pending;
	TAILQ_ENTRY(model_endpoint) of_network;
	TAILQ_ENTRY(model_endpoint) of_container;
	TAILQ_ENTRY(model_endpoint) changed;
	UT_hash_handle hh;
};

struct model_service_key {
	char network[LB_ID_SIZE]; /* bytes behind the texts' ends are 0 */
	char project[LB_NAME_SIZE];
	char name[LB_NAME_SIZE];
};

struct model_service {
	struct model_service_key key;
	struct model_network *network;
	uint32_t mark;
	struct addr vip[VIP_FAMILY_COUNT];
	char scheduler_wanted[OPTIONS_SCHEDULER_SIZE];
	enum lb_scheduler scheduler;
	bool dnsrr;
	uint64_t unused; /* since this sequence number; 0: has backends */
	bool starved;	 /* in the list of those that wait for a VIP: for any, */
	bool hungry;	 /* or */
	struct addr refused[VIP_FAMILY_COUNT]; /* for this one, which another has */
	struct model_endpoint **backends;
	unsigned int count;
	unsigned int room;
	struct texts errors;
	struct lb_view *view; /* as told; NULL: not yet */
	struct lb_view *next; /* to be told */
	unsigned int pending;
	TAILQ_ENTRY(model_service) of_network;
	TAILQ_ENTRY(model_service) of_unused;
	TAILQ_ENTRY(model_service) of_starved;
	TAILQ_ENTRY(model_service) changed;
	UT_hash_handle hh;
};

struct model {
	struct model_network *networks; /* hash maps */
	struct model_endpoint *endpoints;
	struct model_container *containers;
	struct model_service *services;
	struct model_network_list changed_networks;
	struct model_endpoint_list changed_endpoints;
	struct model_container_list changed_containers;
	struct model_service_list changed_services;
	struct model_container_list draining; /* by time, soonest first */
	uint64_t sequence;		      /* last one given */
	uint64_t *marks;		      /* bit set of numbers in use */
	unsigned int mark_words;
	unsigned int mark_hint; /* no word before this one has a free bit */
};

void model_init(struct model *m);
void model_fini(struct model *m);

/* --- find (NULL: none), add (NULL: no memory) and remove; ids fit. A removed object
 * lives until model_sweep, out of all maps. --- */
struct model_network *model_network_find(const struct model *m, const char *id);
struct model_network *model_network_add(struct model *m, const char *id);
/* It must have neither endpoints nor services any more. */
void model_network_del(struct model *m, struct model_network *n);

struct model_endpoint *model_endpoint_find(const struct model *m, const char *id);
struct model_endpoint *model_endpoint_add(struct model *m, struct model_network *n,
					  const char *id);
void model_endpoint_del(struct model *m, struct model_endpoint *ep);

struct model_container *model_container_find(const struct model *m, const char *id);
/* Must get an endpoint before the next other call. */
struct model_container *model_container_add(struct model *m, const char *id);
/* Takes ep from any other container; c may be NULL. A container without endpoints is
 * removed. */
void model_endpoint_set_container(struct model *m, struct model_endpoint *ep,
				  struct model_container *c);
/* Puts c into or out of the list of draining ones, as its life says. */
void model_container_order(struct model *m, struct model_container *c);

struct model_service *model_service_find(const struct model *m,
					 const struct model_service_key *key);
/* mark 0: the lowest free one. -ENOMEM, -ENOSPC: no mark, -EEXIST: the mark is taken. */
int model_service_add(struct model *m, struct model_network *n,
		      const struct model_service_key *key, uint32_t mark,
		      struct model_service **ret);
/* Gives its VIPs and its mark back. It must have no backends. */
void model_service_del(struct model *m, struct model_service *s);
/* Appends ep (of no service) to the backends. -ENOMEM. */
int model_service_link(struct model *m, struct model_service *s,
		       struct model_endpoint *ep);
/* The last backend takes the place of ep. */
void model_service_unlink(struct model *m, struct model_endpoint *ep);
/* Sets whether s is in its network's list of unused ones. since: 0 for no. */
void model_service_set_unused(struct model_service *s, uint64_t since);
void model_service_set_starved(struct model_service *s, bool starved);

void model_network_changed(struct model *m, struct model_network *n, unsigned int bits);
void model_endpoint_changed(struct model *m, struct model_endpoint *ep,
			    unsigned int bits);
void model_container_changed(struct model *m, struct model_container *c,
			     unsigned int bits);
/* s may be NULL. */
void model_service_changed(struct model *m, struct model_service *s, unsigned int bits);

/* Takes objects with nothing pending off the lists of changed ones and frees those that
 * are gone and saved. */
void model_sweep(struct model *m);

enum backend_state model_endpoint_state(const struct model_endpoint *ep);

#endif
