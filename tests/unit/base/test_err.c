// SPDX-License-Identifier: GPL-2.0-or-later
/* Error texts: codes, context, what happens when they are too long or not wanted. */
#include "plugin/base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_set(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(err_set(&e, -EINVAL, "port %d: %s", 7, "bad"), -EINVAL);
	assert_int_equal(e.code, -EINVAL);
	assert_string_equal(e.text, "port 7: bad");
	assert_int_equal(err_set(&e, -ENOENT, "%s", ""), -ENOENT);
	assert_int_equal(e.code, -ENOENT);
	assert_string_equal(e.text, "");
}

static void test_sys(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(err_sys(&e, -ENOENT, "file %s", "/x"), -ENOENT);
	assert_int_equal(e.code, -ENOENT);
	assert_string_equal(e.text, "file /x: No such file or directory");
	assert_int_equal(err_sys(&e, -99999, "odd"), -99999);
	assert_string_equal(e.text, "odd: unknown error");
}

static void test_wrap(void **state)
{
	struct err e = {0};

	(void)state;
	(void)err_set(&e, -ENODEV, "no such link");
	assert_int_equal(err_wrap(&e, e.code, "network %s", "n1"), -ENODEV);
	assert_string_equal(e.text, "network n1: no such link");
	/* The caller may answer with another code than the cause had. */
	assert_int_equal(err_wrap(&e, -EIO, "join"), -EIO);
	assert_int_equal(e.code, -EIO);
	assert_string_equal(e.text, "join: network n1: no such link");
}

/* Nobody wants the text: the code still comes back. */
static void test_null(void **state)
{
	(void)state;
	assert_int_equal(err_set(NULL, -EINVAL, "x"), -EINVAL);
	assert_int_equal(err_sys(NULL, -EIO, "x"), -EIO);
	assert_int_equal(err_wrap(NULL, -ENOMEM, "x"), -ENOMEM);
}

static void test_long(void **state)
{
	char text[1000];
	struct err e = {0};

	(void)state;
	for (size_t len = 250; len < 260; len++) {
		size_t kept = len < sizeof(e.text) ? len : sizeof(e.text) - 1;

		memset(text, 'a', len);
		text[len] = '\0';
		(void)err_set(&e, -EIO, "%s", text);
		assert_int_equal(strlen(e.text), kept);
		(void)err_sys(&e, -EIO, "%s", text);
		assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
		(void)err_wrap(&e, -EIO, "%s", text);
		assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
		assert_memory_equal(e.text, text, kept);
	}
	memset(text, 'b', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	(void)err_set(&e, -EIO, "cause");
	(void)err_wrap(&e, -EIO, "%s", text);
	assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),  cmocka_unit_test(test_sys),
		cmocka_unit_test(test_wrap), cmocka_unit_test(test_null),
		cmocka_unit_test(test_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
