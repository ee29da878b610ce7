// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Fuzz target: the first byte selects a decoder ('A' the first one), the rest is the
 * body. A refusal must say which method it is about in a text that can be sent; what
 * is taken must be within its limits. Corpus: tests/fuzz/corpus/api.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "plugin/api_ipam.h"
#include "plugin/api_net.h"
#include "plugin/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void check_id(const char *id)
{
	check(*id && strlen(id) < API_ID_SIZE);
}

static void check_options(const struct api_options *o)
{
	check(o->count <= API_OPTIONS_MAX);
	for (unsigned int i = 0; i < o->count; i++) {
		check(strlen(o->list[i].name) <= API_OPTION_NAME_MAX);
		check(strlen(o->list[i].value) <= API_OPTION_VALUE_MAX);
	}
}

static void check_pools(const struct api_pools *p)
{
	for (unsigned int i = 0; i < p->count4; i++)
		check(p->ipv4[i].pool.addr.family == AF_INET);
	for (unsigned int i = 0; i < p->count6; i++)
		check(p->ipv6[i].pool.addr.family == AF_INET6);
}

static void check_ports(const struct api_endpoint_options *o)
{
	for (unsigned int i = 0; i < o->map_count; i++)
		check(o->map[i].host_port <= o->map[i].host_port_end);
	check_options(&o->list);
}

static int create_network(const char *body, size_t len, struct err *e)
{
	struct api_network_create rq;
	int r = api_net_decode_network_create(body, len, &rq, e);

	if (r < 0)
		return r;
	check_id(rq.network);
	check_options(&rq.options.generic);
	check_pools(&rq.pools);
	api_network_create_free(&rq);
	return 0;
}

static int gw_check(const char *body, size_t len, struct err *e)
{
	struct api_gw_check rq;
	int r = api_net_decode_gw_check(body, len, &rq, e);

	if (r == 0)
		api_gw_check_free(&rq);
	return r;
}

/* The answer's options are what came in: it must survive its own decoder. */
static int allocate_network(const char *body, size_t len, struct err *e)
{
	struct api_network_allocate rq;
	int r = api_net_decode_network_allocate(body, len, &rq, e);
	struct api_gw_check again;
	size_t answer_len;
	char *answer;

	if (r < 0)
		return r;
	check_id(rq.network);
	check_pools(&rq.pools);
	answer = api_net_encode_allocate(&rq.options, &answer_len);
	check(answer && strlen(answer) == answer_len);
	if (api_net_decode_gw_check(answer, answer_len, &again, NULL) == 0)
		api_gw_check_free(&again);
	free(answer);
	api_network_allocate_free(&rq);
	return 0;
}

static int network_id(const char *body, size_t len, struct err *e)
{
	struct api_network_id rq;
	int r = api_net_decode_network_id("NetworkDriver.DeleteNetwork", body, len, &rq,
					  e);

	if (r == 0)
		check_id(rq.network);
	return r;
}

static int create_endpoint(const char *body, size_t len, struct err *e)
{
	struct api_endpoint_create rq;
	int r = api_net_decode_endpoint_create(body, len, &rq, e);

	if (r < 0)
		return r;
	check_id(rq.endpoint);
	check(rq.addr4.addr.family == 0 || rq.addr4.addr.family == AF_INET);
	check(rq.addr6.addr.family == 0 || rq.addr6.addr.family == AF_INET6);
	check_ports(&rq.options);
	api_endpoint_create_free(&rq);
	return 0;
}

static int endpoint_id(const char *body, size_t len, struct err *e)
{
	struct api_endpoint_id rq;
	int r = api_net_decode_endpoint_id("NetworkDriver.Leave", body, len, &rq, e);

	if (r == 0)
		check_id(rq.endpoint);
	return r;
}

static int join(const char *body, size_t len, struct err *e)
{
	struct api_join rq;
	int r = api_net_decode_join(body, len, &rq, e);

	if (r < 0)
		return r;
	check(!rq.sandbox[0] || rq.sandbox[0] == '/');
	check_ports(&rq.options);
	api_join_free(&rq);
	return 0;
}

static int program(const char *body, size_t len, struct err *e)
{
	struct api_external rq;
	int r = api_net_decode_external(body, len, &rq, e);

	if (r < 0)
		return r;
	check_ports(&rq.options);
	api_external_free(&rq);
	return 0;
}

static int discover(const char *body, size_t len, struct err *e)
{
	struct api_discover rq;

	return api_net_decode_discover("NetworkDriver.DiscoverNew", body, len, &rq, e);
}

static int request_pool(const char *body, size_t len, struct err *e)
{
	struct api_pool_request rq;
	int r = api_ipam_decode_pool_request(body, len, &rq, e);

	if (r < 0)
		return r;
	check(*rq.space);
	check_options(&rq.options);
	api_pool_request_free(&rq);
	return 0;
}

static int release_pool(const char *body, size_t len, struct err *e)
{
	struct api_pool_release rq;

	return api_ipam_decode_pool_release(body, len, &rq, e);
}

static int request_address(const char *body, size_t len, struct err *e)
{
	struct api_address_request rq;
	int r = api_ipam_decode_address_request(body, len, &rq, e);

	if (r < 0)
		return r;
	check(*rq.pool_id);
	check_options(&rq.options);
	api_address_request_free(&rq);
	return 0;
}

static int release_address(const char *body, size_t len, struct err *e)
{
	struct api_address_release rq;

	return api_ipam_decode_address_release(body, len, &rq, e);
}

/* The order is that of the corpus' first letters: add at the end. */
static int (*const decoders[])(const char *body, size_t len, struct err *e) = {
	create_network,
	gw_check,
	allocate_network,
	network_id,
	create_endpoint,
	endpoint_id,
	join,
	program,
	discover,
	request_pool,
	release_pool,
	request_address,
	release_address,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = {0};
	char *answer;
	size_t len;
	int r;

	if (size == 0)
		return 0;
	r = decoders[(unsigned int)(data[0] + 256 - 'A') % ARRAY_SIZE(decoders)](
		(const char *)data + 1, size - 1, &e);
	check(e.code == r);
	if (r == 0)
		return 0;
	check(!strncmp(e.text, "NetworkDriver.", 14) ||
	      !strncmp(e.text, "IpamDriver.", 11));
	answer = api_encode_error(e.text, &len);
	check(answer && strlen(answer) == len);
	free(answer);
	return 0;
}
