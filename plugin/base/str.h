/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_BASE_STR_H
#define PLUGIN_BASE_STR_H
/* Checked conversions and copies of text. Thread: any. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Parses all of text as a decimal number within [min, max]. -EINVAL: not a
 * number, -ERANGE: outside; *ret is written only on success.
 */
int str_to_u32(const char *text, uint32_t min, uint32_t max, uint32_t *ret);

/* "true", "1", "yes", "on" and their opposites, in any case; else -EINVAL. */
int str_to_bool(const char *text, bool *ret);

/* Copies text with its end into dst; -ENAMETOOLONG (dst unchanged) if too long. */
int str_copy(char *dst, size_t size, const char *text);

/* As snprintf; -ENAMETOOLONG when the result was cut off. */
int str_printf(char *dst, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

bool str_has_prefix(const char *text, const char *prefix);

static inline bool str_is_empty(const char *text)
{
	return !text || !*text;
}

#endif
