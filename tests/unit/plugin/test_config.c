// SPDX-License-Identifier: GPL-2.0-or-later
/* Settings: defaults, which source wins, and the text of every refusal. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "plugin/base/mem.h"
#include "plugin/base/str.h"
#include "plugin/config.h"

static char path[] = "/tmp/fairlead-config-XXXXXX";

static void write_file(const char *text, size_t len)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

/* Loads with a file of this text, and one variable and one flag (or NULL). */
static int load(const char *file, const char *env, const char *flag, struct config *c,
		struct err *e)
{
	char *const args[] = {(char *)"--config", path, (char *)flag, NULL};
	char *const vars[] = {(char *)"HOME=/root", (char *)env, NULL};

	write_file(file, strlen(file));
	return config_load(args, vars, c, e);
}

static void assert_good(int r, const struct err *e)
{
	if (r != 0)
		fail_msg("%d: %s", r, e->text);
}

static void test_defaults(void **state)
{
	char *const none[] = {NULL};
	struct config c;
	struct err e = {0};
	char text[CIDR_TEXT_SIZE];

	(void)state;
	if (access(CONFIG_FILE_DEFAULT, F_OK) == 0) {
		print_message("skip: this machine has a %s\n", CONFIG_FILE_DEFAULT);
		skip();
	}
	assert_good(config_load(none, none, &c, &e), &e);
	assert_string_equal(c.state_dir, "/var/lib/fairlead");
	assert_string_equal(c.run_dir, "/run/fairlead");
	assert_string_equal(c.plugin_socket, "/run/docker/plugins/fairlead.sock");
	assert_string_equal(c.control_socket, "/run/fairlead/control.sock");
	assert_string_equal(c.docker_host, "unix:///var/run/docker.sock");
	assert_int_equal(c.balancer, CONFIG_BALANCER_AUTO);
	assert_int_equal(c.scope, CONFIG_SCOPE_LOCAL);
	assert_string_equal(cidr_format(&c.default_pools.v4.cidr, text), "10.128.0.0/9");
	assert_int_equal(c.default_pools.v4.size, 24);
	assert_string_equal(cidr_format(&c.default_pools.v6.cidr, text),
			    "fd66:6c00::/32");
	assert_int_equal(c.default_pools.v6.size, 64);
	assert_int_equal(c.address_rest_s, 60);
	assert_int_equal(c.mtu, 0);
	assert_true(c.dns);
	assert_int_equal(c.reconcile_interval_s, 30);
	assert_string_equal(c.log, "info");
}

static void test_file(void **state)
{
	struct config c;
	struct err e = {0};
	char text[CIDR_TEXT_SIZE];

	(void)state;
	assert_good(load("# all of them\r\n"
			 "\n"
			 "  state-dir=/a  \n"
			 "run-dir =\t/b#c # a comment\n"
			 "plugin-socket = /c.sock\n"
			 "control-socket = /d.sock\r\n"
			 "docker-host = tcp://127.0.0.1:2375\n"
			 "balancer = nft\n"
			 "scope = global\n"
			 "default-pools = fd00::/16:80, 172.20.0.0/14:28\n"
			 "address-rest = 0\n"
			 "mtu = 9000\n"
			 "dns = Off\n"
			 "reconcile-interval = 86400\n"
			 "log = debug,link,dns",
			 NULL, NULL, &c, &e),
		    &e);
	assert_string_equal(c.state_dir, "/a");
	assert_string_equal(c.run_dir, "/b#c");
	assert_string_equal(c.plugin_socket, "/c.sock");
	assert_string_equal(c.control_socket, "/d.sock");
	assert_string_equal(c.docker_host, "tcp://127.0.0.1:2375");
	assert_int_equal(c.balancer, CONFIG_BALANCER_NFT);
	assert_int_equal(c.scope, CONFIG_SCOPE_GLOBAL);
	assert_string_equal(cidr_format(&c.default_pools.v4.cidr, text), "172.20.0.0/14");
	assert_int_equal(c.default_pools.v4.size, 28);
	assert_string_equal(cidr_format(&c.default_pools.v6.cidr, text), "fd00::/16");
	assert_int_equal(c.default_pools.v6.size, 80);
	assert_int_equal(c.address_rest_s, 0);
	assert_int_equal(c.mtu, 9000);
	assert_false(c.dns);
	assert_int_equal(c.reconcile_interval_s, 86400);
	assert_string_equal(c.log, "debug,link,dns");
}

static void test_one_family_of_pools(void **state)
{
	struct config c;
	struct err e = {0};
	char text[CIDR_TEXT_SIZE];

	(void)state;
	assert_good(load("default-pools = 10.0.0.0/8:8\n", NULL, NULL, &c, &e), &e);
	assert_string_equal(cidr_format(&c.default_pools.v4.cidr, text), "10.0.0.0/8");
	assert_int_equal(c.default_pools.v4.size, 8);
	assert_string_equal(cidr_format(&c.default_pools.v6.cidr, text),
			    "fd66:6c00::/32");
}

static void test_precedence(void **state)
{
	static const struct {
		const char *file, *env, *flag;
		unsigned int mtu;
	} cases[] = {
		{"", NULL, NULL, 0},
		{"mtu = 1400", NULL, NULL, 1400},
		{"mtu = 1400", "FAIRLEAD_MTU=1500", NULL, 1500},
		{"mtu = 1400", "FAIRLEAD_MTU=1500", "--mtu=1600", 1600},
		{"mtu = 1400", NULL, "--mtu=1600", 1600},
		{"", "FAIRLEAD_MTU=1500", "--mtu=1600", 1600},
		{"mtu = 1400", "FAIRLEAD_MTU=0", NULL, 0},
		{"mtu = 1400", "FAIRLEAD_MTU=", NULL, 1400}, /* empty: not set */
		{"mtu = 1400", "FAIRLEAD_MTUX=1", NULL, 1400},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config c;
		struct err e = {0};

		assert_good(load(cases[i].file, cases[i].env, cases[i].flag, &c, &e), &e);
		if (c.mtu != cases[i].mtu)
			fail_msg("case %zu: mtu is %u", i, c.mtu);
	}
}

static void test_flags_in_two_words(void **state)
{
	char *const args[] = {(char *)"--state-dir",
			      (char *)"/s",
			      (char *)"--config",
			      path,
			      (char *)"--state-dir",
			      (char *)"/last",
			      (char *)"--dns",
			      (char *)"no",
			      NULL};
	char *const vars[] = {(char *)"FAIRLEAD_RECONCILE_INTERVAL=7", NULL};
	struct config c;
	struct err e = {0};

	(void)state;
	write_file("", 0);
	assert_good(config_load(args, vars, &c, &e), &e);
	assert_string_equal(c.state_dir, "/last");
	assert_false(c.dns);
	assert_int_equal(c.reconcile_interval_s, 7);
}

static void test_file_from_environment(void **state)
{
	char var[64];
	char *const args[] = {NULL};
	char *const vars[] = {var, NULL};
	struct config c;
	struct err e = {0};

	(void)state;
	write_file("mtu = 1300\n", 11);
	(void)str_printf(var, sizeof(var), "FAIRLEAD_CONFIG=%s", path);
	assert_good(config_load(args, vars, &c, &e), &e);
	assert_int_equal(c.mtu, 1300);
}

static void test_bad_values(void **state)
{
	static const struct {
		const char *name, *value, *why;
	} cases[] = {
		{"state-dir", "relative", "\"relative\" is not an absolute path"},
		{"state-dir", "", "\"\" is not an absolute path"},
		{"plugin-socket",
		 "/0123456789/0123456789/0123456789/0123456789/0123456789/0123456789/"
		 "0123456789/0123456789/0123456789/0123456789",
		 "the path is longer than 107 characters"},
		{"docker-host", "/var/run/docker.sock", "is neither unix:///PATH nor"},
		{"docker-host", "unix://", "is neither unix:///PATH nor"},
		{"docker-host", "tcp://", "is neither unix:///PATH nor"},
		{"balancer", "haproxy", "\"haproxy\" is none of auto|ipvs|nft"},
		{"balancer", "Auto", "\"Auto\" is none of auto|ipvs|nft"},
		{"scope", "swarm", "\"swarm\" is none of local|global"},
		{"address-rest", "86401", "is not a number from 0 to 86400"},
		{"address-rest", "-1", "is not a number from 0 to 86400"},
		{"address-rest", "1m", "is not a number from 0 to 86400"},
		{"default-pools", "10.0.0.0/8", "is not PREFIX/LENGTH:SIZE"},
		{"default-pools", "fd00::", "is not PREFIX/LENGTH:SIZE"},
		{"default-pools", "", "is not PREFIX/LENGTH:SIZE"},
		{"default-pools", "10.0.0.0/8:24,", "is not PREFIX/LENGTH:SIZE"},
		{"default-pools", "10.0.0/8:24", "\"10.0.0/8\" is not a prefix"},
		{"default-pools", "10.0.0.0/33:33", "\"10.0.0.0/33\" is not a prefix"},
		{"default-pools", "10.0.0.1/8:24",
		 "10.0.0.1/8 has bits behind its length"},
		{"default-pools", "10.0.0.0/8:7",
		 "the size of the pools of 10.0.0.0/8 must be from 8 to 29, not \"7\""},
		{"default-pools", "10.0.0.0/8:30", "must be from 8 to 29, not \"30\""},
		{"default-pools", "fd00::/32:126", "must be from 32 to 125, not \"126\""},
		{"default-pools", "10.0.0.0/8:", "must be from 8 to 29, not \"\""},
		{"default-pools", "10.0.0.0/8:24,11.0.0.0/8:24",
		 "more than one prefix of IPv4"},
		{"default-pools", "fd00::/32:64,fd01::/32:64",
		 "more than one prefix of IPv6"},
		{"mtu", "1279", "\"1279\" is neither 0 nor a number from 1280 to 65535"},
		{"mtu", "65536", "is neither 0 nor a number from 1280 to 65535"},
		{"mtu", "1500x", "is neither 0 nor a number from 1280 to 65535"},
		{"mtu", "-1", "is neither 0 nor a number from 1280 to 65535"},
		{"dns", "maybe", "\"maybe\" is neither on nor off"},
		{"reconcile-interval", "0", "\"0\" is not a number from 1 to 86400"},
		{"reconcile-interval", "30s", "\"30s\" is not a number from 1 to 86400"},
		{"log", "loud", "\"loud\" does not begin with error, warning, info or"},
		{"log", "", "\"\" does not begin with error, warning, info or debug"},
		{"log", "debugger", "does not begin with error, warning, info or debug"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char file[512];
		char flag[512];
		char prefix[128];
		struct config c;
		struct err e = {0};

		(void)str_printf(file, sizeof(file), "\n%s = %s\n", cases[i].name,
				 cases[i].value);
		(void)str_printf(flag, sizeof(flag), "--%s=%s", cases[i].name,
				 cases[i].value);
		assert_int_equal(load(file, NULL, NULL, &c, &e), -EINVAL);
		(void)str_printf(prefix, sizeof(prefix), "%s:2: %s: ", path,
				 cases[i].name);
		if (!str_has_prefix(e.text, prefix) || !strstr(e.text, cases[i].why))
			fail_msg("case %zu: %s", i, e.text);

		assert_int_equal(load("", NULL, flag, &c, &e), -EINVAL);
		(void)str_printf(prefix, sizeof(prefix), "--%s: ", cases[i].name);
		if (!str_has_prefix(e.text, prefix) || !strstr(e.text, cases[i].why))
			fail_msg("case %zu: %s", i, e.text);
	}
}

static void test_bad_variable(void **state)
{
	struct config c;
	struct err e = {0};

	(void)state;
	assert_int_equal(load("", "FAIRLEAD_RECONCILE_INTERVAL=x", NULL, &c, &e),
			 -EINVAL);
	assert_string_equal(e.text, "FAIRLEAD_RECONCILE_INTERVAL: \"x\" is not a number "
				    "from 1 to 86400");
	/* also where a flag makes it useless */
	assert_int_equal(load("", "FAIRLEAD_MTU=x", "--mtu=1500", &c, &e), -EINVAL);
}

static void test_bad_flags(void **state)
{
	static const struct {
		const char *flag, *text;
	} cases[] = {
		{"--unknown=1", "--unknown: unknown flag"},
		{"--mtu", "--mtu: its value is missing"},
		{"--config", "--config: its value is missing"},
		{"mtu=1500", "mtu=1500: not a flag of fairlead serve"},
		{"-m", "-m: not a flag of fairlead serve"},
		{"--", "--: not a flag of fairlead serve"},
		{"--=1", "--=1: not a flag of fairlead serve"},
		{"", ": not a flag of fairlead serve"},
		{"--plugin-socket=/run/fairlead/control.sock",
		 "--plugin-socket and --control-socket are the same: "
		 "/run/fairlead/control.sock"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config c;
		struct err e = {0};

		assert_int_equal(load("", NULL, cases[i].flag, &c, &e), -EINVAL);
		assert_string_equal(e.text, cases[i].text);
	}
}

static void test_bad_lines(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"mtu 1500\n", ":1: not \"setting = value\""},
		{"# x\n\nmtu=1500\nMTU = 1500\n", ":4: unknown setting \"MTU\""},
		{"mtu=1500\n\n mtu = 1500\n", ":3: mtu is set already in line 1"},
		{"= 1500\n", ":1: unknown setting \"\""},
		{"config = /x\n", ":1: unknown setting \"config\""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config c;
		struct err e = {0};

		assert_int_equal(load(cases[i].text, NULL, NULL, &c, &e), -EINVAL);
		assert_true(str_has_prefix(e.text, path));
		assert_string_equal(e.text + strlen(path), cases[i].why);
	}
}

static void test_odd_files(void **state)
{
	char *const args[] = {(char *)"--config", path, NULL};
	char *const missing[] = {(char *)"--config", (char *)"/nowhere/x.conf", NULL};
	char *const folder[] = {(char *)"--config", (char *)"/tmp", NULL};
	char *const env[] = {NULL};
	char line[3000];
	struct config c;
	struct err e = {0};

	(void)state;
	memset(line, 'a', sizeof(line));
	write_file(line, sizeof(line));
	assert_int_equal(config_load(args, env, &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, ":1: the line is longer than 1022 characters"));
	write_file("mtu = 1500\0 = x\n", 16);
	assert_int_equal(config_load(args, env, &c, &e), -EINVAL);
	assert_non_null(strstr(e.text, ":1: there is a NUL character"));
	assert_int_equal(config_load(missing, env, &c, &e), -ENOENT);
	assert_string_equal(e.text, "/nowhere/x.conf: No such file or directory");
	assert_int_equal(config_load(folder, env, &c, &e), -EIO);
}

static void test_help(void **state)
{
	static const char *const flags[] = {"--help", "-h"};
	auto_free char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct config c;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		assert_int_equal(load("bad", "FAIRLEAD_MTU=bad", flags[i], &c, NULL),
				 CONFIG_HELP);
	assert_non_null(out);
	config_print_help(out);
	assert_int_equal(fclose(out), 0);
	assert_non_null(strstr(text, "\n  --balancer auto|ipvs|nft\n"));
	assert_non_null(strstr(text, "\n      (default: 30)\n"));
	for (const char *line = text; line; line = strchr(line, '\n'))
		assert_true(strcspn(++line, "\n") <= 80);
}

static int set_up(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
	(void)state;
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_one_family_of_pools),
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_flags_in_two_words),
		cmocka_unit_test(test_file_from_environment),
		cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_bad_variable),
		cmocka_unit_test(test_bad_flags),
		cmocka_unit_test(test_bad_lines),
		cmocka_unit_test(test_odd_files),
		cmocka_unit_test(test_help),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
