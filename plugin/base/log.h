/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_BASE_LOG_H
#define PLUGIN_BASE_LOG_H
/*
 * One line, one event, on standard error: "<level> module: text key=value".
 * Under systemd (JOURNAL_STREAM set) the level is the journal's "<N>" prefix and
 * there is no time stamp. Thread: any.
 */
#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_COUNT
};

/*
 * Sets what is written: "error", "warning", "info" or "debug", then optionally
 * ",module,..." for debug lines of these modules only. -EINVAL: bad text, nothing
 * changed. Thread: main, before other threads start.
 */
int log_setup(const char *spec);

bool log_enabled(enum log_level level, const char *module);

/* Control characters become "?", a text that is too long is cut off. */
void log_write(enum log_level level, const char *module, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Quotes text from outside for a log line: quotes and what is not printable ASCII
 * become "?"; returns buf. size must be at least 3.
 */
const char *log_quote(char *buf, unsigned int size, const char *text);

/* Each .c file that logs defines LOG_MODULE before including this header. */
#ifdef LOG_MODULE
#define log_error(...)	 log_write(LOG_LEVEL_ERROR, LOG_MODULE, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, LOG_MODULE, __VA_ARGS__)
#define log_info(...)	 log_write(LOG_LEVEL_INFO, LOG_MODULE, __VA_ARGS__)
#define log_debug(...)                                                       \
	do {                                                                 \
		if (log_enabled(LOG_LEVEL_DEBUG, LOG_MODULE))                \
			log_write(LOG_LEVEL_DEBUG, LOG_MODULE, __VA_ARGS__); \
	} while (0)
#endif

#endif
