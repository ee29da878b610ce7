// SPDX-License-Identifier: GPL-2.0-or-later
/* Keeps for each task which networks and project its questions are answered for. */
#include "plugin/names.h"

#include "plugin/base/map.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <string.h>

#define LOG_MODULE "dns"
#include "plugin/base/log.h"

struct task {
	UT_hash_handle hh; /* by key */
	unsigned int count;
	TAILQ_HEAD(, member) members;
	char key[ACTUAL_KEY_SIZE];
};

struct member {
	UT_hash_handle hh; /* by endpoint */
	TAILQ_ENTRY(member) link;
	struct task *task;
	struct change_client client;
};

struct names {
	struct zone *zone;
	struct dns_server *server;
	struct task *tasks;
	struct member *members;
};

int names_new(sd_event *event, struct names **ret, struct err *e)
{
	struct names *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return err_sys(e, -ENOMEM, "names");
	n->zone = zone_new();
	r = n->zone ? dns_server_new(event, n->zone, &n->server, e)
		    : err_sys(e, -ENOMEM, "names");
	if (r < 0) {
		names_free(n);
		return r;
	}
	*ret = n;
	return 0;
}

static void member_free(struct names *n, struct member *m)
{
	struct task *t = m->task;

	TAILQ_REMOVE(&t->members, m, link);
	HASH_DEL(n->members, m);
	free(m);
	if (--t->count == 0) {
		HASH_DEL(n->tasks, t);
		free(t);
	}
}

void names_free(struct names *n)
{
	struct member *m;
	struct member *next;

	if (!n)
		return;
	dns_server_free(n->server);
	HASH_ITER (hh, n->members, m, next)
		member_free(n, m);
	zone_free(n->zone);
	free(n);
}

void names_service(struct names *n, uint32_t mark, struct lb_view *v)
{
	if (!v)
		zone_del(n->zone, mark);
	else if (zone_set(n->zone, v) < 0)
		log_error("no memory for the name svc=%s", v->name);
}

/* Tells the server what the task's members say together. */
static void update_task(struct names *n, const char *key)
{
	struct zone_client client = {.project = ""};
	auto_free char(*networks)[LB_ID_SIZE] = NULL;
	struct task *t;
	const struct member *m;

	HASH_FIND_STR(n->tasks, key, t);
	networks = calloc(t ? t->count : 1, sizeof(*networks));
	if (!networks) {
		log_error("no memory for the names of %s", key);
		return;
	}
	for (m = t ? TAILQ_FIRST(&t->members) : NULL; m; m = TAILQ_NEXT(m, link)) {
		memcpy(networks[client.network_count++], m->client.network, LB_ID_SIZE);
		if (m->client.project[0])
			client.project = m->client.project;
	}
	client.networks = (const char(*)[LB_ID_SIZE])networks;
	/* -ENOENT: its sockets are not here yet; they ask again. */
	(void)dns_server_set_client(n->server, key, &client);
}

static struct task *get_task(struct names *n, const char *key)
{
	struct task *t;

	HASH_FIND_STR(n->tasks, key, t);
	if (t)
		return t;
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	TAILQ_INIT(&t->members);
	(void)str_copy(t->key, sizeof(t->key), key); /* as long as its source */
	HASH_ADD_STR(n->tasks, key, t);
	if (!MAP_ADDED(t)) {
		free(t);
		return NULL;
	}
	return t;
}

static struct member *add_member(struct names *n, const struct change_client *client)
{
	struct task *t = get_task(n, client->key);
	struct member *m = t ? calloc(1, sizeof(*m)) : NULL;

	if (m) {
		m->client = *client;
		HASH_ADD_KEYPTR(hh, n->members, m->client.endpoint,
				strlen(m->client.endpoint), m);
		if (MAP_ADDED(m)) {
			m->task = t;
			t->count++;
			TAILQ_INSERT_TAIL(&t->members, m, link);
			return m;
		}
		free(m);
	}
	if (t && t->count == 0) {
		HASH_DEL(n->tasks, t);
		free(t);
	}
	return NULL;
}

void names_client_gone(struct names *n, const char *endpoint)
{
	char key[ACTUAL_KEY_SIZE];
	struct member *m;

	HASH_FIND_STR(n->members, endpoint, m);
	if (!m)
		return;
	memcpy(key, m->client.key, sizeof(key));
	member_free(n, m);
	update_task(n, key);
}

void names_client(struct names *n, const struct change_client *client)
{
	struct member *m;

	HASH_FIND_STR(n->members, client->endpoint, m);
	if (m && strcmp(m->client.key, client->key)) {
		names_client_gone(n, client->endpoint);
		m = NULL;
	}
	if (m)
		m->client = *client;
	else if (!add_member(n, client))
		log_error("no memory for the names ep=%.12s", client->endpoint);
	update_task(n, client->key);
}

void names_task_added(struct names *n, const char *key, int nsfd,
		      struct dns_sockets *sockets)
{
	struct err e = {0};

	if (dns_server_add(n->server, key, nsfd, sockets, &e) < 0)
		log_error("%s", e.text);
	else
		update_task(n, key);
	(void)close(nsfd);
}

void names_task_removed(struct names *n, const char *key)
{
	dns_server_del(n->server, key);
}
