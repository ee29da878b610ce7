// SPDX-License-Identifier: GPL-2.0-or-later
/* Views of services: reference counted, since threads share them unchanged. */
#include "lb/types.h"

#include "plugin/base/mem.h"

#include <errno.h>
#include <string.h>

static const char *const scheduler_names[LB_SCHEDULER_COUNT] = {
	[LB_SCHEDULER_RR] = "rr",	[LB_SCHEDULER_WRR] = "wrr",
	[LB_SCHEDULER_LC] = "lc",	[LB_SCHEDULER_WLC] = "wlc",
	[LB_SCHEDULER_SED] = "sed",	[LB_SCHEDULER_NQ] = "nq",
	[LB_SCHEDULER_SH] = "sh",	[LB_SCHEDULER_MH] = "mh",
	[LB_SCHEDULER_DH] = "dh",	[LB_SCHEDULER_LBLC] = "lblc",
	[LB_SCHEDULER_LBLCR] = "lblcr", [LB_SCHEDULER_FO] = "fo",
	[LB_SCHEDULER_OVF] = "ovf",	[LB_SCHEDULER_RANDOM] = "random",
};

const char *lb_scheduler_name(enum lb_scheduler s)
{
	return s < LB_SCHEDULER_COUNT ? scheduler_names[s] : "?";
}

int lb_scheduler_parse(const char *text, enum lb_scheduler *ret)
{
	for (unsigned int i = 0; i < LB_SCHEDULER_COUNT; i++) {
		if (!strcmp(scheduler_names[i], text)) {
			*ret = (enum lb_scheduler)i;
			return 0;
		}
	}
	return -EINVAL;
}

struct lb_view *lb_view_new(unsigned int count)
{
	struct lb_view *v = calloc(1, sizeof(*v) + count * sizeof(v->backends[0]));

	if (!v)
		return NULL;
	v->refs = 1;
	v->count = count;
	return v;
}

struct lb_view *lb_view_get(struct lb_view *v)
{
	(void)__atomic_add_fetch(&v->refs, 1, __ATOMIC_RELAXED);
	return v;
}

void lb_view_put(struct lb_view *v)
{
	if (v && __atomic_sub_fetch(&v->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(v);
}
