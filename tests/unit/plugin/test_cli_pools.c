// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of "fairlead pools" as golden texts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plugin/base/mem.h"
#include "plugin/base/str.h"
#include "plugin/cli.h"
#include "plugin/cli_text.h"

static char *print_pools(const char *json)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct err e = {0};

	assert_non_null(out);
	if (cli_pools_print(json, strlen(json), out, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(fclose(out), 0);
	return text;
}

/* clang-format off */
static const char three_json[] =
	"{\"pools\":["
	"{\"space\":\"fairlead-local\",\"pool\":\"10.128.0.0/24\",\"sub_pool\":\"\","
	"\"network\":\"0123456789abcdef\",\"network_name\":\"app\","
	"\"capacity\":191,\"used\":4,\"free\":187,\"vip_range\":\"10.128.0.192/26\","
	"\"vips\":{\"capacity\":62,\"used\":1,\"kept\":3}},"
	"{\"space\":\"fairlead-local\",\"pool\":\"10.9.0.0/16\","
	"\"sub_pool\":\"10.9.5.0/24\",\"network\":\"0123456789abcdef\","
	"\"network_name\":\"\",\"capacity\":256,\"used\":256,\"free\":0,"
	"\"vip_range\":\"\"},"
	"{\"space\":\"other\",\"pool\":\"fd66:6c00::/64\",\"network\":\"\","
	"\"capacity\":18446744073709551616.0,\"used\":1,"
	"\"free\":18446744073709551616.0,\"vip_range\":\"fd66:6c00::c000:0:0:0/66\"}]}";

static const char three_text[] =
	"POOL                       SPACE  NETWORK  CAPACITY  USED  FREE     USE   VIP RANGE                 VIPS\n"
	"10.128.0.0/24              local  app      191       4     187      2%    10.128.0.192/26           1/62\n"
	"10.9.0.0/16 (10.9.5.0/24)  local  012345~  256       256   0        100%  -                         -\n"
	"fd66:6c00::/64             other  -        1.8e+19   1     1.8e+19  0%    fd66:6c00::c000:0:0:0/66  -\n";
/* clang-format on */

static void test_tables(void **state)
{
	static const struct {
		const char *json, *text;
	} cases[] = {
		{three_json, three_text},
		{"{}", "no pools\n"},
		{"{\"pools\":7}", "no pools\n"},
		/* clang-format off */
		{"{\"pools\":[null]}",
		 "POOL  SPACE  NETWORK  CAPACITY  USED  FREE  USE  VIP RANGE  VIPS\n"
		 "-     -      -        -         -     -     -    -          -\n"},
		{"{\"pools\":[{\"pool\":\"10.0.0.0/32\",\"capacity\":0,\"used\":0,"
		 "\"free\":\"x\",\"vips\":{\"used\":1000000000}}]}",
		 "POOL         SPACE  NETWORK  CAPACITY  USED  FREE  USE  VIP RANGE  VIPS\n"
		 "10.0.0.0/32  -      -        0         0     -     -    -          1.0e+09/-\n"},
		/* clang-format on */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *text = print_pools(cases[i].json);

		assert_string_equal(text, cases[i].text);
	}
}

/* No line is too long as long as the network's name can give way, and nothing that a
 * terminal obeys is printed. */
static void test_long_and_hostile(void **state)
{
	auto_free char *text = print_pools(
		"{\"pools\":[{\"pool\":\"10.128.0.0/24\",\"network_name\":"
		"\"a-network-with-a-name-\\u001b[31m-of-more-than-sixty-characters-"
		"\\u00fc\\u00fc\\u00fc\\u00fc\\u00fc-as-docker-allows-and-then-some\","
		"\"capacity\":191,\"used\":4,\"free\":187,"
		"\"vips\":{\"capacity\":62,\"used\":1}}]}");

	(void)state;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		assert_int_equal(cli_text_width(line), CLI_TEXT_COLUMNS);
		assert_null(strchr(line, '\033'));
	}
}

static void test_bad_answers(void **state)
{
	static const char *const texts[] = {"", "[]", "null", "{\"pools\":", "<html>"};
	FILE *full = fopen("/dev/full", "we");
	struct err e = {0};

	(void)state;
	assert_non_null(full);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_int_equal(cli_pools_print(texts[i], strlen(texts[i]), stdout, &e),
				 -EINVAL);
		assert_true(str_has_prefix(e.text, "pools: "));
	}
	assert_int_equal(cli_pools_print("{}", 2, full, &e), -EIO);
	(void)fclose(full); /* fails as well */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_long_and_hostile),
		cmocka_unit_test(test_bad_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
