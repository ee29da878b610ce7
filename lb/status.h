/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_STATUS_H
#define LB_STATUS_H
/* What the status shows of services: all that is known and all that is wrong.
 * Thread: store. */
#include "lb/model.h"
#include "lb/service.h"

/* Calls fn for each service of the network (NULL: of all) that was told, by network,
 * project and name. One for which there is no memory is left out, with a log line. */
void lb_status_list(const struct model *m, const char *network,
		    void (*fn)(void *ctx, const struct registry_service_info *info),
		    void *ctx);

void lb_status_vips(const struct model_network *n, enum vip_family family,
		    struct registry_vips *ret);

#endif
