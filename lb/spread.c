// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Namespaces and the views that they are programmed with. A target is one namespace
 * with its balancer; it is a member of one network (a sandbox) or of several (a task).
 */
#include "lb/spread.h"

#include "plugin/base/map.h"
#include "plugin/base/mem.h"

#include <errno.h>
#include <string.h>

#define LOG_MODULE "lb"
#include "plugin/base/log.h"

struct service {
	UT_hash_handle hh;	   /* in spread.services by mark */
	TAILQ_ENTRY(service) link; /* in its network */
	uint32_t mark;
	struct lb_view *view;
};

struct network {
	UT_hash_handle hh;
	char id[LB_ID_SIZE];
	TAILQ_HEAD(, service) services;
	TAILQ_HEAD(, member) members;
};

/* A target on a network. */
struct member {
	TAILQ_ENTRY(member) of_network;
	TAILQ_ENTRY(member) of_target;
	struct network *network;
	struct target *target;
	struct balancer_self self;
};

struct target {
	UT_hash_handle hh; /* in spread.targets by key */
	struct balancer *balancer;
	bool dirty; /* an update failed: the next chance is a sync */
	TAILQ_HEAD(, member) members;
	char key[];
};

struct spread {
	const struct balancer_ops *ops;
	struct service *services;
	struct network *networks;
	struct target *targets;
};

struct spread *spread_new(const struct balancer_ops *ops)
{
	struct spread *s = calloc(1, sizeof(*s));

	if (s)
		s->ops = ops;
	return s;
}

static struct network *find_network(const struct spread *s, const char *id)
{
	struct network *n;

	HASH_FIND_STR(s->networks, id, n);
	return n;
}

static struct network *get_network(struct spread *s, const char *id)
{
	struct network *n = find_network(s, id);

	if (n)
		return n;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	strncpy(n->id, id, sizeof(n->id) - 1);
	TAILQ_INIT(&n->services);
	TAILQ_INIT(&n->members);
	HASH_ADD_STR(s->networks, id, n);
	if (!MAP_ADDED(n)) {
		free(n);
		return NULL;
	}
	return n;
}

static struct target *find_target(const struct spread *s, const char *key)
{
	struct target *t;

	HASH_FIND_STR(s->targets, key, t);
	return t;
}

static struct target *target_new(struct spread *s, const char *key)
{
	size_t len = strlen(key);
	struct target *t = calloc(1, sizeof(*t) + len + 1);

	if (!t)
		return NULL;
	memcpy(t->key, key, len);
	TAILQ_INIT(&t->members);
	HASH_ADD_STR(s->targets, key, t);
	if (!MAP_ADDED(t)) {
		free(t);
		return NULL;
	}
	return t;
}

static void member_del(struct member *m)
{
	TAILQ_REMOVE(&m->network->members, m, of_network);
	TAILQ_REMOVE(&m->target->members, m, of_target);
	free(m);
}

static void target_free(struct spread *s, struct target *t)
{
	struct member *m;

	while ((m = TAILQ_FIRST(&t->members)))
		member_del(m);
	if (t->balancer)
		s->ops->close(t->balancer);
	HASH_DEL(s->targets, t);
	free(t);
}

static void service_free(struct spread *s, struct network *n, struct service *svc)
{
	TAILQ_REMOVE(&n->services, svc, link);
	HASH_DEL(s->services, svc);
	lb_view_put(svc->view);
	free(svc);
}

static void network_free(struct spread *s, struct network *n)
{
	struct service *svc;
	struct member *m;

	while ((m = TAILQ_FIRST(&n->members)))
		member_del(m);
	while ((svc = TAILQ_FIRST(&n->services)))
		service_free(s, n, svc);
	HASH_DEL(s->networks, n);
	free(n);
}

void spread_free(struct spread *s)
{
	struct target *t;
	struct target *t_next;
	struct network *n;
	struct network *n_next;

	if (!s)
		return;
	HASH_ITER (hh, s->targets, t, t_next)
		target_free(s, t);
	HASH_ITER (hh, s->networks, n, n_next)
		network_free(s, n);
	free(s);
}

/* --- programming ---------------------------------------------------------------- */

static unsigned int target_entries(const struct target *t, struct balancer_entry *list)
{
	unsigned int count = 0;
	const struct member *m;
	const struct service *svc;

	TAILQ_FOREACH (m, &t->members, of_target) {
		TAILQ_FOREACH (svc, &m->network->services, link) {
			if (list)
				list[count] = (struct balancer_entry){m->self, svc->view};
			count++;
		}
	}
	return count;
}

/* Makes the namespace what it should be; a failure leaves the target dirty. */
static int target_sync(struct spread *s, struct target *t, unsigned int *ret_repairs,
		       struct err *e)
{
	unsigned int count = target_entries(t, NULL);
	auto_free struct balancer_entry *list = calloc(count + 1, sizeof(*list));
	int r;

	if (!list)
		return err_sys(e, -ENOMEM, "services of %s", t->key);
	(void)target_entries(t, list);
	r = s->ops->sync(t->balancer, list, count, ret_repairs, e);
	t->dirty = r < 0;
	return r < 0 ? err_wrap(e, r, "balancer %s in %s", s->ops->name, t->key) : 0;
}

static void target_update(struct spread *s, const struct member *m,
			  const struct lb_view *old, const struct lb_view *new_view)
{
	struct target *t = m->target;
	struct err e = {0};
	int r = -EAGAIN;

	if (!t->dirty)
		r = s->ops->update(t->balancer, &m->self, old, new_view, &e);
	if (r == 0)
		return;
	if (e.code)
		log_debug("%s: %s: synchronising", t->key, e.text);
	/* The kernel is not what we think: look and repair. */
	if (target_sync(s, t, NULL, &e) < 0)
		log_error("%s svc=%s", e.text, (new_view ? new_view : old)->name);
}

static void network_update(struct spread *s, struct network *n, const struct lb_view *old,
			   const struct lb_view *new_view)
{
	const struct member *m;

	TAILQ_FOREACH (m, &n->members, of_network)
		target_update(s, m, old, new_view);
}

void spread_set(struct spread *s, struct lb_view *v)
{
	struct network *n = get_network(s, v->network);
	struct service *svc;
	struct lb_view *old;

	HASH_FIND(hh, s->services, &v->mark, sizeof(v->mark), svc);
	if (!svc && n) {
		svc = calloc(1, sizeof(*svc));
		if (svc) {
			svc->mark = v->mark;
			HASH_ADD(hh, s->services, mark, sizeof(svc->mark), svc);
			if (MAP_ADDED(svc))
				TAILQ_INSERT_TAIL(&n->services, svc, link);
			else
				free(TAKE(svc));
		}
	}
	if (!n || !svc) {
		log_error("no memory for the service svc=%s", v->name);
		return;
	}
	old = svc->view;
	svc->view = lb_view_get(v);
	network_update(s, n, old, v);
	lb_view_put(old);
}

void spread_del(struct spread *s, uint32_t mark)
{
	struct service *svc;
	struct network *n;
	struct lb_view *old;

	HASH_FIND(hh, s->services, &mark, sizeof(mark), svc);
	if (!svc)
		return;
	n = find_network(s, svc->view->network);
	old = lb_view_get(svc->view);
	service_free(s, n, svc);
	network_update(s, n, old, NULL);
	lb_view_put(old);
}

/* --- namespaces ----------------------------------------------------------------- */

static int member_add(struct network *n, struct target *t,
		      const struct balancer_self *self)
{
	struct member *m;

	TAILQ_FOREACH (m, &t->members, of_target) {
		if (m->network == n) {
			m->self = *self;
			return 0;
		}
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->network = n;
	m->target = t;
	m->self = *self;
	TAILQ_INSERT_TAIL(&n->members, m, of_network);
	TAILQ_INSERT_TAIL(&t->members, m, of_target);
	return 0;
}

int spread_network_add(struct spread *s, const char *network, int nsfd,
		       const struct cidr *subnets, unsigned int subnet_count,
		       struct err *e)
{
	static const struct balancer_self none;
	struct network *n = get_network(s, network);
	struct target *t = find_target(s, network);
	int r;

	if (t)
		target_free(s, t);
	t = n ? target_new(s, network) : NULL;
	if (!t)
		return err_sys(e, -ENOMEM, "network %.12s", network);
	r = s->ops->open(nsfd, BALANCER_ROLE_SANDBOX, subnets, subnet_count, &t->balancer,
			 e);
	if (r == 0)
		r = member_add(n, t, &none);
	if (r == 0)
		r = target_sync(s, t, NULL, e);
	if (r < 0)
		target_free(s, t);
	return r < 0 ? err_wrap(e, r, "network %.12s", network) : 0;
}

void spread_network_del(struct spread *s, const char *network)
{
	struct network *n = find_network(s, network);
	struct target *t = find_target(s, network);

	if (t)
		target_free(s, t);
	if (n)
		network_free(s, n);
}

int spread_task_join(struct spread *s, const char *task, int nsfd, const char *network,
		     const struct balancer_self *self, struct err *e)
{
	struct network *n = get_network(s, network);
	struct target *t = find_target(s, task);
	int r = 0;

	if (!t && n) {
		t = target_new(s, task);
		if (t)
			r = s->ops->open(nsfd, BALANCER_ROLE_TASK, NULL, 0, &t->balancer,
					 e);
	}
	if (!t)
		return err_sys(e, -ENOMEM, "task %s", task);
	if (r == 0)
		r = member_add(n, t, self);
	if (r == 0)
		r = target_sync(s, t, NULL, e);
	if (r < 0 && !t->balancer)
		target_free(s, t);
	return r < 0 ? err_wrap(e, r, "task %s", task) : 0;
}

int spread_task_settle(struct spread *s, const char *task, struct err *e)
{
	struct target *t = find_target(s, task);

	return t && t->dirty ? target_sync(s, t, NULL, e) : 0;
}

void spread_task_leave(struct spread *s, const char *task, const char *network)
{
	struct target *t = find_target(s, task);
	struct member *m;
	struct err e = {0};

	if (!t)
		return;
	TAILQ_FOREACH (m, &t->members, of_target)
		if (!strcmp(m->network->id, network))
			break;
	if (m)
		member_del(m);
	if (TAILQ_EMPTY(&t->members)) {
		/* The namespace may live on after `docker network disconnect`. */
		if (s->ops->clear(t->balancer, &e) < 0)
			log_debug("leaving %s: %s", task, e.text);
		target_free(s, t);
	} else if (target_sync(s, t, NULL, &e) < 0) {
		log_warning("%s, will be repaired", e.text);
	}
}

unsigned int spread_reconcile(struct spread *s)
{
	unsigned int total = 0;
	struct target *t;

	for (t = s->targets; t; t = t->hh.next) {
		unsigned int repairs = 0;
		struct err e = {0};

		if (target_sync(s, t, &repairs, &e) < 0)
			log_error("%s", e.text);
		else if (repairs)
			log_warning("repaired objects=%u in=%s", repairs, t->key);
		total += repairs;
	}
	return total;
}

void spread_count(struct spread *s, const char *network, struct balancer_count *list,
		  unsigned int count)
{
	const struct network *n = find_network(s, network);
	auto_free struct balancer_entry *views = NULL;
	unsigned int view_count = 0;
	const struct service *svc;
	const struct member *m;

	if (!n)
		return;
	TAILQ_FOREACH (svc, &n->services, link)
		view_count++;
	views = calloc(view_count + 1, sizeof(*views));
	if (!views)
		return;
	view_count = 0;
	TAILQ_FOREACH (svc, &n->services, link)
		views[view_count++].view = svc->view;
	TAILQ_FOREACH (m, &n->members, of_network) {
		struct err e = {0};

		if (s->ops->count(m->target->balancer, views, view_count, list, count,
				  &e) < 0)
			log_warning("counting connections in %s: %s", m->target->key,
				    e.text);
	}
}
