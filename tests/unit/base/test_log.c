// SPDX-License-Identifier: GPL-2.0-or-later
/* Log lines as they reach standard error: levels, modules, the journal's form, and that
 * nothing from outside can break a line. */
#define LOG_MODULE "test"
#include "plugin/base/log.h"

#include "plugin/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

static int real_stderr = -1;
static int captured = -1;
static char output[8192];

static int capture(void **state)
{
	(void)state;
	(void)unsetenv("JOURNAL_STREAM");
	real_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	captured = memfd_create("stderr", MFD_CLOEXEC);
	return captured < 0 || dup2(captured, STDERR_FILENO) < 0 ? -1 : 0;
}

static int release(void **state)
{
	(void)state;
	(void)dup2(real_stderr, STDERR_FILENO);
	(void)close(real_stderr);
	(void)close(captured);
	(void)unsetenv("JOURNAL_STREAM");
	return log_setup("info");
}

/* What was written since the last call. */
static const char *written(void)
{
	ssize_t size = pread(captured, output, sizeof(output) - 1, 0);

	assert_true(size >= 0);
	output[size] = '\0';
	assert_int_equal(ftruncate(captured, 0), 0);
	assert_int_equal(lseek(captured, 0, SEEK_SET), 0);
	return output;
}

/* The text behind the time stamp. */
static const char *line(void)
{
	const char *text = written();
	int year;
	int end = 0;

	assert_int_equal(
		sscanf(text, "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ %n", &year, &end), 1);
	assert_int_equal(end, 25);
	assert_in_range(year, 2020, 2200);
	return text + end;
}

static void test_setup(void **state)
{
	static const struct {
		const char *spec;
		int result;
	} cases[] = {
		{"error", 0},	     {"warning", 0},	  {"info", 0},
		{"debug", 0},	     {"debug,dns", 0},	  {"debug,dns,link", 0},
		{"info,dns", 0},     {"", -EINVAL},	  {"warn", -EINVAL},
		{"debugx", -EINVAL}, {"Debug", -EINVAL},  {",dns", -EINVAL},
		{"debug ", -EINVAL}, {"errors", -EINVAL}, {"3", -EINVAL},
	};
	char many[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(log_setup(cases[i].spec), cases[i].result);
	/* Modules that do not fit are refused, not forgotten. */
	memset(many, 'm', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	memcpy(many, "debug,", 6);
	assert_int_equal(log_setup("debug,dns"), 0);
	assert_int_equal(log_setup(many), -EINVAL);
	assert_true(log_enabled(LOG_LEVEL_DEBUG, "dns"));
	assert_false(log_enabled(LOG_LEVEL_DEBUG, "link"));
	many[6 + 125] = '\0';
	assert_int_equal(log_setup(many), 0);
	many[6 + 125] = 'm';
	many[6 + 126] = '\0';
	assert_int_equal(log_setup(many), -EINVAL);
}

static void test_enabled(void **state)
{
	static const struct {
		const char *spec;
		const char *module;
		enum log_level most; /* that is written */
	} cases[] = {
		{"error", "dns", LOG_LEVEL_ERROR},
		{"warning", "dns", LOG_LEVEL_WARNING},
		{"info", "dns", LOG_LEVEL_INFO},
		{"debug", "dns", LOG_LEVEL_DEBUG},
		{"debug,", "dns", LOG_LEVEL_DEBUG},
		{"debug,dns", "dns", LOG_LEVEL_DEBUG},
		{"debug,dns", "link", LOG_LEVEL_INFO},
		{"debug,link,dns", "dns", LOG_LEVEL_DEBUG},
		{"debug,link,dns", "link", LOG_LEVEL_DEBUG},
		/* names are whole names */
		{"debug,dnsx", "dns", LOG_LEVEL_INFO},
		{"debug,xdns", "dns", LOG_LEVEL_INFO},
		{"debug,dns", "dnsx", LOG_LEVEL_INFO},
		{"info,dns", "dns", LOG_LEVEL_INFO},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(log_setup(cases[i].spec), 0);
		for (int l = 0; l < LOG_LEVEL_COUNT; l++)
			assert_int_equal(log_enabled((enum log_level)l, cases[i].module),
					 (enum log_level)l <= cases[i].most);
	}
}

static void test_terminal(void **state)
{
	(void)state;
	assert_int_equal(log_setup("info"), 0);
	log_error("lost %d net=%s", 3, "n1");
	assert_string_equal(line(), "error test: lost 3 net=n1\n");
	log_warning("w");
	assert_string_equal(line(), "warning test: w\n");
	log_info("i");
	assert_string_equal(line(), "info test: i\n");
	log_debug("d");
	assert_string_equal(written(), "");
	assert_int_equal(log_setup("debug,test"), 0);
	log_debug("d");
	assert_string_equal(line(), "debug test: d\n");
}

static void test_journal(void **state)
{
	(void)state;
	assert_int_equal(setenv("JOURNAL_STREAM", "8:1", 1), 0);
	assert_int_equal(log_setup("debug"), 0);
	log_error("e");
	assert_string_equal(written(), "<3>test: e\n");
	log_warning("w");
	assert_string_equal(written(), "<4>test: w\n");
	log_info("i");
	assert_string_equal(written(), "<6>test: i\n");
	log_debug("d");
	assert_string_equal(written(), "<7>test: d\n");
}

/* One event is one line, whatever an error text brings along. */
static void test_one_line(void **state)
{
	char text[3000];
	const char *got;

	(void)state;
	assert_int_equal(setenv("JOURNAL_STREAM", "8:1", 1), 0);
	assert_int_equal(log_setup("info"), 0);
	log_info("%s", "a\n<2>forged: b\r\x1b[2J\tc\x7f"
		       "d");
	assert_string_equal(written(), "<6>test: a?<2>forged: b??[2J?c?d\n");
	for (size_t len = 1000; len < sizeof(text); len += 7) {
		memset(text, 'x', len);
		text[len] = '\0';
		log_info("%s", text);
		got = written();
		assert_in_range(strlen(got), 1000, 1024);
		assert_ptr_equal(strchr(got, '\n'), got + strlen(got) - 1);
	}
}

static void test_quote(void **state)
{
	static const struct {
		const char *text;
		unsigned int size;
		const char *shown;
	} cases[] = {
		{"web", 16, "\"web\""},
		{"", 16, "\"\""},
		{"a\"b\nc\x7f\x1b", 16, "\"a?b?c??\""},
		{"\xc3\xa4", 16, "\"??\""},
		{"abcdef", 9, "\"abcdef\""},
		{"abcdef", 8, "\"abcde\""},
		{"abcdef", 4, "\"a\""},
		{"abcdef", 3, "\"\""},
	};
	char buf[16];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(buf, '#', sizeof(buf));
		assert_string_equal(log_quote(buf, cases[i].size, cases[i].text),
				    cases[i].shown);
		for (unsigned int k = cases[i].size; k < sizeof(buf); k++)
			assert_int_equal(buf[k], '#');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_setup, capture, release),
		cmocka_unit_test_setup_teardown(test_enabled, capture, release),
		cmocka_unit_test_setup_teardown(test_terminal, capture, release),
		cmocka_unit_test_setup_teardown(test_journal, capture, release),
		cmocka_unit_test_setup_teardown(test_one_line, capture, release),
		cmocka_unit_test(test_quote),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
