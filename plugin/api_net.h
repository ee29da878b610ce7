/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_API_NET_H
#define PLUGIN_API_NET_H
/*
 * The wire form of Docker's NetworkDriver: requests into typed values, answers into
 * JSON text. Pure: no state, no I/O.
 *
 * A decoder takes the body, and either fills *ret (to be given to its _free, which also
 * takes an all-0 struct) or leaves it alone and returns -EINVAL or -ENOMEM with method
 * and field named in e. An encoder returns malloc'd text with its length in *ret_len,
 * or NULL without memory. Thread: any.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin/api_json.h"
#include "plugin/base/addr.h"
#include "plugin/base/err.h"

#define API_SPACE_SIZE 128
#define API_PATH_SIZE  512
#define API_POOLS_MAX  256	   /* of both families */
#define API_AUX_MAX    65536	   /* addresses of one pool */
#define API_PORTS_MAX  (3 * 65536) /* EXPOSE 1-65535 for three protocols */

#define API_DISCOVERY_NODE 1

/* --- requests -------------------------------------------------------------------- */

struct api_pool {
	char space[API_SPACE_SIZE]; /* "" in AllocateNetwork */
	struct cidr pool;
	struct cidr gateway; /* family 0: none */
	unsigned int aux_count;
	struct cidr *aux;
};

/* The address data of a network, sorted by family whatever list it came in. */
struct api_pools {
	unsigned int count4;
	unsigned int count6;
	struct api_pool *ipv4;
	struct api_pool *ipv6;
};

struct api_network_options {
	bool internal;
	enum api_switch ipv4; /* sent since 28.0 */
	enum api_switch ipv6;
	struct api_options generic; /* -o, or what AllocateNetwork answered */
};

/* CreateNetwork */
struct api_network_create {
	char network[API_ID_SIZE];
	struct api_network_options options;
	struct api_pools pools;
};

/* GwAllocCheck */
struct api_gw_check {
	struct api_network_options options;
};

/* AllocateNetwork */
struct api_network_allocate {
	char network[API_ID_SIZE];
	struct api_options options; /* a changed copy of it is the answer */
	struct api_pools pools;
};

/* DeleteNetwork, FreeNetwork */
struct api_network_id {
	char network[API_ID_SIZE];
};

struct api_port {
	uint8_t proto; /* IPPROTO_x */
	uint16_t port;
};

struct api_port_map {
	uint8_t proto;
	uint16_t port;		/* in the container */
	struct addr host_addr;	/* family 0: all */
	uint16_t host_port;	/* 0: any */
	uint16_t host_port_end; /* never below host_port */
};

/* What the engine calls the sandbox's labels. */
struct api_endpoint_options {
	unsigned int exposed_count;
	struct api_port *exposed;
	unsigned int map_count;
	struct api_port_map *map;
	struct api_options list; /* all texts and switches, driver-opts among them */
};

/* CreateEndpoint */
struct api_endpoint_create {
	char network[API_ID_SIZE];
	char endpoint[API_ID_SIZE];
	struct cidr addr4; /* family 0: none */
	struct cidr addr6;
	bool has_mac; /* then the answer must not have one */
	uint8_t mac[MAC_SIZE];
	struct api_endpoint_options options;
};

/* Leave, DeleteEndpoint, EndpointOperInfo, RevokeExternalConnectivity */
struct api_endpoint_id {
	char network[API_ID_SIZE];
	char endpoint[API_ID_SIZE];
};

/* Join */
struct api_join {
	char network[API_ID_SIZE];
	char endpoint[API_ID_SIZE];
	char sandbox[API_PATH_SIZE]; /* an absolute path, or "" */
	struct api_endpoint_options options;
};

/* ProgramExternalConnectivity */
struct api_external {
	char network[API_ID_SIZE];
	char endpoint[API_ID_SIZE];
	struct api_endpoint_options options;
};

/* DiscoverNew, DiscoverDelete. Of other types than API_DISCOVERY_NODE only the type. */
struct api_discover {
	uint32_t type;
	struct addr addr;      /* family 0: none */
	struct addr bind_addr; /* family 0: none, as for all peers */
	bool self;
};

int api_net_decode_network_create(const char *body, size_t len,
				  struct api_network_create *ret, struct err *e);
void api_network_create_free(struct api_network_create *rq);
int api_net_decode_gw_check(const char *body, size_t len, struct api_gw_check *ret,
			    struct err *e);
void api_gw_check_free(struct api_gw_check *rq);
int api_net_decode_network_allocate(const char *body, size_t len,
				    struct api_network_allocate *ret, struct err *e);
void api_network_allocate_free(struct api_network_allocate *rq);
/* method: "NetworkDriver.DeleteNetwork", for the error's text. */
int api_net_decode_network_id(const char *method, const char *body, size_t len,
			      struct api_network_id *ret, struct err *e);
int api_net_decode_endpoint_create(const char *body, size_t len,
				   struct api_endpoint_create *ret, struct err *e);
void api_endpoint_create_free(struct api_endpoint_create *rq);
/* method: "NetworkDriver.Leave", for the error's text. */
int api_net_decode_endpoint_id(const char *method, const char *body, size_t len,
			       struct api_endpoint_id *ret, struct err *e);
int api_net_decode_join(const char *body, size_t len, struct api_join *ret,
			struct err *e);
void api_join_free(struct api_join *rq);
int api_net_decode_external(const char *body, size_t len, struct api_external *ret,
			    struct err *e);
void api_external_free(struct api_external *rq);
/* method: "NetworkDriver.DiscoverNew", for the error's text. */
int api_net_decode_discover(const char *method, const char *body, size_t len,
			    struct api_discover *ret, struct err *e);

/* --- answers; those with nothing to say are api_encode_empty ----------------------- */

struct api_route {
	struct cidr destination; /* never family 0 */
	struct addr next_hop;	 /* family 0: on the link */
};

struct api_join_answer {
	const char *src_name;	/* NULL: the endpoint has no interface */
	const char *dst_prefix; /* "eth" */
	struct addr gateway4;	/* family 0: none */
	struct addr gateway6;
	const struct api_route *routes;
	unsigned int route_count;
	bool disable_gateway_service;
};

/* Plugin.Activate: both drivers. */
char *api_net_encode_activate(size_t *ret_len);
/* scope: "local" or "global". GwAllocChecker is only said when set. */
char *api_net_encode_capabilities(const char *scope, bool gw_checker, size_t *ret_len);
char *api_net_encode_gw_check(bool skip4, bool skip6, size_t *ret_len);
char *api_net_encode_allocate(const struct api_options *options, size_t *ret_len);
/* mac: NULL for none. */
char *api_net_encode_endpoint(const uint8_t *mac, size_t *ret_len);
char *api_net_encode_join(const struct api_join_answer *answer, size_t *ret_len);
/* EndpointOperInfo: an empty Value. */
char *api_net_encode_oper_info(size_t *ret_len);

#endif
