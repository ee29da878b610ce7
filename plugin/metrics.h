/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_METRICS_H
#define PLUGIN_METRICS_H
/*
 * The page /metrics: Prometheus' text format 0.0.4, and the counters that only it shows.
 * A new metric is a family in metrics.c; what it shows comes in by struct metrics_state
 * or is counted in struct metrics. Thread: loop (all functions).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin/gauges.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* How a call of Docker's ended. */
enum metrics_result {
	METRICS_RESULT_OK,
	METRICS_RESULT_REFUSED, /* with an error for the user */
	METRICS_RESULT_INVALID, /* it was not understood */
	METRICS_RESULT_BUSY,	/* too many waited */
	METRICS_RESULT_FAILED,	/* no memory */
	METRICS_RESULT_COUNT
};

#define METRICS_METHODS_MAX 32

struct metrics_method {
	const char *name;
	uint64_t results[METRICS_RESULT_COUNT];
	uint64_t us; /* all of them together */
};

/* Counters since the start; all zero at first. */
struct metrics {
	struct metrics_method methods[METRICS_METHODS_MAX];
	unsigned int method_count;
};

/* A call of method has been answered. method: a constant, always the same pointer; those
 * beyond METRICS_METHODS_MAX are not counted. m NULL: nothing. */
void metrics_count_call(struct metrics *m, const char *method, enum metrics_result result,
			uint64_t us);

struct metrics_state {
	const struct metrics *counters;
	const struct gauges *gauges;
	const char *balancer; /* in use */
	bool connected;	      /* to the engine */
	bool synced;
	unsigned int repairs;
	/* A network's name, or "". */
	const char *(*network_name)(void *ctx, const char *id);
	void *ctx;
};

/* The page; malloc'd. NULL: no memory. */
char *metrics_print(const struct metrics_state *s, size_t *ret_len);

#endif
