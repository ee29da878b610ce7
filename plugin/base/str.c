// SPDX-License-Identifier: GPL-2.0-or-later
/* Text helpers that refuse instead of guessing: no silent cut, no silent 0. */
#include "plugin/base/str.h"

#include "plugin/base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

int str_to_u32(const char *text, uint32_t min, uint32_t max, uint32_t *ret)
{
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (*end)
		return -EINVAL;
	if (errno || n < min || n > max)
		return -ERANGE;
	*ret = (uint32_t)n;
	return 0;
}

int str_to_bool(const char *text, bool *ret)
{
	static const char *const names[][2] = {
		{"false", "true"}, {"0", "1"}, {"no", "yes"}, {"off", "on"}};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		for (int value = 0; value < 2; value++) {
			if (!strcasecmp(text, names[i][value])) {
				*ret = value;
				return 0;
			}
		}
	}
	return -EINVAL;
}

int str_copy(char *dst, size_t size, const char *text)
{
	size_t len = strlen(text);

	if (len >= size)
		return -ENAMETOOLONG;
	memcpy(dst, text, len + 1);
	return 0;
}

int str_printf(char *dst, size_t size, const char *fmt, ...)
{
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(dst, size, fmt, ap);
	va_end(ap);
	return len < 0 || (size_t)len >= size ? -ENAMETOOLONG : 0;
}

bool str_has_prefix(const char *text, const char *prefix)
{
	return !strncmp(text, prefix, strlen(prefix));
}
