// SPDX-License-Identifier: GPL-2.0-or-later
/* Views of services: built from the model, compared field by field (not with memcmp,
 * whose result would depend on padding). */
#include "lb/view.h"

#include <string.h>

static unsigned int visible_count(const struct model_service *s)
{
	return s->count < LB_BACKENDS_MAX ? s->count : LB_BACKENDS_MAX;
}

bool view_fails_open(const struct model_service *s)
{
	bool unhealthy = false;

	for (unsigned int i = 0; i < visible_count(s); i++) {
		const struct model_endpoint *ep = s->backends[i];
		enum backend_state state = model_endpoint_state(ep);

		if (backend_weight(state, ep->parsed.weight, false) > 0)
			return false;
		unhealthy |= state == BACKEND_STATE_UNHEALTHY && ep->parsed.weight > 0;
	}
	return unhealthy;
}

struct lb_view *view_build(const struct model_service *s)
{
	struct lb_view *v = lb_view_new(visible_count(s));
	bool fail_open = view_fails_open(s);

	if (!v)
		return NULL;
	memcpy(v->network, s->key.network, sizeof(v->network));
	memcpy(v->project, s->key.project, sizeof(v->project));
	memcpy(v->name, s->key.name, sizeof(v->name));
	v->mark = s->mark;
	v->vip4 = s->vip[VIP_V4];
	v->vip6 = s->vip[VIP_V6];
	v->scheduler = s->scheduler;
	v->dnsrr = !addr_is_set(&v->vip4) && !addr_is_set(&v->vip6);
	for (unsigned int i = 0; i < v->count; i++) {
		const struct model_endpoint *ep = s->backends[i];
		struct lb_backend *b = &v->backends[i];

		memcpy(b->endpoint, ep->id, sizeof(b->endpoint));
		b->addr4 = ep->addr4;
		b->addr6 = ep->addr6;
		b->weight = backend_weight(model_endpoint_state(ep), ep->parsed.weight,
					   fail_open);
	}
	return v;
}

static bool backend_equal(const struct lb_backend *a, const struct lb_backend *b)
{
	return a->weight == b->weight && !strcmp(a->endpoint, b->endpoint) &&
	       addr_equal(&a->addr4, &b->addr4) && addr_equal(&a->addr6, &b->addr6);
}

bool view_equal(const struct lb_view *a, const struct lb_view *b)
{
	if (!a || !b)
		return a == b;
	if (a->mark != b->mark || a->count != b->count || a->scheduler != b->scheduler ||
	    a->dnsrr != b->dnsrr || !addr_equal(&a->vip4, &b->vip4) ||
	    !addr_equal(&a->vip6, &b->vip6) || strcmp(a->network, b->network) ||
	    strcmp(a->project, b->project) || strcmp(a->name, b->name))
		return false;
	for (unsigned int i = 0; i < a->count; i++) {
		if (!backend_equal(&a->backends[i], &b->backends[i]))
			return false;
	}
	return true;
}
