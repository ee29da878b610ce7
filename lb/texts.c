// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lists of diagnostic texts, each once. They are short (TEXTS_MAX), so searching is
 * linear.
 */
#include "lb/texts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void texts_fini(struct texts *t)
{
	for (unsigned int i = 0; i < t->count; i++)
		free(t->list[i]);
	free(t->list);
	*t = (struct texts){0};
}

bool texts_has(const struct texts *t, const char *text)
{
	for (unsigned int i = 0; i < t->count; i++) {
		if (!strcmp(t->list[i], text))
			return true;
	}
	return false;
}

static void add(struct texts *t, const char *text)
{
	char **list;
	char *copy;

	if (t->count >= TEXTS_MAX || texts_has(t, text))
		return;
	list = realloc(t->list, (t->count + 1) * sizeof(*list));
	if (!list)
		return;
	t->list = list;
	copy = strdup(text);
	if (copy)
		t->list[t->count++] = copy;
}

void texts_add(struct texts *t, const char *fmt, ...)
{
	char text[TEXTS_TEXT_SIZE];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap); /* cut when longer */
	va_end(ap);
	add(t, text);
}

void texts_add_all(struct texts *t, const struct texts *from)
{
	for (unsigned int i = 0; i < from->count; i++)
		add(t, from->list[i]);
}

const char *texts_clean(char *dst, size_t size, const char *text)
{
	size_t n = 0;

	for (; text[n] && n + 1 < size; n++)
		dst[n] = (char)(text[n] < ' ' || text[n] > '~' ? '?' : text[n]);
	dst[n] = '\0';
	return dst;
}
