// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Decoders and encoders of IpamDriver (PROTOCOL section 4). Pools and addresses stay
 * text, bounded: whether "0.0.0.0/24" or "fd00::5" is acceptable depends on the pools
 * that are there. Answers always carry addresses with their prefix length.
 */
#include "plugin/api_ipam.h"

#include "plugin/base/str.h"

#include <jansson.h>
#include <string.h>

#define METHOD(name) "IpamDriver." name

#define OPTION_TYPE    "RequestAddressType"
#define OPTION_GATEWAY "com.docker.network.gateway"
#define OPTION_SERIAL  "com.docker.network.ipam.serial"
#define OPTION_OWNER   "com.docker.network.endpoint.name"
#define OPTION_MAC     "com.docker.network.endpoint.macaddress"

/* --- requests ------------------------------------------------------------------ */

void api_pool_request_free(struct api_pool_request *rq)
{
	api_options_fini(&rq->options);
}

int api_ipam_decode_pool_request(const char *body, size_t len,
				 struct api_pool_request *ret, struct err *e)
{
	struct api_pool_request rq = {0};
	struct api_document doc;
	struct api_node root = api_open(&doc, METHOD("RequestPool"), body, len);
	struct api_node options = api_object(&root, "Options");
	int r;

	api_text(&root, "AddressSpace", API_REQUIRED, rq.space, sizeof(rq.space));
	api_text(&root, "Pool", API_OPTIONAL, rq.pool, sizeof(rq.pool));
	api_text(&root, "SubPool", API_OPTIONAL, rq.sub_pool, sizeof(rq.sub_pool));
	rq.v6 = api_flag(&root, "V6") == API_SWITCH_ON;
	api_option_map(&options, &rq.options);
	r = api_close(&doc, e);
	if (r < 0)
		api_pool_request_free(&rq);
	else
		*ret = rq;
	return r;
}

int api_ipam_decode_pool_release(const char *body, size_t len,
				 struct api_pool_release *ret, struct err *e)
{
	struct api_document doc;
	struct api_node root = api_open(&doc, METHOD("ReleasePool"), body, len);
	struct api_pool_release rq = {0};
	int r;

	api_text(&root, "PoolID", API_REQUIRED, rq.pool_id, sizeof(rq.pool_id));
	r = api_close(&doc, e);
	if (r == 0)
		*ret = rq;
	return r;
}

void api_address_request_free(struct api_address_request *rq)
{
	api_options_fini(&rq->options);
}

int api_ipam_decode_address_request(const char *body, size_t len,
				    struct api_address_request *ret, struct err *e)
{
	struct api_address_request rq = {0};
	struct api_document doc;
	struct api_node root = api_open(&doc, METHOD("RequestAddress"), body, len);
	struct api_node options = api_object(&root, "Options");
	const char *type;
	const char *owner;
	int r;

	api_text(&root, "PoolID", API_REQUIRED, rq.pool_id, sizeof(rq.pool_id));
	api_text(&root, "Address", API_OPTIONAL, rq.address, sizeof(rq.address));
	rq.serial = api_flag(&options, OPTION_SERIAL) == API_SWITCH_ON;
	rq.has_mac = api_mac(&options, OPTION_MAC, rq.mac);
	api_option_map(&options, &rq.options);
	type = api_options_find(&rq.options, OPTION_TYPE);
	rq.gateway = type && !strcmp(type, OPTION_GATEWAY);
	owner = api_options_find(&rq.options, OPTION_OWNER);
	if (owner && str_copy(rq.owner, sizeof(rq.owner), owner) < 0)
		rq.owner[0] = '\0'; /* a name is a hint, no reason to refuse */
	r = api_close(&doc, e);
	if (r < 0)
		api_address_request_free(&rq);
	else
		*ret = rq;
	return r;
}

int api_ipam_decode_address_release(const char *body, size_t len,
				    struct api_address_release *ret, struct err *e)
{
	struct api_document doc;
	struct api_node root = api_open(&doc, METHOD("ReleaseAddress"), body, len);
	struct api_address_release rq = {0};
	int r;

	api_text(&root, "PoolID", API_REQUIRED, rq.pool_id, sizeof(rq.pool_id));
	api_text(&root, "Address", API_REQUIRED, rq.address, sizeof(rq.address));
	r = api_close(&doc, e);
	if (r == 0)
		*ret = rq;
	return r;
}

/* --- answers ------------------------------------------------------------------- */

char *api_ipam_encode_capabilities(bool requires_mac, bool requires_replay,
				   size_t *ret_len)
{
	return api_dump(json_pack("{s:b, s:b}", "RequiresMACAddress", requires_mac,
				  "RequiresRequestReplay", requires_replay),
			ret_len);
}

char *api_ipam_encode_spaces(const char *local, const char *global, size_t *ret_len)
{
	return api_dump(json_pack("{s:s, s:s}", "LocalDefaultAddressSpace", local,
				  "GlobalDefaultAddressSpace", global),
			ret_len);
}

char *api_ipam_encode_pool(const char *pool_id, const struct cidr *pool,
			   const struct cidr *gateway, size_t *ret_len)
{
	char gateway_text[CIDR_TEXT_SIZE];
	char pool_text[CIDR_TEXT_SIZE];

	return api_dump(json_pack("{s:s, s:s, s:{s:s*}}", "PoolID", pool_id, "Pool",
				  cidr_format(pool, pool_text), "Data", OPTION_GATEWAY,
				  gateway ? cidr_format(gateway, gateway_text) : NULL),
			ret_len);
}

char *api_ipam_encode_address(const struct cidr *address, size_t *ret_len)
{
	char text[CIDR_TEXT_SIZE];

	return api_dump(
		json_pack("{s:s, s:{}}", "Address", cidr_format(address, text), "Data"),
		ret_len);
}
