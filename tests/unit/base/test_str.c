// SPDX-License-Identifier: GPL-2.0-or-later
/* Numbers, switches and copies: borders, and that a refusal writes nothing. */
#include "plugin/base/str.h"

#include "plugin/base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void test_to_u32(void **state)
{
	static const struct {
		const char *text;
		uint32_t min;
		uint32_t max;
		int result;
		uint32_t value;
	} cases[] = {
		{"0", 0, UINT32_MAX, 0, 0},
		{"4294967295", 0, UINT32_MAX, 0, UINT32_MAX},
		{"4294967296", 0, UINT32_MAX, -ERANGE, 0},
		{"18446744073709551615", 0, UINT32_MAX, -ERANGE, 0},
		{"18446744073709551616", 0, UINT32_MAX, -ERANGE, 0},
		{"99999999999999999999999999", 0, UINT32_MAX, -ERANGE, 0},
		{"007", 0, 10, 0, 7},
		{"68", 68, 65535, 0, 68},
		{"67", 68, 65535, -ERANGE, 0},
		{"65535", 68, 65535, 0, 65535},
		{"65536", 68, 65535, -ERANGE, 0},
		{"5", 5, 5, 0, 5},
		{"", 0, 10, -EINVAL, 0},
		{" 1", 0, 10, -EINVAL, 0},
		{"1 ", 0, 10, -EINVAL, 0},
		{"+1", 0, 10, -EINVAL, 0},
		{"-1", 0, UINT32_MAX, -EINVAL, 0},
		{"0x10", 0, 100, -EINVAL, 0},
		{"1e3", 0, 9999, -EINVAL, 0},
		{"1.0", 0, 10, -EINVAL, 0},
		{"a", 0, 10, -EINVAL, 0},
		{"\xd9\xa1", 0, 10, -EINVAL, 0}, /* an Arabic digit */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t value = 0xabcd;
		int r = str_to_u32(cases[i].text, cases[i].min, cases[i].max, &value);

		print_message("'%s'\n", cases[i].text);
		assert_int_equal(r, cases[i].result);
		assert_int_equal(value, r == 0 ? cases[i].value : 0xabcd);
	}
}

static void test_to_bool(void **state)
{
	static const struct {
		const char *text;
		int result; /* 0, 1, or negative */
	} cases[] = {
		{"true", 1},	 {"1", 1},	  {"yes", 1},	      {"on", 1},
		{"TRUE", 1},	 {"Yes", 1},	  {"oN", 1},	      {"false", 0},
		{"0", 0},	 {"no", 0},	  {"off", 0},	      {"False", 0},
		{"OFF", 0},	 {"", -EINVAL},	  {"2", -EINVAL},     {"tru", -EINVAL},
		{"01", -EINVAL}, {" 1", -EINVAL}, {"truee", -EINVAL}, {"null", -EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int before = 0; before < 2; before++) {
			bool value = before;
			int r = str_to_bool(cases[i].text, &value);

			print_message("'%s'\n", cases[i].text);
			assert_int_equal(r, cases[i].result < 0 ? cases[i].result : 0);
			assert_int_equal(value, r < 0 ? before : cases[i].result);
		}
	}
}

static void test_copy(void **state)
{
	char dst[5] = "old";

	(void)state;
	assert_int_equal(str_copy(dst, sizeof(dst), "1234"), 0);
	assert_string_equal(dst, "1234");
	assert_int_equal(str_copy(dst, sizeof(dst), "12345"), -ENAMETOOLONG);
	assert_string_equal(dst, "1234");
	assert_int_equal(str_copy(dst, sizeof(dst), ""), 0);
	assert_string_equal(dst, "");
	assert_int_equal(str_copy(dst, 1, ""), 0);
	assert_int_equal(str_copy(dst, 1, "x"), -ENAMETOOLONG);
	assert_int_equal(str_copy(dst, 0, ""), -ENAMETOOLONG);
}

static void test_printf(void **state)
{
	char dst[6];

	(void)state;
	assert_int_equal(str_printf(dst, sizeof(dst), "%s-%d", "ab", 12), 0);
	assert_string_equal(dst, "ab-12");
	assert_int_equal(str_printf(dst, sizeof(dst), "%s-%d", "ab", 123), -ENAMETOOLONG);
	assert_int_equal(str_printf(dst, sizeof(dst), "%s", ""), 0);
	assert_string_equal(dst, "");
}

static void test_prefix_and_empty(void **state)
{
	(void)state;
	assert_true(str_has_prefix("fairlead.vip", "fairlead."));
	assert_true(str_has_prefix("fairlead.", "fairlead."));
	assert_true(str_has_prefix("x", ""));
	assert_false(str_has_prefix("fairlead", "fairlead."));
	assert_false(str_has_prefix("", "f"));
	assert_true(str_is_empty(NULL));
	assert_true(str_is_empty(""));
	assert_false(str_is_empty(" "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_to_u32),
		cmocka_unit_test(test_to_bool),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_printf),
		cmocka_unit_test(test_prefix_and_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
