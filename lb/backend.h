/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_BACKEND_H
#define LB_BACKEND_H
/*
 * The life of a backend: what the engine says of a container becomes a state, and the
 * states of all backends of a service become weights. Pure: time is an argument.
 * Thread: any.
 */
#include <stdbool.h>
#include <stdint.h>

#include "lb/service.h"

enum backend_state {
	BACKEND_STATE_STARTING,
	BACKEND_STATE_ACTIVE,
	BACKEND_STATE_UNHEALTHY,
	BACKEND_STATE_PAUSED,
	BACKEND_STATE_DRAINING,
	BACKEND_STATE_COUNT
};

/* A signal that was to end a container has failed when this long after its stop
 * time-out it still runs. */
#define BACKEND_DRAIN_GRACE_MS 5000

/* What is known of a container. */
struct backend_life {
	bool running;
	bool paused;
	bool draining; /* running, but a signal to end was sent */
	enum registry_health health;
	int stop_signal;
	unsigned int stop_timeout_s;
	uint64_t drain_until_ms; /* 0: not known since a restart of the daemon */
};

/* The engine's description at this moment. Return: anything changed. */
bool backend_life_seen(struct backend_life *life, const struct registry_container *c);
/* The same for an event. signal and health count for those kinds of events. */
bool backend_life_event(struct backend_life *life, enum registry_event event, int signal,
			enum registry_health health, uint64_t now_ms);
/* Ends the draining when its time is over; sets the time when it is not known. */
void backend_life_expire(struct backend_life *life, uint64_t now_ms);

/* life NULL: the container is not known, so the endpoint that named its service itself
 * counts as active. ignore_health: option health=none. */
enum backend_state backend_state(const struct backend_life *life, bool ignore_health);
const char *backend_state_name(enum backend_state state);

/* The weight in the kernel of a backend with this option. fail_open: no other backend
 * of the service takes traffic. */
uint32_t backend_weight(enum backend_state state, uint32_t weight, bool fail_open);

#endif
