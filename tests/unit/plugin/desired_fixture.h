/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_PLUGIN_DESIRED_FIXTURE_H
#define TESTS_UNIT_PLUGIN_DESIRED_FIXTURE_H
/*
 * The desired state on a database in a folder of the test's own, and a follower: who
 * does what the changes say. After every batch the follower must have what a daemon
 * that starts now on the same database would tell. Included once by each program.
 */
#include "plugin/desired.h"

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

#define FOLLOW_MAX 64

/* --- the follower ----------------------------------------------------------------- */

struct follower {
	bool lenient; /* changes may have been lost on the way */
	unsigned int service_count;
	struct lb_view *services[FOLLOW_MAX];
	unsigned int port_count;
	struct firewall_port ports[FOLLOW_MAX];
	unsigned int client_count;
	struct change_client clients[FOLLOW_MAX];
	unsigned int network_count; /* by desired_visit */
	struct network_config networks[FOLLOW_MAX];
	unsigned int endpoint_count;
	struct actual_endpoint endpoints[FOLLOW_MAX];
	char trace[4096];
};

static inline void __attribute__((format(printf, 2, 3)))
trace(struct follower *f, const char *fmt, ...)
{
	size_t len = strlen(f->trace);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(f->trace + len, sizeof(f->trace) - len, fmt, ap);
	va_end(ap);
}

static inline void follow_service(struct follower *f, const struct change *c)
{
	unsigned int i = 0;

	while (i < f->service_count && f->services[i]->mark != c->mark)
		i++;
	if (i < f->service_count) {
		lb_view_put(f->services[i]);
		f->services[i] = f->services[--f->service_count];
	} else if (!c->view) {
		assert_true(f->lenient);
	}
	trace(f, "%s%u ", c->view ? "service" : "no-service", c->mark);
	if (!c->view)
		return;
	assert_int_equal(c->view->mark, c->mark);
	assert_in_range(f->service_count, 0, FOLLOW_MAX - 1);
	f->services[f->service_count++] = lb_view_get(c->view);
}

static inline bool same_port_key(const struct firewall_port *a,
				 const struct firewall_port *b)
{
	return a->proto == b->proto && a->host_port == b->host_port &&
	       addr_equal(&a->host_addr, &b->host_addr);
}

static inline bool same_port(const struct firewall_port *a, const struct firewall_port *b)
{
	return same_port_key(a, b) && a->target_port == b->target_port &&
	       addr_equal(&a->target4, &b->target4) &&
	       addr_equal(&a->target6, &b->target6);
}

static inline int find_port(const struct follower *f, const struct firewall_port *p)
{
	for (unsigned int i = 0; i < f->port_count; i++)
		if (same_port_key(&f->ports[i], p))
			return (int)i;
	return -1;
}

/* As the kernel: what is opened must not be open, what is closed must be as it says. */
static inline void follow_port(struct follower *f, const struct change *c)
{
	int i = c->has_old ? find_port(f, &c->old) : -1;

	trace(f, "%c%u ", !c->has_new ? '-' : (c->has_old ? '=' : '+'),
	      c->has_new ? c->new_port.host_port : c->old.host_port);
	if (c->has_old && !f->lenient)
		assert_true(i >= 0 && same_port(&f->ports[i], &c->old));
	if (i >= 0)
		f->ports[i] = f->ports[--f->port_count];
	if (!c->has_new)
		return;
	i = find_port(f, &c->new_port);
	assert_true(f->lenient || i < 0);
	if (i >= 0)
		f->ports[i] = f->ports[--f->port_count];
	assert_in_range(f->port_count, 0, FOLLOW_MAX - 1);
	f->ports[f->port_count++] = c->new_port;
}

static inline int find_client(const struct follower *f, const char *endpoint)
{
	for (unsigned int i = 0; i < f->client_count; i++)
		if (!strcmp(f->clients[i].endpoint, endpoint))
			return (int)i;
	return -1;
}

static inline void follow_client(struct follower *f, const struct change_client *client,
				 bool gone)
{
	int i = find_client(f, client->endpoint);

	trace(f, "%s:%s ", gone ? "gone" : "client", client->endpoint);
	if (gone) {
		if (i >= 0)
			f->clients[i] = f->clients[--f->client_count];
		else
			assert_true(f->lenient);
		return;
	}
	if (i < 0)
		i = (int)f->client_count++;
	assert_in_range(i, 0, FOLLOW_MAX - 1);
	f->clients[i] = *client;
}

static inline void on_changes(void *ctx, struct change_list *list)
{
	struct follower *f = ctx;
	struct change *c;

	assert_false(TAILQ_EMPTY(list));
	TAILQ_FOREACH (c, list, link) {
		switch (c->type) {
		case CHANGE_SERVICE:
			follow_service(f, c);
			break;
		case CHANGE_PORT:
			follow_port(f, c);
			break;
		case CHANGE_CLIENT:
			follow_client(f, &c->client, false);
			break;
		case CHANGE_CLIENT_GONE:
			follow_client(f, &c->client, true);
			break;
		}
	}
	change_list_free(list);
}

static inline void visit_network(void *ctx, const struct network_config *c)
{
	struct follower *f = ctx;

	assert_in_range(f->network_count, 0, FOLLOW_MAX - 1);
	f->networks[f->network_count++] = *c;
}

static inline void visit_endpoint(void *ctx, const struct actual_endpoint *ep)
{
	struct follower *f = ctx;

	assert_in_range(f->endpoint_count, 0, FOLLOW_MAX - 1);
	f->endpoints[f->endpoint_count++] = *ep;
}

static inline void follow_visit(struct follower *f, struct desired *d)
{
	const struct desired_visitor visitor = {visit_network, visit_endpoint, f};

	f->network_count = f->endpoint_count = 0;
	desired_visit(d, &visitor);
}

static inline void follower_fini(struct follower *f)
{
	for (unsigned int i = 0; i < f->service_count; i++)
		lb_view_put(f->services[i]);
	memset(f, 0, sizeof(*f));
}

/* --- two followers are equal -------------------------------------------------------- */

static inline bool same_backends(const struct lb_view *a, const struct lb_view *b)
{
	unsigned int found = 0;

	for (unsigned int i = 0; i < a->count; i++)
		for (unsigned int k = 0; k < b->count; k++)
			found += !strcmp(a->backends[i].endpoint,
					 b->backends[k].endpoint) &&
				 a->backends[i].weight == b->backends[k].weight &&
				 addr_equal(&a->backends[i].addr4,
					    &b->backends[k].addr4) &&
				 addr_equal(&a->backends[i].addr6, &b->backends[k].addr6);
	return a->count == b->count && found == a->count;
}

static inline bool same_service(const struct lb_view *a, const struct lb_view *b)
{
	return a->mark == b->mark && !strcmp(a->network, b->network) &&
	       !strcmp(a->project, b->project) && !strcmp(a->name, b->name) &&
	       addr_equal(&a->vip4, &b->vip4) && addr_equal(&a->vip6, &b->vip6) &&
	       a->scheduler == b->scheduler && a->dnsrr == b->dnsrr &&
	       same_backends(a, b);
}

static inline bool same_client(const struct change_client *a,
			       const struct change_client *b)
{
	return !strcmp(a->endpoint, b->endpoint) && !strcmp(a->network, b->network) &&
	       !strcmp(a->key, b->key) && !strcmp(a->project, b->project);
}

#define assert_same_set(a, b, list, count, same)                                     \
	do {                                                                         \
		unsigned int found_ = 0;                                             \
		for (unsigned int i_ = 0; i_ < (a)->count; i_++)                     \
			for (unsigned int k_ = 0; k_ < (b)->count; k_++)             \
				found_ += same((a)->list[i_], (b)->list[k_]);        \
		if ((a)->count != (b)->count || found_ != (a)->count)                \
			fail_msg(#list ": %u told, %u in the database, %u the same", \
				 (a)->count, (b)->count, found_);                    \
	} while (0)

#define same_ref_port(a, b)	same_port(&(a), &(b))
#define same_ref_client(a, b)	same_client(&(a), &(b))
#define same_ref_network(a, b)	(!memcmp(&(a), &(b), sizeof(a)))
#define same_ref_endpoint(a, b) (!memcmp(&(a), &(b), sizeof(a)))

static inline void assert_same(const struct follower *a, const struct follower *b)
{
	assert_same_set(a, b, services, service_count, same_service);
	assert_same_set(a, b, ports, port_count, same_ref_port);
	assert_same_set(a, b, clients, client_count, same_ref_client);
	assert_same_set(a, b, networks, network_count, same_ref_network);
	assert_same_set(a, b, endpoints, endpoint_count, same_ref_endpoint);
}

/* --- the fixture ---------------------------------------------------------------------
 */

struct fixture {
	char dir[64];
	struct desired *d;
	struct follower follower;
};

static inline struct desired *open_desired(const struct fixture *f,
					   struct follower *follower)
{
	struct desired_config config = {
		.state_dir = f->dir,
		.ipam = {.default_size4 = 24, .default_size6 = 64},
		.mtu = 1500,
		.schedulers = ~0U,
		.balancer = "nft",
		.changes = on_changes,
		.ctx = follower};
	struct desired *d = NULL;
	struct err e = {0};

	assert_int_equal(cidr_parse("10.128.0.0/9", &config.ipam.default_pools4), 0);
	assert_int_equal(cidr_parse("fd00::/48", &config.ipam.default_pools6), 0);
	if (desired_new(&config, &d, &e) < 0)
		fail_msg("desired_new: %s", e.text);
	desired_flush_changes(d);
	return d;
}

/* What a daemon that starts now would find. */
static inline void check_database(struct fixture *f)
{
	static struct follower found;
	struct desired *d;

	memset(&found, 0, sizeof(found)); /* an earlier test may have ended half-way */
	d = open_desired(f, &found);
	follow_visit(&found, d);
	follow_visit(&f->follower, f->d);
	assert_same(&f->follower, &found);
	desired_free(d);
	follower_fini(&found);
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	/* In memory where possible: each request waits for the disk otherwise. */
	(void)snprintf(f->dir, sizeof(f->dir), "/dev/shm/fl-desired-XXXXXX");
	if (!mkdtemp(f->dir)) {
		(void)snprintf(f->dir, sizeof(f->dir), "/tmp/fl-desired-XXXXXX");
		if (!mkdtemp(f->dir))
			return -1;
	}
	f->d = open_desired(f, &f->follower);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;
	char path[128];

	desired_free(f->d);
	follower_fini(&f->follower);
	(void)snprintf(path, sizeof(path), "%s/fairlead.db", f->dir);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/fairlead.db-wal", f->dir);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/fairlead.db-shm", f->dir);
	(void)unlink(path);
	(void)rmdir(f->dir);
	free(f);
	return 0;
}

static inline void restart(struct fixture *f)
{
	desired_free(f->d);
	follower_fini(&f->follower);
	f->d = open_desired(f, &f->follower);
}

/* --- one request a batch --------------------------------------------------------- */

typedef int (*verb_fn)(struct desired *d, void *arg, struct err *e);

/* Runs one verb as the store worker does; its result. */
static inline int batch(struct fixture *f, verb_fn verb, void *arg, struct err *e)
{
	struct err end = {0};
	int r = desired_batch_begin(f->d, e);

	if (r < 0)
		return r;
	r = desired_attempt_begin(f->d, e);
	if (r == 0)
		r = desired_attempt_end(f->d, verb(f->d, arg, e), e);
	if (desired_batch_end(f->d, &end) < 0 && r == 0) {
		*e = end;
		r = end.code;
	}
	return r;
}

static char error_text[256]; /* of the last one that failed */

static inline int run(struct fixture *f, verb_fn verb, void *arg)
{
	struct err e = {0};
	int r = batch(f, verb, arg, &e);

	if (r < 0) {
		assert_int_equal(e.code, r);
		assert_true(e.text[0]);
	}
	(void)snprintf(error_text, sizeof(error_text), "%s", r < 0 ? e.text : "");
	check_database(f);
	return r;
}

#define assert_run(expr)                                                \
	do {                                                            \
		int got_ = (expr);                                      \
		if (got_ < 0)                                           \
			fail_msg("%s: %d %s", #expr, got_, error_text); \
	} while (0)
#define assert_error_text(part)                                           \
	do {                                                              \
		if (!strstr(error_text, (part)))                          \
			fail_msg("no \"%s\" in: %s", (part), error_text); \
	} while (0)

static inline struct addr address(const char *text)
{
	struct addr a = {0};

	if (text && *text)
		assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

/* --- requests ---------------------------------------------------------------------- */

#define POOLS_MAX   9
#define OPTIONS_MAX 4

struct net_request {
	const char *id;
	bool internal;
	const char *pools[POOLS_MAX]; /* with their gateways' prefix: "10.1.0.1/24" */
	const char *options[OPTIONS_MAX * 2]; /* name, value, ... */
	struct network_config config;	      /* the answer */
	unsigned int ghost_count;
	char ghost[NETWORK_ID_SIZE]; /* the last one */
	const char *space;	     /* NULL: our local one */
};

/* No memory is asked for: that may be what fails. */
static inline struct api_options make_options(struct api_option *list,
					      const char *const *texts)
{
	struct api_options o = {.list = list};

	for (; texts[o.count * 2]; o.count++) {
		list[o.count].name = (char *)texts[o.count * 2];
		list[o.count].value = (char *)texts[o.count * 2 + 1];
	}
	return o;
}

/* Address data of one family. */
static inline unsigned int fill_pools(const struct net_request *rq, bool v6,
				      struct api_pool *list)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < POOLS_MAX && rq->pools[i]; i++) {
		struct cidr gateway;

		assert_int_equal(cidr_parse(rq->pools[i], &gateway), 0);
		if ((gateway.addr.family == AF_INET6) != v6)
			continue;
		(void)str_copy(list[n].space, sizeof(list[n].space),
			       rq->space ? rq->space : IPAM_SPACE_LOCAL);
		list[n].pool = cidr_network(&gateway);
		list[n++].gateway = gateway;
	}
	return n;
}

static inline int verb_network_create(struct desired *d, void *arg, struct err *e)
{
	struct net_request *rq = arg;
	struct api_pool v4[POOLS_MAX] = {0};
	struct api_pool v6[POOLS_MAX] = {0};
	struct api_network_create api = {.options.internal = rq->internal};
	struct api_option options[OPTIONS_MAX];
	struct desired_network made = {0};
	int r;

	(void)snprintf(api.network, sizeof(api.network), "%s", rq->id);
	api.pools.count4 = fill_pools(rq, false, v4);
	api.pools.count6 = fill_pools(rq, true, v6);
	api.pools.ipv4 = v4;
	api.pools.ipv6 = v6;
	api.options.generic = make_options(options, rq->options);
	r = desired_network_create(d, &api, &made, e);
	rq->config = made.config;
	rq->ghost_count = made.ghost_count;
	rq->ghost[0] = '\0';
	if (made.ghost_count)
		memcpy(rq->ghost, made.ghosts[made.ghost_count - 1].id,
		       sizeof(rq->ghost));
	return r;
}

static inline int verb_network_delete(struct desired *d, void *arg, struct err *e)
{
	struct network_config gone;
	int r = desired_network_delete(d, arg, &gone, e);

	if (r == 0)
		assert_string_equal(gone.id, arg);
	return r;
}

struct ep_request {
	const char *network;
	const char *id;
	const char *addr4;
	const char *addr6;
	const char *mac; /* NULL: ours to choose */
	const char *options[OPTIONS_MAX * 2];
	struct desired_created created; /* the answer */
};

static inline int verb_endpoint_create(struct desired *d, void *arg, struct err *e)
{
	struct ep_request *rq = arg;
	struct api_endpoint_create api = {.addr4 = {address(rq->addr4), 24},
					  .addr6 = {address(rq->addr6), 64},
					  .has_mac = rq->mac != NULL};
	struct api_option options[OPTIONS_MAX];

	(void)snprintf(api.network, sizeof(api.network), "%s", rq->network);
	(void)snprintf(api.endpoint, sizeof(api.endpoint), "%s", rq->id);
	if (rq->mac)
		assert_int_equal(mac_parse(rq->mac, api.mac), 0);
	api.options.list = make_options(options, rq->options);
	return desired_endpoint_create(d, &api, &rq->created, e);
}

struct join_request {
	const char *network;
	const char *id;
	const char *key;
	struct desired_joined joined; /* the answer */
};

static inline int verb_join(struct desired *d, void *arg, struct err *e)
{
	struct join_request *rq = arg;
	struct api_join api = {0};

	(void)snprintf(api.network, sizeof(api.network), "%s", rq->network);
	(void)snprintf(api.endpoint, sizeof(api.endpoint), "%s", rq->id);
	(void)snprintf(api.sandbox, sizeof(api.sandbox), "%s", rq->key);
	return desired_endpoint_join(d, &api, &rq->joined, e);
}

static inline int verb_leave(struct desired *d, void *arg, struct err *e)
{
	return desired_endpoint_leave(d, arg, e);
}

static inline int verb_endpoint_delete(struct desired *d, void *arg, struct err *e)
{
	return desired_endpoint_delete(d, arg, e);
}

struct publish_request {
	const char *id;
	unsigned int count;
	struct api_port_map map[8];
};

static inline int verb_publish(struct desired *d, void *arg, struct err *e)
{
	struct publish_request *rq = arg;
	struct api_external api = {.options = {.map_count = rq->count, .map = rq->map}};

	(void)snprintf(api.endpoint, sizeof(api.endpoint), "%s", rq->id);
	return desired_publish(d, &api, e);
}

static inline int verb_unpublish(struct desired *d, void *arg, struct err *e)
{
	return desired_unpublish(d, arg, e);
}

static inline struct api_port_map map(const char *host, uint16_t first, uint16_t last,
				      uint16_t port)
{
	return (struct api_port_map){.proto = IPPROTO_TCP,
				     .host_addr = address(host),
				     .host_port = first,
				     .host_port_end = last,
				     .port = port};
}

struct seen_request {
	const char *container;
	const char *endpoints[4];
	const char *labels[8]; /* name, value, ... */
	bool stopped;
};

static inline int verb_seen(struct desired *d, void *arg, struct err *e)
{
	const struct seen_request *rq = arg;
	struct registry_option labels[4];
	struct registry_container c = {.id = rq->container,
				       .name = rq->container,
				       .running = !rq->stopped,
				       .labels = labels,
				       .endpoints = rq->endpoints};

	while (c.endpoint_count < 4 && rq->endpoints[c.endpoint_count])
		c.endpoint_count++;
	for (; c.label_count < 4 && rq->labels[c.label_count * 2]; c.label_count++)
		labels[c.label_count] = (struct registry_option){
			rq->labels[c.label_count * 2], rq->labels[c.label_count * 2 + 1]};
	return registry_container_seen(desired_registry(d), &c, 1000, e);
}

/* A pool of our own address management, as Docker asks for it before the network. */
static inline int verb_pool(struct desired *d, void *arg, struct err *e)
{
	const struct ipam_pool_request rq = {.space = IPAM_SPACE_LOCAL,
					     .pool = arg,
					     .sub_pool = "",
					     .vip_range = "",
					     .v6 = strchr(arg, ':') != NULL};
	struct ipam_pool_answer answer;

	return ipam_pool_request(desired_ipam(d), &rq, &answer, e);
}

/* --- shorthands ----------------------------------------------------------------------
 */

static inline int create_network(struct fixture *f, const char *id, const char *pool)
{
	struct net_request rq = {.id = id, .pools = {pool}};

	return run(f, verb_network_create, &rq);
}

static inline int create_endpoint(struct fixture *f, const char *network, const char *id,
				  const char *addr4)
{
	struct ep_request rq = {.network = network, .id = id, .addr4 = addr4};

	return run(f, verb_endpoint_create, &rq);
}

static inline int join(struct fixture *f, const char *network, const char *id,
		       const char *key)
{
	struct join_request rq = {.network = network, .id = id, .key = key};

	return run(f, verb_join, &rq);
}

static inline int publish(struct fixture *f, const char *id, uint16_t host_port,
			  uint16_t port)
{
	struct publish_request rq = {.id = id, .count = 1};

	rq.map[0] = map("", host_port, host_port, port);
	return run(f, verb_publish, &rq);
}

/* Its container is known now: a backend of this service. */
static inline int label(struct fixture *f, const char *container, const char *endpoint,
			const char *project, const char *service)
{
	struct seen_request rq = {.container = container,
				  .endpoints = {endpoint},
				  .labels = {"com.docker.compose.service", service,
					     "com.docker.compose.project", project}};

	return run(f, verb_seen, &rq);
}

static inline const struct lb_view *service(const struct fixture *f, const char *name)
{
	for (unsigned int i = 0; i < f->follower.service_count; i++)
		if (!strcmp(f->follower.services[i]->name, name))
			return f->follower.services[i];
	return NULL;
}

/* "address:port" that a host port leads to, "" when it is closed. */
static inline const char *port_leads_to(const struct fixture *f, uint16_t host_port)
{
	static char text[ADDR_TEXT_SIZE + 8];
	char addr[ADDR_TEXT_SIZE];

	for (unsigned int i = 0; i < f->follower.port_count; i++) {
		const struct firewall_port *p = &f->follower.ports[i];

		if (p->host_port != host_port)
			continue;
		(void)snprintf(text, sizeof(text), "%s:%u",
			       addr_format(&p->target4, addr), p->target_port);
		return text;
	}
	return "";
}

#endif
