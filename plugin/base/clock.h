/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_BASE_CLOCK_H
#define PLUGIN_BASE_CLOCK_H
/* The monotonic clock, for all but log stamps. Thread: any. */
#include <stdint.h>
#include <time.h>

static inline uint64_t clock_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static inline uint64_t clock_us(void)
{
	return clock_ns() / 1000;
}

static inline uint64_t clock_ms(void)
{
	return clock_ns() / 1000000;
}

#endif
