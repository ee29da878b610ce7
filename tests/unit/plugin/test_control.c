// SPDX-License-Identifier: GPL-2.0-or-later
/* The admin socket's pages, on a node without a kernel and requests without HTTP. */
#include "plugin/control.h"

#include "tests/unit/plugin/node_fixture.h"

#include <jansson.h>
#include <stdio.h>

struct http_request {
	const char *method;
	const char *path;
	unsigned int status; /* 0: no answer yet */
	json_t *body;
	char *text; /* a body that is not JSON */
};

const char *__wrap_http_request_method(const struct http_request *rq);
const char *__wrap_http_request_path(const struct http_request *rq);
void __wrap_http_reply(struct http_request *rq, unsigned int status,
		       const char *content_type, char *body, size_t len);
void __wrap_http_reply_error(struct http_request *rq, unsigned int status,
			     const char *text);

const char *__wrap_http_request_method(const struct http_request *rq)
{
	return rq->method;
}

const char *__wrap_http_request_path(const struct http_request *rq)
{
	return rq->path;
}

void __wrap_http_reply(struct http_request *rq, unsigned int status,
		       const char *content_type, char *body, size_t len)
{
	if (!strcmp(content_type, "application/json")) {
		rq->body = json_loadb(body, len, 0, NULL);
		assert_non_null(rq->body);
	} else {
		rq->text = strndup(body, len);
	}
	rq->status = status;
	free(body);
}

void __wrap_http_reply_error(struct http_request *rq, unsigned int status,
			     const char *text)
{
	assert_true(text[0] != '\0');
	rq->status = status;
}

static const struct metrics counters;

static bool is_answered(const void *arg)
{
	return ((const struct http_request *)arg)->status != 0;
}

static struct control *new_control(struct fixture *f)
{
	const struct control_config config = {f->node, "nft", "", &counters};
	struct control *c = NULL;
	struct err e = {0};

	assert_int_equal(control_new(&config, &c, &e), 0);
	return c;
}

/* The names of all networks, by their order. */
static void assert_names(struct fixture *f, struct control *c, const char *expected)
{
	struct http_request rq = {.method = "GET", .path = "/v1/status"};
	char names[256] = "";
	json_t *network;
	size_t i;

	control_handle(c, &rq);
	turn_until(f, is_answered, &rq);
	assert_int_equal(rq.status, 200);
	json_array_foreach (json_object_get(rq.body, "networks"), i, network) {
		strcat(names, json_string_value(json_object_get(network, "id")));
		strcat(names, "=");
		strcat(names, json_string_value(json_object_get(network, "name")));
		strcat(names, " ");
	}
	assert_string_equal(names, expected);
	json_decref(rq.body);
}

static int remove_network(struct node *node, void *arg)
{
	struct network_config config;
	struct err e = {0};

	return desired_network_delete(node_desired(node), arg, &config, &e);
}

static void test_names_are_forgotten(void **state)
{
	struct fixture *f = *state;
	struct control *c = new_control(f);

	assert_int_equal(in_store(f, make_network, "n1"), 0);
	control_set_network_name(c, "n1", "app");
	control_set_network_name(c, "n2", "bridge");
	assert_names(f, c, "n1=app ");
	assert_names(f, c, "n1=app "); /* it stays */
	assert_int_equal(in_store(f, remove_network, "n1"), 0);
	assert_names(f, c, "");
	assert_int_equal(in_store(f, make_network, "n2"), 0);
	assert_names(f, c, "n2= "); /* the name was of another life */
	control_set_network_name(c, "n2", "new");
	assert_names(f, c, "n2=new ");
	control_free(c);
}

static void test_name_of_a_network_that_is_newer(void **state)
{
	struct fixture *f = *state;
	struct control *c = new_control(f);
	struct http_request rq = {.method = "GET", .path = "/v1/status"};

	control_handle(c, &rq);
	assert_int_equal(in_store(f, make_network, "n1"), 0); /* after the list */
	control_set_network_name(c, "n1", "app");
	turn_until(f, is_answered, &rq);
	json_decref(rq.body);
	assert_names(f, c, "n1=app ");
	control_free(c);
}

static void test_names_are_bounded(void **state)
{
	struct fixture *f = *state;
	struct control *c = new_control(f);
	char id[16];

	assert_int_equal(in_store(f, make_network, "n1"), 0);
	control_set_network_name(c, "n1", "app");
	for (unsigned int i = 0; i < 4096; i++) {
		(void)snprintf(id, sizeof(id), "x%u", i);
		control_set_network_name(c, id, "other");
	}
	assert_names(f, c, "n1= "); /* the oldest */
	control_free(c);
}

/* --- gauges --------------------------------------------------------------------------
 */

static void lease(struct ipam *m, const char *pool, const char *address)
{
	const struct ipam_address_request rq = {
		.pool_id = pool, .address = address, .owner = ""};
	struct cidr leased;
	struct err e = {0};

	if (ipam_address_request(m, &rq, &leased, &e) < 0)
		fail_msg("%s", e.text);
}

/* Pool 10.1.0.0/24 of ours with network "n1", its endpoint "e1" in service "web". */
static int make_service(struct node *node, void *arg)
{
	struct desired *d = node_desired(node);
	const struct ipam_pool_request pool_rq = {.space = IPAM_SPACE_LOCAL,
						  .pool = "10.1.0.0/24",
						  .sub_pool = "",
						  .vip_range = ""};
	struct api_pool pool = {.space = IPAM_SPACE_LOCAL};
	struct api_network_create rq = {.network = "n1",
					.pools = {.ipv4 = &pool, .count4 = 1}};
	const struct registry_option option = {"fairlead.service", "web"};
	const struct registry_endpoint ep = {
		.id = "e1", .network = "n1", .options = &option, .option_count = 1};
	struct ipam_pool_answer made;
	struct desired_network network;
	struct err e = {0};

	(void)arg;
	assert_int_equal(ipam_pool_request(desired_ipam(d), &pool_rq, &made, &e), 0);
	assert_return_code(cidr_parse("10.1.0.0/24", &pool.pool), 0);
	assert_return_code(cidr_parse("10.1.0.1/24", &pool.gateway), 0);
	lease(desired_ipam(d), made.id, "10.1.0.1");
	lease(desired_ipam(d), made.id, "10.1.0.2");
	assert_int_equal(desired_network_create(d, &rq, &network, &e), 0);
	return registry_endpoint_add(desired_registry(d), &ep, &e);
}

static int make_sub_pool(struct node *node, void *arg)
{
	const struct ipam_pool_request rq = {.space = IPAM_SPACE_GLOBAL,
					     .pool = "10.9.0.0/16",
					     .sub_pool = "10.9.5.0/24",
					     .vip_range = "none"};
	struct ipam_pool_answer made;
	struct err e = {0};

	(void)arg;
	return ipam_pool_request(desired_ipam(node_desired(node)), &rq, &made, &e);
}

static int drop_endpoint(struct node *node, void *arg)
{
	struct err e = {0};

	return registry_endpoint_del(desired_registry(node_desired(node)), arg, &e);
}

static void assert_pools(struct fixture *f, struct control *c, const char *expected)
{
	struct http_request rq = {.method = "GET", .path = "/v1/pools"};
	char *text;

	control_handle(c, &rq);
	turn_until(f, is_answered, &rq);
	assert_int_equal(rq.status, 200);
	text = json_dumps(rq.body, JSON_COMPACT);
	assert_string_equal(text, expected);
	free(text);
	json_decref(rq.body);
}

#define POOL_OF_N1(vips)                                                       \
	"{\"id\":\"fairlead-local/10.1.0.0/24\",\"space\":\"fairlead-local\"," \
	"\"pool\":\"10.1.0.0/24\",\"sub_pool\":\"\",\"network\":\"n1\","       \
	"\"network_name\":\"app\",\"capacity\":191,\"used\":2,\"free\":189,"   \
	"\"vip_range\":\"10.1.0.192/26\",\"vips\":" vips "}"

static void test_pools(void **state)
{
	struct fixture *f = *state;
	struct control *c = new_control(f);

	assert_pools(f, c, "{\"pools\":[]}");
	assert_int_equal(in_store(f, make_service, NULL), 0);
	control_set_network_name(c, "n1", "app");
	assert_pools(f, c,
		     "{\"pools\":[" POOL_OF_N1(
			     "{\"capacity\":62,\"used\":1,\"kept\":0}") "]}");
	assert_int_equal(in_store(f, drop_endpoint, "e1"), 0);
	assert_int_equal(in_store(f, make_sub_pool, NULL), 0);
	assert_pools(
		f, c,
		"{\"pools\":["
		"{\"id\":\"fairlead-global/10.9.0.0/16/10.9.5.0/24\","
		"\"space\":\"fairlead-global\",\"pool\":\"10.9.0.0/16\","
		"\"sub_pool\":\"10.9.5.0/24\",\"network\":\"\",\"network_name\":\"\","
		"\"capacity\":256,\"used\":0,\"free\":256,\"vip_range\":\"\"}"
		"," POOL_OF_N1("{\"capacity\":62,\"used\":0,\"kept\":1}") "]}");
	control_free(c);
}

static void test_metrics(void **state)
{
	static const char *const lines[] = {
		"fairlead_engine_connected 1\n",
		"fairlead_engine_synced 0\n",
		"fairlead_pool_used_addresses{space=\"fairlead-local\",pool=\"10.1.0.0/"
		"24\""
		",network=\"app\",network_id=\"n1\"} 2\n",
		"fairlead_leases{space=\"fairlead-local\"} 2\n",
		"fairlead_vip_used_addresses{range=\"10.1.0.192/26\",network=\"app\","
		"network_id=\"n1\"} 1\n",
		"fairlead_networks 1\n",
		"fairlead_services 1\n",
		"fairlead_services_kept 0\n",
		"fairlead_services_failing 0\n",
		"fairlead_backends{state=\"active\"} 1\n",
	};
	struct fixture *f = *state;
	struct control *c = new_control(f);
	struct http_request rq = {.method = "GET", .path = "/metrics"};

	assert_int_equal(in_store(f, make_service, NULL), 0);
	control_set_network_name(c, "n1", "app");
	control_set_engine(c, "1.41", false, NULL);
	control_handle(c, &rq);
	turn_until(f, is_answered, &rq);
	assert_int_equal(rq.status, 200);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (!strstr(rq.text, lines[i]))
			fail_msg("no %sin:\n%s", lines[i], rq.text);
	free(rq.text);
	control_free(c);
}

static void test_pages(void **state)
{
	static const struct {
		const char *method;
		const char *path;
		unsigned int status;
	} cases[] = {
		{"GET", "/healthz", 200},    {"GET", "/readyz", 503},
		{"GET", "/nowhere", 404},    {"POST", "/healthz", 405},
		{"GET", "/v1/status/", 404}, {"POST", "/metrics", 405},
	};
	struct fixture *f = *state;
	struct control *c = new_control(f);
	struct http_request ready = {.method = "GET", .path = "/readyz"};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct http_request rq = {.method = cases[i].method,
					  .path = cases[i].path};

		control_handle(c, &rq);
		free(rq.text);
		assert_int_equal(rq.status, cases[i].status);
	}
	control_set_ready(c, true);
	control_handle(c, &ready);
	assert_int_equal(ready.status, 200);
	free(ready.text);
	control_free(c);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_names_are_forgotten),
		TEST(test_name_of_a_network_that_is_newer),
		TEST(test_names_are_bounded),
		TEST(test_pools),
		TEST(test_metrics),
		TEST(test_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
