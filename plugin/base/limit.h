/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_BASE_LIMIT_H
#define PLUGIN_BASE_LIMIT_H
/*
 * Log lines that others could cause at will: one line per call site and LIMIT_MS.
 * Include after plugin/base/log.h with LOG_MODULE. Thread: one for each call site.
 */
#include <stdbool.h>
#include <stdint.h>

#include "plugin/base/clock.h"

#define LIMIT_MS 10000

struct limit {
	uint64_t until;
	unsigned int dropped;
};

/* true: write the line. */
static inline bool limit_pass(struct limit *l)
{
	uint64_t now = clock_ms();

	if (now < l->until) {
		l->dropped++;
		return false;
	}
	l->until = now + LIMIT_MS;
	return true;
}

/* fmt is a literal; the number of lines left out since the last is added. */
#define log_warning_limited(fmt, ...)                                                   \
	do {                                                                            \
		static struct limit limit_;                                             \
		if (limit_pass(&limit_)) {                                              \
			log_warning(fmt " suppressed=%u", __VA_ARGS__, limit_.dropped); \
			limit_.dropped = 0;                                             \
		}                                                                       \
	} while (0)

#endif
