// SPDX-License-Identifier: GPL-2.0-or-later
/* Rows of the driver: what is put comes back the same after a reopen, what is deleted
 * takes along what hangs on it, and a loader that stops leaves nothing behind. */
#include "driver/store.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LOADED_MAX 16

#define assert_ok(expr)                                                \
	do {                                                           \
		struct err err_ = {0};                                 \
		struct err *e = &err_;                                 \
		int got_ = (expr);                                     \
		if (got_ < 0)                                          \
			fail_msg("%s: %d %s", #expr, got_, err_.text); \
	} while (0)

struct fixture {
	char dir[64];
	char path[96];
	struct db *db;
	struct driver_store *store;
	/* what the loader gave */
	unsigned int network_count;
	unsigned int endpoint_count;
	unsigned int port_count;
	int stop_at; /* the loader refuses its n-th object, 0: none */
	int seen;
	struct store_network *networks[LOADED_MAX];
	struct store_endpoint *endpoints[LOADED_MAX];
	struct {
		char endpoint[NETWORK_ID_SIZE];
		struct ports_claim claim;
	} ports[LOADED_MAX];
};

static void open_store(struct fixture *f)
{
	assert_ok(db_open(f->path, &f->db, e));
	assert_ok(driver_store_new(f->db, &f->store, e));
}

static void close_store(struct fixture *f)
{
	driver_store_free(f->store);
	db_close(f->db);
	f->store = NULL;
	f->db = NULL;
}

static void forget(struct fixture *f)
{
	for (unsigned int i = 0; i < f->network_count; i++)
		store_network_free(f->networks[i]);
	for (unsigned int i = 0; i < f->endpoint_count; i++)
		store_endpoint_free(f->endpoints[i]);
	f->network_count = f->endpoint_count = f->port_count = 0;
	f->seen = 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/fl-store-XXXXXX");
	if (!mkdtemp(f->dir))
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/x.db", f->dir);
	open_store(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	int r;

	forget(f);
	close_store(f);
	r = unlink(f->path) | rmdir(f->dir);
	free(f);
	return r;
}

static int refuse(struct fixture *f, struct err *e)
{
	if (++f->seen != f->stop_at)
		return 0;
	return err_set(e, -ENOMEM, "no more");
}

static int on_network(void *ctx, struct store_network *n, struct err *e)
{
	struct fixture *f = ctx;
	int r = refuse(f, e);

	if (r < 0)
		store_network_free(n);
	else
		f->networks[f->network_count++] = n;
	return r;
}

static int on_endpoint(void *ctx, struct store_endpoint *ep, struct err *e)
{
	struct fixture *f = ctx;
	int r = refuse(f, e);

	if (r < 0)
		store_endpoint_free(ep);
	else
		f->endpoints[f->endpoint_count++] = ep;
	return r;
}

static int on_port(void *ctx, const char *endpoint, const struct ports_claim *claim,
		   struct err *e)
{
	struct fixture *f = ctx;
	int r = refuse(f, e);

	if (r < 0)
		return r;
	(void)str_copy(f->ports[f->port_count].endpoint,
		       sizeof(f->ports[f->port_count].endpoint), endpoint);
	f->ports[f->port_count++].claim = *claim;
	return 0;
}

static int load(struct fixture *f, struct err *e)
{
	const struct driver_store_loader loader = {on_network, on_endpoint, on_port, f};

	forget(f);
	return driver_store_load(f->store, &loader, e);
}

static void reopen(struct fixture *f)
{
	close_store(f);
	open_store(f);
	assert_ok(load(f, e));
}

static struct cidr prefix(const char *text)
{
	struct cidr c;

	assert_int_equal(cidr_parse(text, &c), 0);
	return c;
}

static struct addr address(const char *text)
{
	struct addr a = {0};

	if (*text)
		assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

/* A network of the given pools; its options: count of them. */
static struct store_network *make_network(const char *id, unsigned int options,
					  const char *const *pools, unsigned int count)
{
	struct store_network *n = calloc(1, sizeof(*n));
	char value[16];

	assert_non_null(n);
	assert_int_equal(str_copy(n->config.id, sizeof(n->config.id), id), 0);
	for (unsigned int i = 0; i < count; i++)
		n->config.subnets[i].pool = prefix(pools[i]);
	n->config.subnet_count = count;
	for (unsigned int i = 0; i < options; i++) {
		(void)snprintf(value, sizeof(value), "%u", i);
		assert_int_equal(store_options_add(&n->options, value, id), 0);
	}
	return n;
}

static void put_network(struct fixture *f, const char *id)
{
	static const char *const pools[] = {"10.1.0.0/24"};
	struct store_network *n = make_network(id, 2, pools, 1);

	assert_ok(driver_store_network_put(f->store, n, e));
	store_network_free(n);
}

static void put_endpoint(struct fixture *f, const char *id, const char *network,
			 unsigned int options)
{
	struct store_endpoint *ep = calloc(1, sizeof(*ep));
	char name[16];

	assert_non_null(ep);
	assert_int_equal(str_copy(ep->base.id, sizeof(ep->base.id), id), 0);
	assert_int_equal(str_copy(ep->network, sizeof(ep->network), network), 0);
	for (unsigned int i = 0; i < options; i++) {
		(void)snprintf(name, sizeof(name), "o%u", i);
		assert_int_equal(store_options_add(&ep->options, name, id), 0);
	}
	assert_ok(driver_store_endpoint_put(f->store, ep, e));
	store_endpoint_free(ep);
}

static void add_port(struct fixture *f, const char *endpoint, uint16_t host_port)
{
	const struct ports_claim c = {
		.proto = IPPROTO_TCP, .host_port = host_port, .port = 80};

	assert_ok(driver_store_port_add(f->store, endpoint, &c, e));
}

static int64_t count_rows(struct fixture *f, const char *table)
{
	char sql[64];
	const char *text = sql;
	struct db_stmt **st;
	int64_t n;

	(void)snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", table);
	assert_ok(db_prepare(f->db, &text, 1, &st, e));
	assert_int_equal(db_step(st[0], NULL), 1);
	n = db_col_int(st[0], 0);
	db_finalize(st, 1);
	return n;
}

static void test_options(void **state)
{
	struct store_network *n = calloc(1, sizeof(*n));
	char name[16];

	(void)state;
	assert_non_null(n);
	for (unsigned int i = 0; i < STORE_OPTIONS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(store_options_add(&n->options, name, name), 0);
	}
	assert_int_equal(store_options_add(&n->options, "more", ""), -E2BIG);
	assert_int_equal(n->options.count, STORE_OPTIONS_MAX);
	assert_string_equal(store_options_find(&n->options, "n77"), "n77");
	assert_null(store_options_find(&n->options, "n"));
	assert_null(store_options_find(&n->options, "more"));
	store_network_free(n);
	store_network_free(NULL);
	store_endpoint_free(NULL);
	driver_store_free(NULL);
}

static void test_network(void **state)
{
	static const char *const pools[NETWORK_SUBNETS_MAX] = {
		"10.1.0.0/24",	"fd00:1::/64", "10.2.0.0/31", "0.0.0.0/0",
		"fd00:2::/127", "10.3.0.1/32", "::/0",	      "fd00:3::1/128"};
	struct fixture *f = *state;
	struct store_network *n =
		make_network("n1", STORE_OPTIONS_MAX, pools, NETWORK_SUBNETS_MAX);
	struct store_network *back;

	n->config.internal = true;
	n->config.mtu = 65535;
	n->config.subnets[0].gateway = address("10.1.0.1");
	n->config.subnets[0].vip_range = prefix("10.1.0.192/26");
	n->config.subnets[1].gateway = address("fd00:1::1");
	n->config.subnets[1].vip_range = prefix("fd00:1::c000:0:0:0/66");
	memset(n->no_vip_reason, 'r', sizeof(n->no_vip_reason) - 1);
	assert_ok(driver_store_network_put(f->store, n, e));
	reopen(f);
	assert_int_equal(f->network_count, 1);
	back = f->networks[0];
	assert_memory_equal(&back->config, &n->config, sizeof(n->config));
	assert_string_equal(back->no_vip_reason, n->no_vip_reason);
	assert_int_equal(back->options.count, STORE_OPTIONS_MAX);
	for (unsigned int i = 0; i < n->options.count; i++)
		assert_string_equal(
			store_options_find(&back->options, n->options.list[i].name),
			"n1");
	store_network_free(n);
}

/* Putting it again replaces everything of it and keeps what hangs on it. */
static void test_network_again(void **state)
{
	static const char *const pools[] = {"10.1.0.0/24", "10.2.0.0/24"};
	static const char *const other[] = {"10.3.0.0/24"};
	struct fixture *f = *state;
	struct store_network *n = make_network("n1", 3, pools, 2);

	assert_ok(driver_store_network_put(f->store, n, e));
	store_network_free(n);
	put_endpoint(f, "e1", "n1", 1);
	add_port(f, "e1", 8080);
	n = make_network("n1", 1, other, 1);
	n->config.mtu = 1400;
	assert_ok(driver_store_network_put(f->store, n, e));
	reopen(f);
	assert_int_equal(f->network_count, 1);
	assert_memory_equal(&f->networks[0]->config, &n->config, sizeof(n->config));
	assert_int_equal(f->networks[0]->options.count, 1);
	assert_int_equal(f->endpoint_count, 1);
	assert_int_equal(f->endpoints[0]->options.count, 1);
	assert_int_equal(f->port_count, 1);
	store_network_free(n);
}

static void test_endpoint(void **state)
{
	static const struct {
		const char *addr4;
		const char *addr6;
		bool has_mac;
		const char *key;
	} cases[] = {
		{"10.1.0.2", "fd00::2", true, "/var/run/docker/netns/abc"},
		{"10.1.0.2", "", true, ""},
		{"", "fd00::2", false, "/k"},
		{"", "", false, ""},
		{"0.0.0.0", "::", true, ""},
	};
	struct fixture *f = *state;

	put_network(f, "n1");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct store_endpoint ep = {.base = {.id = "e1"}, .network = "n1"};
		const struct store_endpoint *back;

		ep.addr4 = address(cases[i].addr4);
		ep.addr6 = address(cases[i].addr6);
		ep.base.has_mac = cases[i].has_mac;
		if (ep.base.has_mac)
			mac_from_addr(&ep.addr4, ep.base.mac);
		assert_int_equal(
			str_copy(ep.sandbox_key, sizeof(ep.sandbox_key), cases[i].key),
			0);
		assert_ok(driver_store_endpoint_put(f->store, &ep, e));
		reopen(f);
		assert_int_equal(f->endpoint_count, 1);
		back = f->endpoints[0];
		assert_memory_equal(&back->base, &ep.base, sizeof(ep.base));
		assert_string_equal(back->network, "n1");
		assert_true(addr_equal(&back->addr4, &ep.addr4));
		assert_true(addr_equal(&back->addr6, &ep.addr6));
		assert_string_equal(back->sandbox_key, cases[i].key);
		assert_int_equal(back->options.count, 0);
	}
}

static void test_long_texts(void **state)
{
	struct fixture *f = *state;
	struct store_endpoint ep = {0};

	memset(ep.base.id, 'e', sizeof(ep.base.id) - 1);
	memset(ep.network, 'n', sizeof(ep.network) - 1);
	memset(ep.sandbox_key, 'k', sizeof(ep.sandbox_key) - 1);
	put_network(f, ep.network);
	assert_ok(driver_store_endpoint_put(f->store, &ep, e));
	reopen(f);
	assert_string_equal(f->networks[0]->config.id, ep.network);
	assert_string_equal(f->endpoints[0]->base.id, ep.base.id);
	assert_string_equal(f->endpoints[0]->network, ep.network);
	assert_string_equal(f->endpoints[0]->sandbox_key, ep.sandbox_key);
}

static void test_no_network(void **state)
{
	struct fixture *f = *state;
	const struct store_endpoint ep = {.base = {.id = "e1"}, .network = "nowhere"};
	const struct ports_claim c = {.proto = IPPROTO_TCP, .host_port = 1, .port = 1};
	struct err e = {0};

	assert_int_equal(driver_store_endpoint_put(f->store, &ep, &e), -EIO);
	assert_int_equal(driver_store_port_add(f->store, "e1", &c, &e), -EIO);
	assert_non_null(strstr(e.text, "FOREIGN KEY"));
	reopen(f);
	assert_int_equal(f->endpoint_count + f->port_count, 0);
}

/* The order in which ports came decides who holds one: it must survive. */
static void test_port_order(void **state)
{
	static const struct {
		const char *endpoint;
		uint16_t host_port;
	} want[] = {{"e2", 9}, {"e1", 8}, {"e2", 8}, {"e3", 7}, {"e1", 1}};
	struct fixture *f = *state;

	put_network(f, "n1");
	put_endpoint(f, "e1", "n1", 0);
	put_endpoint(f, "e2", "n1", 0);
	put_endpoint(f, "e3", "n1", 0);
	put_endpoint(f, "e4", "n1", 0);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		add_port(f, want[i].endpoint, want[i].host_port);
	add_port(f, "e4", 5);
	/* The newest goes, and its number may be given again: still at the end. */
	assert_ok(driver_store_ports_del(f->store, "e4", e));
	assert_ok(driver_store_ports_del(f->store, "e2", e));
	add_port(f, "e2", 8);
	reopen(f);
	assert_int_equal(f->port_count, 4);
	assert_string_equal(f->ports[0].endpoint, "e1");
	assert_string_equal(f->ports[1].endpoint, "e3");
	assert_string_equal(f->ports[2].endpoint, "e1");
	assert_int_equal(f->ports[2].claim.host_port, 1);
	assert_string_equal(f->ports[3].endpoint, "e2");
}

static void test_port_values(void **state)
{
	static const struct {
		uint8_t proto;
		const char *host;
		uint16_t host_port;
		uint16_t port;
	} cases[] = {
		{IPPROTO_TCP, "", 1, 65535},
		{IPPROTO_UDP, "192.0.2.1", 65535, 1},
		{IPPROTO_SCTP, "2001:db8::1", 8080, 80},
	};
	struct fixture *f = *state;

	put_network(f, "n1");
	put_endpoint(f, "e1", "n1", 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct ports_claim c = {cases[i].proto, address(cases[i].host),
					      cases[i].host_port, cases[i].port};

		assert_ok(driver_store_port_add(f->store, "e1", &c, e));
	}
	reopen(f);
	assert_int_equal(f->port_count, ARRAY_SIZE(cases));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct ports_claim *c = &f->ports[i].claim;
		const struct addr host = address(cases[i].host);

		assert_int_equal(c->proto, cases[i].proto);
		assert_true(addr_equal(&c->host_addr, &host));
		assert_int_equal(c->host_port, cases[i].host_port);
		assert_int_equal(c->port, cases[i].port);
	}
}

static void test_delete(void **state)
{
	struct fixture *f = *state;

	put_network(f, "n1");
	put_network(f, "n2");
	put_endpoint(f, "e1", "n1", 3);
	put_endpoint(f, "e2", "n1", 3);
	put_endpoint(f, "e3", "n2", 3);
	add_port(f, "e1", 1);
	add_port(f, "e2", 2);
	add_port(f, "e3", 3);
	assert_ok(driver_store_endpoint_del(f->store, "e1", e));
	assert_ok(driver_store_endpoint_del(f->store, "e1", e));
	assert_int_equal(count_rows(f, "endpoint"), 2);
	assert_int_equal(count_rows(f, "publication"), 2);
	assert_int_equal(count_rows(f, "driver_option"), 2 + 2 + 3 + 3);
	assert_ok(driver_store_network_del(f->store, "n1", e));
	assert_ok(driver_store_network_del(f->store, "n1", e));
	reopen(f);
	assert_int_equal(f->network_count, 1);
	assert_int_equal(f->endpoint_count, 1);
	assert_string_equal(f->endpoints[0]->base.id, "e3");
	assert_int_equal(f->endpoints[0]->options.count, 3);
	assert_int_equal(f->port_count, 1);
	assert_ok(driver_store_network_del(f->store, "n2", e));
	assert_int_equal(count_rows(f, "network") + count_rows(f, "subnet") +
				 count_rows(f, "endpoint") +
				 count_rows(f, "publication") +
				 count_rows(f, "driver_option"),
			 0);
}

/* The loader stops at any object: its error comes back, all is freed (asan looks). */
static void test_loader_stops(void **state)
{
	struct fixture *f = *state;
	struct err stop;

	put_network(f, "n1");
	put_network(f, "n2");
	put_endpoint(f, "e1", "n1", 2);
	add_port(f, "e1", 1);
	for (f->stop_at = 1; f->stop_at <= 4; f->stop_at++) {
		memset(&stop, 0, sizeof(stop));
		assert_int_equal(load(f, &stop), -ENOMEM);
		assert_string_equal(stop.text, "no more");
	}
	assert_ok(load(f, e)); /* the statements are fit for use again */
	assert_int_equal(f->network_count + f->endpoint_count + f->port_count, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test_setup_teardown(test_network, setup, teardown),
		cmocka_unit_test_setup_teardown(test_network_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_endpoint, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_texts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_network, setup, teardown),
		cmocka_unit_test_setup_teardown(test_port_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_port_values, setup, teardown),
		cmocka_unit_test_setup_teardown(test_delete, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loader_stops, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
