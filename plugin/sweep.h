/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_SWEEP_H
#define PLUGIN_SWEEP_H
/*
 * The store worker's look, every now and then, for what Docker has forgotten: see
 * desired_sweep. The links of dropped endpoints are removed by the kernel worker.
 */
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "plugin/base/err.h"

struct node;
struct sweep;

/* Looks every period_ms, first after the first one; node and event must outlive *ret.
 * Thread: store. */
int sweep_new(sd_event *event, struct node *node, unsigned int period_ms,
	      struct sweep **ret, struct err *e);
void sweep_free(struct sweep *s);

/* As desired_engine_synced. Thread: loop. */
void sweep_engine_synced(struct node *node, bool synced);

#endif
