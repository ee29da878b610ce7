// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * States of backends. "docker stop" sends the stop signal first and removes the
 * endpoint only after the process has ended: the signal is the moment to take new
 * connections away. A process may survive a signal (docker kill -s TERM of one that
 * handles it), then it must come back, hence the deadline.
 */
#include "lb/backend.h"

#include <signal.h>

static bool life_equal(const struct backend_life *a, const struct backend_life *b)
{
	return a->running == b->running && a->paused == b->paused &&
	       a->draining == b->draining && a->health == b->health &&
	       a->stop_signal == b->stop_signal &&
	       a->stop_timeout_s == b->stop_timeout_s &&
	       a->drain_until_ms == b->drain_until_ms;
}

static void stop_draining(struct backend_life *life)
{
	life->draining = false;
	life->drain_until_ms = 0;
}

static void start_draining(struct backend_life *life, uint64_t now_ms)
{
	life->draining = true;
	life->drain_until_ms =
		now_ms + (uint64_t)life->stop_timeout_s * 1000 + BACKEND_DRAIN_GRACE_MS;
}

bool backend_life_seen(struct backend_life *life, const struct registry_container *c)
{
	struct backend_life before = *life;

	/* A container that was running all the time may still have its signal to
	 * answer; one that stands up again begins anew. */
	if (!c->running || !before.running)
		stop_draining(life);
	life->running = c->running;
	life->paused = c->paused;
	life->health = c->health;
	life->stop_signal = c->stop_signal;
	life->stop_timeout_s = c->stop_timeout_s;
	return !life_equal(&before, life);
}

static bool is_end_signal(const struct backend_life *life, int signal)
{
	return signal > 0 &&
	       (signal == SIGKILL || signal == SIGTERM || signal == life->stop_signal);
}

bool backend_life_event(struct backend_life *life, enum registry_event event, int signal,
			enum registry_health health, uint64_t now_ms)
{
	struct backend_life before = *life;

	switch (event) {
	case REGISTRY_EVENT_KILL:
		if (life->running && is_end_signal(life, signal))
			start_draining(life, now_ms);
		break;
	case REGISTRY_EVENT_DIE:
		life->running = false;
		life->paused = false;
		stop_draining(life);
		break;
	case REGISTRY_EVENT_PAUSE:
	case REGISTRY_EVENT_UNPAUSE:
		life->paused = event == REGISTRY_EVENT_PAUSE;
		break;
	case REGISTRY_EVENT_HEALTH:
		life->health = health;
		break;
	}
	return !life_equal(&before, life);
}

void backend_life_expire(struct backend_life *life, uint64_t now_ms)
{
	if (!life->draining)
		return;
	if (life->drain_until_ms == 0)
		start_draining(life, now_ms);
	else if (life->drain_until_ms <= now_ms)
		stop_draining(life);
}

enum backend_state backend_state(const struct backend_life *life, bool ignore_health)
{
	if (!life)
		return BACKEND_STATE_ACTIVE;
	if (!life->running || life->draining)
		return BACKEND_STATE_DRAINING;
	if (life->paused)
		return BACKEND_STATE_PAUSED;
	if (ignore_health)
		return BACKEND_STATE_ACTIVE;
	switch (life->health) {
	case REGISTRY_HEALTH_STARTING:
		return BACKEND_STATE_STARTING;
	case REGISTRY_HEALTH_UNHEALTHY:
		return BACKEND_STATE_UNHEALTHY;
	case REGISTRY_HEALTH_NONE:
	case REGISTRY_HEALTH_HEALTHY:
		break;
	}
	return BACKEND_STATE_ACTIVE;
}

const char *backend_state_name(enum backend_state state)
{
	static const char *const names[BACKEND_STATE_COUNT] = {
		[BACKEND_STATE_STARTING] = "starting",
		[BACKEND_STATE_ACTIVE] = "active",
		[BACKEND_STATE_UNHEALTHY] = "unhealthy",
		[BACKEND_STATE_PAUSED] = "paused",
		[BACKEND_STATE_DRAINING] = "draining",
	};

	return state < BACKEND_STATE_COUNT ? names[state] : "?";
}

uint32_t backend_weight(enum backend_state state, uint32_t weight, bool fail_open)
{
	if (state == BACKEND_STATE_ACTIVE)
		return weight;
	return fail_open && state == BACKEND_STATE_UNHEALTHY ? weight : 0;
}
