/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_LINT_SYS_QUEUE_H
#define TESTS_LINT_SYS_QUEUE_H
/*
 * What clang-tidy and cppcheck read instead of the real <sys/queue.h>, for the reason
 * given in uthash.h: an analyser cannot tell that an entry which has left a list is not
 * met in it any more.
 */
void lint_list_change(void *place, void *entry);

#define LINT_LIST_HEAD(name, type)  \
	struct name {               \
		struct type *first; \
		struct type *last;  \
	}
#define LINT_LIST_ENTRY(type)      \
	struct {                   \
		struct type *next; \
		struct type *prev; \
	}
#define LINT_LIST_FOREACH(var, head, field) \
	for ((var) = (head)->first; (var); (var) = (var)->field.next)

#define TAILQ_HEAD(name, type) LINT_LIST_HEAD(name, type)
#define TAILQ_HEAD_INITIALIZER(head) \
	{                            \
		0                    \
	}
#define TAILQ_ENTRY(type)			   LINT_LIST_ENTRY(type)
#define TAILQ_INIT(head)			   ((head)->first = 0)
#define TAILQ_EMPTY(head)			   (!(head)->first)
#define TAILQ_FIRST(head)			   ((head)->first)
#define TAILQ_LAST(head, name)			   ((head)->last)
#define TAILQ_NEXT(entry, field)		   ((entry)->field.next)
#define TAILQ_PREV(entry, name, field)		   ((entry)->field.prev)
#define TAILQ_FOREACH(var, head, field)		   LINT_LIST_FOREACH(var, head, field)
#define TAILQ_INSERT_HEAD(head, entry, field)	   lint_list_change(head, entry)
#define TAILQ_INSERT_TAIL(head, entry, field)	   lint_list_change(head, entry)
#define TAILQ_INSERT_AFTER(head, at, entry, field) lint_list_change(at, entry)
#define TAILQ_REMOVE(head, entry, field)	   lint_list_change(head, entry)
#define TAILQ_CONCAT(head, from, field)		   lint_list_change(head, from)

#define LIST_HEAD(name, type)		     LINT_LIST_HEAD(name, type)
#define LIST_ENTRY(type)		     LINT_LIST_ENTRY(type)
#define LIST_INIT(head)			     ((head)->first = 0)
#define LIST_EMPTY(head)		     (!(head)->first)
#define LIST_FIRST(head)		     ((head)->first)
#define LIST_FOREACH(var, head, field)	     LINT_LIST_FOREACH(var, head, field)
#define LIST_INSERT_HEAD(head, entry, field) lint_list_change(head, entry)
#define LIST_REMOVE(entry, field)	     lint_list_change((entry)->field.prev, entry)

#define STAILQ_HEAD(name, type) LINT_LIST_HEAD(name, type)
#define STAILQ_HEAD_INITIALIZER(head) \
	{                             \
		0                     \
	}
#define STAILQ_ENTRY(type)		       LINT_LIST_ENTRY(type)
#define STAILQ_FIRST(head)		       ((head)->first)
#define STAILQ_NEXT(entry, field)	       ((entry)->field.next)
#define STAILQ_INSERT_TAIL(head, entry, field) lint_list_change(head, entry)
#define STAILQ_REMOVE_HEAD(head, field)	       lint_list_change(head, (head)->first)

#endif
