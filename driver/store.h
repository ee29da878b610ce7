/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DRIVER_STORE_H
#define DRIVER_STORE_H
/*
 * Networks, endpoints and their published ports as rows: the desired state of the
 * driver. Thread: store.
 */

#include "driver/network.h"
#include "driver/ports.h"
#include "plugin/base/db.h"
#include "plugin/base/err.h"
#include "plugin/base/map.h"

#define STORE_KEY_SIZE	  256 /* path of a sandbox key */
#define STORE_OPTIONS_MAX 128
#define STORE_SPACE_SIZE  128 /* an address space's name */

struct store_option {
	char *name; /* owned */
	char *value;
};

struct store_options {
	unsigned int count;
	struct store_option *list; /* owned */
};

struct store_network {
	UT_hash_handle hh; /* for the owner's map by config.id */
	struct network_config config;
	char no_vip_reason[128];      /* why it has no VIP range, "" if it has */
	char space[STORE_SPACE_SIZE]; /* its pools are of this one, "": not known */
	struct store_options options;
};

struct store_endpoint {
	UT_hash_handle hh; /* for the owner's map by base.id */
	struct network_endpoint base;
	char network[NETWORK_ID_SIZE];
	struct addr addr4;
	struct addr addr6;
	char sandbox_key[STORE_KEY_SIZE]; /* "": not joined */
	uint64_t idle_since_ms; /* the owner's, no column: since when it is not joined */
	struct store_options options;
};

/* Copies a name and a value in; -ENOMEM, -E2BIG. */
int store_options_add(struct store_options *o, const char *name, const char *value);
/* Value or NULL. */
const char *store_options_find(const struct store_options *o, const char *name);
void store_network_free(struct store_network *n);
void store_endpoint_free(struct store_endpoint *ep);

struct driver_store;

int driver_store_new(struct db *db, struct driver_store **ret, struct err *e);
void driver_store_free(struct driver_store *s);

/* Inserts or replaces, with options. */
int driver_store_network_put(struct driver_store *s, const struct store_network *n,
			     struct err *e);
/* With its endpoints and their ports. */
int driver_store_network_del(struct driver_store *s, const char *id, struct err *e);
int driver_store_endpoint_put(struct driver_store *s, const struct store_endpoint *ep,
			      struct err *e);
int driver_store_endpoint_del(struct driver_store *s, const char *id, struct err *e);
int driver_store_port_add(struct driver_store *s, const char *endpoint,
			  const struct ports_claim *claim, struct err *e);
int driver_store_ports_del(struct driver_store *s, const char *endpoint, struct err *e);

/* What the loader makes of a row; the object is taken. Negative: stop. */
struct driver_store_loader {
	int (*network)(void *ctx, struct store_network *n, struct err *e);
	int (*endpoint)(void *ctx, struct store_endpoint *ep, struct err *e);
	int (*port)(void *ctx, const char *endpoint, const struct ports_claim *claim,
		    struct err *e);
	void *ctx;
};

/* Networks first, then endpoints, then ports in the order in which they came. */
int driver_store_load(struct driver_store *s, const struct driver_store_loader *loader,
		      struct err *e);

#endif
