// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Log lines for the journal or a terminal. Each line is one write(2), so lines of
 * different threads never mix.
 */
#include "plugin/base/log.h"

#include "plugin/base/mem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct {
	enum log_level level;
	char modules[128]; /* ",link,dns," or empty: all modules at debug level */
	bool journal;
} log_config = {.level = LOG_LEVEL_INFO};

static const struct {
	const char *name;
	int priority; /* sd-daemon(3) */
} levels[LOG_LEVEL_COUNT] = {
	[LOG_LEVEL_ERROR] = {"error", 3},
	[LOG_LEVEL_WARNING] = {"warning", 4},
	[LOG_LEVEL_INFO] = {"info", 6},
	[LOG_LEVEL_DEBUG] = {"debug", 7},
};

int log_setup(const char *spec)
{
	size_t len = strcspn(spec, ",");
	const char *modules = spec[len] ? spec + len + 1 : "";
	unsigned int i;

	log_config.journal = getenv("JOURNAL_STREAM") != NULL;
	for (i = 0; i < LOG_LEVEL_COUNT; i++)
		if (strlen(levels[i].name) == len && !strncmp(spec, levels[i].name, len))
			break;
	if (i == LOG_LEVEL_COUNT || strlen(modules) + 3 > sizeof(log_config.modules))
		return -EINVAL;
	log_config.level = (enum log_level)i;
	log_config.modules[0] = '\0';
	if (*modules)
		(void)snprintf(log_config.modules, sizeof(log_config.modules), ",%s,",
			       modules);
	return 0;
}

bool log_enabled(enum log_level level, const char *module)
{
	char key[40];

	if (level > log_config.level)
		return false;
	if (level < LOG_LEVEL_DEBUG || !log_config.modules[0])
		return true;
	(void)snprintf(key, sizeof(key), ",%s,", module);
	return strstr(log_config.modules, key) != NULL;
}

static int log_prefix(char *line, size_t size, enum log_level level)
{
	struct timespec now;
	struct tm tm;

	if (log_config.journal)
		return snprintf(line, size, "<%d>", levels[level].priority);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)gmtime_r(&now.tv_sec, &tm);
	return snprintf(line, size, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ %s ",
			tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
			tm.tm_min, tm.tm_sec, now.tv_nsec / 1000000, levels[level].name);
}

static bool is_control(char c)
{
	return (unsigned char)c < ' ' || c == 127;
}

void log_write(enum log_level level, const char *module, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	size_t len;

	if (!log_enabled(level, module))
		return;
	len = (size_t)log_prefix(line, sizeof(line), level);
	len += (size_t)snprintf(line + len, sizeof(line) - len, "%s: ", module);
	va_start(ap, fmt);
	len += (size_t)vsnprintf(line + len, sizeof(line) - len, fmt, ap);
	va_end(ap);
	if (len > sizeof(line) - 1)
		len = sizeof(line) - 1;
	/* Error texts quote requests: what they bring along must not start a line. */
	for (size_t i = 0; i < len; i++)
		if (is_control(line[i]))
			line[i] = '?';
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return; /* nowhere left to say it */
}

const char *log_quote(char *buf, unsigned int size, const char *text)
{
	unsigned int n = 0;

	buf[n++] = '"';
	for (; *text && n + 2 < size; text++)
		buf[n++] =
			(char)(is_control(*text) || *text == '"' || *text & 0x80 ? '?'
										 : *text);
	buf[n++] = '"';
	buf[n] = '\0';
	return buf;
}
