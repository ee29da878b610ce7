/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_NETNS_KERN_FIXTURE_H
#define TESTS_NETNS_KERN_FIXTURE_H
/*
 * Namespaces of the test's own: the program leaves the host's network and mount
 * namespace before the first test, so nothing outlives it. Included once by each
 * program.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "driver/kern/ns.h"
#include "plugin/base/clock.h"
#include "plugin/base/err.h"

#define NAMESPACES_MAX 8
#define OUTPUT_SIZE    65536

struct fixture {
	int count;
	char path[NAMESPACES_MAX][96];
	int fd[NAMESPACES_MAX];
	char output[OUTPUT_SIZE]; /* of the last fixture_run */
};

static char fixture_dir[64];
static struct fixture fixture;

#define assert_ok(expr)                                                   \
	do {                                                              \
		struct err *shown_ = &fixture_err;                        \
		int got_;                                                 \
		fixture_err = (struct err){0};                            \
		got_ = (expr);                                            \
		if (got_ < 0)                                             \
			fail_msg("%s: %d %s", #expr, got_, shown_->text); \
	} while (0)

static struct err fixture_err;

/* Leaves the host's namespaces; the reason why not is printed. */
static inline int fixture_enter(void)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		printf("1..0 # SKIP no namespaces: %s\n", strerror(errno));
		return -1;
	}
	return 0;
}

/* Makes one more namespace and returns its number. */
static inline int fixture_add(void)
{
	int i = fixture.count++;
	struct err e = {0};

	assert_true(i < NAMESPACES_MAX);
	(void)snprintf(fixture.path[i], sizeof(fixture.path[i]), "%s/ns/n%d", fixture_dir,
		       i);
	fixture.fd[i] = ns_create(fixture.path[i], &e);
	if (fixture.fd[i] < 0)
		fail_msg("ns_create: %s", e.text);
	return i;
}

static inline int fixture_setup(void **state)
{
	(void)state;
	(void)snprintf(fixture_dir, sizeof(fixture_dir), "/tmp/fl-netns-XXXXXX");
	fixture.count = 0;
	return mkdtemp(fixture_dir) ? 0 : -1;
}

static inline int fixture_teardown(void **state)
{
	char path[96];
	int i;

	(void)state;
	for (i = 0; i < fixture.count; i++) {
		(void)close(fixture.fd[i]);
		(void)ns_remove(fixture.path[i], NULL);
	}
	(void)snprintf(path, sizeof(path), "%s/ns", fixture_dir);
	(void)rmdir(path);
	return rmdir(fixture_dir);
}

/* Runs a shell command in namespace number i; returns its status, its output is in
 * fixture.output. */
static inline int __attribute__((format(printf, 2, 3)))
fixture_run(int i, const char *fmt, ...)
{
	char inner[2048];
	char cmd[3072];
	size_t used = 0;
	size_t n;
	va_list ap;
	FILE *p;
	int status;

	va_start(ap, fmt);
	assert_in_range(vsnprintf(inner, sizeof(inner), fmt, ap), 0, sizeof(inner) - 1);
	va_end(ap);
	(void)snprintf(cmd, sizeof(cmd), "exec 2>&1; nsenter --net=%s sh -c '%s'",
		       fixture.path[i], inner);
	p = popen(cmd, "re");
	assert_non_null(p);
	while ((n = fread(fixture.output + used, 1, OUTPUT_SIZE - 1 - used, p)) > 0)
		used += n;
	fixture.output[used] = '\0';
	status = pclose(p);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define assert_output(text)                                                   \
	do {                                                                  \
		if (!strstr(fixture.output, (text)))                          \
			fail_msg("no \"%s\" in: %s", (text), fixture.output); \
	} while (0)
#define assert_no_output(text)                                                      \
	do {                                                                        \
		if (strstr(fixture.output, (text)))                                 \
			fail_msg("unwanted \"%s\" in: %s", (text), fixture.output); \
	} while (0)

#endif
