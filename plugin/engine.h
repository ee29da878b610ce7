/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_ENGINE_H
#define PLUGIN_ENGINE_H
/*
 * Docker's API as a client: the event stream and the inspection of containers, by
 * libcurl in the event loop. It never blocks and is never called from inside a plugin
 * request's path: what it learns is told by callbacks. It reconnects for ever, with
 * growing pauses, and then looks at all running containers again. Thread: loop.
 */
#include <stdbool.h>
#include <systemd/sd-event.h>

#include "plugin/base/addr.h"
#include "plugin/base/err.h"

#define ENGINE_ID_SIZE	     65
#define ENGINE_ENDPOINTS_MAX 64
#define ENGINE_LABELS_MAX    512
#define ENGINE_NETWORKS_MAX  16384
#define ENGINE_SUBNETS_MAX   16 /* of a network; others are not seen */
#define ENGINE_STOP_FOREVER  ((unsigned int)-1)

struct engine_label {
	const char *name;
	const char *value;
};

enum engine_health {
	ENGINE_HEALTH_NONE, /* has no health check */
	ENGINE_HEALTH_STARTING,
	ENGINE_HEALTH_HEALTHY,
	ENGINE_HEALTH_UNHEALTHY,
};

struct engine_endpoint {
	const char *network_id;
	const char *network_name;
	const char *endpoint_id; /* never empty */
};

/* One container as the engine describes it now. Lives during the callback. */
struct engine_container {
	const char *id;
	const char *name; /* without the slash */
	bool running;
	bool paused;
	enum engine_health health;
	int stop_signal; /* a number, SIGTERM by default */
	/* Of docker stop, 10 by default; ENGINE_STOP_FOREVER: no SIGKILL follows. */
	unsigned int stop_timeout_s;
	unsigned int label_count;
	const struct engine_label *labels; /* only those that begin with "fairlead.",
					    * "com.docker.compose." or
					    * "com.docker.swarm." */
	unsigned int endpoint_count;
	const struct engine_endpoint *endpoints;
};

/* Lives during the callback. */
struct engine_network {
	const char *id;
	const char *name;
	const char *driver;
	const char *ipam_driver;
	unsigned int subnet_count; /* without those that are everything (0.0.0.0/0) */
	struct cidr subnets[ENGINE_SUBNETS_MAX];
};

enum engine_event {
	ENGINE_EVENT_KILL, /* a signal was sent: number in signal; 0: not known */
	ENGINE_EVENT_DIE,  /* it is dead, or was found to be gone (may come twice) */
	ENGINE_EVENT_PAUSE,
	ENGINE_EVENT_UNPAUSE,
	ENGINE_EVENT_HEALTH, /* health tells */
};

/* What runs, when all of it has been told. Lives during the callback. */
struct engine_running {
	const char (*ids)[ENGINE_ID_SIZE]; /* also those that may: what starts now */
	unsigned int count;
	bool complete; /* each that the engine listed was told */
};

struct engine_callbacks {
	/* After an inspection: at start and unpause, network connect (of a container that
	 * runs), health changes of unknown text, and for each running container after
	 * (re)connecting. Never older than the last event told. */
	void (*container)(void *ctx, const struct engine_container *c);
	/* All networks of the engine: after (re)connecting, each engine_relist, and when
	 * one is made or removed. */
	void (*networks)(void *ctx, const struct engine_network *list,
			 unsigned int count);
	/* At once when the event arrives, before any inspection. */
	void (*event)(void *ctx, const char *container_id, enum engine_event event,
		      int signal, enum engine_health health);
	/* After (re)connecting and each engine_relist, just before state says synced:
	 * no other container runs. Its end may never have been told. */
	void (*running)(void *ctx, const struct engine_running *running);
	/* The event stream is there (API version "1.41"), or lost (version NULL; text
	 * says why). synced: every running container has been told since the connection.
	 */
	void (*state)(void *ctx, const char *version, bool synced, const char *text);
	void *ctx;
};

/* The callbacks may call engine_inspect, but not engine_free. */
struct engine;

/* url: "unix:///var/run/docker.sock" or "tcp://127.0.0.1:2375". callbacks: copied.
 * -EINVAL: bad url. Connecting begins in the loop. */
int engine_new(sd_event *event, const char *url, const struct engine_callbacks *callbacks,
	       struct engine **ret, struct err *e);
void engine_free(struct engine *en);

/* Looks at all running containers again soon, since something told was not heard: after
 * a second, and less often when that is said again and again. Does not call back. */
void engine_relist(struct engine *en);
/* Inspects one container (again) soon. */
void engine_inspect(struct engine *en, const char *container_id);

#endif
