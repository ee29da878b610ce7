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

static bool is_answered(const void *arg)
{
	return ((const struct http_request *)arg)->status != 0;
}

static struct control *new_control(struct fixture *f)
{
	const struct control_config config = {f->node, "nft", ""};
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

static void test_pages(void **state)
{
	static const struct {
		const char *method;
		const char *path;
		unsigned int status;
	} cases[] = {
		{"GET", "/healthz", 200},    {"GET", "/readyz", 503},
		{"GET", "/nowhere", 404},    {"POST", "/healthz", 405},
		{"GET", "/v1/status/", 404},
	};
	struct fixture *f = *state;
	struct control *c = new_control(f);
	struct http_request ready = {.method = "GET", .path = "/readyz"};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct http_request rq = {cases[i].method, cases[i].path, 0, NULL};

		control_handle(c, &rq);
		assert_int_equal(rq.status, cases[i].status);
	}
	control_set_ready(c, true);
	control_handle(c, &ready);
	assert_int_equal(ready.status, 200);
	control_free(c);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_names_are_forgotten),
		TEST(test_name_of_a_network_that_is_newer),
		TEST(test_names_are_bounded),
		TEST(test_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
