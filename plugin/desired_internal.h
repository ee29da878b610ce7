/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_DESIRED_INTERNAL_H
#define PLUGIN_DESIRED_INTERNAL_H
/*
 * What the parts of the desired state share; nobody else includes it. Verbs that fail
 * half-way may leave the memory as it happens to be: the end of their attempt reads it
 * again, if rows were written or `dirty` is set. Thread: store.
 */
#include "plugin/desired.h"

#include "plugin/base/map.h"
#include "plugin/pool_alarm.h"

/* An endpoint's place in the look-ups by address: ghosts are found by it. */
struct holder {
	UT_hash_handle hh;
	UT_hash_handle by_addr; /* of all networks: they do not overlap */
	struct addr addr;
	struct store_endpoint *ep;
	char key[NETWORK_ID_SIZE + ADDR_TEXT_SIZE];
};

struct desired {
	struct desired_config config;
	struct db *db;
	struct ipam *ipam;
	struct driver_store *store;
	struct registry *registry;
	struct ports *ports;
	struct ports *loaded_ports; /* while loading */
	struct store_network *networks;
	struct store_endpoint *endpoints;
	struct holder *holders;
	struct holder *by_addr;
	struct pool_alarm *alarms;
	/* The engine tells what runs; UINT64_MAX: it does not. */
	uint64_t synced_since_ms;
	struct change_list changes; /* of the batch */
	bool untold;		    /* there was no memory for a change */
	bool dirty; /* an attempt has changed memory, perhaps without its rows */
	bool stale; /* memory could not be read again: nothing is done until it is */
};

/* NULL: not known. */
struct store_network *desired_find_network(const struct desired *d, const char *id);
struct store_endpoint *desired_find_endpoint(const struct desired *d, const char *id);
struct holder *desired_find_holder(const struct desired *d, const char *network,
				   const struct addr *a);
/* The place of an endpoint's address in our address management; false: it is not ours. */
bool desired_find_place(const struct desired *d, const struct store_endpoint *ep,
			const struct addr *a, struct ipam_place *ret);
/* Sees to it that the endpoint's addresses are leased. */
int desired_hold_addresses(struct desired *d, const struct store_endpoint *ep,
			   struct err *e);

/* Into and out of memory. keep takes the object, also when it fails (-ENOMEM); its id
 * must not be known. */
int desired_keep_network(struct desired *d, struct store_network *n, struct err *e);
void desired_forget_network(struct desired *d, struct store_network *n);
int desired_keep_endpoint(struct desired *d, struct store_endpoint *ep, struct err *e);
void desired_forget_endpoint(struct desired *d, struct store_endpoint *ep);

/* Makes place for the pools of a network that is not kept yet: ghosts that have them are
 * deleted and put into ret. -EEXIST: a network that is no ghost has some of them. */
int desired_take_pools(struct desired *d, const struct store_network *n,
		       struct desired_network *ret, struct err *e);
/* Its pools are given back, and it has no endpoints. */
bool desired_is_forgotten(const struct desired *d, const struct store_network *n);
/* Deletes the forgotten ones, in a batch of its own; for the start. */
int desired_drop_forgotten(struct desired *d, struct err *e);

/* The options that are for us; -E2BIG, -ENOMEM. */
int desired_copy_options(const struct api_options *from, struct store_options *to,
			 struct err *e);

/* Changes: nothing for an endpoint that has not joined. */
void desired_tell_client(struct desired *d, const struct store_endpoint *ep,
			 const char *project);
void desired_tell_client_gone(struct desired *d, const struct store_endpoint *ep);

/* Where the endpoint's ports go: to its service's VIP, or to itself. service: NULL or
 * that of the endpoint. */
struct ports_target desired_port_target(const struct store_endpoint *ep,
					const struct lb_view *service);

/* Takes note of a failed call of the registry; returns r. After bad input the registry
 * is as it was; after another error it may hold what it could not write. */
int desired_from_registry(struct desired *d, int r);

/* The kernel's side of an endpoint. */
void desired_fill_actual(const struct store_endpoint *ep, struct actual_endpoint *ret);

#endif
