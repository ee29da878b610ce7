/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_PLUGIN_NODE_FIXTURE_H
#define TESTS_UNIT_PLUGIN_NODE_FIXTURE_H
/*
 * A node with its two workers and a database in memory, on a kernel and a DNS server
 * that do nothing. Its database can be made to fail: then no transaction is committed.
 */
#include "plugin/node.h"

#include "plugin/base/clock.h"
#include "plugin/base/db.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE_MS 20000
#define TURN_MS	    2

static struct actual_hooks hooks;      /* as the kernel worker got them */
static atomic_bool database_full;      /* nothing can be committed */
static atomic_uint failed_commits;     /* because of that */
static atomic_uint left_in_the_kernel; /* calls of actual_endpoint_leave */
static atomic_uint deleted_links;      /* calls of actual_endpoint_del */

/* --- the kernel -----------------------------------------------------------------------
 */

int __wrap_actual_new(sd_event *event, const struct actual_config *config,
		      struct actual **ret, struct err *e);
void __wrap_actual_free(struct actual *a);
int __wrap_actual_network_add(struct actual *a, const struct network_config *c,
			      struct err *e);
void __wrap_actual_endpoint_adopt(struct actual *a, const struct actual_endpoint *ep);
void __wrap_actual_endpoint_leave(struct actual *a, const char *id);
int __wrap_actual_endpoint_del(struct actual *a, const char *network, const char *id,
			       struct err *e);
void __wrap_actual_service(struct actual *a, uint32_t mark, struct lb_view *v);
void __wrap_actual_port(struct actual *a, const struct firewall_port *old,
			const struct firewall_port *new_port);
int __wrap_actual_start(struct actual *a, struct err *e);
unsigned int __wrap_actual_network_state(struct actual *a, const char *id,
					 char *ret_error, size_t size);
void __wrap_actual_count(struct actual *a, const char *network,
			 struct balancer_count *list, unsigned int count);
unsigned int __wrap_actual_repairs(const struct actual *a);

int __wrap_actual_new(sd_event *event, const struct actual_config *config,
		      struct actual **ret, struct err *e)
{
	(void)event;
	(void)e;
	hooks = config->hooks;
	*ret = NULL;
	return 0;
}

void __wrap_actual_free(struct actual *a)
{
	(void)a;
}

int __wrap_actual_network_add(struct actual *a, const struct network_config *c,
			      struct err *e)
{
	(void)a;
	(void)c;
	(void)e;
	return 0;
}

void __wrap_actual_endpoint_adopt(struct actual *a, const struct actual_endpoint *ep)
{
	(void)a;
	(void)ep;
}

void __wrap_actual_endpoint_leave(struct actual *a, const char *id)
{
	(void)a;
	(void)id;
	left_in_the_kernel++;
}

int __wrap_actual_endpoint_del(struct actual *a, const char *network, const char *id,
			       struct err *e)
{
	(void)a;
	assert_string_equal(network, "n1");
	assert_string_equal(id, "e1");
	deleted_links++;
	return err_set(e, -EBUSY, "not now");
}

void __wrap_actual_service(struct actual *a, uint32_t mark, struct lb_view *v)
{
	(void)a;
	(void)mark;
	(void)v;
}

void __wrap_actual_port(struct actual *a, const struct firewall_port *old,
			const struct firewall_port *new_port)
{
	(void)a;
	(void)old;
	(void)new_port;
}

int __wrap_actual_start(struct actual *a, struct err *e)
{
	(void)a;
	(void)e;
	return 0;
}

unsigned int __wrap_actual_network_state(struct actual *a, const char *id,
					 char *ret_error, size_t size)
{
	(void)a;
	(void)id;
	(void)ret_error;
	(void)size;
	return 1500;
}

void __wrap_actual_count(struct actual *a, const char *network,
			 struct balancer_count *list, unsigned int count)
{
	(void)a;
	(void)network;
	(void)list;
	(void)count;
}

unsigned int __wrap_actual_repairs(const struct actual *a)
{
	(void)a;
	return 0;
}

/* --- names ----------------------------------------------------------------------------
 */

int __wrap_dns_server_new(sd_event *event, const struct zone *zone,
			  struct dns_server **ret, struct err *e);
void __wrap_dns_server_free(struct dns_server *s);
int __wrap_dns_server_set_client(struct dns_server *s, const char *key,
				 const struct zone_client *client);

int __wrap_dns_server_new(sd_event *event, const struct zone *zone,
			  struct dns_server **ret, struct err *e)
{
	(void)event;
	(void)zone;
	(void)e;
	*ret = NULL;
	return 0;
}

void __wrap_dns_server_free(struct dns_server *s)
{
	(void)s;
}

int __wrap_dns_server_set_client(struct dns_server *s, const char *key,
				 const struct zone_client *client)
{
	(void)s;
	(void)key;
	(void)client;
	return -ENOENT;
}

/* --- the database ---------------------------------------------------------------------
 */

int __real_db_commit(struct db *db, struct err *e);
int __wrap_db_commit(struct db *db, struct err *e);

int __wrap_db_commit(struct db *db, struct err *e)
{
	if (!database_full)
		return __real_db_commit(db, e);
	failed_commits++;
	return err_set(e, -ENOSPC, "database: full");
}

/* --- the fixture ----------------------------------------------------------------------
 */

struct fixture {
	sd_event *event;
	struct node *node;
	bool ready;
};

static inline void on_ready(void *ctx, const struct err *e)
{
	struct fixture *f = ctx;

	assert_int_equal(e->code, 0);
	f->ready = true;
}

/* Turns the loop until test(arg) is true. */
static inline void turn_until(struct fixture *f, bool (*test)(const void *arg),
			      const void *arg)
{
	uint64_t end = clock_ms() + PATIENCE_MS;

	while (!test(arg)) {
		assert_true(clock_ms() < end);
		assert_true(sd_event_run(f->event, TURN_MS * 1000) >= 0);
	}
}

static inline bool is_set(const void *arg)
{
	return *(const bool *)arg;
}

struct some {
	const atomic_uint *counter;
	unsigned int count;
};

static inline bool are_some(const void *arg)
{
	const struct some *s = arg;

	return *s->counter >= s->count;
}

static inline void turn_until_count(struct fixture *f, const atomic_uint *counter,
				    unsigned int count)
{
	const struct some s = {counter, count};

	turn_until(f, are_some, &s);
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct node_config config = {
		.desired = {.state_dir = ":memory:", .mtu = 1500, .balancer = "nft"},
		.run_dir = "/nowhere",
		.sweep_ms = 5,
		.ready = on_ready,
		.ctx = f,
	};
	struct err e = {0};

	database_full = false;
	failed_commits = 0;
	left_in_the_kernel = 0;
	deleted_links = 0;
	if (!f || sd_event_new(&f->event) < 0 ||
	    node_new(f->event, &config, &f->node, &e) < 0)
		return -1;
	turn_until(f, is_set, &f->ready);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	database_full = false;
	node_free(f->node);
	sd_event_unref(f->event);
	free(f);
	return 0;
}

/* --- the store worker -----------------------------------------------------------------
 */

struct errand {
	struct job job;
	struct node *node;
	int (*fn)(struct node *node, void *arg);
	void *arg;
	int result;
	sem_t end;
};

static inline void errand_run(struct job *job)
{
	struct errand *errand = CONTAINER_OF(job, struct errand, job);

	errand->result = errand->fn(errand->node, errand->arg);
}

static inline void errand_done(struct job *job)
{
	(void)sem_post(&CONTAINER_OF(job, struct errand, job)->end);
}

/* Runs fn on the store worker, in a batch; its result, or the batch's error. */
static inline int in_store(struct fixture *f, int (*fn)(struct node *node, void *arg),
			   void *arg)
{
	struct errand errand = {.job = {.run = errand_run, .done = errand_done},
				.node = f->node,
				.fn = fn,
				.arg = arg};

	assert_return_code(sem_init(&errand.end, 0, 0), errno);
	node_post_store_always(f->node, &errand.job);
	while (sem_wait(&errand.end) < 0)
		assert_int_equal(errno, EINTR);
	(void)sem_destroy(&errand.end);
	return errand.job.err.code < 0 ? errand.job.err.code : errand.result;
}

static inline int make_network(struct node *node, void *arg)
{
	const char *id = arg;
	struct api_pool pool = {.pool = {.addr = {.family = AF_INET}, .prefix = 24}};
	struct api_network_create rq = {.pools = {.ipv4 = &pool, .count4 = 1}};
	struct desired_network made;
	struct err e = {0};

	assert_return_code(addr_parse("10.1.0.0", &pool.pool.addr), 0);
	assert_return_code(addr_parse("10.1.0.1", &pool.gateway.addr), 0);
	pool.gateway.prefix = 24;
	(void)str_copy(rq.network, sizeof(rq.network), id);
	return desired_network_create(node_desired(node), &rq, &made, &e);
}

/* An endpoint "e1" that has joined network "n1". */
static inline int make_endpoint(struct node *node, void *arg)
{
	struct api_endpoint_create create = {.network = "n1", .endpoint = "e1"};
	struct api_join join = {
		.network = "n1", .endpoint = "e1", .sandbox = "/nowhere/ns"};
	struct desired_created created;
	struct desired_joined joined;
	struct err e = {0};
	int r;

	(void)arg;
	assert_return_code(addr_parse("10.1.0.2", &create.addr4.addr), 0);
	create.addr4.prefix = 24;
	r = desired_endpoint_create(node_desired(node), &create, &created, &e);
	return r < 0 ? r : desired_endpoint_join(node_desired(node), &join, &joined, &e);
}

static inline void count_network(void *ctx, const struct network_config *c)
{
	(void)ctx;
	(void)c;
}

static inline void count_endpoint(void *ctx, const struct actual_endpoint *ep)
{
	(void)ep;
	++*(int *)ctx;
}

static inline int count_joined(struct node *node, void *arg)
{
	int count = 0;
	const struct desired_visitor visitor = {count_network, count_endpoint, &count};

	(void)arg;
	desired_visit(node_desired(node), &visitor);
	return count;
}

#endif
