// SPDX-License-Identifier: GPL-2.0-or-later
/* NetworkDriver's wire form: what engines 20.10 to 29 were seen to send, its corner
 * cases, what is refused with which text, and the answers byte for byte. */
#include "plugin/api_net.h"

#include "tests/unit/plugin/mutate.h"

#include <netinet/in.h>

#define NET	  "bfab126aa56b5c2ac5ce4b4c5d0c3b2f1a0e9d8c7b6a59483726150f4e3d2c1b"
#define EP	  "9d76eadea3dd0f1e2d3c4b5a69788796a5b4c3d2e1f00112233445566778899a"
#define SWARM_NET "3fyrajy3dxmt8asfnbo16y5e0"
#define IDS	  "\"NetworkID\":\"" NET "\",\"EndpointID\":\"" EP "\""
#define PORTS                                                                      \
	"\"com.docker.network.endpoint.exposedports\":[{\"Proto\":6,\"Port\":80}," \
	"{\"Proto\":17,\"Port\":53}],"                                             \
	"\"com.docker.network.portmap\":[{\"Proto\":6,\"IP\":\"\",\"Port\":80,"    \
	"\"HostIP\":\"\",\"HostPort\":8080,\"HostPortEnd\":8080},"                 \
	"{\"Proto\":132,\"IP\":\"\",\"Port\":81,\"HostIP\":\"127.0.0.1\","         \
	"\"HostPort\":9000,\"HostPortEnd\":9010}]"

#define CREATE_NETWORK                                                             \
	"{\"NetworkID\":\"" NET "\",\"Options\":{"                                 \
	"\"com.docker.network.enable_ipv4\":true,"                                 \
	"\"com.docker.network.enable_ipv6\":true,"                                 \
	"\"com.docker.network.internal\":true,"                                    \
	"\"com.docker.network.generic\":{\"mtu\":\"1450\",\"vni\":\"4242\"}},"     \
	"\"IPv4Data\":[{\"AddressSpace\":\"pLocal\","                              \
	"\"AuxAddresses\":{\"vip-a\":\"172.30.0.5/24\"},"                          \
	"\"Gateway\":\"172.30.0.1/24\",\"Pool\":\"172.30.0.0/24\"}],"              \
	"\"IPv6Data\":[{\"AddressSpace\":\"pLocal\",\"Gateway\":\"fd00:1::1/64\"," \
	"\"Pool\":\"fd00:1::/64\"}]}"
#define ALLOCATE_NETWORK                                                       \
	"{\"NetworkID\":\"" SWARM_NET "\",\"Options\":{\"user-opt\":\"v\"},"   \
	"\"IPv4Data\":[{\"AddressSpace\":\"\",\"Gateway\":\"10.201.0.1/24\","  \
	"\"Pool\":\"10.201.0.0/24\"},{\"AddressSpace\":\"\",\"Gateway\":\"\"," \
	"\"Pool\":\"fd00:2::/64\"}],\"IPv6Data\":null}"
#define CREATE_ENDPOINT                                                           \
	"{" IDS ",\"Interface\":{\"Address\":\"172.30.0.7/24\","                  \
	"\"AddressIPv6\":\"fd00:1::7/64\",\"MacAddress\":\"02:11:22:33:44:5F\"}," \
	"\"Options\":{" PORTS ","                                                 \
	"\"com.docker.network.endpoint.macaddress\":\"AhEiM0RV\","                \
	"\"com.docker.network.endpoint.dnsservers\":[\"9.9.9.9\"],"               \
	"\"com.docker.network.endpoint.ifname\":\"foo0\","                        \
	"\"fairlead.service\":\"web\",\"a\":true,\"b\":7,\"c\":1.5,\"d\":null}}"
#define JOIN                                                              \
	"{" IDS ",\"SandboxKey\":\"/var/run/docker/netns/a1b2c3d4e5f6\"," \
	"\"Options\":{" PORTS "}}"
#define DISCOVER                                                              \
	"{\"DiscoveryType\":1,\"DiscoveryData\":{\"Address\":\"192.0.2.10\"," \
	"\"BindAddress\":\"fd00::10\",\"Self\":true}}"

/* --- every field of every request ---------------------------------------------- */

#define DECODER(name, type)                                          \
	static int name(const char *body, size_t len, struct err *e) \
	{                                                            \
		struct api_##type rq;                                \
		int r = api_net_decode_##type(body, len, &rq, e);    \
                                                                     \
		if (r == 0)                                          \
			api_##type##_free(&rq);                      \
		return r;                                            \
	}
#define DECODER_ID(name, type, method)                                   \
	static int name(const char *body, size_t len, struct err *e)     \
	{                                                                \
		struct api_##type rq;                                    \
                                                                         \
		return api_net_decode_##type(method, body, len, &rq, e); \
	}

DECODER(create_network, network_create)
DECODER(gw_check, gw_check)
DECODER(allocate_network, network_allocate)
DECODER(create_endpoint, endpoint_create)
DECODER(join, join)
DECODER(program, external)
DECODER_ID(delete_network, network_id, "NetworkDriver.DeleteNetwork")
DECODER_ID(leave, endpoint_id, "NetworkDriver.Leave")
DECODER_ID(discover_new, discover, "NetworkDriver.DiscoverNew")

static void test_mutations(void **state)
{
	static const struct example examples[] = {
		{"NetworkDriver.CreateNetwork",
		 create_network,
		 CREATE_NETWORK,
		 {"NetworkID", "IPv4Data[0].Pool", "IPv6Data[0].Pool"}},
		{"NetworkDriver.GwAllocCheck", gw_check,
		 "{\"Options\":{\"com.docker.network.enable_ipv4\":true,"
		 "\"com.docker.network.generic\":{\"mtu\":\"1450\"}}}"},
		{"NetworkDriver.AllocateNetwork",
		 allocate_network,
		 ALLOCATE_NETWORK,
		 {"NetworkID", "IPv4Data[0].Pool", "IPv4Data[1].Pool"}},
		{"NetworkDriver.DeleteNetwork",
		 delete_network,
		 "{\"NetworkID\":\"" NET "\"}",
		 {"NetworkID"}},
		{"NetworkDriver.CreateEndpoint",
		 create_endpoint,
		 CREATE_ENDPOINT,
		 {"NetworkID", "EndpointID"}},
		{"NetworkDriver.Leave", leave, "{" IDS "}", {"NetworkID", "EndpointID"}},
		{"NetworkDriver.Join", join, JOIN, {"NetworkID", "EndpointID"}},
		{"NetworkDriver.ProgramExternalConnectivity",
		 program,
		 "{" IDS ",\"Options\":{" PORTS "}}",
		 {"NetworkID", "EndpointID"}},
		{"NetworkDriver.DiscoverNew", discover_new, DISCOVER},
	};

	(void)state;
	mutate_examples(examples, ARRAY_SIZE(examples));
}

/* --- requests ------------------------------------------------------------------ */

static void expect_cidr(const struct cidr *c, const char *text)
{
	char buf[CIDR_TEXT_SIZE];

	assert_string_equal(cidr_format(c, buf), text);
}

static void expect_addr(const struct addr *a, const char *text)
{
	char buf[ADDR_TEXT_SIZE];

	assert_string_equal(addr_format(a, buf), text);
}

static struct api_network_create decode_network(const char *json)
{
	struct api_network_create rq;
	struct err e;

	if (api_net_decode_network_create(json, strlen(json), &rq, &e) < 0)
		fail_msg("%s", e.text);
	return rq;
}

static struct api_endpoint_create decode_endpoint(const char *json)
{
	struct api_endpoint_create rq;
	struct err e;

	if (api_net_decode_endpoint_create(json, strlen(json), &rq, &e) < 0)
		fail_msg("%s", e.text);
	return rq;
}

static void test_create_network(void **state)
{
	struct api_network_create rq = decode_network(CREATE_NETWORK "\n");

	(void)state;
	assert_string_equal(rq.network, NET);
	assert_true(rq.options.internal);
	assert_int_equal(rq.options.ipv4, API_SWITCH_ON);
	assert_int_equal(rq.options.ipv6, API_SWITCH_ON);
	assert_int_equal(rq.options.generic.count, 2);
	assert_string_equal(api_options_find(&rq.options.generic, "mtu"), "1450");
	assert_string_equal(api_options_find(&rq.options.generic, "vni"), "4242");
	assert_null(api_options_find(&rq.options.generic, "MTU"));
	assert_int_equal(rq.pools.count4, 1);
	assert_int_equal(rq.pools.count6, 1);
	assert_string_equal(rq.pools.ipv4[0].space, "pLocal");
	expect_cidr(&rq.pools.ipv4[0].pool, "172.30.0.0/24");
	expect_cidr(&rq.pools.ipv4[0].gateway, "172.30.0.1/24");
	assert_int_equal(rq.pools.ipv4[0].aux_count, 1);
	expect_cidr(&rq.pools.ipv4[0].aux[0], "172.30.0.5/24");
	expect_cidr(&rq.pools.ipv6[0].pool, "fd00:1::/64");
	expect_cidr(&rq.pools.ipv6[0].gateway, "fd00:1::1/64");
	api_network_create_free(&rq);
}

/* As traced. */
static void test_create_network_versions(void **state)
{
	static const char *const cases[] = {
		/* 20.10.5 */
		"{\"NetworkID\":\"" NET "\",\"Options\":{"
		"\"com.docker.network.enable_ipv6\":false,"
		"\"com.docker.network.generic\":{}},\"IPv4Data\":[{\"AddressSpace\":"
		"\"lablocal\",\"AuxAddresses\":{\"host\":\"10.98.0.200/24\"},"
		"\"Gateway\":\"10.98.0.254/24\",\"Pool\":\"10.98.0.0/24\"}],"
		"\"IPv6Data\":[]}\n",
		/* 29.7.2 */
		"{\"NetworkID\":\"" SWARM_NET "\",\"Options\":{"
		"\"com.docker.network.enable_ipv4\":true,"
		"\"com.docker.network.enable_ipv6\":false,"
		"\"com.docker.network.generic\":{\"lab.allocated\":\"yes\"}},"
		"\"IPv4Data\":[{\"AddressSpace\":\"lablocal\",\"AuxAddresses\":{},"
		"\"Gateway\":\"10.99.1.3/24\",\"Pool\":\"10.99.1.0/24\"}],"
		"\"IPv6Data\":[]}\n",
		/* no options, nil lists */
		"{\"NetworkID\":\"" NET "\",\"Options\":null,\"IPv4Data\":[{\"Pool\":"
		"\"0.0.0.0/0\"}],\"IPv6Data\":null}\n",
	};
	static const enum api_switch ipv4[] = {API_SWITCH_UNSET, API_SWITCH_ON,
					       API_SWITCH_UNSET};
	static const enum api_switch ipv6[] = {API_SWITCH_OFF, API_SWITCH_OFF,
					       API_SWITCH_UNSET};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct api_network_create rq = decode_network(cases[i]);

		assert_false(rq.options.internal);
		assert_int_equal(rq.options.ipv4, ipv4[i]);
		assert_int_equal(rq.options.ipv6, ipv6[i]);
		assert_int_equal(rq.pools.count4, 1);
		assert_int_equal(rq.pools.count6, 0);
		api_network_create_free(&rq);
	}
}

static void test_switch_texts(void **state)
{
	struct api_network_create rq = decode_network(
		"{\"NetworkID\":\"" NET "\",\"Options\":{"
		"\"com.docker.network.internal\":\"true\","
		"\"com.docker.network.enable_ipv4\":\"false\","
		"\"com.docker.network.enable_ipv6\":\"1\","
		"\"com.docker.network.generic\":{\"a\":true,\"b\":false,\"c\":-12,"
		"\"d\":\"\",\"e\":[],\"f\":{},\"g\":1.5,\"h\":null}}}");

	(void)state;
	assert_true(rq.options.internal);
	assert_int_equal(rq.options.ipv4, API_SWITCH_OFF);
	assert_int_equal(rq.options.ipv6, API_SWITCH_ON);
	assert_int_equal(rq.options.generic.count, 4);
	assert_string_equal(api_options_find(&rq.options.generic, "a"), "true");
	assert_string_equal(api_options_find(&rq.options.generic, "b"), "false");
	assert_string_equal(api_options_find(&rq.options.generic, "c"), "-12");
	assert_string_equal(api_options_find(&rq.options.generic, "d"), "");
	assert_int_equal(rq.pools.count4 + rq.pools.count6, 0);
	api_network_create_free(&rq);
}

static void test_allocate_network(void **state)
{
	struct api_network_allocate rq;
	auto_free char *answer = NULL;
	struct err e;
	size_t len;

	(void)state;
	assert_return_code(api_net_decode_network_allocate(
				   ALLOCATE_NETWORK, strlen(ALLOCATE_NETWORK), &rq, &e),
			   0);
	assert_string_equal(rq.network, SWARM_NET);
	assert_int_equal(rq.pools.count4, 1);
	assert_int_equal(rq.pools.count6, 1); /* although it came among IPv4's */
	expect_cidr(&rq.pools.ipv6[0].pool, "fd00:2::/64");
	assert_false(addr_is_set(&rq.pools.ipv6[0].gateway.addr));
	assert_return_code(api_options_set(&rq.options, "vni", "1"), 0);
	assert_return_code(api_options_set(&rq.options, "vni", "4242"), 0);
	answer = api_net_encode_allocate(&rq.options, &len);
	assert_string_equal(answer,
			    "{\"Options\":{\"user-opt\":\"v\",\"vni\":\"4242\"}}");
	assert_int_equal(len, strlen(answer));
	api_network_allocate_free(&rq);
}

static void expect_ports(const struct api_endpoint_options *o)
{
	assert_int_equal(o->exposed_count, 2);
	assert_int_equal(o->exposed[0].proto, IPPROTO_TCP);
	assert_int_equal(o->exposed[0].port, 80);
	assert_int_equal(o->exposed[1].proto, IPPROTO_UDP);
	assert_int_equal(o->exposed[1].port, 53);
	assert_int_equal(o->map_count, 2);
	assert_int_equal(o->map[0].proto, IPPROTO_TCP);
	assert_int_equal(o->map[0].port, 80);
	assert_false(addr_is_set(&o->map[0].host_addr));
	assert_int_equal(o->map[0].host_port, 8080);
	assert_int_equal(o->map[0].host_port_end, 8080);
	assert_int_equal(o->map[1].proto, IPPROTO_SCTP);
	expect_addr(&o->map[1].host_addr, "127.0.0.1");
	assert_int_equal(o->map[1].host_port, 9000);
	assert_int_equal(o->map[1].host_port_end, 9010);
}

static void test_create_endpoint(void **state)
{
	static const uint8_t mac[MAC_SIZE] = {0x02, 0x11, 0x22, 0x33, 0x44, 0x5f};
	struct api_endpoint_create rq = decode_endpoint(CREATE_ENDPOINT);

	(void)state;
	assert_string_equal(rq.network, NET);
	assert_string_equal(rq.endpoint, EP);
	expect_cidr(&rq.addr4, "172.30.0.7/24");
	expect_cidr(&rq.addr6, "fd00:1::7/64");
	assert_true(rq.has_mac);
	assert_memory_equal(rq.mac, mac, MAC_SIZE);
	expect_ports(&rq.options);
	assert_int_equal(rq.options.list.count, 5); /* neither lists nor fractions */
	assert_string_equal(api_options_find(&rq.options.list, "fairlead.service"),
			    "web");
	assert_string_equal(api_options_find(&rq.options.list, "a"), "true");
	assert_string_equal(api_options_find(&rq.options.list, "b"), "7");
	assert_null(api_options_find(&rq.options.list, "c"));
	api_endpoint_create_free(&rq);
}

static void test_create_endpoint_variants(void **state)
{
	static const struct {
		const char *interface;
		const char *addr4;
		const char *addr6;
		bool has_mac;
	} cases[] = {
		{"{\"Address\":\"10.99.0.3/"
		 "24\",\"AddressIPv6\":\"\",\"MacAddress\":\"\"}",
		 "10.99.0.3/24", "", false},
		{"{\"Address\":\"\",\"AddressIPv6\":\"fd00::3/64\"}", "", "fd00::3/64",
		 false},
		{"{\"Address\":\"fd00::3/64\"}", "", "fd00::3/64", false},
		{"{\"MacAddress\":\"02:42:0a:63:00:4d\"}", "", "", true},
		{"{}", "", "", false},
		{"null", "", "", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct api_endpoint_create rq;
		auto_free char *json = NULL;

		assert_true(asprintf(&json, "{" IDS ",\"Interface\":%s,\"Options\":null}",
				     cases[i].interface) > 0);
		rq = decode_endpoint(json);
		expect_cidr(&rq.addr4, cases[i].addr4);
		expect_cidr(&rq.addr6, cases[i].addr6);
		assert_int_equal(rq.has_mac, cases[i].has_mac);
		assert_int_equal(rq.options.exposed_count, 0);
		assert_int_equal(rq.options.map_count, 0);
		api_endpoint_create_free(&rq);
	}
}

static void test_port_map(void **state)
{
	static const struct {
		const char *json;
		uint16_t first;
		uint16_t last;
		const char *host;
	} cases[] = {
		{"{\"HostPort\":80,\"HostPortEnd\":80}", 80, 80, ""},
		{"{\"HostPort\":80}", 80, 80, ""},
		{"{\"HostPort\":0,\"HostPortEnd\":0}", 0, 0, ""},
		{"{\"HostPort\":0,\"HostPortEnd\":99}", 0, 0, ""},
		{"{\"HostPort\":1,\"HostPortEnd\":65535,\"HostIP\":\"::1\"}", 1, 65535,
		 "::1"},
		{"{\"HostIP\":\"0.0.0.0\"}", 0, 0, "0.0.0.0"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct api_external rq;
		auto_free char *json = NULL;
		struct err e;

		assert_true(asprintf(&json,
				     "{" IDS
				     ",\"Options\":{\"com.docker.network.portmap\""
				     ":[%s]}}",
				     cases[i].json) > 0);
		assert_return_code(api_net_decode_external(json, strlen(json), &rq, &e),
				   0);
		assert_int_equal(rq.options.map_count, 1);
		assert_int_equal(rq.options.map[0].host_port, cases[i].first);
		assert_int_equal(rq.options.map[0].host_port_end, cases[i].last);
		expect_addr(&rq.options.map[0].host_addr, cases[i].host);
		api_external_free(&rq);
	}
}

static void test_join(void **state)
{
	struct api_join rq;
	struct err e;

	(void)state;
	assert_return_code(api_net_decode_join(JOIN, strlen(JOIN), &rq, &e), 0);
	assert_string_equal(rq.network, NET);
	assert_string_equal(rq.endpoint, EP);
	assert_string_equal(rq.sandbox, "/var/run/docker/netns/a1b2c3d4e5f6");
	expect_ports(&rq.options);
	assert_int_equal(rq.options.list.count, 0);
	api_join_free(&rq);
	api_join_free(&(struct api_join){0});
}

static void test_ids(void **state)
{
	const char *json = "{\"NetworkID\":\"" SWARM_NET "\",\"EndpointID\":\"" EP
			   "\",\"Unknown\":[{}]}";
	struct api_network_id network;
	struct api_endpoint_id ep;
	struct err e;

	(void)state;
	assert_return_code(api_net_decode_endpoint_id("NetworkDriver.Leave", json,
						      strlen(json), &ep, &e),
			   0);
	assert_string_equal(ep.network, SWARM_NET);
	assert_string_equal(ep.endpoint, EP);
	assert_return_code(api_net_decode_network_id("NetworkDriver.FreeNetwork", json,
						     strlen(json), &network, &e),
			   0);
	assert_string_equal(network.network, SWARM_NET);
}

static void test_discover(void **state)
{
	const char *peer = "{\"DiscoveryType\":1,\"DiscoveryData\":{\"Address\":"
			   "\"192.0.2.11\",\"BindAddress\":\"\",\"Self\":false}}";
	const char *key = "{\"DiscoveryType\":2,\"DiscoveryData\":[1,2,3]}";
	struct api_discover rq;
	struct err e;

	(void)state;
	assert_return_code(api_net_decode_discover("NetworkDriver.DiscoverNew", DISCOVER,
						   strlen(DISCOVER), &rq, &e),
			   0);
	assert_int_equal(rq.type, API_DISCOVERY_NODE);
	assert_true(rq.self);
	expect_addr(&rq.addr, "192.0.2.10");
	expect_addr(&rq.bind_addr, "fd00::10");
	assert_return_code(api_net_decode_discover("NetworkDriver.DiscoverDelete", peer,
						   strlen(peer), &rq, &e),
			   0);
	assert_false(rq.self);
	assert_false(addr_is_set(&rq.bind_addr));
	assert_return_code(api_net_decode_discover("NetworkDriver.DiscoverNew", key,
						   strlen(key), &rq, &e),
			   0);
	assert_int_equal(rq.type, 2);
	assert_false(addr_is_set(&rq.addr));
}

/* --- refusals ------------------------------------------------------------------ */

static void test_texts(void **state)
{
	static const struct {
		int (*decode)(const char *body, size_t len, struct err *e);
		const char *json;
		const char *text;
	} cases[] = {
		{join, "",
		 "NetworkDriver.Join: the request has no body, as the engine repeats "
		 "requests after a lost connection; nothing was done"},
		{join, "[]", "NetworkDriver.Join: the request is not a JSON object"},
		{join, "{\"NetworkID\":\"a\",\"NetworkID\":\"b\"}",
		 "NetworkDriver.Join: bad JSON: duplicate object key near "
		 "'\"NetworkID\"' "
		 "(line 1, column 28)"},
		{join, "{\"NetworkID\":5}",
		 "NetworkDriver.Join: \"NetworkID\" must be a text"},
		{join, "{\"NetworkID\":\"\"}",
		 "NetworkDriver.Join: \"NetworkID\" is empty"},
		{join, "{\"NetworkID\":\"../etc\"}",
		 "NetworkDriver.Join: \"NetworkID\" must be letters and digits"},
		{join, "{\"NetworkID\":\"" NET "0\"}",
		 "NetworkDriver.Join: \"NetworkID\" is too long"},
		{join, "{\"NetworkID\":\"\xc3\xa4\"}",
		 "NetworkDriver.Join: \"NetworkID\" must be letters and digits"},
		{join, "{" IDS ",\"SandboxKey\":\"netns/x\"}",
		 "NetworkDriver.Join: \"SandboxKey\" must be an absolute path"},
		{leave, "{\"NetworkID\":\"a\"}",
		 "NetworkDriver.Leave: \"EndpointID\" is missing"},
		{program,
		 "{" IDS ",\"Options\":{\"com.docker.network.portmap\":[{},{\"Port\":"
		 "65536}]}}",
		 "NetworkDriver.ProgramExternalConnectivity: \"Options.com.docker.network"
		 ".portmap[1].Port\" is out of range"},
		{program,
		 "{" IDS ",\"Options\":{\"com.docker.network.portmap\":[{\"HostPort\":9,"
		 "\"HostPortEnd\":8}]}}",
		 "NetworkDriver.ProgramExternalConnectivity: \"Options.com.docker.network"
		 ".portmap[0].HostPortEnd\" is lower than HostPort"},
		{program, "{" IDS ",\"Options\":{\"com.docker.network.portmap\":{}}}",
		 "NetworkDriver.ProgramExternalConnectivity: \"Options.com.docker.network"
		 ".portmap\" must be a list"},
		{create_endpoint,
		 "{" IDS ",\"Interface\":{\"MacAddress\":\"2:42:0:0:0:1\"}}",
		 "NetworkDriver.CreateEndpoint: \"Interface.MacAddress\" must be a MAC "
		 "address"},
		{create_endpoint, "{" IDS ",\"Interface\":{\"Address\":\"10.0.0.1\"}}",
		 "NetworkDriver.CreateEndpoint: \"Interface.Address\" must be an IP "
		 "address "
		 "with a prefix length"},
		{create_endpoint,
		 "{" IDS ",\"Interface\":{\"Address\":\"10.0.0.1/8\",\"AddressIPv6\":"
		 "\"10.0.0.2/8\"}}",
		 "NetworkDriver.CreateEndpoint: \"Interface.AddressIPv6\" is a second "
		 "address of its family"},
		{create_network,
		 "{\"NetworkID\":\"a\",\"IPv4Data\":[{\"Pool\":\"10.0.0.0/"
		 "8\",\"Gateway\":"
		 "\"fd00::1/64\"}]}",
		 "NetworkDriver.CreateNetwork: \"IPv4Data[0].Gateway\" is of another "
		 "family "
		 "than Pool"},
		{create_network, "{\"NetworkID\":\"a\",\"IPv4Data\":[{\"Pool\":\"\"}]}",
		 "NetworkDriver.CreateNetwork: \"IPv4Data[0].Pool\" is empty"},
		{create_network,
		 "{\"NetworkID\":\"a\",\"Options\":{\"com.docker.network.internal\":"
		 "\"maybe\"}}",
		 "NetworkDriver.CreateNetwork: \"Options.com.docker.network.internal\" "
		 "must "
		 "be true or false"},
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(
			cases[i].decode(cases[i].json, strlen(cases[i].json), &e),
			-EINVAL);
		assert_string_equal(e.text, cases[i].text);
	}
	assert_int_equal(join("x", 1, NULL), -EINVAL); /* without a place for the text */
}

/* head, then count times item with its first "#" replaced by a number, then tail. */
static char *repeated(const char *head, const char *item, size_t count, const char *tail)
{
	const char *mark = strchr(item, '#');
	size_t before = mark ? (size_t)(mark - item) : strlen(item);
	char *text =
		malloc(strlen(head) + count * (strlen(item) + 16) + strlen(tail) + 1);
	char *p = text;

	assert_non_null(text);
	p += sprintf(p, "%s", head);
	for (size_t i = 0; i < count; i++) {
		p += sprintf(p, "%s%.*s", i ? "," : "", (int)before, item);
		if (mark)
			p += sprintf(p, "%zu%s", i, mark + 1);
	}
	strcpy(p, tail);
	return text;
}

static int decode_repeated(const char *head, const char *item, size_t count)
{
	auto_free char *json = repeated(head, item, count, "]}}");
	struct err e;

	return join(json, strlen(json), &e);
}

static void test_limits(void **state)
{
	const char *exposed = "{" IDS ",\"Options\":{"
			      "\"com.docker.network.endpoint.exposedports\":[";
	const char *options = "{\"Options\":{\"com.docker.network.generic\":{";
	auto_free char *most = repeated(options, "\"k#\":\"v\"", API_OPTIONS_MAX, "}}}");
	auto_free char *more =
		repeated(options, "\"k#\":\"v\"", API_OPTIONS_MAX + 1, "}}}");
	auto_free char *name = NULL;
	auto_free char *value = NULL;
	struct err e;

	(void)state;
	assert_true(asprintf(&name, "%s\"%0*d\":\"v\"}}}", options,
			     API_OPTION_NAME_MAX + 1, 0) > 0);
	assert_true(asprintf(&value, "%s\"k\":\"%0*d\"}}}", options,
			     API_OPTION_VALUE_MAX + 1, 0) > 0);
	assert_int_equal(
		decode_repeated(exposed, "{\"Proto\":6,\"Port\":1}", API_PORTS_MAX), 0);
	assert_int_equal(
		decode_repeated(exposed, "{\"Proto\":6,\"Port\":1}", API_PORTS_MAX + 1),
		-EINVAL);
	assert_int_equal(gw_check(most, strlen(most), &e), 0);
	assert_int_equal(gw_check(more, strlen(more), &e), -EINVAL);
	assert_non_null(strstr(e.text, "generic\" has too many entries"));
	assert_int_equal(gw_check(name, strlen(name), &e), -EINVAL);
	assert_int_equal(gw_check(value, strlen(value), &e), -EINVAL);
	assert_string_equal(e.text,
			    "NetworkDriver.GwAllocCheck: "
			    "\"Options.com.docker.network.generic.k\" is too long");
}

static void test_options(void **state)
{
	struct api_options o = {0};
	char name[16];

	(void)state;
	for (int i = 0; i < API_OPTIONS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "k%d", i);
		assert_return_code(api_options_set(&o, name, "v"), 0);
	}
	assert_int_equal(api_options_set(&o, "one more", "v"), -E2BIG);
	assert_return_code(api_options_set(&o, "k7", "w"), 0);
	assert_string_equal(api_options_find(&o, "k7"), "w");
	api_options_fini(&o);
	assert_null(api_options_find(&o, "k7"));
	api_options_fini(&o);
}

/* --- answers ------------------------------------------------------------------- */

static void expect_text(char *text, size_t len, const char *expected)
{
	assert_non_null(text);
	assert_string_equal(text, expected);
	assert_int_equal(len, strlen(expected));
	free(text);
}

static struct addr addr_of(const char *text)
{
	struct addr a;

	assert_return_code(addr_parse(text, &a), 0);
	return a;
}

static struct cidr cidr_of(const char *text)
{
	struct cidr c;

	assert_return_code(cidr_parse(text, &c), 0);
	return c;
}

static void test_answers(void **state)
{
	static const uint8_t mac[MAC_SIZE] = {0x02, 0x42, 0xac, 0x1e, 0x00, 0x07};
	struct api_options none = {0};
	size_t n = 0;
	char *text;

	(void)state;
	text = api_encode_empty(&n);
	expect_text(text, n, "{}");
	text = api_net_encode_activate(&n);
	expect_text(text, n, "{\"Implements\":[\"NetworkDriver\",\"IpamDriver\"]}");
	text = api_net_encode_capabilities("local", false, &n);
	expect_text(text, n, "{\"Scope\":\"local\",\"ConnectivityScope\":\"local\"}");
	text = api_net_encode_capabilities("global", true, &n);
	expect_text(text, n,
		    "{\"Scope\":\"global\",\"ConnectivityScope\":\"global\","
		    "\"GwAllocChecker\":true}");
	text = api_net_encode_gw_check(true, false, &n);
	expect_text(text, n, "{\"SkipIPv4\":true,\"SkipIPv6\":false}");
	text = api_net_encode_allocate(&none, &n);
	expect_text(text, n, "{\"Options\":{}}");
	text = api_net_encode_endpoint(mac, &n);
	expect_text(text, n, "{\"Interface\":{\"MacAddress\":\"02:42:ac:1e:00:07\"}}");
	text = api_net_encode_endpoint(NULL, &n);
	expect_text(text, n, "{\"Interface\":{}}");
	text = api_net_encode_oper_info(&n);
	expect_text(text, n, "{\"Value\":{}}");
}

static void test_join_answer(void **state)
{
	struct api_route routes[] = {
		{cidr_of("10.99.0.0/16"), addr_of("172.30.0.254")},
		{cidr_of("192.0.2.0/24"), {0}},
	};
	struct api_join_answer full = {
		.src_name = "flc9f8e7d",
		.dst_prefix = "eth",
		.gateway4 = addr_of("172.30.0.1"),
		.gateway6 = addr_of("fd00:1::1"),
		.routes = routes,
		.route_count = ARRAY_SIZE(routes),
	};
	struct api_join_answer internal = {
		.src_name = "flc9f8e7d",
		.dst_prefix = "eth",
		.disable_gateway_service = true,
	};
	struct api_join_answer nothing = {0};
	size_t n = 0;
	char *text;

	(void)state;
	text = api_net_encode_join(&full, &n);
	expect_text(
		text, n,
		"{\"InterfaceName\":{\"SrcName\":\"flc9f8e7d\",\"DstPrefix\":\"eth\"},"
		"\"Gateway\":\"172.30.0.1\",\"GatewayIPv6\":\"fd00:1::1\","
		"\"StaticRoutes\":[{\"Destination\":\"10.99.0.0/16\",\"RouteType\":0,"
		"\"NextHop\":\"172.30.0.254\"},{\"Destination\":\"192.0.2.0/24\","
		"\"RouteType\":1,\"NextHop\":\"\"}],\"DisableGatewayService\":false}");
	text = api_net_encode_join(&internal, &n);
	expect_text(
		text, n,
		"{\"InterfaceName\":{\"SrcName\":\"flc9f8e7d\",\"DstPrefix\":\"eth\"},"
		"\"DisableGatewayService\":true}");
	text = api_net_encode_join(&nothing, &n);
	expect_text(text, n, "{\"DisableGatewayService\":false}");
}

/* Either the whole answer or none. */
static void test_answers_no_memory(void **state)
{
	struct api_option option = {.name = (char *)"a", .value = (char *)"b"};
	struct api_options options = {.count = 1, .list = &option};
	struct api_route route = {cidr_of("10.99.0.0/16"), addr_of("172.30.0.254")};
	struct api_join_answer answer = {
		.src_name = "fl",
		.dst_prefix = "eth",
		.routes = &route,
		.route_count = 1,
	};
	char *joined = NULL;
	char *allocated = NULL;
	char *error = NULL;
	size_t n;

	(void)state;
	json_set_alloc_funcs(mutate_malloc, free);
	for (long left = 0; !joined || !allocated || !error; left++) {
		assert_true(left < 1000);
		free(joined);
		free(allocated);
		free(error);
		mutate_left = left;
		joined = api_net_encode_join(&answer, &n);
		mutate_left = left;
		allocated = api_net_encode_allocate(&options, &n);
		mutate_left = left;
		error = api_encode_error("cut \xc3", &n);
	}
	json_set_alloc_funcs(malloc, free);
	mutate_left = -1;
	assert_non_null(strstr(joined, "StaticRoutes"));
	assert_string_equal(allocated, "{\"Options\":{\"a\":\"b\"}}");
	assert_string_equal(error, "{\"Err\":\"cut ?\",\"Error\":\"cut ?\"}");
	free(joined);
	free(allocated);
	free(error);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_create_network),
		cmocka_unit_test(test_create_network_versions),
		cmocka_unit_test(test_switch_texts),
		cmocka_unit_test(test_allocate_network),
		cmocka_unit_test(test_create_endpoint),
		cmocka_unit_test(test_create_endpoint_variants),
		cmocka_unit_test(test_port_map),
		cmocka_unit_test(test_join),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_discover),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_join_answer),
		cmocka_unit_test(test_answers_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
