/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_SETTLE_H
#define LB_SETTLE_H
/*
 * The decisions of the registry: to which service an endpoint belongs, and which VIP,
 * scheduler and mode a service has. They depend on the model alone, so a model that was
 * loaded again comes to the same ones. Thread: store.
 */
#include <stdbool.h>
#include <stdint.h>

#include "lb/model.h"
#include "plugin/base/err.h"

struct settle_config {
	uint32_t schedulers;  /* bit 1 << enum lb_scheduler */
	const char *balancer; /* for error texts */
	bool quiet;	      /* do not log errors: they were before */
};

/*
 * Decides for everything that waits for it (MODEL_PENDING_SETTLE). For an endpoint: reads
 * its options again and moves it to its service, which is made if need be. For a
 * service: sets its properties and builds its next view. One without backends stays
 * while it has a VIP, so that its name keeps it: until a range is full or another service
 * asks for this very address, or REGISTRY_KEPT_MAX others of its network became unused
 * after it; the longest unused one goes first. -ENOMEM: the rest still waits and may be
 * tried again.
 */
int settle(struct model *m, const struct settle_config *config, struct err *e);

#endif
