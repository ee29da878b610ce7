/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LB_DNS_LIMIT_H
#define LB_DNS_LIMIT_H
/*
 * Log lines that a container could cause at will: one line per call site and
 * LIMIT_SECONDS. Include after plugin/base/log.h with LOG_MODULE. Thread: loop.
 */
#include <stdbool.h>
#include <time.h>

#define LIMIT_SECONDS 10

struct limit {
	time_t until;
	unsigned int dropped;
};

/* true: write the line. */
static inline bool limit_pass(struct limit *l)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
	if (now.tv_sec < l->until) {
		l->dropped++;
		return false;
	}
	l->until = now.tv_sec + LIMIT_SECONDS;
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
