/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_DISCOVERY_H
#define PLUGIN_DISCOVERY_H
/*
 * From what the engine client sees to the service registry: copies each observation
 * into a message for the store worker. Thread: loop.
 */
#include "plugin/engine.h"
#include "plugin/node.h"

/* A container was inspected. */
void discovery_container(struct node *node, const struct engine_container *c);
/* Something happened to a container. */
void discovery_event(struct node *node, const char *container, enum engine_event event,
		     int signal, enum engine_health health);
/* The engine begins to tell all containers that run / has told them all. */
void discovery_sync(struct node *node, bool end);
/* The engine is there (again): its forward policy may have been set anew. */
void discovery_engine_up(struct node *node);

#endif
