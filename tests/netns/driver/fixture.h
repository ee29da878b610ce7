/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_NETNS_DRIVER_FIXTURE_H
#define TESTS_NETNS_DRIVER_FIXTURE_H
/*
 * The host is the test's own namespace, which is made anew for each of them; beyond
 * out0 there is the outside with 192.0.2.2 and 2001:db8::2. Included once by each
 * program.
 */
#include "tests/netns/kern/fixture.h"

#include <net/if.h>
#include <stdbool.h>

#include "driver/kern/link.h"
#include "driver/network.h"
#include "plugin/base/addr.h"
#include "plugin/base/clock.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#define HOST	    NULL /* instead of a path */
#define OUTSIDE_MTU 1400

static struct link_sock *host;
static int outside; /* number of its namespace */
static char run_dir[64];
static char host_at_start[OUTPUT_SIZE];

/* Runs a shell command in the namespace at path; its output is in fixture.output. */
static inline int __attribute__((format(printf, 2, 3)))
shell(const char *path, const char *fmt, ...)
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
	if (path)
		(void)snprintf(cmd, sizeof(cmd), "exec 2>&1; nsenter --net=%s sh -c '%s'",
			       path, inner);
	else
		(void)snprintf(cmd, sizeof(cmd), "exec 2>&1; %s", inner);
	p = popen(cmd, "re");
	assert_non_null(p);
	while ((n = fread(fixture.output + used, 1, OUTPUT_SIZE - 1 - used, p)) > 0)
		used += n;
	fixture.output[used] = '\0';
	status = pclose(p);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* As shell, for what must work. */
#define must(path, ...)                                                   \
	do {                                                              \
		if (shell(path, __VA_ARGS__) != 0)                        \
			fail_msg("%s: %s", #__VA_ARGS__, fixture.output); \
	} while (0)

/* What there is, in a form that stays the same while nothing changes: without carriers
 * and without what the kernel adds to IPv6 addresses in its own time. */
static inline const char *dump(const char *path)
{
	must(path,
	     "exec 2>/dev/null; export LC_ALL=C;"
	     "ip -o link | sed -E \"s#^[0-9]+: ([^:@]*)[^<]*<([^>]*)> (mtu [0-9]+)"
	     ".*link/[a-z]+ ([^ ]*).*#\\1 ,\\2, \\3 \\4#; "
	     "s/ ,([^ ]*,)?UP,[^ ]* / up /; s/ ,[^ ]*, / down /\" | sort;"
	     "ip -br addr | sed -E \"s/@[^ ]*//; s/^([^ ]+) +[A-Z]+/\\1/; "
	     "s/fe80:[^ ]*//g; s/ +/ /g; s/ $//\" | sort;"
	     "ip -4 route show table all | sed \"s/ linkdown//; s/ dead//\" | sort;"
	     "ip -6 route show table all | "
	     "grep -vE \"proto kernel|^multicast|^anycast\" | "
	     "sed \"s/ linkdown//; s/ dead//\" | sort; "
	     "ip neigh show nud permanent | sort;"
	     "bridge link | sed -E \"s/^[0-9]*: //; s/@[^ ]*//; s/ <.*master/ master/; "
	     "s/ state.*//\" | sort");
	return fixture.output;
}

/* cmocka cuts long texts. */
static inline void assert_dump(const char *path, const char *want)
{
	if (strcmp(dump(path), want) == 0)
		return;
	(void)fprintf(stderr, "have:\n%s\nwant:\n%s\n", fixture.output, want);
	fail();
}

static inline struct addr address(const char *text)
{
	struct addr a = {0};

	if (*text)
		assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static inline struct cidr prefix(const char *text)
{
	struct cidr c = {0};

	if (*text)
		assert_int_equal(cidr_parse(text, &c), 0);
	return c;
}

static inline void add_subnet(struct network_config *c, const char *gateway,
			      const char *vip_range)
{
	struct network_subnet *s = &c->subnets[c->subnet_count++];

	s->gateway = prefix(gateway).addr;
	s->pool = prefix(gateway);
	s->pool = cidr_network(&s->pool);
	s->vip_range = prefix(vip_range);
}

/* "RUN_DIR/netns/fl-ID" */
static inline const char *sandbox_path(const char *id)
{
	static char path[2][128];
	static int next;

	next = !next;
	(void)snprintf(path[next], sizeof(path[next]), "%s/netns/fl-%.12s", run_dir, id);
	return path[next];
}

/* The kernel clears a namespace in its own time after its last user. */
static inline void wait_link_gone(const char *name)
{
	uint64_t end = clock_us() + 5000000;

	while (link_index(host, name, NULL) != 0) {
		if (clock_us() > end)
			fail_msg("link %s is still there", name);
		(void)usleep(1000);
	}
}

static inline int host_setup(void **state)
{
	/* A host for each test: what one leaves when it fails is gone with it. */
	if (unshare(CLONE_NEWNET) < 0 || fixture_setup(state) != 0)
		return -1;
	(void)snprintf(run_dir, sizeof(run_dir), "%s", fixture_dir);
	outside = fixture_add();
	must(HOST,
	     "ip link set lo up; ip link add out0 type veth peer name eth0 netns %s;"
	     "ip link set out0 mtu %d up;"
	     "ip addr add 192.0.2.1/24 dev out0;"
	     "ip addr add 2001:db8::1/64 dev out0 nodad",
	     fixture.path[outside], OUTSIDE_MTU);
	must(fixture.path[outside],
	     "ip link set lo up; ip link set eth0 mtu %d up;"
	     "ip addr add 192.0.2.2/24 dev eth0; ip addr add 2001:db8::2/64 dev eth0 "
	     "nodad",
	     OUTSIDE_MTU);
	must(HOST, "ip route add default via 192.0.2.2;"
		   "ip -6 route add default via 2001:db8::2");
	assert_ok(link_open(-1, &host, &fixture_err));
	(void)snprintf(host_at_start, sizeof(host_at_start), "%s", dump(HOST));
	return 0;
}

/* Nothing of ours may be left: neither links nor routes nor files. */
static inline int host_teardown(void **state)
{
	char path[128];

	link_close(host);
	host = NULL;
	assert_dump(HOST, host_at_start);
	(void)snprintf(path, sizeof(path), "%s/netns", run_dir);
	if (rmdir(path) < 0)
		assert_int_equal(errno, ENOENT);
	must(HOST, "ip link del out0");
	return fixture_teardown(state);
}

#endif
