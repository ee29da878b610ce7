// SPDX-License-Identifier: GPL-2.0-or-later
/* A growing list of prefixes with the names of their users. */
#include "plugin/taken.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SIZE_FIRST 16

void taken_clear(struct taken *t)
{
	free(t->list);
	*t = (struct taken){0};
}

static struct ipam_taken *new_entry(struct taken *t)
{
	unsigned int size = t->size ? t->size * 2 : SIZE_FIRST;
	struct ipam_taken *bigger;

	if (t->count == t->size) {
		bigger = reallocarray(t->list, size, sizeof(*bigger));
		if (!bigger)
			return NULL;
		t->list = bigger;
		t->size = size;
	}
	return &t->list[t->count++];
}

int taken_add(struct taken *t, const struct cidr *prefix, const char *fmt, ...)
{
	struct ipam_taken *entry = new_entry(t);
	va_list ap;

	if (!entry)
		return -ENOMEM;
	entry->prefix = *prefix;
	va_start(ap, fmt);
	(void)vsnprintf(entry->what, sizeof(entry->what), fmt, ap); /* cut off is fine */
	va_end(ap);
	return 0;
}

int taken_copy(struct taken *t, const struct taken *from, const struct cidr *within)
{
	for (unsigned int i = 0; i < from->count; i++) {
		struct ipam_taken *entry;

		if (!cidr_overlaps(&from->list[i].prefix, within))
			continue;
		entry = new_entry(t);
		if (!entry)
			return -ENOMEM;
		*entry = from->list[i];
	}
	return 0;
}
