// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Decoders and encoders of NetworkDriver, one pair a method (PROTOCOL section 3). The
 * reading of single fields and the error texts are api_json.c's; here is what the
 * requests look like and which of their quirks a driver should never see: families
 * mixed in one list, texts for switches, nil for empty.
 */
#include "plugin/api_net.h"

#include "plugin/base/mem.h"

#include <jansson.h>

#define METHOD(name) "NetworkDriver." name

#define OPTION_GENERIC	"com.docker.network.generic"
#define OPTION_INTERNAL "com.docker.network.internal"
#define OPTION_IPV4	"com.docker.network.enable_ipv4"
#define OPTION_IPV6	"com.docker.network.enable_ipv6"
#define OPTION_EXPOSED	"com.docker.network.endpoint.exposedports"
#define OPTION_PORT_MAP "com.docker.network.portmap"

/* --- parts of requests --------------------------------------------------------- */

static void pools_fini(struct api_pools *p)
{
	for (unsigned int i = 0; i < p->count4; i++)
		free(p->ipv4[i].aux);
	for (unsigned int i = 0; i < p->count6; i++)
		free(p->ipv6[i].aux);
	free(p->ipv4);
	free(p->ipv6);
	*p = (struct api_pools){0};
}

static void read_pool(const struct api_node *node, struct api_pools *ret)
{
	struct api_pool p = {0};
	struct api_node aux;

	api_text(node, "AddressSpace", API_OPTIONAL, p.space, sizeof(p.space));
	p.pool = api_cidr(node, "Pool", API_REQUIRED);
	p.gateway = api_cidr(node, "Gateway", API_OPTIONAL);
	if (addr_is_set(&p.gateway.addr) && p.gateway.addr.family != p.pool.addr.family)
		api_fail(node, "Gateway", "is of another family than Pool");
	aux = api_object(node, "AuxAddresses");
	p.aux = api_cidr_map(&aux, API_AUX_MAX, &p.aux_count);
	/* The swarm manager never says that a subnet is IPv6: only its text does. */
	if (p.pool.addr.family == AF_INET)
		ret->ipv4[ret->count4++] = p;
	else
		ret->ipv6[ret->count6++] = p;
}

/* What was read so far is in *ret, also after an error. */
static void read_pools(const struct api_node *node, struct api_pools *ret)
{
	struct api_node lists[] = {api_list(node, "IPv4Data"),
				   api_list(node, "IPv6Data")};
	unsigned int counts[ARRAY_SIZE(lists)];
	unsigned int total = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(lists); i++) {
		counts[i] = api_count(&lists[i], API_POOLS_MAX);
		total += counts[i];
	}
	ret->ipv4 = api_alloc(node, total, sizeof(*ret->ipv4));
	ret->ipv6 = api_alloc(node, total, sizeof(*ret->ipv6));
	if (!ret->ipv4 || !ret->ipv6)
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(lists); i++) {
		for (unsigned int k = 0; k < counts[i]; k++) {
			struct api_node item = api_item(&lists[i], k);

			read_pool(&item, ret);
		}
	}
}

static void read_network_options(const struct api_node *node,
				 struct api_network_options *ret)
{
	struct api_node options = api_object(node, "Options");
	struct api_node generic = api_object(&options, OPTION_GENERIC);

	ret->internal = api_flag(&options, OPTION_INTERNAL) == API_SWITCH_ON;
	ret->ipv4 = api_flag(&options, OPTION_IPV4);
	ret->ipv6 = api_flag(&options, OPTION_IPV6);
	api_option_map(&generic, &ret->generic);
}

static struct api_port *read_ports(const struct api_node *list, unsigned int *ret_count)
{
	unsigned int count = api_count(list, API_PORTS_MAX);
	struct api_port *ports = api_alloc(list, count, sizeof(*ports));

	*ret_count = 0;
	for (unsigned int i = 0; ports && i < count; i++) {
		struct api_node item = api_item(list, i);

		ports[i].proto = (uint8_t)api_number(&item, "Proto", UINT8_MAX);
		ports[i].port = (uint16_t)api_number(&item, "Port", UINT16_MAX);
		(*ret_count)++;
	}
	return ports;
}

static struct api_port_map read_mapping(const struct api_node *node)
{
	struct api_port_map m = {
		.proto = (uint8_t)api_number(node, "Proto", UINT8_MAX),
		.port = (uint16_t)api_number(node, "Port", UINT16_MAX),
		.host_addr = api_addr(node, "HostIP"),
		.host_port = (uint16_t)api_number(node, "HostPort", UINT16_MAX),
		.host_port_end = (uint16_t)api_number(node, "HostPortEnd", UINT16_MAX),
	};

	if (!m.host_port_end || !m.host_port)
		m.host_port_end = m.host_port;
	if (m.host_port_end < m.host_port)
		api_fail(node, "HostPortEnd", "is lower than HostPort");
	return m;
}

static struct api_port_map *read_port_map(const struct api_node *list,
					  unsigned int *ret_count)
{
	unsigned int count = api_count(list, API_PORTS_MAX);
	struct api_port_map *map = api_alloc(list, count, sizeof(*map));

	*ret_count = 0;
	for (unsigned int i = 0; map && i < count; i++) {
		struct api_node item = api_item(list, i);

		map[i] = read_mapping(&item);
		(*ret_count)++;
	}
	return map;
}

static void endpoint_options_fini(struct api_endpoint_options *o)
{
	free(o->exposed);
	free(o->map);
	api_options_fini(&o->list);
	*o = (struct api_endpoint_options){0};
}

static void read_endpoint_options(const struct api_node *node,
				  struct api_endpoint_options *ret)
{
	struct api_node options = api_object(node, "Options");
	struct api_node exposed = api_list(&options, OPTION_EXPOSED);
	struct api_node map = api_list(&options, OPTION_PORT_MAP);

	ret->exposed = read_ports(&exposed, &ret->exposed_count);
	ret->map = read_port_map(&map, &ret->map_count);
	api_option_map(&options, &ret->list);
}

/* Sorts by the text too: which member a family comes in is the engine's affair. */
static void read_interface_addr(const struct api_node *node, const char *name,
				struct api_endpoint_create *ret)
{
	struct cidr c = api_cidr(node, name, API_OPTIONAL);
	struct cidr *slot = c.addr.family == AF_INET6 ? &ret->addr6 : &ret->addr4;

	if (!addr_is_set(&c.addr))
		return;
	if (addr_is_set(&slot->addr))
		api_fail(node, name, "is a second address of its family");
	*slot = c;
}

static void read_endpoint_id(const struct api_node *node, char network[API_ID_SIZE],
			     char endpoint[API_ID_SIZE])
{
	api_id(node, "NetworkID", network);
	api_id(node, "EndpointID", endpoint);
}

/* --- requests ------------------------------------------------------------------ */

void api_network_create_free(struct api_network_create *rq)
{
	api_options_fini(&rq->options.generic);
	pools_fini(&rq->pools);
}

int api_net_decode_network_create(const char *body, size_t len,
				  struct api_network_create *ret, struct err *e)
{
	struct api_network_create rq = {0};
	struct api_document doc;
	struct api_node root = api_open(&doc, METHOD("CreateNetwork"), body, len);
	int r;

	api_id(&root, "NetworkID", rq.network);
	read_network_options(&root, &rq.options);
	read_pools(&root, &rq.pools);
	r = api_close(&doc, e);
	if (r < 0)
		api_network_create_free(&rq);
	else
		*ret = rq;
	return r;
}

void api_gw_check_free(struct api_gw_check *rq)
{
	api_options_fini(&rq->options.generic);
}

int api_net_decode_gw_check(const char *body, size_t len, struct api_gw_check *ret,
			    struct err *e)
{
	struct api_gw_check rq = {0};
	struct api_document doc;
	struct api_node root = api_open(&doc, METHOD("GwAllocCheck"), body, len);
	int r;

	read_network_options(&root, &rq.options);
	r = api_close(&doc, e);
	if (r < 0)
		api_gw_check_free(&rq);
	else
		*ret = rq;
	return r;
}

void api_network_allocate_free(struct api_network_allocate *rq)
{
	api_options_fini(&rq->options);
	pools_fini(&rq->pools);
}

int api_net_decode_network_allocate(const char *body, size_t len,
				    struct api_network_allocate *ret, struct err *e)
{
	struct api_network_allocate rq = {0};
	struct api_document doc;
	struct api_node root = api_open(&doc, METHOD("AllocateNetwork"), body, len);
	struct api_node options = api_object(&root, "Options");
	int r;

	api_id(&root, "NetworkID", rq.network);
	api_option_map(&options, &rq.options);
	read_pools(&root, &rq.pools);
	r = api_close(&doc, e);
	if (r < 0)
		api_network_allocate_free(&rq);
	else
		*ret = rq;
	return r;
}

int api_net_decode_network_id(const char *method, const char *body, size_t len,
			      struct api_network_id *ret, struct err *e)
{
	struct api_document doc;
	struct api_node root = api_open(&doc, method, body, len);
	struct api_network_id rq = {0};
	int r;

	api_id(&root, "NetworkID", rq.network);
	r = api_close(&doc, e);
	if (r == 0)
		*ret = rq;
	return r;
}

void api_endpoint_create_free(struct api_endpoint_create *rq)
{
	endpoint_options_fini(&rq->options);
}

int api_net_decode_endpoint_create(const char *body, size_t len,
				   struct api_endpoint_create *ret, struct err *e)
{
	struct api_endpoint_create rq = {0};
	struct api_document doc;
	struct api_node root = api_open(&doc, METHOD("CreateEndpoint"), body, len);
	struct api_node interface = api_object(&root, "Interface");
	int r;

	read_endpoint_id(&root, rq.network, rq.endpoint);
	read_interface_addr(&interface, "Address", &rq);
	read_interface_addr(&interface, "AddressIPv6", &rq);
	rq.has_mac = api_mac(&interface, "MacAddress", rq.mac);
	read_endpoint_options(&root, &rq.options);
	r = api_close(&doc, e);
	if (r < 0)
		api_endpoint_create_free(&rq);
	else
		*ret = rq;
	return r;
}

int api_net_decode_endpoint_id(const char *method, const char *body, size_t len,
			       struct api_endpoint_id *ret, struct err *e)
{
	struct api_document doc;
	struct api_node root = api_open(&doc, method, body, len);
	struct api_endpoint_id rq = {0};
	int r;

	read_endpoint_id(&root, rq.network, rq.endpoint);
	r = api_close(&doc, e);
	if (r == 0)
		*ret = rq;
	return r;
}

void api_join_free(struct api_join *rq)
{
	endpoint_options_fini(&rq->options);
}

int api_net_decode_join(const char *body, size_t len, struct api_join *ret, struct err *e)
{
	struct api_join rq = {0};
	struct api_document doc;
	struct api_node root = api_open(&doc, METHOD("Join"), body, len);
	int r;

	read_endpoint_id(&root, rq.network, rq.endpoint);
	api_text(&root, "SandboxKey", API_OPTIONAL, rq.sandbox, sizeof(rq.sandbox));
	if (rq.sandbox[0] && rq.sandbox[0] != '/')
		api_fail(&root, "SandboxKey", "must be an absolute path");
	read_endpoint_options(&root, &rq.options);
	r = api_close(&doc, e);
	if (r < 0)
		api_join_free(&rq);
	else
		*ret = rq;
	return r;
}

void api_external_free(struct api_external *rq)
{
	endpoint_options_fini(&rq->options);
}

int api_net_decode_external(const char *body, size_t len, struct api_external *ret,
			    struct err *e)
{
	struct api_external rq = {0};
	struct api_document doc;
	struct api_node root =
		api_open(&doc, METHOD("ProgramExternalConnectivity"), body, len);
	int r;

	read_endpoint_id(&root, rq.network, rq.endpoint);
	read_endpoint_options(&root, &rq.options);
	r = api_close(&doc, e);
	if (r < 0)
		api_external_free(&rq);
	else
		*ret = rq;
	return r;
}

int api_net_decode_discover(const char *method, const char *body, size_t len,
			    struct api_discover *ret, struct err *e)
{
	struct api_document doc;
	struct api_node root = api_open(&doc, method, body, len);
	struct api_discover rq = {.type = api_number(&root, "DiscoveryType", INT32_MAX)};
	int r;

	if (rq.type == API_DISCOVERY_NODE) {
		struct api_node data = api_object(&root, "DiscoveryData");

		rq.addr = api_addr(&data, "Address");
		rq.bind_addr = api_addr(&data, "BindAddress");
		rq.self = api_flag(&data, "Self") == API_SWITCH_ON;
	}
	r = api_close(&doc, e);
	if (r == 0)
		*ret = rq;
	return r;
}

/* --- answers ------------------------------------------------------------------- */

char *api_net_encode_activate(size_t *ret_len)
{
	return api_dump(
		json_pack("{s:[ss]}", "Implements", "NetworkDriver", "IpamDriver"),
		ret_len);
}

char *api_net_encode_capabilities(const char *scope, bool gw_checker, size_t *ret_len)
{
	return api_dump(json_pack("{s:s, s:s, s:o*}", "Scope", scope, "ConnectivityScope",
				  scope, "GwAllocChecker",
				  gw_checker ? json_true() : NULL),
			ret_len);
}

char *api_net_encode_gw_check(bool skip4, bool skip6, size_t *ret_len)
{
	return api_dump(json_pack("{s:b, s:b}", "SkipIPv4", skip4, "SkipIPv6", skip6),
			ret_len);
}

char *api_net_encode_allocate(const struct api_options *options, size_t *ret_len)
{
	json_t *map = json_object();

	for (unsigned int i = 0; i < options->count; i++) {
		const struct api_option *o = &options->list[i];

		if (json_object_set_new(map, o->name, json_string(o->value)) < 0) {
			json_decref(map);
			map = NULL;
			break;
		}
	}
	return api_dump(json_pack("{s:o}", "Options", map), ret_len);
}

char *api_net_encode_endpoint(const uint8_t *mac, size_t *ret_len)
{
	char text[MAC_TEXT_SIZE];

	return api_dump(json_pack("{s:{s:s*}}", "Interface", "MacAddress",
				  mac ? mac_format(mac, text) : NULL),
			ret_len);
}

/* NULL: no memory. */
static json_t *encode_routes(const struct api_join_answer *answer)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < answer->route_count; i++) {
		const struct api_route *rt = &answer->routes[i];
		bool connected = !addr_is_set(&rt->next_hop);
		char destination[CIDR_TEXT_SIZE];
		char next_hop[ADDR_TEXT_SIZE];
		json_t *item;

		item = json_pack("{s:s, s:i, s:s}", "Destination",
				 cidr_format(&rt->destination, destination), "RouteType",
				 connected, "NextHop",
				 addr_format(&rt->next_hop, next_hop));
		if (json_array_append_new(list, item) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

char *api_net_encode_join(const struct api_join_answer *answer, size_t *ret_len)
{
	char gateway4[ADDR_TEXT_SIZE];
	char gateway6[ADDR_TEXT_SIZE];
	json_t *interface = NULL;
	json_t *routes = NULL;
	bool ok = true;

	if (answer->src_name) {
		interface = json_pack("{s:s, s:s}", "SrcName", answer->src_name,
				      "DstPrefix", answer->dst_prefix);
		ok = interface != NULL;
	}
	if (answer->route_count) {
		routes = encode_routes(answer);
		ok = ok && routes;
	}
	if (!ok) {
		json_decref(interface);
		json_decref(routes);
		*ret_len = 0;
		return NULL;
	}
	addr_format(&answer->gateway4, gateway4);
	addr_format(&answer->gateway6, gateway6);
	return api_dump(json_pack("{s:o*, s:s*, s:s*, s:o*, s:b}", "InterfaceName",
				  interface, "Gateway", *gateway4 ? gateway4 : NULL,
				  "GatewayIPv6", *gateway6 ? gateway6 : NULL,
				  "StaticRoutes", routes, "DisableGatewayService",
				  answer->disable_gateway_service),
			ret_len);
}

char *api_net_encode_oper_info(size_t *ret_len)
{
	return api_dump(json_pack("{s:{}}", "Value"), ret_len);
}
