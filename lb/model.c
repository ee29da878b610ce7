// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Objects of the registry and their links. Everything here is a look-up in a hash map
 * or a change of a list, so the cost of a change does not depend on how many services
 * there are. Nothing here decides, stores or tells.
 */
#include "lb/model.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MARK_BITS 64U

void model_init(struct model *m)
{
	*m = (struct model){0};
	TAILQ_INIT(&m->changed_networks);
	TAILQ_INIT(&m->changed_endpoints);
	TAILQ_INIT(&m->changed_containers);
	TAILQ_INIT(&m->changed_services);
	TAILQ_INIT(&m->draining);
}

/* --- marks: the lowest free bit --- */

static int mark_grow(struct model *m, unsigned int words)
{
	uint64_t *marks;

	if (words <= m->mark_words)
		return 0;
	marks = realloc(m->marks, words * sizeof(*marks));
	if (!marks)
		return -ENOMEM;
	memset(marks + m->mark_words, 0, (words - m->mark_words) * sizeof(*marks));
	m->marks = marks;
	m->mark_words = words;
	return 0;
}

/* *mark 0: chooses. */
static int mark_take(struct model *m, uint32_t *mark)
{
	unsigned int word = m->mark_hint;
	unsigned int number;

	if (*mark == 0) {
		while (word < m->mark_words && m->marks[word] == UINT64_MAX)
			word++;
		m->mark_hint = word;
		number = word * MARK_BITS;
		if (word < m->mark_words)
			number += (unsigned int)__builtin_ctzll(~m->marks[word]);
	} else {
		number = *mark - LB_MARK_FIRST;
	}
	if (number >= MODEL_MARKS_MAX)
		return -ENOSPC;
	word = number / MARK_BITS;
	if (mark_grow(m, word + 1) < 0)
		return -ENOMEM;
	if (m->marks[word] >> (number % MARK_BITS) & 1)
		return -EEXIST;
	m->marks[word] |= UINT64_C(1) << (number % MARK_BITS);
	*mark = LB_MARK_FIRST + number;
	return 0;
}

static void mark_give(struct model *m, uint32_t mark)
{
	unsigned int number = mark - LB_MARK_FIRST;

	m->marks[number / MARK_BITS] &= ~(UINT64_C(1) << (number % MARK_BITS));
	if (number / MARK_BITS < m->mark_hint)
		m->mark_hint = number / MARK_BITS;
}

/* --- pending --- */

void model_network_changed(struct model *m, struct model_network *n, unsigned int bits)
{
	if (!n->pending)
		TAILQ_INSERT_TAIL(&m->changed_networks, n, changed);
	n->pending |= bits;
}

void model_endpoint_changed(struct model *m, struct model_endpoint *ep, unsigned int bits)
{
	if (!ep->pending)
		TAILQ_INSERT_TAIL(&m->changed_endpoints, ep, changed);
	ep->pending |= bits;
}

void model_container_changed(struct model *m, struct model_container *c,
			     unsigned int bits)
{
	if (!c->pending)
		TAILQ_INSERT_TAIL(&m->changed_containers, c, changed);
	c->pending |= bits;
}

void model_service_changed(struct model *m, struct model_service *s, unsigned int bits)
{
	if (!s)
		return;
	if (!s->pending)
		TAILQ_INSERT_TAIL(&m->changed_services, s, changed);
	s->pending |= bits;
}

/* --- networks --- */

struct model_network *model_network_find(const struct model *m, const char *id)
{
	struct model_network *n;

	HASH_FIND_STR(m->networks, id, n);
	return n;
}

static void free_network(struct model_network *n)
{
	for (unsigned int i = 0; i < VIP_FAMILY_COUNT; i++)
		vip_pool_fini(&n->pool[i]);
	option_set_fini(&n->options);
	free(n);
}

struct model_network *model_network_add(struct model *m, const char *id)
{
	struct model_network *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	(void)str_copy(n->id, sizeof(n->id), id); /* fits */
	TAILQ_INIT(&n->services);
	TAILQ_INIT(&n->unused);
	TAILQ_INIT(&n->starved);
	TAILQ_INIT(&n->endpoints);
	HASH_ADD_STR(m->networks, id, n);
	if (!MAP_ADDED(n)) {
		free_network(n);
		return NULL;
	}
	return n;
}

void model_network_del(struct model *m, struct model_network *n)
{
	HASH_DEL(m->networks, n);
	model_network_changed(m, n, MODEL_PENDING_ROW | MODEL_PENDING_GONE);
}

/* --- containers --- */

struct model_container *model_container_find(const struct model *m, const char *id)
{
	struct model_container *c;

	HASH_FIND_STR(m->containers, id, c);
	return c;
}

static void free_container(struct model_container *c)
{
	option_set_fini(&c->labels);
	free(c);
}

struct model_container *model_container_add(struct model *m, const char *id)
{
	struct model_container *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	(void)str_copy(c->id, sizeof(c->id), id); /* fits */
	TAILQ_INIT(&c->endpoints);
	HASH_ADD_STR(m->containers, id, c);
	if (!MAP_ADDED(c)) {
		free_container(c);
		return NULL;
	}
	return c;
}

void model_container_order(struct model *m, struct model_container *c)
{
	struct model_container *before;

	if (c->waiting)
		TAILQ_REMOVE(&m->draining, c, draining);
	c->waiting = c->life.draining;
	if (!c->waiting)
		return;
	/* Most have the same time-out: the place is at or near the end. */
	before = TAILQ_LAST(&m->draining, model_container_list);
	while (before && before->life.drain_until_ms > c->life.drain_until_ms)
		before = TAILQ_PREV(before, model_container_list, draining);
	if (before)
		TAILQ_INSERT_AFTER(&m->draining, before, c, draining);
	else
		TAILQ_INSERT_HEAD(&m->draining, c, draining);
}

static void del_container(struct model *m, struct model_container *c)
{
	c->life.draining = false;
	model_container_order(m, c);
	HASH_DEL(m->containers, c);
	model_container_changed(m, c, MODEL_PENDING_ROW | MODEL_PENDING_GONE);
}

void model_endpoint_set_container(struct model *m, struct model_endpoint *ep,
				  struct model_container *c)
{
	struct model_container *old = ep->container;

	if (old == c)
		return;
	if (old)
		TAILQ_REMOVE(&old->endpoints, ep, of_container);
	if (c)
		TAILQ_INSERT_TAIL(&c->endpoints, ep, of_container);
	ep->container = c;
	model_endpoint_changed(m, ep, MODEL_PENDING_ROW);
	if (old && TAILQ_EMPTY(&old->endpoints))
		del_container(m, old);
}

/* --- services --- */

struct model_service *model_service_find(const struct model *m,
					 const struct model_service_key *key)
{
	struct model_service *s;

	HASH_FIND(hh, m->services, key, sizeof(*key), s);
	return s;
}

static void free_service(struct model_service *s)
{
	texts_fini(&s->errors);
	lb_view_put(s->view);
	lb_view_put(s->next);
	free(s->backends);
	free(s);
}

static int add_service(struct model *m, struct model_service *s, uint32_t mark)
{
	int r = mark_take(m, &mark);

	if (r < 0)
		return r;
	s->mark = mark;
	HASH_ADD(hh, m->services, key, sizeof(s->key), s);
	if (MAP_ADDED(s))
		return 0;
	mark_give(m, mark);
	return -ENOMEM;
}

int model_service_add(struct model *m, struct model_network *n,
		      const struct model_service_key *key, uint32_t mark,
		      struct model_service **ret)
{
	struct model_service *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->key = *key;
	s->network = n;
	(void)str_copy(s->scheduler_wanted, sizeof(s->scheduler_wanted), "rr"); /* fits */
	r = add_service(m, s, mark);
	if (r < 0) {
		free_service(s);
		return r;
	}
	TAILQ_INSERT_TAIL(&n->services, s, of_network);
	*ret = s;
	return 0;
}

void model_service_set_unused(struct model_service *s, uint64_t since)
{
	struct model_network *n = s->network;

	if (s->unused) {
		TAILQ_REMOVE(&n->unused, s, of_unused);
		n->unused_count--;
	}
	s->unused = since;
	if (s->unused) {
		TAILQ_INSERT_TAIL(&n->unused, s, of_unused);
		n->unused_count++;
	}
}

void model_service_set_starved(struct model_service *s, bool starved)
{
	if (s->starved)
		TAILQ_REMOVE(&s->network->starved, s, of_starved);
	s->starved = starved;
	if (s->starved)
		TAILQ_INSERT_TAIL(&s->network->starved, s, of_starved);
}

void model_service_del(struct model *m, struct model_service *s)
{
	for (unsigned int i = 0; i < VIP_FAMILY_COUNT; i++) {
		if (addr_is_set(&s->vip[i]))
			vip_pool_give(&s->network->pool[i], &s->vip[i]);
	}
	mark_give(m, s->mark);
	model_service_set_unused(s, 0);
	model_service_set_starved(s, false);
	TAILQ_REMOVE(&s->network->services, s, of_network);
	s->network = NULL;
	HASH_DEL(m->services, s);
	model_service_changed(
		m, s, MODEL_PENDING_ROW | MODEL_PENDING_TELL | MODEL_PENDING_GONE);
}

static int make_room(struct model_service *s)
{
	unsigned int room = s->room ? s->room * 2 : 4;
	struct model_endpoint **list;

	if (s->count < s->room)
		return 0;
	list = realloc(s->backends, room * sizeof(struct model_endpoint *));
	if (!list)
		return -ENOMEM;
	s->backends = list;
	s->room = room;
	return 0;
}

static void place(struct model *m, struct model_service *s, struct model_endpoint *ep,
		  unsigned int position)
{
	s->backends[position] = ep;
	if (ep->position != position)
		model_endpoint_changed(m, ep, MODEL_PENDING_ROW);
	ep->position = position;
}

int model_service_link(struct model *m, struct model_service *s,
		       struct model_endpoint *ep)
{
	if (make_room(s) < 0)
		return -ENOMEM;
	place(m, s, ep, s->count++);
	ep->service = s;
	if (s->unused) {
		/* At once: nobody may take its VIP now. */
		model_service_set_unused(s, 0);
		model_service_changed(m, s, MODEL_PENDING_ROW);
	}
	model_endpoint_changed(m, ep, MODEL_PENDING_TELL);
	model_service_changed(m, s, MODEL_PENDING_SETTLE);
	return 0;
}

void model_service_unlink(struct model *m, struct model_endpoint *ep)
{
	struct model_service *s = ep->service;

	if (!s)
		return;
	s->count--;
	if (ep->position < s->count)
		place(m, s, s->backends[s->count], ep->position);
	ep->service = NULL;
	model_endpoint_changed(m, ep, MODEL_PENDING_TELL);
	model_service_changed(m, s, MODEL_PENDING_SETTLE);
}

/* --- endpoints --- */

struct model_endpoint *model_endpoint_find(const struct model *m, const char *id)
{
	struct model_endpoint *ep;

	HASH_FIND_STR(m->endpoints, id, ep);
	return ep;
}

static void free_endpoint(struct model_endpoint *ep)
{
	option_set_fini(&ep->options);
	texts_fini(&ep->errors);
	free(ep);
}

struct model_endpoint *model_endpoint_add(struct model *m, struct model_network *n,
					  const char *id)
{
	struct model_endpoint *ep = calloc(1, sizeof(*ep));

	if (!ep)
		return NULL;
	(void)str_copy(ep->id, sizeof(ep->id), id); /* fits */
	ep->network = n;
	HASH_ADD_STR(m->endpoints, id, ep);
	if (!MAP_ADDED(ep)) {
		free_endpoint(ep);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&n->endpoints, ep, of_network);
	return ep;
}

void model_endpoint_del(struct model *m, struct model_endpoint *ep)
{
	model_service_unlink(m, ep);
	model_endpoint_set_container(m, ep, NULL);
	TAILQ_REMOVE(&ep->network->endpoints, ep, of_network);
	ep->network = NULL;
	HASH_DEL(m->endpoints, ep);
	model_endpoint_changed(
		m, ep, MODEL_PENDING_ROW | MODEL_PENDING_TELL | MODEL_PENDING_GONE);
}

enum backend_state model_endpoint_state(const struct model_endpoint *ep)
{
	if (ep->detached)
		return BACKEND_STATE_DRAINING;
	return backend_state(ep->container ? &ep->container->life : NULL,
			     ep->parsed.ignore_health);
}

/* --- the end --- */

/* Nothing pending, or nothing but the memory. */
static bool is_done(unsigned int pending)
{
	return (pending & ~(unsigned int)MODEL_PENDING_GONE) == 0;
}

#define SWEEP(list, type, free_fn)                              \
	do {                                                    \
		struct type *o_;                                \
		struct type *next_;                             \
		TAILQ_FOREACH_SAFE (o_, list, changed, next_) { \
			if (!is_done(o_->pending))              \
				continue;                       \
			TAILQ_REMOVE(list, o_, changed);        \
			if (o_->pending & MODEL_PENDING_GONE)   \
				free_fn(o_);                    \
			else                                    \
				o_->pending = 0;                \
		}                                               \
	} while (0)

void model_sweep(struct model *m)
{
	SWEEP(&m->changed_endpoints, model_endpoint, free_endpoint);
	SWEEP(&m->changed_services, model_service, free_service);
	SWEEP(&m->changed_containers, model_container, free_container);
	SWEEP(&m->changed_networks, model_network, free_network);
}

/* Makes it look as if all was saved, told and removed. */
#define DROP_ALL(m, map, list, type, add_fn)               \
	do {                                               \
		struct type *o_;                           \
		struct type *next_;                        \
		HASH_ITER (hh, (m)->map, o_, next_) {      \
			HASH_DEL((m)->map, o_);            \
			add_fn(m, o_, MODEL_PENDING_GONE); \
		}                                          \
		TAILQ_FOREACH (o_, &(m)->list, changed)    \
			o_->pending = MODEL_PENDING_GONE;  \
	} while (0)

void model_fini(struct model *m)
{
	DROP_ALL(m, endpoints, changed_endpoints, model_endpoint, model_endpoint_changed);
	DROP_ALL(m, services, changed_services, model_service, model_service_changed);
	DROP_ALL(m, containers, changed_containers, model_container,
		 model_container_changed);
	DROP_ALL(m, networks, changed_networks, model_network, model_network_changed);
	model_sweep(m);
	free(m->marks);
	*m = (struct model){0};
}
