/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_LINT_UTHASH_H
#define TESTS_LINT_UTHASH_H
/*
 * What clang-tidy and cppcheck read instead of the real <uthash.h>: the same names as
 * calls of functions that nobody defines. The real macros put a hash function and a table
 * that grows into each caller; an analyser takes their branches for the caller's own, and
 * cannot tell that an entry which has left the table is not found any more.
 */
#include <stddef.h>

typedef struct UT_hash_handle {
	void *tbl;
	void *prev;
	void *next;
} UT_hash_handle;

void *lint_hash_find(const void *head, const void *key, size_t size);
void *lint_hash_add(const void *head, void *entry, const void *key, size_t size);
void *lint_hash_del(const void *head, void *entry);
void *lint_hash_next(const void *entry);
void *lint_hash_sort(const void *head);
unsigned int lint_hash_count(const void *head);

#define HASH_FIND(hh, head, key, size, out) ((out) = lint_hash_find(head, key, size))
#define HASH_FIND_STR(head, key, out)	    ((out) = lint_hash_find(head, key, 0))
#define HASH_ADD_KEYPTR(hh, head, key, size, entry) \
	((head) = lint_hash_add(head, entry, key, size))
#define HASH_ADD(hh, head, field, size, entry) \
	((head) = lint_hash_add(head, entry, &(entry)->field, size))
#define HASH_ADD_STR(head, field, entry) \
	((head) = lint_hash_add(head, entry, (entry)->field, 0))
#define HASH_DELETE(hh, head, entry) ((head) = lint_hash_del(head, entry))
#define HASH_DEL(head, entry)	     ((head) = lint_hash_del(head, entry))
#define HASH_COUNT(head)	     lint_hash_count(head)
#define HASH_SRT(hh, head, compare)  ((void)(compare), (head) = lint_hash_sort(head))
#define HASH_ITER(hh, head, entry, following)                                \
	for ((entry) = (head), (following) = lint_hash_next(entry); (entry); \
	     (entry) = (following), (following) = lint_hash_next(entry))

#endif
