// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tasks: the namespaces of containers, open while one of our endpoints is in them. An
 * open namespace lives on when its container is dead; task_is_stale tells.
 */
#include "plugin/actual_internal.h"

#include "driver/kern/ns.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <fcntl.h>

#define LOG_MODULE "node"
#include "plugin/base/log.h"

static int divert_dns(struct actual *a, struct task *t, struct err *e)
{
	struct dns_sockets sockets;
	int nsfd;
	int r = dns_sockets_open(t->nsfd, &sockets, e);

	if (r < 0)
		return r;
	r = nft_open(t->nsfd, &t->dns_owner, e);
	if (r == 0)
		r = dns_divert(t->dns_owner, sockets.port, e);
	nsfd = r == 0 ? fcntl(t->nsfd, F_DUPFD_CLOEXEC, 3) : -1;
	if (r == 0 && nsfd < 0)
		r = err_sys(e, -errno, "namespace of %s", t->key);
	if (r < 0) {
		/* Docker's own resolver goes on answering. */
		nft_close(TAKE(t->dns_owner));
		dns_sockets_close(&sockets);
		return r;
	}
	a->config.hooks.task_added(a->config.hooks.ctx, t->key, nsfd, &sockets);
	return 0;
}

void task_put(struct actual *a, struct task *t)
{
	if (--t->endpoints)
		return;
	a->config.hooks.task_removed(a->config.hooks.ctx, t->key);
	nft_close(t->dns_owner);
	(void)close(t->nsfd);
	HASH_DEL(a->tasks, t);
	free(t);
}

/* Tasks are containers: programming the host or a sandbox as one would ruin it. */
static bool is_ours(const struct actual *a, int nsfd)
{
	const struct net *n;

	for (n = a->nets; n; n = n->hh.next)
		if (n->sandbox.nsfd >= 0 && ns_same(nsfd, n->sandbox.nsfd))
			return true;
	return ns_same(nsfd, a->own_nsfd);
}

int task_get(struct actual *a, const char *key, struct task **ret, struct err *e)
{
	struct task *t;
	int nsfd;

	HASH_FIND_STR(a->tasks, key, t);
	if (t) {
		t->endpoints++;
		*ret = t;
		return 0;
	}
	nsfd = ns_open(key, e);
	if (nsfd < 0)
		return nsfd;
	if (is_ours(a, nsfd)) {
		(void)close(nsfd);
		return err_set(e, -EINVAL, "%s is no container's namespace", key);
	}
	t = calloc(1, sizeof(*t));
	if (t) {
		t->nsfd = nsfd;
		t->endpoints = 1;
		(void)str_copy(t->key, sizeof(t->key), key); /* as long as its source */
		HASH_ADD_STR(a->tasks, key, t);
	}
	if (!t || !MAP_ADDED(t)) {
		free(t);
		(void)close(nsfd);
		return err_sys(e, -ENOMEM, "task %s", key);
	}
	if (a->config.dns && divert_dns(a, t, e) < 0)
		log_warning("service names of %s are not answered: %s", key, e->text);
	*ret = t;
	return 0;
}

void task_repair(struct actual *a, struct task *t)
{
	struct err e = {0};

	if (!a->config.dns || t->dns_owner)
		return;
	if (divert_dns(a, t, &e) < 0)
		log_debug("service names of %s: %s", t->key, e.text);
	else
		a->repairs++;
}

bool task_is_stale(const struct task *t)
{
	int nsfd = ns_open(t->key, NULL);
	bool stale = nsfd == -ENOENT || nsfd == -EINVAL;

	if (nsfd >= 0) {
		stale = !ns_same(nsfd, t->nsfd);
		(void)close(nsfd);
	}
	return stale;
}

void task_free_all(struct actual *a)
{
	struct task *t;
	struct task *next;

	HASH_ITER (hh, a->tasks, t, next) {
		HASH_DEL(a->tasks, t);
		nft_close(t->dns_owner);
		(void)close(t->nsfd);
		free(t);
	}
}
