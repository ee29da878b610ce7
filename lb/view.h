/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_VIEW_H
#define LB_VIEW_H
/* The picture that balancers and the DNS get of a service. Pure. Thread: store. */
#include <stdbool.h>

#include "lb/model.h"
#include "lb/types.h"

/* A new view of s as it is now, with one reference; NULL: no memory. */
struct lb_view *view_build(const struct model_service *s);
/* Whether nobody could see a difference. Either may be NULL. */
bool view_equal(const struct lb_view *a, const struct lb_view *b);
/* No backend of s has weight of its own, so unhealthy ones get traffic. */
bool view_fails_open(const struct model_service *s);

#endif
