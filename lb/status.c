// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Descriptions of services for the status. Errors are put together here, when somebody
 * asks: those of the service, those of its backends' options, and what only shows when
 * the backends are looked at together.
 */
#include "lb/status.h"

#include "lb/view.h"
#include "plugin/base/mem.h"

#define LOG_MODULE "service"
#include "plugin/base/log.h"

#include <string.h>

static bool same_wish(const struct options *a, const struct options *b)
{
	return !strcmp(a->scheduler_wanted, b->scheduler_wanted) && a->dnsrr == b->dnsrr;
}

static bool backends_agree(const struct model_service *s)
{
	for (unsigned int i = 1; i < s->count; i++) {
		if (!same_wish(&s->backends[0]->parsed, &s->backends[i]->parsed))
			return false;
	}
	return true;
}

static void collect_errors(const struct model_service *s, struct texts *errors)
{
	texts_add_all(errors, &s->errors);
	if (view_fails_open(s))
		texts_add(errors, "no backend is healthy: unhealthy ones get traffic");
	if (!backends_agree(s))
		texts_add(errors, "backends have different options fairlead.scheduler or "
				  "mode: those of the newest count");
	for (unsigned int i = 0; i < s->count; i++)
		texts_add_all(errors, &s->backends[i]->errors);
}

static void fill_backends(const struct model_service *s,
			  struct registry_backend_info *list)
{
	const struct lb_view *v = s->view;

	for (unsigned int i = 0; i < s->count; i++) {
		const struct model_endpoint *ep = s->backends[i];

		list[i] = (struct registry_backend_info){
			.endpoint = ep->id,
			.container = ep->container ? ep->container->name : "",
			.addr4 = ep->addr4,
			.addr6 = ep->addr6,
			.weight = i < v->count ? v->backends[i].weight : 0,
			.state = backend_state_name(model_endpoint_state(ep)),
		};
	}
}

static void describe(const struct model_service *s,
		     void (*fn)(void *ctx, const struct registry_service_info *info),
		     void *ctx)
{
	auto_free struct registry_backend_info *backends =
		calloc(s->count + 1, sizeof(*backends));
	struct texts errors = {0};
	struct registry_service_info info = {
		.view = s->view,
		.scheduler_wanted = s->scheduler_wanted,
		.backends = backends,
		.backend_count = s->count,
	};

	if (!backends) {
		log_error("no memory for the status svc=%s", s->key.name);
		return;
	}
	fill_backends(s, backends);
	collect_errors(s, &errors);
	info.errors = (const char *const *)errors.list;
	info.error_count = errors.count;
	fn(ctx, &info);
	texts_fini(&errors);
}

static int compare(const void *a, const void *b)
{
	const struct model_service *const *s = a;
	const struct model_service *const *t = b;

	/* Texts with 0 behind their ends: the order of strcmp, member by member. */
	return memcmp(&(*s)->key, &(*t)->key, sizeof((*s)->key));
}

void lb_status_list(const struct model *m, const char *network,
		    void (*fn)(void *ctx, const struct registry_service_info *info),
		    void *ctx)
{
	unsigned int total = HASH_COUNT(m->services);
	auto_free const struct model_service **list =
		calloc(total + 1, sizeof(struct model_service *));
	struct model_service *s;
	struct model_service *next;
	unsigned int count = 0;

	if (!list) {
		log_error("no memory for the status");
		return;
	}
	HASH_ITER (hh, m->services, s, next) {
		if (s->view && (!network || !strcmp(network, s->key.network)))
			list[count++] = s;
	}
	qsort(list, count, sizeof(struct model_service *), compare);
	for (unsigned int i = 0; i < count; i++)
		describe(list[i], fn, ctx);
}

void lb_status_vips(const struct model_network *n, enum vip_family family,
		    struct registry_vips *ret)
{
	const struct vip_pool *pool = &n->pool[family];
	const struct model_service *s;

	*ret = (struct registry_vips){.range = pool->range,
				      .capacity = vip_pool_capacity(pool)};
	TAILQ_FOREACH (s, &n->unused, of_unused)
		ret->kept += vip_pool_usable(pool, &s->vip[family]);
	ret->used = pool->used - ret->kept;
}
