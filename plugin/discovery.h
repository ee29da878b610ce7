/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_DISCOVERY_H
#define PLUGIN_DISCOVERY_H
/*
 * From the engine's observations of containers to the registry: jobs for the store
 * worker. They are always accepted: they report what has happened already. When one
 * cannot be stored the engine must be asked again.
 */
#include <stdint.h>

#include "plugin/engine.h"
#include "plugin/node.h"

/* Longer than any container takes from its first call to its start event: a list of what
 * runs that is taken this long after the start tells of endpoints that nothing has. */
#define DISCOVERY_STARTING_LIMIT_MS 60000

struct discovery {
	struct node *node;
	/* Something was not stored: all is to be told again soon. May come often.
	 * Thread: loop. */
	void (*lost)(void *ctx);
	void *ctx;
	bool dropped;	     /* since the last discovery_running; Thread: loop */
	uint64_t started_ms; /* when the daemon did; constant */
	bool failed;	     /* the same; Thread: store */
};

/* A container as the engine describes it. Thread: loop, as all of these. */
void discovery_container(struct discovery *d, const struct engine_container *c);
/* Something happened to a container. */
void discovery_event(struct discovery *d, const char *container, enum engine_event event,
		     int signal, enum engine_health health);
/* No others run. */
void discovery_running(struct discovery *d, const struct engine_running *running);
/* The engine is there (again): its forward policy may have been set anew. */
void discovery_engine_up(struct discovery *d);

#endif
