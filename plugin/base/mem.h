/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_BASE_MEM_H
#define PLUGIN_BASE_MEM_H
/*
 * Scope-bound ownership: a variable declared auto_free or auto_close gives its
 * value back on every way out of the scope. TAKE and TAKE_FD hand it over.
 */
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#define ARRAY_SIZE(a)		       (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, field) ((type *)((char *)(ptr)-offsetof(type, field)))

#define TAKE(p)                             \
	({                                  \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;                 \
		taken_;                     \
	})
#define TAKE_FD(fd)                \
	({                         \
		int taken_ = (fd); \
		(fd) = -1;         \
		taken_;            \
	})

#define auto_free  __attribute__((cleanup(mem_cleanup_free)))
#define auto_close __attribute__((cleanup(mem_cleanup_close)))

static inline void mem_cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void mem_cleanup_close(const int *fd)
{
	if (*fd >= 0)
		(void)close(*fd); /* nothing to do about a failed close */
}

/* Declares auto_NAME, which calls fn on a non-NULL pointer at the end of scope. */
#define DEFINE_CLEANUP(type, fn)                 \
	static inline void cleanup_##fn(type *p) \
	{                                        \
		if (*p)                          \
			fn(*p);                  \
	}                                        \
	struct cleanup_semicolon_##fn
#define auto_with(fn) __attribute__((cleanup(cleanup_##fn)))

#endif
