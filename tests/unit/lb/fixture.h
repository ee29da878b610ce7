/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_LB_FIXTURE_H
#define TESTS_UNIT_LB_FIXTURE_H
/*
 * A registry on a real database, and a witness of its callbacks: it knows what a
 * balancer and the DNS would know, and checks that each transition begins where the
 * last one of that service ended.
 */
#include "lb/service.h"
#include "plugin/base/map.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#define ALL_SCHEDULERS ((1U << LB_SCHEDULER_COUNT) - 1)

struct seen_view {
	uint32_t mark;
	struct lb_view *view;
	UT_hash_handle hh;
};

struct seen_endpoint {
	char id[LB_ID_SIZE];
	uint32_t mark; /* 0: no service */
	char project[LB_NAME_SIZE];
	UT_hash_handle hh;
};

struct fixture {
	struct db *db;
	struct registry *registry;
	struct seen_view *views;
	struct seen_endpoint *endpoints;
	unsigned int changed_calls;
	unsigned int assigned_calls;
	uint32_t schedulers;
};

static inline bool same_view(const struct lb_view *a, const struct lb_view *b)
{
	if (a->mark != b->mark || a->count != b->count || a->scheduler != b->scheduler ||
	    a->dnsrr != b->dnsrr || !addr_equal(&a->vip4, &b->vip4) ||
	    !addr_equal(&a->vip6, &b->vip6) || strcmp(a->network, b->network) ||
	    strcmp(a->project, b->project) || strcmp(a->name, b->name))
		return false;
	for (unsigned int i = 0; i < a->count; i++) {
		const struct lb_backend *x = &a->backends[i];
		const struct lb_backend *y = &b->backends[i];

		if (strcmp(x->endpoint, y->endpoint) || x->weight != y->weight ||
		    !addr_equal(&x->addr4, &y->addr4) ||
		    !addr_equal(&x->addr6, &y->addr6))
			return false;
	}
	return true;
}

static inline struct seen_view *find_seen(struct fixture *f, uint32_t mark)
{
	struct seen_view *s;

	HASH_FIND(hh, f->views, &mark, sizeof(mark), s);
	return s;
}

static inline void drop_seen(struct fixture *f, struct seen_view *s)
{
	HASH_DEL(f->views, s);
	lb_view_put(s->view);
	free(s);
}

static inline void on_changed(void *ctx, struct lb_view *old, struct lb_view *new_view)
{
	struct fixture *f = ctx;
	struct seen_view *s;

	f->changed_calls++;
	assert_true(old || new_view);
	s = find_seen(f, old ? old->mark : new_view->mark);
	if (old) {
		assert_non_null(s);
		assert_true(same_view(s->view, old));
		drop_seen(f, s);
	} else {
		assert_null(s);
	}
	if (!new_view)
		return;
	if (old) {
		assert_int_equal(old->mark, new_view->mark);
		assert_string_equal(old->name, new_view->name);
		assert_string_equal(old->project, new_view->project);
		assert_string_equal(old->network, new_view->network);
		assert_false(same_view(old, new_view));
	}
	s = calloc(1, sizeof(*s));
	assert_non_null(s);
	s->mark = new_view->mark;
	s->view = lb_view_get(new_view);
	HASH_ADD(hh, f->views, mark, sizeof(s->mark), s);
}

static inline void on_assigned(void *ctx, const char *endpoint,
			       const struct lb_view *service, const char *project)
{
	struct fixture *f = ctx;
	uint32_t mark = service ? service->mark : 0;
	struct seen_endpoint *ep;

	f->assigned_calls++;
	if (service)
		assert_non_null(find_seen(f, mark));
	HASH_FIND_STR(f->endpoints, endpoint, ep);
	if (ep)
		HASH_DEL(f->endpoints, ep);
	else
		ep = calloc(1, sizeof(*ep));
	assert_non_null(ep);
	if (!service && !project[0]) {
		free(ep);
		return;
	}
	assert_int_equal(str_copy(ep->id, sizeof(ep->id), endpoint), 0);
	assert_int_equal(str_copy(ep->project, sizeof(ep->project), project), 0);
	ep->mark = mark;
	HASH_ADD_STR(f->endpoints, id, ep);
}

struct each_ctx {
	struct fixture *f;
	unsigned int count;
};

static inline void check_one_view(void *ctx, struct lb_view *v)
{
	struct each_ctx *each = ctx;
	const struct seen_view *s = find_seen(each->f, v->mark);

	assert_non_null(s);
	assert_true(same_view(s->view, v));
	each->count++;
}

/* What was told is what is. */
static inline void check_witness(struct fixture *f)
{
	struct each_ctx each = {.f = f};
	struct seen_endpoint *ep;
	struct seen_endpoint *next;
	const struct lb_view *v;
	const char *project;

	registry_each_view(f->registry, check_one_view, &each);
	assert_int_equal(each.count, HASH_COUNT(f->views));
	HASH_ITER (hh, f->endpoints, ep, next) {
		v = registry_endpoint_service(f->registry, ep->id, &project);
		assert_int_equal(v ? v->mark : 0, ep->mark);
		assert_string_equal(project, ep->project);
	}
}

static inline void open_registry(struct fixture *f)
{
	struct registry_config config = {
		.schedulers = f->schedulers,
		.balancer = "test",
		.callbacks = {.changed = on_changed, .assigned = on_assigned, .ctx = f},
	};
	struct err e = {0};

	if (registry_new(f->db, &config, &f->registry, &e) < 0)
		fail_msg("%s", e.text);
}

static inline void fixture_init(struct fixture *f, const char *path)
{
	struct err e = {0};

	*f = (struct fixture){.schedulers = ALL_SCHEDULERS};
	if (db_open(path, &f->db, &e) < 0)
		fail_msg("%s", e.text);
	open_registry(f);
}

/* The daemon dies and starts again; what was told is still known outside. */
static inline void fixture_restart(struct fixture *f)
{
	unsigned int calls = f->changed_calls + f->assigned_calls;

	registry_free(f->registry);
	open_registry(f);
	assert_int_equal(f->changed_calls + f->assigned_calls, calls);
}

static inline void fixture_fini(struct fixture *f)
{
	struct seen_view *s;
	struct seen_view *next;
	struct seen_endpoint *ep;
	struct seen_endpoint *next_ep;

	registry_free(f->registry);
	db_close(f->db);
	HASH_ITER (hh, f->views, s, next)
		drop_seen(f, s);
	HASH_ITER (hh, f->endpoints, ep, next_ep) {
		HASH_DEL(f->endpoints, ep);
		free(ep);
	}
}

static inline int setup(void **state)
{
	struct fixture *f = malloc(sizeof(*f));

	assert_non_null(f);
	fixture_init(f, ":memory:");
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	fixture_fini(*state);
	free(*state);
	return 0;
}

/* --- short ways to say things --- */

static inline struct addr address(const char *text)
{
	struct addr a = {0};

	if (text && *text)
		assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static inline struct cidr prefix(const char *text)
{
	struct cidr c = {0};

	if (text && *text)
		assert_int_equal(cidr_parse(text, &c), 0);
	return c;
}

#define MAX_OPTIONS 8

/* "a=1 b=2" into list; buf holds the texts. */
static inline unsigned int split_options(const char *text, char *buf, size_t size,
					 struct registry_option list[MAX_OPTIONS])
{
	unsigned int count = 0;
	char *save = NULL;

	assert_int_equal(str_copy(buf, size, text ? text : ""), 0);
	for (char *p = strtok_r(buf, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
		char *equal = strchr(p, '=');

		assert_non_null(equal);
		assert_true(count < MAX_OPTIONS);
		*equal = '\0';
		list[count].name = p;
		list[count++].value = equal + 1;
	}
	return count;
}

static inline int try_network(struct fixture *f, const char *id, const char *vip4,
			      const char *vip6, const char *options)
{
	struct registry_option list[MAX_OPTIONS];
	char buf[512];
	struct registry_network n = {
		.id = id,
		.vip4 = prefix(vip4),
		.vip6 = prefix(vip6),
		.no_vip_reason = vip4 || vip6 ? NULL : "the IPAM driver is not fairlead",
		.options = list,
		.option_count = split_options(options, buf, sizeof(buf), list),
	};
	struct err e = {0};
	int r = registry_network_add(f->registry, &n, &e);

	if (r < 0)
		assert_true(e.text[0] != '\0');
	return r;
}

static inline void add_network(struct fixture *f, const char *id, const char *vip4,
			       const char *vip6)
{
	assert_int_equal(try_network(f, id, vip4, vip6, NULL), 0);
}

static inline int try_endpoint(struct fixture *f, const char *network, const char *id,
			       const char *addr4, const char *options)
{
	struct registry_option list[MAX_OPTIONS];
	char buf[512];
	struct registry_endpoint ep = {
		.id = id,
		.network = network,
		.addr4 = address(addr4),
		.options = list,
		.option_count = split_options(options, buf, sizeof(buf), list),
	};
	struct err e = {0};
	int r = registry_endpoint_add(f->registry, &ep, &e);

	if (r < 0)
		assert_true(e.text[0] != '\0');
	return r;
}

static inline void add_endpoint(struct fixture *f, const char *network, const char *id,
				const char *addr4, const char *options)
{
	assert_int_equal(try_endpoint(f, network, id, addr4, options), 0);
}

static inline void del_endpoint(struct fixture *f, const char *id)
{
	struct err e = {0};

	assert_int_equal(registry_endpoint_del(f->registry, id, &e), 0);
}

static inline void del_network(struct fixture *f, const char *id)
{
	struct err e = {0};

	assert_int_equal(registry_network_del(f->registry, id, &e), 0);
}

/* A running container with one endpoint and time-outs as Docker's defaults. */
static inline struct registry_container container(const char *id,
						  const char *const *endpoint)
{
	return (struct registry_container){
		.id = id,
		.name = id,
		.running = true,
		.stop_signal = 15,
		.stop_timeout_s = 10,
		.endpoints = endpoint,
		.endpoint_count = endpoint && *endpoint ? 1 : 0,
	};
}

static inline void see(struct fixture *f, struct registry_container c, const char *labels)
{
	struct registry_option list[MAX_OPTIONS];
	char buf[512];
	struct err e = {0};

	c.label_count = split_options(labels, buf, sizeof(buf), list);
	c.labels = list;
	if (registry_container_seen(f->registry, &c, 1000, &e) < 0)
		fail_msg("%s", e.text);
}

/* A container "c-<endpoint>" runs with these labels. */
static inline void run(struct fixture *f, const char *endpoint, const char *labels)
{
	char id[LB_ID_SIZE];

	assert_int_equal(str_printf(id, sizeof(id), "c-%s", endpoint), 0);
	see(f, container(id, &endpoint), labels);
}

static inline void event(struct fixture *f, const char *id, enum registry_event ev,
			 int signal, uint64_t now_ms)
{
	struct registry_notice notice = {.event = ev, .signal = signal};
	struct err e = {0};

	assert_int_equal(registry_container_event(f->registry, id, &notice, now_ms, &e),
			 0);
}

static inline void health(struct fixture *f, const char *id, enum registry_health h)
{
	struct registry_notice notice = {.event = REGISTRY_EVENT_HEALTH, .health = h};
	struct err e = {0};

	assert_int_equal(registry_container_event(f->registry, id, &notice, 1000, &e), 0);
}

/* What was told last of a service; NULL: nothing, or that it is gone. */
static inline const struct lb_view *view(struct fixture *f, const char *network,
					 const char *project, const char *name)
{
	struct seen_view *s;
	struct seen_view *next;

	HASH_ITER (hh, f->views, s, next) {
		if (!strcmp(s->view->network, network) &&
		    !strcmp(s->view->project, project) && !strcmp(s->view->name, name))
			return s->view;
	}
	return NULL;
}

/* Appends to text of size bytes; what does not fit is cut off. */
static inline void append(char *text, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static inline void append(char *text, size_t size, const char *fmt, ...)
{
	size_t len = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text + len, size - len, fmt, ap);
	va_end(ap);
}

/* "endpoint:weight ..." in order of position. */
static inline void assert_backends(const struct lb_view *v, const char *want)
{
	char have[512] = "";

	assert_non_null(v);
	for (unsigned int i = 0; i < v->count; i++)
		append(have, sizeof(have), "%s%s:%u", i ? " " : "",
		       v->backends[i].endpoint, v->backends[i].weight);
	assert_string_equal(have, want);
}

static inline void assert_vip(const struct lb_view *v, const char *want4,
			      const char *want6)
{
	char have[ADDR_TEXT_SIZE];

	assert_non_null(v);
	assert_string_equal(addr_format(&v->vip4, have), want4);
	assert_string_equal(addr_format(&v->vip6, have), want6);
}

struct listed {
	const char *name;
	bool found;
	unsigned int services;
	char errors[2048];   /* each with an end of line */
	char backends[1024]; /* "endpoint state weight container\n" */
	char wanted[64];
};

static inline void on_list(void *ctx, const struct registry_service_info *info)
{
	struct listed *l = ctx;

	l->services++;
	if (strcmp(info->view->name, l->name))
		return;
	l->found = true;
	append(l->wanted, sizeof(l->wanted), "%s", info->scheduler_wanted);
	for (unsigned int i = 0; i < info->error_count; i++)
		append(l->errors, sizeof(l->errors), "%s\n", info->errors[i]);
	for (unsigned int i = 0; i < info->backend_count; i++)
		append(l->backends, sizeof(l->backends), "%s %s %u %s\n",
		       info->backends[i].endpoint, info->backends[i].state,
		       info->backends[i].weight, info->backends[i].container);
}

static inline struct listed list(struct fixture *f, const char *network, const char *name)
{
	struct listed l = {.name = name};

	registry_list(f->registry, network, on_list, &l);
	return l;
}

static inline void assert_error(struct fixture *f, const char *network, const char *name,
				const char *want)
{
	struct listed l = list(f, network, name);

	assert_true(l.found);
	if (!strstr(l.errors, want))
		fail_msg("no \"%s\" in: %s", want, l.errors);
}

static inline void assert_no_error(struct fixture *f, const char *network,
				   const char *name)
{
	struct listed l = list(f, network, name);

	assert_true(l.found);
	assert_string_equal(l.errors, "");
}

/* --- a network with a service --- */

#define NET "net1"
#define WEB "com.docker.compose.service=web com.docker.compose.project=shop"

/* One network, and n backends e1.. of the Compose service shop/web. */
static inline struct fixture *with_web(void **state, unsigned int n)
{
	struct fixture *f = *state;
	char id[16];
	char addr[32];

	add_network(f, NET, "10.1.0.192/26", NULL);
	for (unsigned int i = 1; i <= n; i++) {
		(void)snprintf(id, sizeof(id), "e%u", i);
		(void)snprintf(addr, sizeof(addr), "10.1.0.%u", i + 1);
		add_endpoint(f, NET, id, addr, NULL);
		run(f, id, WEB);
	}
	return f;
}

static inline const struct lb_view *web(struct fixture *f)
{
	return view(f, NET, "shop", "web");
}

/* Endpoint id names its service with the driver option. */
static inline void add_named(struct fixture *f, const char *id)
{
	char options[96];

	(void)snprintf(options, sizeof(options), "fairlead.service=%s", id);
	add_endpoint(f, NET, id, "10.1.0.2", options);
}

#endif
