/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_UNIT_PLUGIN_MUTATE_H
#define TESTS_UNIT_PLUGIN_MUTATE_H
/*
 * Takes a good request apart: every member of it is taken away, made null or made
 * something else, every prefix of its text is decoded, and every allocation of the
 * JSON library fails once. A decoder must refuse with the method and the field in its
 * text, or go on with a default; which of the two is told by the list of required ones.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "plugin/base/err.h"
#include "plugin/base/mem.h"

#define REQUIRED_MAX 6

struct example {
	const char *method;
	int (*decode)(const char *body, size_t len, struct err *e);
	const char *json;
	const char *required[REQUIRED_MAX]; /* "IPv4Data[0].Pool" */
};

/* Decodes from memory that ends where the body ends. */
static int mutate_decode(const struct example *x, const char *text, size_t len,
			 struct err *e)
{
	char *body = malloc(len ? len : 1);
	int r;

	assert_non_null(body);
	memcpy(body, text, len);
	*e = (struct err){0};
	r = x->decode(body, len, e);
	free(body);
	assert_true(r == 0 || r == -EINVAL || r == -ENOMEM);
	assert_int_equal(e->code, r);
	if (r < 0 && strncmp(e->text, x->method, strlen(x->method)) != 0)
		fail_msg("%s: bad error text: %s", x->method, e->text);
	return r;
}

static bool mutate_is_required(const struct example *x, const char *path)
{
	for (int i = 0; i < REQUIRED_MAX && x->required[i]; i++) {
		if (!strcmp(x->required[i], path))
			return true;
	}
	return false;
}

/* Is path, or something in it, what the text complains about? */
static bool mutate_is_named(const char *text, const char *path)
{
	const char *quote = strchr(text, '"');
	size_t len = strlen(path);

	return quote && !strncmp(quote + 1, path, len) && quote[1 + len] &&
	       strchr("\".[", quote[1 + len]);
}

/* gone: the member is not there, or null. */
static void mutate_check(const struct example *x, json_t *root, const char *path,
			 bool gone)
{
	auto_free char *text = json_dumps(root, 0);
	struct err e;
	int r;

	assert_non_null(text);
	r = mutate_decode(x, text, strlen(text), &e);
	if (gone && mutate_is_required(x, path) && r == 0)
		fail_msg("%s: taken without %s: %s", x->method, path, text);
	if (gone && !mutate_is_required(x, path) && r < 0 &&
	    path[strlen(path) - 1] != ']')
		fail_msg("%s: refused for %s: %s", x->method, path, e.text);
	if (r < 0 && !mutate_is_named(e.text, path))
		fail_msg("%s: %s is not named: %s", x->method, path, e.text);
}

/* What a member may wrongly be; the caller owns it. */
static json_t *mutate_value(unsigned int kind)
{
	static const char *const texts[] = {
		"[null]",
		"[true]",
		"[-1]",
		"[0]",
		"[70000]",
		"[4294967296]",
		"[9223372036854775807]",
		"[1.5]",
		"[\"\"]",
		"[\"text\"]",
		"[\"10.0.0.1\"]",
		"[\"10.0.0.0/33\"]",
		"[[]]",
		"[[1]]",
		"[[null]]",
		"[[{}]]",
		"[{}]",
		"[{\"a\":{\"b\":[]}}]",
	};
	json_t *list;
	json_t *value;
	char *text;

	if (kind < ARRAY_SIZE(texts)) {
		list = json_loads(texts[kind], 0, NULL);
		value = json_incref(json_array_get(list, 0));
		json_decref(list);
		return value;
	}
	if (kind > ARRAY_SIZE(texts))
		return NULL;
	text = malloc(20001);
	assert_non_null(text);
	memset(text, 'a', 20000);
	text[20000] = '\0';
	value = json_string(text);
	free(text);
	return value;
}

static void mutate_members(const struct example *x, json_t *root, json_t *at,
			   const char *path);

static void mutate_member(const struct example *x, json_t *root, json_t *at,
			  const char *key, const char *path)
{
	json_t *old = json_incref(json_object_get(at, key));
	json_t *value;

	json_object_del(at, key);
	mutate_check(x, root, path, true);
	for (unsigned int kind = 0; (value = mutate_value(kind)) != NULL; kind++) {
		json_object_set_new(at, key, value);
		mutate_check(x, root, path, json_is_null(value));
	}
	json_object_set_new(at, key, old);
	mutate_members(x, root, old, path);
}

static void mutate_entry(const struct example *x, json_t *root, json_t *at, size_t i,
			 const char *path)
{
	json_t *old = json_incref(json_array_get(at, i));
	json_t *value;

	for (unsigned int kind = 0; (value = mutate_value(kind)) != NULL; kind++) {
		json_array_set_new(at, i, value);
		if (!json_is_object(value)) /* else its members are what is wrong */
			mutate_check(x, root, path, json_is_null(value));
	}
	json_array_set_new(at, i, old);
	mutate_members(x, root, old, path);
}

static void mutate_members(const struct example *x, json_t *root, json_t *at,
			   const char *path)
{
	json_t *copy = json_deep_copy(at); /* to walk on while at is changed */
	const char *key;
	char below[256];
	json_t *v;
	size_t i;

	if (json_is_object(at)) {
		json_object_foreach (copy, key, v) {
			(void)snprintf(below, sizeof(below), "%s%s%s", path,
				       *path ? "." : "", key);
			mutate_member(x, root, at, key, below);
		}
	}
	if (json_is_array(at)) {
		json_array_foreach (copy, i, v) {
			(void)snprintf(below, sizeof(below), "%s[%zu]", path, i);
			mutate_entry(x, root, at, i, below);
		}
	}
	json_decref(copy);
}

static void mutate_prefixes(const struct example *x)
{
	struct err e;

	for (size_t len = 0; len < strlen(x->json); len++) {
		assert_int_equal(mutate_decode(x, x->json, len, &e), -EINVAL);
		if (len == 0)
			assert_non_null(strstr(e.text, "has no body"));
	}
}

static void mutate_bodies(const struct example *x)
{
	static const char *const bad[] = {"\n",
					  " \r\n\t",
					  "null",
					  "[]",
					  "\"\"",
					  "{}{}",
					  "{\"a\":1,\"a\":1}",
					  "{\"a\":\"\\u0000\"}",
					  "{\"a\":\"\xff\"}",
					  "{} x"};
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(mutate_decode(x, bad[i], strlen(bad[i]), &e), -EINVAL);
}

/* Counts down to the allocation that fails; negative: none does. */
static long mutate_left = -1;

static void *mutate_malloc(size_t size)
{
	if (mutate_left == 0)
		return NULL;
	if (mutate_left > 0)
		mutate_left--;
	return malloc(size);
}

static void mutate_memory(const struct example *x)
{
	struct err e;
	int r = -1;

	json_set_alloc_funcs(mutate_malloc, free);
	for (long n = 0; r < 0 && n < 10000; n++) {
		mutate_left = n;
		r = mutate_decode(x, x->json, strlen(x->json), &e);
	}
	json_set_alloc_funcs(malloc, free);
	mutate_left = -1;
	assert_int_equal(r, 0);
}

static void mutate_examples(const struct example *list, size_t count)
{
	for (const struct example *x = list; x < list + count; x++) {
		json_t *root = json_loads(x->json, 0, NULL);
		struct err e;

		assert_non_null(root);
		if (mutate_decode(x, x->json, strlen(x->json), &e) < 0)
			fail_msg("%s", e.text);
		mutate_members(x, root, root, "");
		mutate_prefixes(x);
		mutate_bodies(x);
		mutate_memory(x);
		json_decref(root);
	}
}

#endif
