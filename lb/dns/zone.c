// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The zone. Three hash maps, so that a look-up costs the same with any number of
 * services: (network, project, name) -> entry, (network, name) -> group of the entries
 * that have a project, (network, VIP) -> record. A record is one service's view, known
 * by its mark; an entry holds more than one only while a service is made anew.
 */
#include "lb/dns/zone.h"

#include "plugin/base/map.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <string.h>

#define KEY_SIZE     (LB_ID_SIZE + 2 * LB_NAME_SIZE)
#define TEXT_SIZE    256
#define TASKS_PREFIX "tasks."

/* Texts with their ends, one behind the other. */
struct zone_key {
	char text[KEY_SIZE];
	unsigned int len;
};

struct vip_key {
	char network[LB_ID_SIZE];
	struct addr addr; /* only bytes here: no padding */
};

struct zone_entry;
TAILQ_HEAD(entry_list, zone_entry);
struct zone_record;
TAILQ_HEAD(record_list, zone_record);

struct zone_group {
	UT_hash_handle hh;
	struct zone_key key; /* network, name */
	struct entry_list entries;
};

struct zone_entry {
	UT_hash_handle hh;
	struct zone_key key; /* network, project, name */
	struct record_list records;
	struct zone_group *group; /* NULL: no project */
	TAILQ_ENTRY(zone_entry) link;
};

struct zone_record {
	UT_hash_handle hh; /* by mark */
	UT_hash_handle hh_vip4;
	UT_hash_handle hh_vip6;
	struct lb_view *view;
	struct vip_key vip4;
	struct vip_key vip6;
	struct zone_entry *entry;
	TAILQ_ENTRY(zone_record) link; /* the newest first */
};

struct zone {
	struct zone_record *by_mark;
	struct zone_record *by_vip4;
	struct zone_record *by_vip6;
	struct zone_entry *entries;
	struct zone_group *groups;
};

static char lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

static void key_add(struct zone_key *key, const char *text)
{
	do
		key->text[key->len++] = lower(*text);
	while (*text++);
}

/* project NULL: the key of a group. All texts are shorter than their sizes. */
static struct zone_key key_make(const char *network, const char *project,
				const char *name)
{
	struct zone_key key = {.len = 0};

	key_add(&key, network);
	if (project)
		key_add(&key, project);
	key_add(&key, name);
	return key;
}

static struct vip_key vip_key_make(const char *network, const struct addr *addr)
{
	struct vip_key key;

	memset(&key, 0, sizeof(key));
	(void)str_copy(key.network, sizeof(key.network), network); /* fits: an id */
	key.addr = *addr;
	return key;
}

struct zone *zone_new(void)
{
	return calloc(1, sizeof(struct zone));
}

static struct zone_group *group_find(const struct zone *z, const struct zone_key *key)
{
	struct zone_group *g;

	HASH_FIND(hh, z->groups, key->text, key->len, g);
	return g;
}

static struct zone_entry *entry_find(const struct zone *z, const struct zone_key *key)
{
	struct zone_entry *en;

	HASH_FIND(hh, z->entries, key->text, key->len, en);
	return en;
}

static struct zone_group *group_make(struct zone *z, const struct lb_view *v)
{
	struct zone_key key = key_make(v->network, NULL, v->name);
	struct zone_group *g = group_find(z, &key);

	if (g)
		return g;
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	TAILQ_INIT(&g->entries);
	g->key = key;
	HASH_ADD_KEYPTR(hh, z->groups, g->key.text, g->key.len, g);
	if (!MAP_ADDED(g)) {
		free(g);
		return NULL;
	}
	return g;
}

static void group_drop_if_empty(struct zone *z, struct zone_group *g)
{
	if (!g || !TAILQ_EMPTY(&g->entries))
		return;
	HASH_DEL(z->groups, g);
	free(g);
}

static void entry_drop_if_empty(struct zone *z, struct zone_entry *en)
{
	if (!TAILQ_EMPTY(&en->records))
		return;
	if (en->group) {
		TAILQ_REMOVE(&en->group->entries, en, link);
		group_drop_if_empty(z, en->group);
	}
	HASH_DEL(z->entries, en);
	free(en);
}

static struct zone_entry *entry_make(struct zone *z, const struct lb_view *v)
{
	struct zone_key key = key_make(v->network, v->project, v->name);
	struct zone_entry *en = entry_find(z, &key);

	if (en)
		return en;
	en = calloc(1, sizeof(*en));
	if (!en)
		return NULL;
	TAILQ_INIT(&en->records);
	en->key = key;
	if (*v->project) {
		en->group = group_make(z, v);
		if (!en->group)
			goto undo_alloc;
	}
	HASH_ADD_KEYPTR(hh, z->entries, en->key.text, en->key.len, en);
	if (!MAP_ADDED(en))
		goto undo_group;
	if (en->group)
		TAILQ_INSERT_TAIL(&en->group->entries, en, link);
	return en;

undo_group:
	group_drop_if_empty(z, en->group);
undo_alloc:
	free(en);
	return NULL;
}

static void record_free(struct zone *z, struct zone_record *r)
{
	if (r->hh.tbl)
		HASH_DEL(z->by_mark, r);
	if (r->hh_vip4.tbl)
		HASH_DELETE(hh_vip4, z->by_vip4, r);
	if (r->hh_vip6.tbl)
		HASH_DELETE(hh_vip6, z->by_vip6, r);
	if (r->entry) {
		TAILQ_REMOVE(&r->entry->records, r, link);
		entry_drop_if_empty(z, r->entry);
	}
	lb_view_put(r->view);
	free(r);
}

void zone_free(struct zone *z)
{
	struct zone_record *r;
	struct zone_record *next;

	if (!z)
		return;
	HASH_ITER (hh, z->by_mark, r, next)
		record_free(z, r);
	free(z);
}

/* uthash keeps several objects with one key and finds one of them: so a new record can
 * be complete before its older version, or the last owner of its VIP, goes. */
static int record_index(struct zone *z, struct zone_record *r)
{
	struct lb_view *v = r->view;

	r->entry = entry_make(z, v);
	if (!r->entry)
		return -ENOMEM;
	TAILQ_INSERT_HEAD(&r->entry->records, r, link);
	HASH_ADD_KEYPTR(hh, z->by_mark, &v->mark, sizeof(v->mark), r);
	if (!MAP_ADDED(r))
		return -ENOMEM;
	if (v->dnsrr)
		return 0;
	if (addr_is_set(&v->vip4)) {
		r->vip4 = vip_key_make(v->network, &v->vip4);
		HASH_ADD(hh_vip4, z->by_vip4, vip4, sizeof(r->vip4), r);
		if (!r->hh_vip4.tbl)
			return -ENOMEM;
	}
	if (addr_is_set(&v->vip6)) {
		r->vip6 = vip_key_make(v->network, &v->vip6);
		HASH_ADD(hh_vip6, z->by_vip6, vip6, sizeof(r->vip6), r);
		if (!r->hh_vip6.tbl)
			return -ENOMEM;
	}
	return 0;
}

int zone_set(struct zone *z, struct lb_view *v)
{
	struct zone_record *old;
	struct zone_record *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	HASH_FIND(hh, z->by_mark, &v->mark, sizeof(v->mark), old);
	r->view = lb_view_get(v);
	if (record_index(z, r) < 0) {
		record_free(z, r);
		return -ENOMEM;
	}
	if (old)
		record_free(z, old);
	return 0;
}

void zone_del(struct zone *z, uint32_t mark)
{
	struct zone_record *r;

	HASH_FIND(hh, z->by_mark, &mark, sizeof(mark), r);
	if (r)
		record_free(z, r);
}

static const struct lb_view *entry_view(const struct zone_entry *en)
{
	return TAILQ_FIRST(&en->records)->view; /* never empty */
}

/* The service of exactly this project ("" = none), on any of the client's networks. */
static const struct lb_view *find_exact(const struct zone *z,
					const struct zone_client *client,
					const char *project, const char *name)
{
	for (unsigned int i = 0; i < client->network_count; i++) {
		struct zone_key key = key_make(client->networks[i], project, name);
		const struct zone_entry *en = entry_find(z, &key);

		if (en)
			return entry_view(en);
	}
	return NULL;
}

/* The service of the only project that has this name on a network of the client's. */
static const struct lb_view *find_only(const struct zone *z,
				       const struct zone_client *client, const char *name)
{
	for (unsigned int i = 0; i < client->network_count; i++) {
		struct zone_key key = key_make(client->networks[i], NULL, name);
		const struct zone_group *g = group_find(z, &key);
		const struct zone_entry *en = g ? TAILQ_FIRST(&g->entries) : NULL;

		if (en && !TAILQ_NEXT(en, link))
			return entry_view(en);
	}
	return NULL;
}

static const struct lb_view *find_name(const struct zone *z,
				       const struct zone_client *client, const char *name)
{
	const struct lb_view *v = NULL;

	if (!*name || strlen(name) >= LB_NAME_SIZE)
		return NULL;
	if (!str_is_empty(client->project) && strlen(client->project) < LB_NAME_SIZE)
		v = find_exact(z, client, client->project, name);
	if (!v)
		v = find_exact(z, client, "", name);
	return v ? v : find_only(z, client, name);
}

/* "web.project": a project's name has no dot. */
static const struct lb_view *find_name_project(const struct zone *z,
					       const struct zone_client *client,
					       const char *text)
{
	const char *dot = strrchr(text, '.');
	char name[LB_NAME_SIZE] = "";
	size_t len;

	if (!dot)
		return NULL;
	len = (size_t)(dot - text);
	if (len == 0 || len >= sizeof(name) || !dot[1] || strlen(dot + 1) >= LB_NAME_SIZE)
		return NULL;
	memcpy(name, text, len);
	return find_exact(z, client, dot + 1, name);
}

/* A service may itself have dots in its name, or be called "tasks". */
static const struct lb_view *find_text(const struct zone *z,
				       const struct zone_client *client, const char *text,
				       bool *ret_tasks)
{
	const struct lb_view *v = find_name(z, client, text);

	*ret_tasks = false;
	if (!v && str_has_prefix(text, TASKS_PREFIX)) {
		const char *rest = text + strlen(TASKS_PREFIX);

		v = find_name(z, client, rest);
		if (!v)
			v = find_name_project(z, client, rest);
		*ret_tasks = v != NULL;
	}
	return v ? v : find_name_project(z, client, text);
}

/* Marsaglia's xorshift; never gets stuck at 0. */
static uint32_t next_random(uint32_t *state)
{
	uint32_t x = *state ? *state : 0x9e3779b9U;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	*state = x;
	return x;
}

static bool has_active(const struct lb_view *v)
{
	for (unsigned int i = 0; i < v->count; i++)
		if (v->backends[i].weight > 0)
			return true;
	return false;
}

/* A fair sample of max out of the addresses, in random order: each goes to a random
 * place among those before it, which moves to the end or falls out. */
static unsigned int list_backends(const struct lb_view *v, uint8_t family,
				  uint32_t random, struct addr *ret, unsigned int max)
{
	bool all = !has_active(v);
	unsigned int seen = 0;

	for (unsigned int i = 0; i < v->count; i++) {
		const struct lb_backend *b = &v->backends[i];
		const struct addr *a = family == AF_INET ? &b->addr4 : &b->addr6;
		unsigned int place;

		if (!addr_is_set(a) || (!all && b->weight == 0))
			continue;
		place = next_random(&random) % ++seen;
		if (seen <= max && place != seen - 1)
			ret[seen - 1] = ret[place];
		if (place < max)
			ret[place] = *a;
	}
	return seen < max ? seen : max;
}

enum zone_result zone_lookup(const struct zone *z, const struct zone_client *client,
			     const char *name, uint8_t family, uint32_t random,
			     struct zone_answer *ret)
{
	char text[TEXT_SIZE] = "";
	const struct lb_view *v;
	const struct addr *vip;
	size_t len = strlen(name);
	bool tasks;

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len == 0 || len >= sizeof(text))
		return ZONE_RESULT_UNKNOWN;
	for (size_t i = 0; i < len; i++)
		text[i] = lower(name[i]);
	text[len] = '\0';
	v = find_text(z, client, text, &tasks);
	if (!v)
		return ZONE_RESULT_UNKNOWN;
	if (tasks || v->dnsrr) {
		ret->count = list_backends(v, family, random, ret->list, ret->max);
		return ZONE_RESULT_FOUND;
	}
	vip = family == AF_INET ? &v->vip4 : &v->vip6;
	ret->count = ret->max > 0 && addr_is_set(vip) ? 1 : 0;
	if (ret->count)
		ret->list[0] = *vip;
	return ZONE_RESULT_FOUND;
}

const char *zone_reverse(const struct zone *z, const struct zone_client *client,
			 const struct addr *addr)
{
	for (unsigned int i = 0; i < client->network_count; i++) {
		struct vip_key key = vip_key_make(client->networks[i], addr);
		struct zone_record *r;

		if (addr->family == AF_INET)
			HASH_FIND(hh_vip4, z->by_vip4, &key, sizeof(key), r);
		else
			HASH_FIND(hh_vip6, z->by_vip6, &key, sizeof(key), r);
		if (r)
			return r->view->name;
	}
	return NULL;
}
