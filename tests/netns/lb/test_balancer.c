// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every balancer against real packets: what is true for a service must be true for each
 * implementation, in a task (hook OUTPUT) and in the network sandbox (PREROUTING).
 * FAIRLEAD_BALANCER or the first argument (ipvs, nft) selects one, which then must be
 * possible; without it all that this kernel can do are run.
 */
#include "tests/netns/lb/fixture.h"

#include "lb/balancer.h"
#include "lb/ipvs.h"
#include "driver/kern/nft.h"

#define SERVICES_MAX 512
#define SEED_STEPS   400

struct world {
	const struct balancer_ops *ops;
	struct net net;
	struct balancer *balancers[NS_COUNT];
	struct lb_view *views[8]; /* freed at the end */
	unsigned int view_count;
};

/* --- views --- */

static void service_addrs(unsigned int service, struct addr *vip4, struct addr *vip6)
{
	struct addr first4 = net_addr("10.128.0.200");
	struct addr first6 = net_addr("fd00:128::f:1");

	*vip4 = addr_add(&first4, service);
	*vip6 = addr_add(&first6, service);
}

static struct lb_view *view_alloc(unsigned int service, unsigned int count)
{
	struct lb_view *v = lb_view_new(count);

	assert_non_null(v);
	(void)snprintf(v->name, sizeof(v->name), "svc-%u", service);
	(void)snprintf(v->project, sizeof(v->project), "test");
	v->mark = LB_MARK_FIRST + service;
	service_addrs(service, &v->vip4, &v->vip6);
	return v;
}

static void set_backend(struct lb_view *v, unsigned int i, enum net_ns ns,
			uint32_t weight)
{
	v->backends[i].addr4 = net_addr(net_places[ns].addr4);
	v->backends[i].addr6 = net_addr(net_places[ns].addr6);
	v->backends[i].weight = weight;
}

/* spec: a digit pair per backend, "11 23": backend 1 with weight 1, 2 with weight 3. */
static struct lb_view *view(struct world *w, unsigned int service, enum lb_scheduler s,
			    const char *spec)
{
	unsigned int count = *spec ? (unsigned int)(strlen(spec) + 1) / 3 : 0;
	struct lb_view *v = view_alloc(service, count);

	v->scheduler = s;
	for (unsigned int i = 0; i < count; i++)
		set_backend(v, i, (enum net_ns)(NS_BACKEND1 + spec[3 * i] - '1'),
			    (uint32_t)(spec[3 * i + 1] - '0'));
	assert_true(w->view_count < ARRAY_SIZE(w->views));
	w->views[w->view_count++] = v;
	return v;
}

static struct addr vip_of(unsigned int service, uint8_t family)
{
	struct addr vip4;
	struct addr vip6;

	service_addrs(service, &vip4, &vip6);
	return family == AF_INET ? vip4 : vip6;
}

/* --- balancers --- */

static struct balancer_self self_of(enum net_ns ns)
{
	struct balancer_self self = {0};

	if (net_places[ns].addr4) {
		self.addr4 = net_addr(net_places[ns].addr4);
		self.addr6 = net_addr(net_places[ns].addr6);
	}
	return self;
}

static void open_balancer(struct world *w, enum net_ns ns)
{
	struct cidr subnets[] = {net_cidr("10.128.0.0/24"), net_cidr("fd00:128::/64")};
	enum balancer_role role =
		ns == NS_SANDBOX ? BALANCER_ROLE_SANDBOX : BALANCER_ROLE_TASK;

	must(w->ops->open(w->net.fd[ns], role, subnets, ARRAY_SIZE(subnets),
			  &w->balancers[ns], &net_err));
}

static void close_balancer(struct world *w, enum net_ns ns)
{
	if (w->balancers[ns])
		w->balancers[ns]->ops->close(w->balancers[ns]);
	w->balancers[ns] = NULL;
}

/* Returns the repairs. */
static unsigned int sync_views(struct world *w, enum net_ns ns, struct lb_view **views,
			       unsigned int count)
{
	struct balancer_entry *list = calloc(count + 1, sizeof(*list));
	unsigned int repairs = 0;

	assert_non_null(list);
	for (unsigned int i = 0; i < count; i++)
		list[i] = (struct balancer_entry){self_of(ns), views[i]};
	must(w->balancers[ns]->ops->sync(w->balancers[ns], list, count, &repairs,
					 &net_err));
	free(list);
	return repairs;
}

static void update(struct world *w, enum net_ns ns, const struct lb_view *old,
		   const struct lb_view *new_view)
{
	struct balancer_self self = self_of(ns);

	must(w->ops->update(w->balancers[ns], &self, old, new_view, &net_err));
}

/* Opens a balancer and gives it one service by an update. */
static void start(struct world *w, enum net_ns ns, struct lb_view *v)
{
	open_balancer(w, ns);
	assert_true(sync_views(w, ns, NULL, 0) > 0);
	update(w, ns, NULL, v);
}

/* --- from where a service is asked, and how --- */

struct path {
	const char *name;
	enum net_ns balancer; /* the namespace that is programmed */
	enum net_ns client;
	uint8_t family;
	int type;
};

static const struct path paths[] = {
	{"task, TCP, IPv4", NS_CLIENT, NS_CLIENT, AF_INET, SOCK_STREAM},
	{"task, UDP, IPv4", NS_CLIENT, NS_CLIENT, AF_INET, SOCK_DGRAM},
	{"task, TCP, IPv6", NS_CLIENT, NS_CLIENT, AF_INET6, SOCK_STREAM},
	{"task, UDP, IPv6", NS_CLIENT, NS_CLIENT, AF_INET6, SOCK_DGRAM},
	{"sandbox, TCP, IPv4", NS_SANDBOX, NS_CLIENT, AF_INET, SOCK_STREAM},
	{"sandbox, UDP, IPv4", NS_SANDBOX, NS_CLIENT, AF_INET, SOCK_DGRAM},
	{"sandbox, TCP, IPv6", NS_SANDBOX, NS_CLIENT, AF_INET6, SOCK_STREAM},
	{"sandbox, UDP, IPv6", NS_SANDBOX, NS_CLIENT, AF_INET6, SOCK_DGRAM},
	{"outside, TCP, IPv4", NS_SANDBOX, NS_OUTSIDE, AF_INET, SOCK_STREAM},
	{"outside, UDP, IPv4", NS_SANDBOX, NS_OUTSIDE, AF_INET, SOCK_DGRAM},
	{"outside, TCP, IPv6", NS_SANDBOX, NS_OUTSIDE, AF_INET6, SOCK_STREAM},
	{"outside, UDP, IPv6", NS_SANDBOX, NS_OUTSIDE, AF_INET6, SOCK_DGRAM},
};

static const enum net_ns programmed[] = {NS_CLIENT, NS_SANDBOX};

static void start_all(struct world *w, struct lb_view *v)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(programmed); i++)
		start(w, programmed[i], v);
}

static void update_all(struct world *w, const struct lb_view *old,
		       const struct lb_view *new_view)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(programmed); i++)
		update(w, programmed[i], old, new_view);
}

/* The address that backends see. */
static const char *seen_on(const struct path *p)
{
	bool ip4 = p->family == AF_INET;

	if (p->client == NS_OUTSIDE)
		return ip4 ? OUTSIDE4 : OUTSIDE6;
	if (p->balancer == NS_SANDBOX)
		return ip4 ? GATEWAY4 : GATEWAY6;
	return ip4 ? net_places[p->client].addr4 : net_places[p->client].addr6;
}

/* Asks count times, each time anew; counts the answers per backend. */
static void ask_on(const struct world *w, const struct path *p, unsigned int service,
		   unsigned int count, unsigned int got[BACKENDS + 1])
{
	struct addr vip = vip_of(service, p->family);

	memset(got, 0, (BACKENDS + 1) * sizeof(got[0]));
	for (unsigned int i = 0; i < count; i++) {
		struct answer a = {0};
		int r = ask_once(&w->net, p->client, p->type, &vip, &a);

		if (r < 0)
			fail_msg("%s: request %u: %s", p->name, i, strerror(-r));
		assert_in_range(a.backend, 1, BACKENDS);
		assert_string_equal(a.seen, seen_on(p));
		got[a.backend]++;
	}
}

static void expect_spread(const struct world *w, const struct path *p,
			  unsigned int service, unsigned int b1, unsigned int b2,
			  unsigned int b3)
{
	unsigned int got[BACKENDS + 1];

	ask_on(w, p, service, b1 + b2 + b3, got);
	if (got[1] != b1 || got[2] != b2 || got[3] != b3)
		fail_msg("%s: spread %u %u %u, not %u %u %u", p->name, got[1], got[2],
			 got[3], b1, b2, b3);
}

/* The paths whose balancer is the only one: a task that is programmed never asks its
 * sandbox, so each group gets a network of its own by the balancer it programs. */
static void for_paths(struct world *w, enum net_ns balancer, struct lb_view *v,
		      void (*fn)(struct world *w, const struct path *p))
{
	start(w, balancer, v);
	for (unsigned int i = 0; i < ARRAY_SIZE(paths); i++) {
		if (paths[i].balancer == balancer)
			fn(w, &paths[i]);
	}
	must(w->ops->clear(w->balancers[balancer], &net_err));
	close_balancer(w, balancer);
}

static void for_all_paths(struct world *w, struct lb_view *v,
			  void (*fn)(struct world *w, const struct path *p))
{
	for_paths(w, NS_CLIENT, v, fn);
	for_paths(w, NS_SANDBOX, v, fn);
}

/* --- spreading --- */

static void expect_even(struct world *w, const struct path *p)
{
	expect_spread(w, p, 0, 2, 2, 2);
}

static void test_rr_is_exact(void **state)
{
	struct world *w = *state;

	for_all_paths(w, view(w, 0, LB_SCHEDULER_RR, "11 25 31"), expect_even);
}

static void expect_weighted(struct world *w, const struct path *p)
{
	expect_spread(w, p, 0, 6, 2, 0);
}

static void test_wrr_follows_weights(void **state)
{
	struct world *w = *state;

	for_all_paths(w, view(w, 0, LB_SCHEDULER_WRR, "16 22 30"), expect_weighted);
}

static void expect_one(struct world *w, const struct path *p)
{
	unsigned int got[BACKENDS + 1];

	ask_on(w, p, 0, 6, got);
	assert_true(got[1] == 6 || got[2] == 6 || got[3] == 6);
}

static void test_sh_is_sticky(void **state)
{
	struct world *w = *state;

	for_all_paths(w, view(w, 0, LB_SCHEDULER_SH, "11 21 31"), expect_one);
}

static void expect_all_reached(struct world *w, const struct path *p)
{
	unsigned int got[BACKENDS + 1];

	ask_on(w, p, 0, 60, got); /* misses one of three by chance once in 10^10 */
	assert_true(got[1] && got[2] && got[3]);
}

static void test_random_reaches_all(void **state)
{
	struct world *w = *state;

	for_paths(w, NS_CLIENT, view(w, 0, LB_SCHEDULER_RANDOM, "11 21 31"),
		  expect_all_reached);
}

static void test_lc_avoids_the_busy(void **state)
{
	struct world *w = *state;
	struct addr vip = vip_of(0, AF_INET);
	struct lb_view *first;
	struct lb_view *all;
	unsigned int got[BACKENDS + 1];
	int held[4];

	first = view(w, 0, LB_SCHEDULER_LC, "11 20 30");
	all = view(w, 0, LB_SCHEDULER_LC, "11 21 31");
	start(w, NS_CLIENT, first);
	for (unsigned int i = 0; i < ARRAY_SIZE(held); i++) {
		held[i] = client_open(&w->net, NS_CLIENT, SOCK_STREAM, &vip);
		assert_true(held[i] >= 0);
	}
	update(w, NS_CLIENT, first, all);
	ask_on(w, &paths[0], 0, 8, got);
	assert_int_equal(got[1], 0);
	assert_true(got[2] && got[3]);
	for (unsigned int i = 0; i < ARRAY_SIZE(held); i++)
		(void)close(held[i]);
}

static void test_every_scheduler_is_taken(void **state)
{
	struct world *w = *state;
	struct lb_view *v = view(w, 0, LB_SCHEDULER_RR, "11 21 31");
	struct answer a;
	struct addr vip = vip_of(0, AF_INET);

	start(w, NS_CLIENT, v);
	for (unsigned int s = 0; s < LB_SCHEDULER_COUNT; s++) {
		struct lb_view *next;

		if (!(w->ops->schedulers & 1U << s))
			continue;
		next = view_alloc(0, v->count);
		memcpy(next->backends, v->backends, v->count * sizeof(v->backends[0]));
		next->scheduler = (enum lb_scheduler)s;
		update(w, NS_CLIENT, v, next);
		lb_view_put(w->views[0]);
		w->views[0] = v = next;
		assert_int_equal(ask_once(&w->net, NS_CLIENT, SOCK_STREAM, &vip, &a), 0);
		assert_int_equal(sync_views(w, NS_CLIENT, &v, 1), 0);
	}
}

/* --- a backend asks its own service --- */

static void test_backend_asks_itself_in_the_task(void **state)
{
	static const struct path own[] = {
		{"own, TCP, IPv4", NS_BACKEND1, NS_BACKEND1, AF_INET, SOCK_STREAM},
		{"own, UDP, IPv4", NS_BACKEND1, NS_BACKEND1, AF_INET, SOCK_DGRAM},
		{"own, TCP, IPv6", NS_BACKEND1, NS_BACKEND1, AF_INET6, SOCK_STREAM},
		{"own, UDP, IPv6", NS_BACKEND1, NS_BACKEND1, AF_INET6, SOCK_DGRAM},
	};
	struct world *w = *state;

	start(w, NS_BACKEND1, view(w, 0, LB_SCHEDULER_RR, "11 21 31"));
	for (unsigned int i = 0; i < ARRAY_SIZE(own); i++)
		expect_spread(w, &own[i], 0, 2, 2, 2);
}

static void test_backend_asks_itself_by_the_sandbox(void **state)
{
	static const struct path own[] = {
		{"own, TCP, IPv4", NS_SANDBOX, NS_BACKEND1, AF_INET, SOCK_STREAM},
		{"own, UDP, IPv4", NS_SANDBOX, NS_BACKEND1, AF_INET, SOCK_DGRAM},
		{"own, TCP, IPv6", NS_SANDBOX, NS_BACKEND1, AF_INET6, SOCK_STREAM},
		{"own, UDP, IPv6", NS_SANDBOX, NS_BACKEND1, AF_INET6, SOCK_DGRAM},
	};
	struct world *w = *state;

	start(w, NS_SANDBOX, view(w, 0, LB_SCHEDULER_RR, "11 21 31"));
	for (unsigned int i = 0; i < ARRAY_SIZE(own); i++)
		expect_spread(w, &own[i], 0, 2, 2, 2);
}

/* A task that comes to be, and no longer is, a backend of the service it asks. */
static void test_backend_of_its_own_comes_and_goes(void **state)
{
	static const struct path own = {"own, TCP, IPv4", NS_BACKEND1, NS_BACKEND1,
					AF_INET, SOCK_STREAM};
	struct world *w = *state;
	struct lb_view *others = view(w, 0, LB_SCHEDULER_RR, "21 31");
	struct lb_view *all = view(w, 0, LB_SCHEDULER_RR, "11 21 31");

	start(w, NS_BACKEND1, others);
	expect_spread(w, &own, 0, 0, 2, 2);
	update(w, NS_BACKEND1, others, all);
	expect_spread(w, &own, 0, 2, 2, 2);
	assert_int_equal(sync_views(w, NS_BACKEND1, &all, 1), 0);
	update(w, NS_BACKEND1, all, others);
	expect_spread(w, &own, 0, 0, 2, 2);
	assert_int_equal(sync_views(w, NS_BACKEND1, &others, 1), 0);
}

/* --- backends that leave --- */

/* Opens connections until one is at the backend, which has answered on it. */
static int open_at(const struct world *w, const struct path *p, int backend)
{
	struct addr vip = vip_of(0, p->family);

	for (unsigned int i = 0; i < 3 * BACKENDS; i++) {
		struct answer a = {0};
		int fd = client_open(&w->net, p->client, p->type, &vip);

		assert_true(fd >= 0);
		assert_int_equal(client_ask(fd, &a), 0);
		if (a.backend == backend)
			return fd;
		(void)close(fd);
	}
	fail_msg("%s: backend %d not reached", p->name, backend);
	return -1;
}

static void test_weight_0_takes_nothing_new(void **state)
{
	struct world *w = *state;
	struct lb_view *all = view(w, 0, LB_SCHEDULER_RR, "11 21 31");
	struct lb_view *drained = view(w, 0, LB_SCHEDULER_RR, "10 21 31");

	start_all(w, all);
	for (unsigned int i = 0; i < ARRAY_SIZE(paths); i++) {
		const struct path *p = &paths[i];
		struct answer a = {0};
		int fd;

		/* The client is programmed: only outsiders use the sandbox here. */
		if (p->balancer == NS_SANDBOX && p->client != NS_OUTSIDE)
			continue;
		fd = open_at(w, p, 1);
		update_all(w, all, drained);
		expect_spread(w, p, 0, 0, 3, 3);
		assert_int_equal(client_ask(fd, &a), 0);
		assert_int_equal(a.backend, 1);
		(void)close(fd);
		update_all(w, drained, all);
	}
}

/* A flow that was at backend 1 is answered by another one, in a few datagrams: those
 * under way may be lost. */
static void expect_moved(int fd, const char *name)
{
	struct answer a = {0};

	for (unsigned int i = 0; i < 8; i++) {
		char buf[128];

		if (send(fd, "?", 1, MSG_NOSIGNAL) < 0 || wait_for(fd, POLLIN, 250) < 0)
			continue;
		if (recv(fd, buf, sizeof(buf) - 1, 0) > 0 &&
		    sscanf(buf, "%d", &a.backend) == 1 && a.backend != 1)
			return;
	}
	fail_msg("%s: the flow sticks to the removed backend (%d)", name, a.backend);
}

/* A connection whose backend is gone must tell so in time. */
static void expect_ended(int fd, const char *name)
{
	struct answer a = {0};
	uint64_t begin = clock_us();
	int r = 0;

	while (r == 0 && clock_us() - begin < FAST_LIMIT_MS * 1000)
		r = client_ask(fd, &a);
	if (r != -ECONNRESET && r != -EPIPE && r != -ECONNREFUSED)
		fail_msg("%s: connection of a removed backend: %s", name, strerror(-r));
}

static void test_removed_backend_is_left(void **state)
{
	struct world *w = *state;
	struct lb_view *all = view(w, 0, LB_SCHEDULER_RR, "11 21 31");
	struct lb_view *rest = view(w, 0, LB_SCHEDULER_RR, "31 21");

	start_all(w, all);
	for (unsigned int i = 0; i < ARRAY_SIZE(paths); i++) {
		const struct path *p = &paths[i];
		int fd;

		if (p->balancer == NS_SANDBOX && p->client != NS_OUTSIDE)
			continue;
		fd = open_at(w, p, 1);
		update_all(w, all, rest);
		if (p->type == SOCK_DGRAM)
			expect_moved(fd, p->name);
		else
			expect_ended(fd, p->name);
		(void)close(fd);
		expect_spread(w, p, 0, 0, 3, 3);
		update_all(w, rest, all);
	}
}

/* The client's own fallback path, for which all of the test is done anew. */
static void test_removed_backend_is_left_by_the_sandbox(void **state)
{
	struct world *w = *state;
	struct lb_view *all = view(w, 0, LB_SCHEDULER_RR, "11 21 31");
	struct lb_view *rest = view(w, 0, LB_SCHEDULER_RR, "31 21");

	start(w, NS_SANDBOX, all);
	for (unsigned int i = 4; i < 8; i++) {
		int fd = open_at(w, &paths[i], 1);

		assert_int_equal(paths[i].balancer, NS_SANDBOX);
		update(w, NS_SANDBOX, all, rest);
		if (paths[i].type == SOCK_DGRAM)
			expect_moved(fd, paths[i].name);
		else
			expect_ended(fd, paths[i].name);
		(void)close(fd);
		update(w, NS_SANDBOX, rest, all);
	}
}

/* A backend that drained and left while nobody looked. */
static void test_backend_gone_at_a_restart(void **state)
{
	struct world *w = *state;
	struct lb_view *all = view(w, 0, LB_SCHEDULER_RR, "11 21 31");
	struct lb_view *drained = view(w, 0, LB_SCHEDULER_RR, "10 21 31");
	struct lb_view *rest = view(w, 0, LB_SCHEDULER_RR, "31 21");
	int fd;

	start(w, NS_CLIENT, all);
	fd = open_at(w, &paths[1], 1);
	update(w, NS_CLIENT, all, drained);
	close_balancer(w, NS_CLIENT);
	open_balancer(w, NS_CLIENT);
	assert_true(sync_views(w, NS_CLIENT, &rest, 1) > 0);
	expect_moved(fd, "restart");
	assert_int_equal(sync_views(w, NS_CLIENT, &rest, 1), 0);
	(void)close(fd);
}

static void expect_refused(struct world *w, const struct path *p)
{
	struct addr vip = vip_of(0, p->family);
	struct answer a;
	uint64_t begin = clock_us();
	int r = ask_once(&w->net, p->client, p->type, &vip, &a);
	uint64_t took = (clock_us() - begin) / 1000;

	if (r != -ECONNREFUSED && r != -EHOSTUNREACH && r != -ENETUNREACH && r != -EPERM)
		fail_msg("%s: no backend, yet: %d %s", p->name, r, strerror(-r));
	if (took > FAST_LIMIT_MS)
		fail_msg("%s: refused only after %u ms", p->name, (unsigned int)took);
}

static void test_no_backend_refuses_at_once(void **state)
{
	struct world *w = *state;

	for_all_paths(w, view(w, 0, LB_SCHEDULER_RR, ""), expect_refused);
}

static void test_only_weight_0_refuses_at_once(void **state)
{
	struct world *w = *state;

	for_all_paths(w, view(w, 0, LB_SCHEDULER_RR, "10 20"), expect_refused);
}

/* --- several services --- */

static void test_services_are_apart(void **state)
{
	struct world *w = *state;
	struct lb_view *one = view(w, 0, LB_SCHEDULER_RR, "11");
	struct lb_view *two = view(w, 1, LB_SCHEDULER_RR, "21 31");

	start_all(w, one);
	update_all(w, NULL, two);
	for (unsigned int i = 0; i < ARRAY_SIZE(paths); i++) {
		if (paths[i].balancer == NS_SANDBOX && paths[i].client != NS_OUTSIDE)
			continue;
		expect_spread(w, &paths[i], 0, 2, 0, 0);
		expect_spread(w, &paths[i], 1, 0, 2, 2);
	}
	update_all(w, one, NULL);
	for (unsigned int i = 0; i < ARRAY_SIZE(paths); i++) {
		if (paths[i].balancer == NS_SANDBOX && paths[i].client != NS_OUTSIDE)
			continue;
		expect_refused(w, &paths[i]);
		expect_spread(w, &paths[i], 1, 0, 2, 2);
	}
}

static void test_dnsrr_has_no_vip(void **state)
{
	struct world *w = *state;
	struct lb_view *vip = view(w, 0, LB_SCHEDULER_RR, "11");
	struct lb_view *names = view(w, 0, LB_SCHEDULER_RR, "11");

	names->dnsrr = true;
	start(w, NS_CLIENT, names);
	expect_refused(w, &paths[0]);
	update(w, NS_CLIENT, names, vip);
	expect_spread(w, &paths[0], 0, 2, 0, 0);
	update(w, NS_CLIENT, vip, names);
	expect_refused(w, &paths[0]);
	assert_int_equal(sync_views(w, NS_CLIENT, &names, 1), 0);
}

static void test_vip_can_move(void **state)
{
	struct world *w = *state;
	struct lb_view *old = view(w, 0, LB_SCHEDULER_RR, "11 21 31");
	struct lb_view *moved = view(w, 0, LB_SCHEDULER_RR, "11 21 31");

	service_addrs(1, &moved->vip4, &moved->vip6);
	start(w, NS_CLIENT, old);
	update(w, NS_CLIENT, old, moved);
	for (unsigned int i = 0; i < 4; i++) {
		expect_spread(w, &paths[i], 1, 2, 2, 2);
		expect_refused(w, &paths[i]);
	}
	assert_int_equal(sync_views(w, NS_CLIENT, &moved, 1), 0);
	assert_true(sync_views(w, NS_CLIENT, &old, 1) > 0);
	expect_spread(w, &paths[0], 0, 2, 2, 2);
	expect_spread(w, &paths[2], 0, 2, 2, 2);
	assert_int_equal(sync_views(w, NS_CLIENT, &old, 1), 0);
}

/* --- the kernel's state --- */

static uint32_t random_state;

static uint32_t random_below(uint32_t limit)
{
	random_state = random_state * 1664525 + 1013904223;
	return (random_state >> 8) % limit;
}

static void random_seed(void)
{
	const char *given = getenv("FAIRLEAD_SEED");

	random_state = given ? (uint32_t)strtoul(given, NULL, 10)
			     : (uint32_t)(clock_us() & 0xffffff);
	printf("# seed %u (FAIRLEAD_SEED)\n", random_state);
}

static struct lb_view *random_copy(const struct lb_view *old, unsigned int service,
				   unsigned int count)
{
	struct lb_view *v = view_alloc(service, count);

	if (!old)
		return v;
	v->scheduler = old->scheduler;
	v->vip4 = old->vip4;
	v->vip6 = old->vip6;
	memcpy(v->backends, old->backends,
	       (old->count < count ? old->count : count) * sizeof(v->backends[0]));
	return v;
}

static void random_backend(struct lb_view *v, unsigned int i)
{
	struct addr base4 = net_addr("10.128.0.30");
	struct addr base6 = net_addr("fd00:128::30");
	bool is_own = random_below(8) == 0;

	for (unsigned int k = 0; is_own && k < i; k++)
		is_own = strcmp(v->backends[k].endpoint, "own") != 0;
	if (is_own) {
		set_backend(v, i, NS_BACKEND1, random_below(4));
		(void)snprintf(v->backends[i].endpoint, LB_ID_SIZE, "own");
		return;
	}
	memset(&v->backends[i], 0, sizeof(v->backends[i]));
	/* Each place of its own: no two backends have one address. */
	v->backends[i].addr4 = addr_add(&base4, i * 8 + random_below(8));
	if (random_below(4))
		v->backends[i].addr6 = addr_add(&base6, i * 8 + random_below(8));
	v->backends[i].weight = random_below(4);
}

/* Leaves no two backends with one address after the last has taken another's place. */
static bool addr_is_taken(const struct lb_view *v, unsigned int which)
{
	for (unsigned int i = 0; i < v->count; i++) {
		if (i != which &&
		    (addr_equal(&v->backends[i].addr4, &v->backends[which].addr4) ||
		     (addr_is_set(&v->backends[i].addr6) &&
		      addr_equal(&v->backends[i].addr6, &v->backends[which].addr6))))
			return true;
	}
	return false;
}

/* One random change of a service; NULL: it is gone. */
static struct lb_view *random_step(const struct world *w, const struct lb_view *old,
				   unsigned int service)
{
	unsigned int count = old ? old->count : 0;
	unsigned int kind = random_below(12);
	struct lb_view *v;
	unsigned int s;

	if (old && kind == 0)
		return NULL;
	if (!old || kind < 5) {
		v = random_copy(old, service, count + 1);
		do
			random_backend(v, count);
		while (addr_is_taken(v, count));
		return v;
	}
	if (kind < 8 && count) {
		s = random_below(count);
		v = random_copy(old, service, count - 1);
		if (s < count - 1)
			v->backends[s] = old->backends[count - 1];
		return v;
	}
	v = random_copy(old, service, count);
	if (kind < 10 && count) {
		v->backends[random_below(count)].weight = random_below(4);
	} else if (kind == 10) {
		service_addrs(service + (random_below(2) ? 0 : 8), &v->vip4, &v->vip6);
		if (random_below(3) == 0)
			v->vip6 = (struct addr){0};
		v->dnsrr = random_below(6) == 0;
	} else {
		do
			s = random_below(LB_SCHEDULER_COUNT);
		while (!(w->ops->schedulers & 1U << s));
		v->scheduler = (enum lb_scheduler)s;
	}
	return v;
}

static void random_run(struct world *w, enum net_ns ns)
{
	struct lb_view *now[6] = {0};
	struct lb_view *list[6];

	open_balancer(w, ns);
	(void)sync_views(w, ns, NULL, 0);
	for (unsigned int step = 1; step <= SEED_STEPS; step++) {
		unsigned int service = random_below(ARRAY_SIZE(now));
		struct lb_view *next = random_step(w, now[service], service);
		unsigned int count = 0;

		update(w, ns, now[service], next);
		lb_view_put(now[service]);
		now[service] = next;
		for (unsigned int i = 0; step % 8 == 0 && i < ARRAY_SIZE(now); i++) {
			if (now[i])
				list[count++] = now[i];
		}
		if (step % 8 == 0 && sync_views(w, ns, list, count) != 0)
			fail_msg("repairs after %u updates", step);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(now); i++)
		lb_view_put(now[i]);
}

static void test_updates_equal_sync(void **state)
{
	struct world *w = *state;

	random_seed();
	random_run(w, NS_BACKEND1);
	close_balancer(w, NS_BACKEND1);
	random_run(w, NS_SANDBOX);
}

static bool is_nft(const struct world *w)
{
	return w->ops == &balancer_nft;
}

struct damage {
	struct nft_sock *nft;
	struct nft_batch *batch;
};

static void damage_begin(const struct world *w, enum net_ns ns, struct damage *d)
{
	must(nft_open(w->net.fd[ns], &d->nft, &net_err));
	d->batch = nft_batch_new(NFT_FAMILY_INET, NFT_TABLE);
	assert_non_null(d->batch);
}

static void damage_end(struct damage *d)
{
	must(nft_commit(d->nft, d->batch, &net_err));
	nft_batch_free(d->batch);
	nft_close(d->nft);
}

static void damage_table(const struct world *w, enum net_ns ns)
{
	struct damage d;

	damage_begin(w, ns, &d);
	nft_table_del(d.batch);
	damage_end(&d);
}

static void damage_vip(const struct world *w, enum net_ns ns)
{
	struct nft_set set = {
		.name = is_nft(w) ? "vip4" : "mark4",
		.key = NFT_TYPE_IPV4,
		.value = is_nft(w) ? NFT_TYPE_VERDICT : NFT_TYPE_MARK,
	};
	struct nft_value key = {.type = NFT_TYPE_IPV4, .addr = vip_of(0, AF_INET)};
	struct damage d;

	damage_begin(w, ns, &d);
	nft_elem_del(d.batch, &set, &key);
	damage_end(&d);
}

static void damage_base_chain(const struct world *w, enum net_ns ns)
{
	struct damage d;

	damage_begin(w, ns, &d);
	nft_chain_flush(d.batch, is_nft(w) ? "balance" : "marks");
	damage_end(&d);
}

static void damage_foreign_vip(const struct world *w, enum net_ns ns)
{
	struct nft_set set = {
		.name = is_nft(w) ? "vip4" : "mark4",
		.key = NFT_TYPE_IPV4,
		.value = is_nft(w) ? NFT_TYPE_VERDICT : NFT_TYPE_MARK,
	};
	struct nft_value key = {.type = NFT_TYPE_IPV4, .addr = net_addr("10.128.0.250")};
	struct nft_value value = {.type = set.value, .number = 7, .name = "svc256-4"};
	struct damage d;

	damage_begin(w, ns, &d);
	nft_elem_add(d.batch, &set, &key, &value);
	damage_end(&d);
}

/* Half of what one backend has. */
static void damage_backend(const struct world *w, enum net_ns ns)
{
	struct addr addr = net_addr(net_places[NS_BACKEND2].addr4);
	struct nft_set set = {"slots256-4", NFT_TYPE_MARK, NFT_TYPE_IPV4, false};
	struct nft_value key = {.type = NFT_TYPE_MARK, .number = 1};
	struct ipvs_sock *s;
	struct damage d;

	if (is_nft(w)) {
		damage_begin(w, ns, &d);
		nft_elem_del(d.batch, &set, &key);
		damage_end(&d);
		return;
	}
	must(ipvs_open(w->net.fd[ns], &s, &net_err));
	must(ipvs_dest_del(s, LB_MARK_FIRST, &addr, &net_err));
	ipvs_close(s);
}

static void damage_strange_backend(const struct world *w, enum net_ns ns)
{
	struct addr addr = net_addr("10.128.0.99");
	struct nft_set set = {"slots256-4", NFT_TYPE_MARK, NFT_TYPE_IPV4, false};
	struct nft_value key = {.type = NFT_TYPE_MARK, .number = 1000000};
	struct nft_value value = {.type = NFT_TYPE_IPV4, .addr = addr};
	struct ipvs_sock *s;
	struct damage d;

	if (is_nft(w)) {
		damage_begin(w, ns, &d);
		nft_elem_add(d.batch, &set, &key, &value);
		damage_end(&d);
		return;
	}
	must(ipvs_open(w->net.fd[ns], &s, &net_err));
	must(ipvs_dest_add(s, LB_MARK_FIRST, &addr, 1, &net_err));
	ipvs_close(s);
}

static void damage_service(const struct world *w, enum net_ns ns)
{
	struct ipvs_sock *s;
	struct damage d;

	if (is_nft(w)) {
		damage_begin(w, ns, &d);
		nft_chain_flush(d.batch, "svc256-4");
		damage_end(&d);
		return;
	}
	must(ipvs_open(w->net.fd[ns], &s, &net_err));
	must(ipvs_service_del(s, AF_INET, LB_MARK_FIRST, &net_err));
	ipvs_close(s);
}

static void damage_scheduler(const struct world *w, enum net_ns ns)
{
	struct ipvs_service svc = {AF_INET, LB_MARK_FIRST, "wrr", 1};
	struct ipvs_sock *s;
	struct damage d;

	if (is_nft(w)) {
		damage_begin(w, ns, &d);
		nft_rule_begin(d.batch, "svc256-4", "another");
		nft_act_drop(d.batch);
		nft_rule_end(d.batch);
		damage_end(&d);
		return;
	}
	must(ipvs_open(w->net.fd[ns], &s, &net_err));
	must(ipvs_service_set(s, &svc, &net_err));
	ipvs_close(s);
}

static void damage_masquerade(const struct world *w, enum net_ns ns)
{
	struct damage d;

	if (ns != NS_SANDBOX) {
		damage_table(w, ns);
		return;
	}
	damage_begin(w, ns, &d);
	nft_chain_flush(d.batch, "masq");
	damage_end(&d);
}

static void test_damage_is_repaired(void **state)
{
	static void (*const damages[])(const struct world *w, enum net_ns ns) = {
		damage_table,	damage_vip,	    damage_base_chain,
		damage_backend, damage_foreign_vip, damage_strange_backend,
		damage_service, damage_scheduler,   damage_masquerade,
	};
	static const struct path *const asked[] = {&paths[0], &paths[8]};
	struct world *w = *state;
	struct lb_view *v = view(w, 0, LB_SCHEDULER_RR, "11 21 31");

	start_all(w, v);
	for (unsigned int k = 0; k < ARRAY_SIZE(programmed); k++) {
		enum net_ns ns = programmed[k];

		for (unsigned int i = 0; i < ARRAY_SIZE(damages); i++) {
			damages[i](w, ns);
			if (sync_views(w, ns, &v, 1) == 0)
				fail_msg("damage %u in %s was not seen", i,
					 net_places[ns].name);
			if (sync_views(w, ns, &v, 1) != 0)
				fail_msg("damage %u in %s was not repaired", i,
					 net_places[ns].name);
			expect_spread(w, asked[k], 0, 2, 2, 2);
		}
	}
}

/* The kernel has lost what an update builds on: it says so, and sync puts it right. */
static void test_update_after_damage_fails(void **state)
{
	struct world *w = *state;
	struct balancer_self self = self_of(NS_CLIENT);
	struct lb_view *old = view(w, 0, LB_SCHEDULER_RR, "11 21 31");
	struct lb_view *rest = view(w, 0, LB_SCHEDULER_RR, "11 31");
	struct err e = {0};

	start(w, NS_CLIENT, old);
	damage_backend(w, NS_CLIENT);
	assert_true(w->ops->update(w->balancers[NS_CLIENT], &self, old, rest, &e) < 0);
	assert_true(e.code < 0 && *e.text);
	assert_true(sync_views(w, NS_CLIENT, &rest, 1) > 0);
	expect_spread(w, &paths[0], 0, 2, 0, 2);
}

static void test_sync_removes_what_is_stale(void **state)
{
	struct world *w = *state;
	struct lb_view *list[] = {
		view(w, 0, LB_SCHEDULER_RR, "11 21 31"),
		view(w, 1, LB_SCHEDULER_RR, "21"),
	};

	open_balancer(w, NS_CLIENT);
	assert_true(sync_views(w, NS_CLIENT, list, 2) > 0);
	expect_spread(w, &paths[0], 1, 0, 2, 0);
	close_balancer(w, NS_CLIENT);
	open_balancer(w, NS_CLIENT);
	assert_true(sync_views(w, NS_CLIENT, list, 1) > 0);
	assert_int_equal(sync_views(w, NS_CLIENT, list, 1), 0);
	expect_spread(w, &paths[0], 0, 2, 2, 2);
	assert_true(sync_views(w, NS_CLIENT, list + 1, 1) > 0);
	assert_int_equal(sync_views(w, NS_CLIENT, list + 1, 1), 0);
	expect_refused(w, &paths[0]);
}

static void test_reopened_goes_on(void **state)
{
	struct world *w = *state;
	struct lb_view *v = view(w, 0, LB_SCHEDULER_WRR, "12 21 30");
	struct answer a = {0};

	start_all(w, v);
	for (unsigned int i = 0; i < ARRAY_SIZE(programmed); i++) {
		const struct path *p = i ? &paths[8] : &paths[0];
		int fd = open_at(w, p, 1);

		close_balancer(w, programmed[i]);
		assert_int_equal(client_ask(fd, &a), 0);
		expect_spread(w, p, 0, 4, 2, 0);
		open_balancer(w, programmed[i]);
		assert_int_equal(sync_views(w, programmed[i], &v, 1), 0);
		assert_int_equal(client_ask(fd, &a), 0);
		assert_int_equal(a.backend, 1);
		/* Even a whole new frame leaves connections alone. */
		damage_table(w, programmed[i]);
		assert_true(sync_views(w, programmed[i], &v, 1) > 0);
		assert_int_equal(client_ask(fd, &a), 0);
		assert_int_equal(a.backend, 1);
		(void)close(fd);
	}
}

/* --- clear, count --- */

struct search {
	const char *file;
	const char *text;
};

static int search_file(void *arg)
{
	const struct search *s = arg;
	char line[512];
	int found = 0;
	FILE *f = fopen(s->file, "re");

	if (!f)
		return -errno;
	while (!found && fgets(line, sizeof(line), f))
		found = strstr(line, s->text) != NULL;
	(void)fclose(f);
	return found;
}

static int route_is_there(const struct world *w, enum net_ns ns, uint8_t family)
{
	struct addr vip = vip_of(0, family);
	char text[ADDR_TEXT_SIZE];
	struct search s = {"/proc/thread-self/net/fib_trie", text};
	int r;

	(void)addr_format(&vip, text);
	if (family == AF_INET6) {
		s.file = "/proc/thread-self/net/ipv6_route";
		s.text = "fd0001280000000000000000000f0001";
	}
	r = ns_call(w->net.fd[ns], search_file, &s, &net_err);
	must(r);
	return r;
}

static int fail_on_service(void *ctx, const struct ipvs_service *svc)
{
	(void)ctx;
	(void)svc;
	return -EEXIST;
}

static void expect_nothing_left(const struct world *w, enum net_ns ns)
{
	struct nft_sock *nft;
	struct ipvs_sock *s;

	must(nft_open(w->net.fd[ns], &nft, &net_err));
	assert_int_equal(
		nft_chain_exists(nft, NFT_FAMILY_INET, NFT_TABLE, NULL, &net_err), 0);
	nft_close(nft);
	assert_int_equal(route_is_there(w, ns, AF_INET), 0);
	assert_int_equal(route_is_there(w, ns, AF_INET6), 0);
	if (is_nft(w))
		return;
	must(ipvs_open(w->net.fd[ns], &s, &net_err));
	must(ipvs_service_list(s, fail_on_service, NULL, &net_err));
	ipvs_close(s);
}

static void test_clear_leaves_nothing(void **state)
{
	static const enum net_ns each[] = {NS_BACKEND1, NS_SANDBOX, NS_CLIENT};
	struct world *w = *state;
	struct lb_view *v = view(w, 0, LB_SCHEDULER_RR, "11 21 31");

	for (unsigned int i = 0; i < ARRAY_SIZE(each); i++) {
		start(w, each[i], v);
		if (each[i] == NS_BACKEND1 && !is_nft(w)) {
			assert_int_equal(route_is_there(w, each[i], AF_INET), 1);
			assert_int_equal(route_is_there(w, each[i], AF_INET6), 1);
		}
		must(w->ops->clear(w->balancers[each[i]], &net_err));
		expect_nothing_left(w, each[i]);
		must(w->ops->clear(w->balancers[each[i]], &net_err)); /* once more */
		assert_true(sync_views(w, each[i], &v, 1) > 0);
		assert_int_equal(sync_views(w, each[i], &v, 1), 0);
		must(w->ops->clear(w->balancers[each[i]], &net_err));
	}
}

static void count_views(struct world *w, enum net_ns ns, struct lb_view *v,
			uint8_t family, unsigned int ret[BACKENDS + 1])
{
	struct balancer_entry entry = {self_of(ns), v};
	struct balancer_count list[BACKENDS];

	for (unsigned int i = 0; i < BACKENDS; i++) {
		const struct net_place *place = &net_places[NS_BACKEND1 + i];

		list[i] = (struct balancer_count){
			v->mark,
			net_addr(family == AF_INET ? place->addr4 : place->addr6), 10};
	}
	must(w->ops->count(w->balancers[ns], &entry, 1, list, BACKENDS, &net_err));
	for (unsigned int i = 0; i < BACKENDS; i++)
		ret[i + 1] = list[i].active - 10;
}

static void test_open_connections_are_counted(void **state)
{
	static const unsigned int asked[] = {0, 1, 2, 3, 8, 9, 10, 11};
	struct world *w = *state;
	struct lb_view *v = view(w, 0, LB_SCHEDULER_WRR, "12 21");

	start_all(w, v);
	for (unsigned int i = 0; i < ARRAY_SIZE(asked); i++) {
		const struct path *p = &paths[asked[i]];
		struct addr vip = vip_of(0, p->family);
		unsigned int before[BACKENDS + 1];
		unsigned int got[BACKENDS + 1];
		int fd[6];

		count_views(w, p->balancer, v, p->family, before);
		for (unsigned int k = 0; k < ARRAY_SIZE(fd); k++) {
			struct answer a;

			fd[k] = client_open(&w->net, p->client, p->type, &vip);
			assert_true(fd[k] >= 0);
			assert_int_equal(client_ask(fd[k], &a), 0);
		}
		count_views(w, p->balancer, v, p->family, got);
		if (got[1] - before[1] != 4 || got[2] - before[2] != 2 || got[3])
			fail_msg("%s: %u %u %u connections", p->name, got[1] - before[1],
				 got[2] - before[2], got[3]);
		for (unsigned int k = 0; k < ARRAY_SIZE(fd); k++)
			(void)close(fd[k]);
	}
}

static const struct balancer_ops *other_of(const struct balancer_ops *ops)
{
	return ops == &balancer_nft ? &balancer_ipvs : &balancer_nft;
}

/* One balancer takes a namespace over from the other. */
static void test_takes_over_from_the_other(void **state)
{
	struct world *w = *state;
	const struct balancer_ops *own = w->ops;
	struct lb_view *v = view(w, 0, LB_SCHEDULER_RR, "11 21 31");

	w->ops = other_of(own);
	start_all(w, v);
	for (unsigned int i = 0; i < ARRAY_SIZE(programmed); i++)
		close_balancer(w, programmed[i]);
	w->ops = own;
	for (unsigned int i = 0; i < ARRAY_SIZE(programmed); i++) {
		open_balancer(w, programmed[i]);
		assert_true(sync_views(w, programmed[i], &v, 1) > 0);
		assert_int_equal(sync_views(w, programmed[i], &v, 1), 0);
	}
	expect_spread(w, &paths[0], 0, 2, 2, 2);
	expect_spread(w, &paths[8], 0, 2, 2, 2);
}

/* --- cost --- */

struct cost {
	double add; /* microseconds of an update that adds a backend */
	double del; /* that removes one, with a look for its connections */
};

/* Services with three backends, all but the first with VIPs of other networks. */
static void make_services(struct lb_view **list, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		list[i] = view_alloc(i + 1, 3);
		list[i]->vip4.bytes[1] = (uint8_t)(128 + i / 50);
		list[i]->vip4.bytes[3] = (uint8_t)(200 + i % 50);
		for (unsigned int k = 0; k < 3; k++)
			set_backend(list[i], k, (enum net_ns)(NS_BACKEND1 + k), 1);
	}
}

static struct lb_view *with_one_more(const struct lb_view *v)
{
	struct lb_view *more = view_alloc(1, v->count + 1);

	more->vip4 = v->vip4;
	memcpy(more->backends, v->backends, v->count * sizeof(v->backends[0]));
	more->backends[v->count] = (struct lb_backend){
		.addr4 = net_addr("10.128.0.24"),
		.addr6 = net_addr("fd00:128::24"),
		.weight = 1,
	};
	return more;
}

/* Of the first service, and back; the least of each is told: others use this machine. */
static struct cost measure_updates(struct world *w, struct lb_view *v)
{
	struct lb_view *more = with_one_more(v);
	struct cost c = {1e9, 1e9};

	for (unsigned int i = 0; i < 100; i++) {
		uint64_t begin = clock_us();
		uint64_t middle;
		uint64_t end;

		update(w, NS_CLIENT, v, more);
		middle = clock_us();
		update(w, NS_CLIENT, more, v);
		end = clock_us();
		if ((double)(middle - begin) < c.add)
			c.add = (double)(middle - begin);
		if ((double)(end - middle) < c.del)
			c.del = (double)(end - middle);
	}
	lb_view_put(more);
	return c;
}

static struct cost measure(struct world *w, unsigned int count)
{
	struct lb_view *list[SERVICES_MAX];
	uint64_t begin = clock_us();
	uint64_t middle;
	struct cost c;

	assert_true(count < SERVICES_MAX);
	make_services(list, count);
	assert_true(sync_views(w, NS_CLIENT, list, count) > 0);
	middle = clock_us();
	assert_int_equal(sync_views(w, NS_CLIENT, list, count), 0);
	printf("# %s, %u services: first sync %u us, sync without a difference %u us\n",
	       w->ops->name, count, (unsigned int)(middle - begin),
	       (unsigned int)(clock_us() - middle));
	c = measure_updates(w, list[0]);
	printf("# %s, %u services: a backend more %.0f us, a backend less %.0f us\n",
	       w->ops->name, count, c.add, c.del);
	for (unsigned int i = 0; i < count; i++)
		lb_view_put(list[i]);
	return c;
}

static void test_update_costs_the_same_among_many(void **state)
{
	struct world *w = *state;
	struct cost one;
	struct cost many;

	open_balancer(w, NS_CLIENT);
	one = measure(w, 1);
	many = measure(w, 500);
	/* Linear would be 500 times as much. */
	assert_true(many.add < 6 * one.add + 1000);
	assert_true(many.del < 6 * one.del + 1000);
}

/* --- running --- */

static int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->ops = *state;
	*state = w;
	net_init(&w->net);
	return 0;
}

static int world_teardown(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < NS_COUNT; i++)
		close_balancer(w, (enum net_ns)i);
	net_fini(&w->net);
	for (unsigned int i = 0; i < w->view_count; i++)
		lb_view_put(w->views[i]);
	free(w);
	return 0;
}

/* Does a case make sense for a balancer? The others are not run. */
static bool has_random(const struct balancer_ops *ops)
{
	return ops->schedulers & 1U << LB_SCHEDULER_RANDOM;
}

static bool has_lc(const struct balancer_ops *ops)
{
	return ops->schedulers & 1U << LB_SCHEDULER_LC;
}

static bool has_other(const struct balancer_ops *ops)
{
	return other_of(ops)->probe(NULL) == 0;
}

#define CASE(fn)              \
	{                     \
#fn, fn, NULL \
	}
#define CASE_IF(cond, fn)     \
	{                     \
#fn, fn, cond \
	}
static const struct {
	const char *name;
	CMUnitTestFunction fn;
	bool (*condition)(const struct balancer_ops *ops);
} cases[] = {
	CASE(test_rr_is_exact),
	CASE(test_wrr_follows_weights),
	CASE(test_sh_is_sticky),
	CASE_IF(has_random, test_random_reaches_all),
	CASE_IF(has_lc, test_lc_avoids_the_busy),
	CASE(test_every_scheduler_is_taken),
	CASE(test_backend_asks_itself_in_the_task),
	CASE(test_backend_asks_itself_by_the_sandbox),
	CASE(test_backend_of_its_own_comes_and_goes),
	CASE(test_weight_0_takes_nothing_new),
	CASE(test_removed_backend_is_left),
	CASE(test_removed_backend_is_left_by_the_sandbox),
	CASE(test_backend_gone_at_a_restart),
	CASE(test_no_backend_refuses_at_once),
	CASE(test_only_weight_0_refuses_at_once),
	CASE(test_services_are_apart),
	CASE(test_dnsrr_has_no_vip),
	CASE(test_vip_can_move),
	CASE(test_updates_equal_sync),
	CASE(test_damage_is_repaired),
	CASE(test_update_after_damage_fails),
	CASE(test_sync_removes_what_is_stale),
	CASE(test_reopened_goes_on),
	CASE(test_clear_leaves_nothing),
	CASE(test_open_connections_are_counted),
	CASE_IF(has_other, test_takes_over_from_the_other),
	CASE(test_update_costs_the_same_among_many),
};

static const char *skip_reason;

static void test_probe(void **state)
{
	(void)state;
	printf("# skip: %s\n", skip_reason);
	skip();
}

/* FAIRLEAD_TEST: only the cases whose name has this text. */
static int run(const struct balancer_ops *ops)
{
	const char *only = getenv("FAIRLEAD_TEST");
	char names[ARRAY_SIZE(cases)][96];
	struct CMUnitTest tests[ARRAY_SIZE(cases)] = {0};
	size_t count = 0;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)snprintf(names[i], sizeof(names[i]), "%s: %s", ops->name,
			       cases[i].name);
		if (cases[i].condition && !cases[i].condition(ops))
			continue;
		if (!only || strstr(names[i], only))
			tests[count++] =
				(struct CMUnitTest){names[i], cases[i].fn, world_setup,
						    world_teardown, (void *)ops};
	}
	return _cmocka_run_group_tests(ops->name, tests, count, NULL, NULL);
}

static int skip_all(const struct balancer_ops *ops, const char *reason)
{
	char name[32];
	struct CMUnitTest test = {name, test_probe, NULL, NULL, NULL};

	(void)snprintf(name, sizeof(name), "%s: probe", ops->name);
	skip_reason = reason;
	return _cmocka_run_group_tests(ops->name, &test, 1, NULL, NULL);
}

int main(int argc, char **argv)
{
	static const struct balancer_ops *const all[] = {&balancer_nft, &balancer_ipvs};
	const char *only = argc > 1 ? argv[1] : getenv("FAIRLEAD_BALANCER");
	int failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		printf("1..0 # SKIP no namespaces: %s\n", strerror(errno));
		return 0;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(all); i++) {
		struct err e = {0};

		if (only && strcmp(only, all[i]->name) != 0)
			continue;
		if (all[i]->probe(&e) == 0) {
			failed += run(all[i]);
		} else if (only) {
			printf("1..1\nnot ok 1 - %s: probe: %s\n", only, e.text);
			failed++;
		} else {
			failed += skip_all(all[i], e.text);
		}
	}
	return failed > 0;
}
