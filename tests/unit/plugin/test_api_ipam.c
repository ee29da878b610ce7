// SPDX-License-Identifier: GPL-2.0-or-later
/* IpamDriver's wire form: requests as the engines and the swarm manager send them,
 * refusals, and the answers byte for byte. */
#include "plugin/api_ipam.h"

#include "tests/unit/plugin/mutate.h"

#define REQUEST_POOL                                                       \
	"{\"AddressSpace\":\"fairlead-local\",\"Pool\":\"172.30.0.0/16\"," \
	"\"SubPool\":\"172.30.5.0/24\",\"Options\":{\"ipam-opt\":\"v\"},\"V6\":false}"
#define REQUEST_ADDRESS                                                            \
	"{\"PoolID\":\"fairlead-local/172.30.0.0/16\",\"Address\":\"172.30.0.9\"," \
	"\"Options\":{\"RequestAddressType\":\"com.docker.network.gateway\","      \
	"\"com.docker.network.ipam.serial\":\"true\","                             \
	"\"com.docker.network.endpoint.name\":\"c1\","                             \
	"\"com.docker.network.endpoint.macaddress\":\"02:42:0a:63:00:4d\"}}"
#define RELEASE_POOL "{\"PoolID\":\"fairlead-local/172.30.0.0/16/172.30.5.0/24\"}"
#define RELEASE_ADDRESS \
	"{\"PoolID\":\"fairlead-global/fd00:1::/64\",\"Address\":\"fd00:1::7\"}"

/* --- every field of every request ---------------------------------------------- */

static int request_pool(const char *body, size_t len, struct err *e)
{
	struct api_pool_request rq;
	int r = api_ipam_decode_pool_request(body, len, &rq, e);

	if (r == 0)
		api_pool_request_free(&rq);
	return r;
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

	if (r == 0)
		api_address_request_free(&rq);
	return r;
}

static int release_address(const char *body, size_t len, struct err *e)
{
	struct api_address_release rq;

	return api_ipam_decode_address_release(body, len, &rq, e);
}

static void test_mutations(void **state)
{
	static const struct example examples[] = {
		{"IpamDriver.RequestPool", request_pool, REQUEST_POOL, {"AddressSpace"}},
		{"IpamDriver.ReleasePool", release_pool, RELEASE_POOL, {"PoolID"}},
		{"IpamDriver.RequestAddress",
		 request_address,
		 REQUEST_ADDRESS,
		 {"PoolID"}},
		{"IpamDriver.ReleaseAddress",
		 release_address,
		 RELEASE_ADDRESS,
		 {"PoolID", "Address"}},
	};

	(void)state;
	mutate_examples(examples, ARRAY_SIZE(examples));
}

/* --- requests ------------------------------------------------------------------ */

static void test_request_pool(void **state)
{
	static const struct {
		const char *json;
		const char *pool;
		const char *sub_pool;
		bool v6;
		unsigned int options;
	} cases[] = {
		{REQUEST_POOL, "172.30.0.0/16", "172.30.5.0/24", false, 1},
		{"{\"AddressSpace\":\"s\",\"Pool\":\"\",\"SubPool\":\"\",\"Options\":{"
		 "\"lab.ipam\":\"2\"},\"V6\":false}\n",
		 "", "", false, 1},
		{"{\"AddressSpace\":\"s\",\"Pool\":\"\",\"SubPool\":\"\",\"Options\":"
		 "null,"
		 "\"V6\":true}\n",
		 "", "", true, 0},
		{"{\"AddressSpace\":\"s\",\"Pool\":\"0.0.0.0/24\"}", "0.0.0.0/24", "",
		 false, 0},
		{"{\"AddressSpace\":\"s\",\"V6\":\"true\"}", "", "", true, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *json = cases[i].json;
		struct api_pool_request rq;
		struct err e;

		assert_return_code(
			api_ipam_decode_pool_request(json, strlen(json), &rq, &e), 0);
		assert_string_equal(rq.space, i ? "s" : "fairlead-local");
		assert_string_equal(rq.pool, cases[i].pool);
		assert_string_equal(rq.sub_pool, cases[i].sub_pool);
		assert_int_equal(rq.v6, cases[i].v6);
		assert_int_equal(rq.options.count, cases[i].options);
		api_pool_request_free(&rq);
	}
}

static void test_request_address(void **state)
{
	static const struct {
		const char *json;
		const char *address;
		bool gateway;
		bool serial;
		const char *owner;
		bool has_mac;
	} cases[] = {
		{REQUEST_ADDRESS, "172.30.0.9", true, true, "c1", true},
		/* 29.7.2, a task */
		{"{\"PoolID\":\"p\",\"Address\":\"10.99.1.5\",\"Options\":{\"com.docker."
		 "network.endpoint.name\":\"svc.1.o0e7nf0vrowae3ctwkgeftrb3\"}}\n",
		 "10.99.1.5", false, false, "svc.1.o0e7nf0vrowae3ctwkgeftrb3", false},
		/* 20.10 */
		{"{\"PoolID\":\"p\",\"Address\":\"\",\"Options\":null}\n", "", false,
		 false, "", false},
		/* the swarm manager */
		{"{\"PoolID\":\"p\",\"Address\":\"\",\"Options\":{\"RequestAddressType\":"
		 "\"com.docker.network.gateway\",\"com.docker.network.ipam.serial\":"
		 "\"true\",\"lab.ipam\":\"2\"}}\n",
		 "", true, true, "", false},
		{"{\"PoolID\":\"p\",\"Options\":{\"RequestAddressType\":\"other\","
		 "\"com.docker.network.ipam.serial\":\"false\"}}",
		 "", false, false, "", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *json = cases[i].json;
		struct api_address_request rq;
		struct err e;

		assert_return_code(
			api_ipam_decode_address_request(json, strlen(json), &rq, &e), 0);
		assert_string_equal(rq.pool_id, i ? "p" : "fairlead-local/172.30.0.0/16");
		assert_string_equal(rq.address, cases[i].address);
		assert_int_equal(rq.gateway, cases[i].gateway);
		assert_int_equal(rq.serial, cases[i].serial);
		assert_string_equal(rq.owner, cases[i].owner);
		assert_int_equal(rq.has_mac, cases[i].has_mac);
		api_address_request_free(&rq);
	}
}

/* A container may have any name; that it is too long for us is no reason to fail. */
static void test_long_owner(void **state)
{
	struct api_address_request rq;
	auto_free char *json = NULL;
	struct err e;

	(void)state;
	assert_true(asprintf(&json,
			     "{\"PoolID\":\"p\",\"Options\":{"
			     "\"com.docker.network.endpoint.name\":\"%0300d\"}}",
			     0) > 0);
	assert_return_code(api_ipam_decode_address_request(json, strlen(json), &rq, &e),
			   0);
	assert_string_equal(rq.owner, "");
	api_address_request_free(&rq);
}

static void test_releases(void **state)
{
	struct api_address_release address;
	struct api_pool_release pool;
	struct err e;

	(void)state;
	assert_return_code(api_ipam_decode_pool_release(RELEASE_POOL,
							strlen(RELEASE_POOL), &pool, &e),
			   0);
	assert_string_equal(pool.pool_id, "fairlead-local/172.30.0.0/16/172.30.5.0/24");
	assert_return_code(api_ipam_decode_address_release(RELEASE_ADDRESS,
							   strlen(RELEASE_ADDRESS),
							   &address, &e),
			   0);
	assert_string_equal(address.pool_id, "fairlead-global/fd00:1::/64");
	assert_string_equal(address.address, "fd00:1::7");
}

static void test_texts(void **state)
{
	static const struct {
		int (*decode)(const char *body, size_t len, struct err *e);
		const char *json;
		const char *text;
	} cases[] = {
		{request_pool, "",
		 "IpamDriver.RequestPool: the request has no body, as the engine repeats "
		 "requests after a lost connection; nothing was done"},
		{request_pool, "{\"AddressSpace\":\"\"}",
		 "IpamDriver.RequestPool: \"AddressSpace\" is empty"},
		{request_pool, "{\"AddressSpace\":\"s\",\"Pool\":12}",
		 "IpamDriver.RequestPool: \"Pool\" must be a text"},
		{request_pool, "{\"AddressSpace\":\"s\",\"V6\":\"six\"}",
		 "IpamDriver.RequestPool: \"V6\" must be true or false"},
		{request_pool, "{\"AddressSpace\":\"s\",\"Options\":[]}",
		 "IpamDriver.RequestPool: \"Options\" must be an object"},
		{release_pool, "{}", "IpamDriver.ReleasePool: \"PoolID\" is missing"},
		{request_address,
		 "{\"PoolID\":\"p\",\"Address\":"
		 "\"00000000000000000000000000000000000000000"
		 "00000000000000\"}",
		 "IpamDriver.RequestAddress: \"Address\" is too long"},
		{request_address,
		 "{\"PoolID\":\"p\",\"Options\":{\"com.docker.network.endpoint."
		 "macaddress\":"
		 "\"AkIKYwBN\"}}",
		 "IpamDriver.RequestAddress: \"Options.com.docker.network.endpoint."
		 "macaddress\" must be a MAC address"},
		{release_address, "{\"PoolID\":\"p\",\"Address\":\"\"}",
		 "IpamDriver.ReleaseAddress: \"Address\" is empty"},
	};
	struct err e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(
			cases[i].decode(cases[i].json, strlen(cases[i].json), &e),
			-EINVAL);
		assert_string_equal(e.text, cases[i].text);
	}
}

/* --- answers ------------------------------------------------------------------- */

static void expect_text(char *text, size_t len, const char *expected)
{
	assert_non_null(text);
	assert_string_equal(text, expected);
	assert_int_equal(len, strlen(expected));
	free(text);
}

static void test_answers(void **state)
{
	struct cidr gateway;
	struct cidr pool;
	size_t n = 0;
	char *text;

	(void)state;
	assert_return_code(cidr_parse("172.30.0.0/16", &pool), 0);
	assert_return_code(cidr_parse("172.30.0.1/16", &gateway), 0);
	text = api_ipam_encode_capabilities(false, true, &n);
	expect_text(text, n,
		    "{\"RequiresMACAddress\":false,\"RequiresRequestReplay\":true}");
	text = api_ipam_encode_spaces("fairlead-local", "fairlead-global", &n);
	expect_text(text, n,
		    "{\"LocalDefaultAddressSpace\":\"fairlead-local\","
		    "\"GlobalDefaultAddressSpace\":\"fairlead-global\"}");
	text = api_ipam_encode_pool("s/172.30.0.0/16", &pool, NULL, &n);
	expect_text(text, n,
		    "{\"PoolID\":\"s/172.30.0.0/16\",\"Pool\":\"172.30.0.0/16\","
		    "\"Data\":{}}");
	text = api_ipam_encode_pool("s/172.30.0.0/16", &pool, &gateway, &n);
	expect_text(text, n,
		    "{\"PoolID\":\"s/172.30.0.0/16\",\"Pool\":\"172.30.0.0/16\","
		    "\"Data\":{\"com.docker.network.gateway\":\"172.30.0.1/16\"}}");
	text = api_ipam_encode_address(&gateway, &n);
	expect_text(text, n, "{\"Address\":\"172.30.0.1/16\",\"Data\":{}}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_request_pool),
		cmocka_unit_test(test_request_address),
		cmocka_unit_test(test_long_owner),
		cmocka_unit_test(test_releases),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
