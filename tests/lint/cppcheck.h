/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_LINT_CPPCHECK_H
#define TESTS_LINT_CPPCHECK_H
/*
 * Included by cppcheck in front of each file: macros of libraries whose headers it does
 * not read.
 */
#define json_array_foreach(array, index, value) \
	for ((index) = 0; ((value) = json_array_get(array, index)) != NULL; (index)++)
#define json_object_foreach(object, key, value)                      \
	for ((key) = json_object_iter_key(json_object_iter(object)); \
	     ((value) = json_object_get(object, key)) != NULL;       \
	     (key) = json_object_iter_key(json_object_iter_next(object, key)))

#endif
