/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_API_IPAM_H
#define PLUGIN_API_IPAM_H
/*
 * The wire form of Docker's IpamDriver: requests into typed values, answers into JSON
 * text. The same rules as in api_net.h: pure, *ret is written only on success, an
 * encoder's NULL means no memory. What a pool or address text means is the business of
 * ipam/. Thread: any.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin/api_json.h"
#include "plugin/base/addr.h"
#include "plugin/base/err.h"

#define API_IPAM_SPACE_SIZE   128
#define API_IPAM_POOL_ID_SIZE 320
#define API_IPAM_OWNER_SIZE   256

/* --- requests -------------------------------------------------------------------- */

/* RequestPool */
struct api_pool_request {
	char space[API_IPAM_SPACE_SIZE];
	char pool[CIDR_TEXT_SIZE]; /* "" = choose; "0.0.0.0/24" = choose of that size */
	char sub_pool[CIDR_TEXT_SIZE]; /* "" = none */
	struct api_options options;
	bool v6; /* never set by the swarm manager: the pool's text decides */
};

/* ReleasePool */
struct api_pool_release {
	char pool_id[API_IPAM_POOL_ID_SIZE];
};

/* RequestAddress */
struct api_address_request {
	char pool_id[API_IPAM_POOL_ID_SIZE];
	char address[ADDR_TEXT_SIZE]; /* "" = choose */
	bool gateway;
	bool serial;
	char owner[API_IPAM_OWNER_SIZE]; /* the endpoint's name, "" if it is not told
					  * (before 29.0) or absurdly long */
	bool has_mac;
	uint8_t mac[MAC_SIZE];
	struct api_options options; /* all of them */
};

/* ReleaseAddress */
struct api_address_release {
	char pool_id[API_IPAM_POOL_ID_SIZE];
	char address[ADDR_TEXT_SIZE];
};

int api_ipam_decode_pool_request(const char *body, size_t len,
				 struct api_pool_request *ret, struct err *e);
void api_pool_request_free(struct api_pool_request *rq);
int api_ipam_decode_pool_release(const char *body, size_t len,
				 struct api_pool_release *ret, struct err *e);
int api_ipam_decode_address_request(const char *body, size_t len,
				    struct api_address_request *ret, struct err *e);
void api_address_request_free(struct api_address_request *rq);
int api_ipam_decode_address_release(const char *body, size_t len,
				    struct api_address_release *ret, struct err *e);

/* --- answers; those with nothing to say are api_encode_empty ----------------------- */

char *api_ipam_encode_capabilities(bool requires_mac, bool requires_replay,
				   size_t *ret_len);
char *api_ipam_encode_spaces(const char *local, const char *global, size_t *ret_len);
/* gateway: NULL for none; with its prefix length. */
char *api_ipam_encode_pool(const char *pool_id, const struct cidr *pool,
			   const struct cidr *gateway, size_t *ret_len);
/* address: with the pool's prefix length. */
char *api_ipam_encode_address(const struct cidr *address, size_t *ret_len);

#endif
