// SPDX-License-Identifier: GPL-2.0-or-later
/* The life of a backend: every state, every event, deadlines and weights. */
#include "lb/backend.h"

#include "plugin/base/mem.h"

#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

static struct registry_container running(void)
{
	return (struct registry_container){
		.running = true, .stop_signal = SIGUSR1, .stop_timeout_s = 10};
}

static struct backend_life alive(void)
{
	struct registry_container c = running();
	struct backend_life life = {0};

	assert_true(backend_life_seen(&life, &c));
	return life;
}

static void test_states(void **state)
{
	static const struct {
		bool running;
		bool paused;
		bool draining;
		enum registry_health health;
		const char *want;
		const char *want_ignoring;
	} cases[] = {
		{true, false, false, REGISTRY_HEALTH_NONE, "active", "active"},
		{true, false, false, REGISTRY_HEALTH_HEALTHY, "active", "active"},
		{true, false, false, REGISTRY_HEALTH_STARTING, "starting", "active"},
		{true, false, false, REGISTRY_HEALTH_UNHEALTHY, "unhealthy", "active"},
		{true, true, false, REGISTRY_HEALTH_HEALTHY, "paused", "paused"},
		{true, true, false, REGISTRY_HEALTH_UNHEALTHY, "paused", "paused"},
		{true, true, true, REGISTRY_HEALTH_HEALTHY, "draining", "draining"},
		{true, false, true, REGISTRY_HEALTH_STARTING, "draining", "draining"},
		{false, false, false, REGISTRY_HEALTH_HEALTHY, "draining", "draining"},
		{false, true, true, REGISTRY_HEALTH_NONE, "draining", "draining"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct backend_life life = {
			.running = cases[i].running,
			.paused = cases[i].paused,
			.draining = cases[i].draining,
			.health = cases[i].health,
		};

		assert_string_equal(backend_state_name(backend_state(&life, false)),
				    cases[i].want);
		assert_string_equal(backend_state_name(backend_state(&life, true)),
				    cases[i].want_ignoring);
	}
	assert_int_equal(backend_state(NULL, false), BACKEND_STATE_ACTIVE);
}

static void test_weights(void **state)
{
	(void)state;
	for (unsigned int s = 0; s < BACKEND_STATE_COUNT; s++) {
		enum backend_state st = (enum backend_state)s;

		assert_int_equal(backend_weight(st, 5, false),
				 st == BACKEND_STATE_ACTIVE ? 5 : 0);
		assert_int_equal(
			backend_weight(st, 5, true),
			st == BACKEND_STATE_ACTIVE || st == BACKEND_STATE_UNHEALTHY ? 5
										    : 0);
		assert_int_equal(backend_weight(st, 0, true), 0);
	}
}

static void test_signals(void **state)
{
	static const struct {
		int signal;
		bool drains;
	} cases[] = {
		{SIGTERM, true}, {SIGKILL, true}, {SIGUSR1, true}, {SIGHUP, false},
		{SIGINT, false}, {0, false},	  {-1, false},	   {999, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct backend_life life = alive();
		bool changed = backend_life_event(&life, REGISTRY_EVENT_KILL,
						  cases[i].signal, 0, 100);

		assert_int_equal(changed, cases[i].drains);
		assert_int_equal(life.draining, cases[i].drains);
		assert_int_equal(life.drain_until_ms, cases[i].drains ? 15100 : 0);
	}
}

static void test_signal_of_unknown_number(void **state)
{
	struct backend_life life = alive();

	(void)state;
	/* A container without a stop signal of its own must not drain at signal 0. */
	life.stop_signal = 0;
	assert_false(backend_life_event(&life, REGISTRY_EVENT_KILL, 0, 0, 100));
	life.stop_timeout_s = UINT32_MAX;
	assert_true(backend_life_event(&life, REGISTRY_EVENT_KILL, SIGKILL, 0, 100));
	assert_int_equal(life.drain_until_ms,
			 100 + (uint64_t)UINT32_MAX * 1000 + BACKEND_DRAIN_GRACE_MS);
}

static void test_deadline(void **state)
{
	struct backend_life life = alive();

	(void)state;
	backend_life_expire(&life, UINT64_MAX);
	assert_int_equal(backend_state(&life, false), BACKEND_STATE_ACTIVE);
	assert_true(backend_life_event(&life, REGISTRY_EVENT_KILL, SIGTERM, 0, 100));
	/* A second signal begins the time anew. */
	assert_true(backend_life_event(&life, REGISTRY_EVENT_KILL, SIGKILL, 0, 200));
	backend_life_expire(&life, 15199);
	assert_true(life.draining);
	backend_life_expire(&life, 15200);
	assert_false(life.draining);
	assert_int_equal(life.drain_until_ms, 0);
}

static void test_deadline_after_restart(void **state)
{
	struct backend_life life = alive();

	(void)state;
	life.draining = true;
	backend_life_expire(&life, 7000);
	assert_true(life.draining);
	assert_int_equal(life.drain_until_ms, 22000);
	backend_life_expire(&life, 22000);
	assert_false(life.draining);
}

static void test_seen(void **state)
{
	struct backend_life life = alive();
	struct registry_container c = running();

	(void)state;
	assert_false(backend_life_seen(&life, &c));
	(void)backend_life_event(&life, REGISTRY_EVENT_KILL, SIGTERM, 0, 100);
	assert_false(backend_life_seen(&life, &c));
	assert_true(life.draining);
	/* A dead one that runs again is new. */
	assert_true(backend_life_event(&life, REGISTRY_EVENT_DIE, 0, 0, 200));
	assert_false(life.draining);
	assert_int_equal(backend_state(&life, false), BACKEND_STATE_DRAINING);
	assert_false(backend_life_event(&life, REGISTRY_EVENT_DIE, 0, 0, 200));
	assert_false(backend_life_event(&life, REGISTRY_EVENT_KILL, SIGKILL, 0, 300));
	assert_true(backend_life_seen(&life, &c));
	assert_int_equal(backend_state(&life, false), BACKEND_STATE_ACTIVE);
	/* Death that nobody told. */
	(void)backend_life_event(&life, REGISTRY_EVENT_KILL, SIGTERM, 0, 100);
	c.running = false;
	assert_true(backend_life_seen(&life, &c));
	assert_false(life.draining);
	c = running();
	c.paused = true;
	c.health = REGISTRY_HEALTH_STARTING;
	c.stop_signal = SIGQUIT;
	c.stop_timeout_s = 60;
	assert_true(backend_life_seen(&life, &c));
	assert_int_equal(backend_state(&life, false), BACKEND_STATE_PAUSED);
	assert_int_equal(life.stop_signal, SIGQUIT);
	assert_int_equal(life.stop_timeout_s, 60);
}

static void test_pause_and_health(void **state)
{
	struct backend_life life = alive();

	(void)state;
	assert_true(backend_life_event(&life, REGISTRY_EVENT_PAUSE, 0, 0, 0));
	assert_false(backend_life_event(&life, REGISTRY_EVENT_PAUSE, 0, 0, 0));
	assert_int_equal(backend_state(&life, false), BACKEND_STATE_PAUSED);
	assert_true(backend_life_event(&life, REGISTRY_EVENT_UNPAUSE, 0, 0, 0));
	assert_true(backend_life_event(&life, REGISTRY_EVENT_HEALTH, 0,
				       REGISTRY_HEALTH_UNHEALTHY, 0));
	assert_false(backend_life_event(&life, REGISTRY_EVENT_HEALTH, 0,
					REGISTRY_HEALTH_UNHEALTHY, 0));
	assert_int_equal(backend_state(&life, false), BACKEND_STATE_UNHEALTHY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_states),
		cmocka_unit_test(test_weights),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_signal_of_unknown_number),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_deadline_after_restart),
		cmocka_unit_test(test_seen),
		cmocka_unit_test(test_pause_and_health),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
