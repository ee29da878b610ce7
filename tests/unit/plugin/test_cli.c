// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The commands: the table of "status" as golden texts, and cli_main against a daemon
 * that is a thread with one canned answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "plugin/base/mem.h"
#include "plugin/base/str.h"
#include "plugin/cli.h"

#define COLUMNS 100

/* --- the table ---------------------------------------------------------------- */

static char *print_status(const char *json)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct err e = {0};

	assert_non_null(out);
	if (cli_status_print(json, strlen(json), out, &e) != 0)
		fail_msg("%s", e.text);
	assert_int_equal(fclose(out), 0);
	return text;
}

static const char full_json[] =
	"{\"version\":\"0.1.0\","
	"\"engine\":{\"connected\":true,\"api\":\"1.41\",\"synced\":true,\"text\":\"\"},"
	"\"balancer\":{\"name\":\"nft\",\"why\":\"the kernel has no ip_vs\"},"
	"\"networks\":["
	"{\"id\":\"0123456789abcdef0123\",\"name\":\"app\",\"pools\":[\"10.128.0.0/24\"],"
	"\"gateway\":[\"10.128.0.1\"],\"vip_range\":[\"10.128.0.192/26\"],"
	"\"internal\":false,\"mtu\":1500,\"sandbox\":\"ok\",\"endpoints\":3,\"services\":"
	"["
	"{\"name\":\"web\",\"project\":\"demo\",\"vip\":[\"10.128.0.193\"],\"mark\":256,"
	"\"mode\":\"vip\",\"balancer\":\"nft\",\"scheduler\":\"rr\","
	"\"errors\":[\"scheduler lc is not known to nft: running with rr\"],"
	"\"ports\":[\"0.0.0.0:8080->80/tcp\"],\"backends\":["
	"{\"endpoint\":\"9f8e7d6c5b4a39281706\",\"container\":\"demo-web-1\","
	"\"address\":[\"10.128.0.2\"],\"weight\":1,\"state\":\"active\",\"connections\":"
	"4},"
	"{\"endpoint\":\"1111111111111111\",\"container\":\"demo-web-10\","
	"\"address\":[\"10.128.0.3\",\"fd66:6c00::3\"],\"weight\":0,"
	"\"state\":\"draining\",\"connections\":12345}]},"
	"{\"name\":\"db\",\"project\":\"\",\"vip\":[],\"mark\":257,\"mode\":\"dnsrr\","
	"\"balancer\":\"nft\",\"scheduler\":\"rr\",\"errors\":[],\"ports\":[],"
	"\"backends\":[]}]},"
	"{\"id\":\"bpsc35wtbav6r8jkl2ahc6bhb\",\"name\":\"\",\"pools\":[\"10.128.1.0/"
	"24\","
	"\"fd66:6c00:0:1::/64\"],\"gateway\":[\"10.128.1.1\",\"fd66:6c00:0:1::1\"],"
	"\"vip_range\":[\"10.128.1.192/26\",\"fd66:6c00:0:1:c000::/66\"],"
	"\"internal\":true,\"mtu\":1450,\"sandbox\":\"br0: No such device\","
	"\"endpoints\":0,\"services\":[]}],"
	"\"errors\":[\"pool 10.128.0.0/24 is 85 % full\"],\"repairs\":2}";

static const char full_text[] =
	"fairlead 0.1.0  engine connected, API 1.41  balancer nft (the kernel has no "
	"ip_vs)  "
	"repairs 2\n"
	"! pool 10.128.0.0/24 is 85 % full\n"
	"\n"
	"network app  id 0123456789ab  10.128.0.0/24  gateway 10.128.0.1  "
	"vips 10.128.0.192/26  mtu 1500\n"
	"    endpoints 3  sandbox ok\n"
	"  service web  project demo  vip 10.128.0.193  mark 256  nft rr  "
	"0.0.0.0:8080->80/tcp\n"
	"    ! scheduler lc is not known to nft: running with rr\n"
	"      CONTAINER    ENDPOINT      WEIGHT  STATE      CONNS  ADDRESS\n"
	"      demo-web-1   9f8e7d6c5b4a  1       active     4      10.128.0.2\n"
	"      demo-web-10  111111111111  0       draining   12345  10.128.0.3\n"
	"                                                           fd66:6c00::3\n"
	"  service db  mode dnsrr  mark 257  nft rr\n"
	"      no backends\n"
	"\n"
	"network bpsc35wtbav6r8jkl2ahc6bhb  10.128.1.0/24  fd66:6c00:0:1::/64  "
	"gateway 10.128.1.1\n"
	"    gateway fd66:6c00:0:1::1  vips 10.128.1.192/26  "
	"vips fd66:6c00:0:1:c000::/66  internal  mtu 1450\n"
	"    endpoints 0\n"
	"  ! sandbox: br0: No such device\n";

static void test_full(void **state)
{
	auto_free char *text = print_status(full_json);

	(void)state;
	assert_string_equal(text, full_text);
}

static void test_partial(void **state)
{
	static const struct {
		const char *json, *text;
	} cases[] = {
		{"{}", "fairlead\nno networks\n"},
		{"{\"version\":7,\"engine\":[],\"balancer\":null,\"networks\":{},"
		 "\"errors\":\"x\",\"repairs\":\"y\"}",
		 "fairlead\nno networks\n"},
		{"{\"version\":\"1\",\"engine\":{\"connected\":false,\"text\":"
		 "\"Connection refused\"},\"balancer\":{\"name\":\"ipvs\"},\"new\":1}",
		 "fairlead 1  engine not connected: Connection refused  balancer ipvs\n"
		 "no networks\n"},
		{"{\"version\":\"1\",\"engine\":{\"connected\":true,\"api\":\"1.44\","
		 "\"synced\":false},\"networks\":[]}",
		 "fairlead 1  engine connected, API 1.44, not yet in step\nno "
		 "networks\n"},
		{"{\"version\":\"1\",\"networks\":[7,{\"services\":[null,{\"backends\":"
		 "[3,{\"address\":[null]}],\"errors\":[4]}]}]}",
		 "fairlead 1\n\n"
		 "network \n\n"
		 "network \n"
		 "  service \n"
		 "      no backends\n"
		 "  service \n"
		 "    ! ?\n"
		 "      CONTAINER  ENDPOINT      WEIGHT  STATE      CONNS  ADDRESS\n"
		 "                               -                  -      -\n"
		 "                               -                  -      ?\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *text = print_status(cases[i].json);

		assert_string_equal(text, cases[i].text);
	}
}

static unsigned int columns(const char *line)
{
	unsigned int n = 0;

	for (; *line && *line != '\n'; line++)
		n += ((unsigned char)*line & 0xc0) != 0x80;
	return n;
}

/* Long and hostile names: no line is wider than it may be, nothing reaches the
 * terminal that is not text. */
static void test_long_and_hostile(void **state)
{
	auto_free char *text = print_status(
		"{\"version\":\"\\u001b[31mred\",\"errors\":[\"a very long sentence "
		"about a "
		"service whose name is long too, so that the line must be wrapped at "
		"least "
		"once, and better twice, before it comes to its end at this place "
		"here\"],"
		"\"networks\":[{\"id\":\"a\\nb\",\"services\":[{\"name\":\"\\u009b2J\","
		"\"backends\":[{\"container\":\"a-container-with-a-name-of-more-than-"
		"sixty-"
		"characters-which-docker-allows-\\u00fc\\u00fc\\u00fc\",\"endpoint\":"
		"\"\\u007f\\t\",\"address\":[\"fd66:6c00:1111:2222:3333:4444:5555:6666\"]"
		","
		"\"weight\":256,\"state\":\"unhealthy\",\"connections\":99999},"
		"{\"container\":"
		"\"\\u00fc\\u00fc\\u00fc\\u00fc\\u00fc\\u00fc\\u00fc\\u00fc"
		"\\u00fc\\u00fc\\u00fc\\u00fc\\u00fc\\u00fc\\u00fc\",\"address\":[\"10.0."
		"0.1\"]}"
		"]}]}]}");

	(void)state;
	for (const char *p = text; *p; p++)
		assert_true(*p == '\n' || ((unsigned char)*p >= ' ' && *p != 127));
	assert_null(strstr(text, "\xc2\x9b"));
	for (const char *line = text; line; line = strchr(line, '\n'))
		assert_true(columns(*line == '\n' ? ++line : line) <= COLUMNS);
	assert_non_null(strstr(text, "fairlead ?[31mred\n"));
	assert_non_null(strstr(text,
			       "\n      a-container-~  ??            256     unhealthy  "
			       "99999  fd66:6c00:1111:2222:3333:4444:5555:6666\n"));
	assert_non_null(strstr(text,
			       "\n      \u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc\u00fc"
			       "\u00fc\u00fc\u00fc\u00fc~  "));
	assert_non_null(strstr(text, "\n  least once, and better twice"));
}

static void test_not_json(void **state)
{
	static const char *const texts[] = {"", "[]", "null", "{\"version\":", "<html>"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct err e = {0};

		assert_int_equal(cli_status_print(texts[i], strlen(texts[i]), stdout, &e),
				 -EINVAL);
		assert_true(str_has_prefix(e.text, "status: "));
	}
}

static void test_full_disk(void **state)
{
	FILE *out = fopen("/dev/full", "we");
	struct err e = {0};

	(void)state;
	assert_non_null(out);
	assert_int_equal(cli_status_print("{}", 2, out, &e), -EIO);
	(void)fclose(out); /* fails as well */
}

/* --- commands ----------------------------------------------------------------- */

struct daemon {
	char dir[64];
	char path[96];
	int fd;
	pthread_t thread;
	const char *answer;
	char request[512];
};

static void *serve_one(void *arg)
{
	struct daemon *d = arg;
	int fd = accept4(d->fd, NULL, NULL, SOCK_CLOEXEC);
	size_t len = 0;

	if (fd < 0)
		return NULL;
	while (len < sizeof(d->request) - 1 && !strstr(d->request, "\r\n\r\n")) {
		ssize_t n = read(fd, d->request + len, sizeof(d->request) - 1 - len);

		if (n <= 0)
			break;
		len += (size_t)n;
	}
	(void)send(fd, d->answer, strlen(d->answer), MSG_NOSIGNAL);
	close(fd);
	return NULL;
}

static void daemon_start(struct daemon *d, const char *answer)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	(void)str_copy(sa.sun_path, sizeof(sa.sun_path), d->path);
	d->answer = answer;
	memset(d->request, 0, sizeof(d->request));
	d->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(d->fd >= 0);
	assert_return_code(bind(d->fd, (struct sockaddr *)&sa, sizeof(sa)), errno);
	assert_return_code(listen(d->fd, 1), errno);
	assert_int_equal(pthread_create(&d->thread, NULL, serve_one, d), 0);
}

static void daemon_stop(struct daemon *d)
{
	(void)shutdown(d->fd, SHUT_RDWR); /* in case that nobody came */
	assert_int_equal(pthread_join(d->thread, NULL), 0);
	close(d->fd);
	unlink(d->path);
}

struct result {
	int status;
	char out[8192];
	char err[4096];
};

static void read_back(int fd, char *buf, size_t size)
{
	ssize_t n = pread(fd, buf, size - 1, 0);

	assert_true(n >= 0);
	buf[n] = '\0';
	close(fd);
}

/* Runs cli_main with its output to out, which it closes, and its errors caught. */
static void run_to(struct result *r, char *const *args, int out)
{
	int saved_out = dup(STDOUT_FILENO);
	int saved_err = dup(STDERR_FILENO);
	int err = memfd_create("err", MFD_CLOEXEC);
	char *argv[8] = {(char *)"fairlead"};
	int argc = 1;

	for (; args[argc - 1]; argc++)
		argv[argc] = args[argc - 1];
	fflush(stdout);
	assert_true(dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0);
	r->status = cli_main(argc, argv);
	if (fflush(stdout)) {
		__fpurge(stdout);
		clearerr(stdout);
	}
	assert_true(dup2(saved_out, STDOUT_FILENO) >= 0 &&
		    dup2(saved_err, STDERR_FILENO) >= 0);
	close(saved_out);
	close(saved_err);
	read_back(out, r->out, sizeof(r->out));
	read_back(err, r->err, sizeof(r->err));
}

static void run(struct result *r, char *const *args)
{
	run_to(r, args, memfd_create("out", MFD_CLOEXEC));
}

static void ask_for(struct daemon *d, struct result *r, const char *command,
		    const char *answer, const char *option)
{
	char *const args[] = {(char *)command, (char *)"--control-socket", d->path,
			      (char *)option, NULL};

	daemon_start(d, answer);
	run(r, args);
	daemon_stop(d);
}

static void ask(struct daemon *d, struct result *r, const char *answer,
		const char *option)
{
	ask_for(d, r, "status", answer, option);
}

#define OK_HEAD "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"

static void test_status(void **state)
{
	struct daemon *d = *state;
	struct result r;

	ask(d, &r, OK_HEAD "{\"version\":\"9.9\"}", NULL);
	assert_int_equal(r.status, CLI_EXIT_OK);
	assert_string_equal(r.out, "fairlead 9.9\nno networks\n");
	assert_string_equal(r.err, "");
	assert_true(str_has_prefix(d->request, "GET /v1/status HTTP/1.1\r\n"));
}

static void test_status_json(void **state)
{
	struct daemon *d = *state;
	struct result r;

	ask(d, &r, OK_HEAD "{\"version\": \"9.9\"}", "--json");
	assert_int_equal(r.status, CLI_EXIT_OK);
	assert_string_equal(r.out, "{\"version\": \"9.9\"}\n");
}

static void test_pools(void **state)
{
	struct daemon *d = *state;
	struct result r;

	ask_for(d, &r, "pools", OK_HEAD "{\"pools\":[]}", NULL);
	assert_int_equal(r.status, CLI_EXIT_OK);
	assert_string_equal(r.out, "no pools\n");
	assert_string_equal(r.err, "");
	assert_true(str_has_prefix(d->request, "GET /v1/pools HTTP/1.1\r\n"));
	ask_for(d, &r, "pools", OK_HEAD "{\"pools\":[]}", "--json");
	assert_string_equal(r.out, "{\"pools\":[]}\n");
	ask_for(d, &r, "pools", OK_HEAD "7", NULL);
	assert_int_equal(r.status, CLI_EXIT_FAILURE);
}

static void test_bad_answers(void **state)
{
	static const struct {
		const char *answer, *text;
	} cases[] = {
		{"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n",
		 "the daemon answers with HTTP status 503\n"},
		{OK_HEAD "[]", "fairlead: status: not an object\n"},
		{OK_HEAD, "fairlead: status: "},
		{"", "Server returned nothing"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", "partial file"},
	};
	struct daemon *d = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct result r;

		ask(d, &r, cases[i].answer, NULL);
		assert_int_equal(r.status, CLI_EXIT_FAILURE);
		assert_string_equal(r.out, "");
		if (!strstr(r.err, cases[i].text))
			fail_msg("case %zu: %s", i, r.err);
	}
}

static void test_no_daemon(void **state)
{
	struct daemon *d = *state;
	char *const args[] = {(char *)"status", (char *)"--control-socket", d->path,
			      NULL};
	char expected[256];
	struct result r;

	run(&r, args);
	assert_int_equal(r.status, CLI_EXIT_NOT_RUNNING);
	(void)str_printf(expected, sizeof(expected),
			 "fairlead: the daemon does not run: nobody answers on %s\n",
			 d->path);
	assert_string_equal(r.err, expected);
}

static void test_socket_from_settings(void **state)
{
	struct daemon *d = *state;
	char file[128];
	char *const args[] = {(char *)"status", (char *)"--config", file, NULL};
	char *const bad_args[] = {(char *)"status", (char *)"--config",
				  (char *)"/nowhere/x.conf", NULL};
	struct result r;
	FILE *f;

	(void)str_printf(file, sizeof(file), "%s/x.conf", d->dir);
	f = fopen(file, "we");
	assert_non_null(f);
	fprintf(f, "control-socket = %s\n", d->path);
	assert_int_equal(fclose(f), 0);
	daemon_start(d, OK_HEAD "{}");
	run(&r, args);
	daemon_stop(d);
	unlink(file);
	assert_int_equal(r.status, CLI_EXIT_OK);
	run(&r, bad_args);
	assert_int_equal(r.status, CLI_EXIT_FAILURE);
	assert_string_equal(r.err,
			    "fairlead: /nowhere/x.conf: No such file or directory\n");
}

static void test_command_lines(void **state)
{
	static const struct {
		const char *args[4];
		int status;
		const char *out, *err;
	} cases[] = {
		{{NULL}, CLI_EXIT_USAGE, "", "Usage: fairlead COMMAND"},
		{{"help"}, CLI_EXIT_OK, "Usage: fairlead COMMAND", ""},
		{{"--help"}, CLI_EXIT_OK, "Usage: fairlead COMMAND", ""},
		{{"-h"}, CLI_EXIT_OK, "Usage: fairlead COMMAND", ""},
		{{"version"}, CLI_EXIT_OK, "fairlead " FAIRLEAD_VERSION "\n", ""},
		{{"--version"}, CLI_EXIT_OK, "fairlead " FAIRLEAD_VERSION "\n", ""},
		{{"start"},
		 CLI_EXIT_USAGE,
		 "",
		 "fairlead: unknown command start\nTry: fairlead --help\n"},
		{{"status", "--help"},
		 CLI_EXIT_OK,
		 "Usage: fairlead status [--json]",
		 ""},
		{{"status", "--xml"},
		 CLI_EXIT_USAGE,
		 "",
		 "fairlead: status: bad or incomplete option --xml\n"
		 "Try: fairlead status --help\n"},
		{{"status", "--jsonx"},
		 CLI_EXIT_USAGE,
		 "",
		 "fairlead: status: bad or inc"},
		{{"status", "--config"},
		 CLI_EXIT_USAGE,
		 "",
		 "fairlead: status: bad or inc"},
		{{"status", "--control-socket"},
		 CLI_EXIT_USAGE,
		 "",
		 "fairlead: status: bad"},
		{{"pools", "--help"}, CLI_EXIT_OK, "Usage: fairlead pools [--json]", ""},
		{{"pools", "--xml"},
		 CLI_EXIT_USAGE,
		 "",
		 "fairlead: pools: bad or incomplete option --xml\n"
		 "Try: fairlead pools --help\n"},
		{{"status", "web"}, CLI_EXIT_USAGE, "", "fairlead: status: bad or inc"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct result r;

		run(&r, (char *const *)(uintptr_t)cases[i].args);
		if (r.status != cases[i].status || !str_has_prefix(r.out, cases[i].out) ||
		    !str_has_prefix(r.err, cases[i].err) || !*cases[i].out != !*r.out)
			fail_msg("case %zu: %d\n%s\n%s", i, r.status, r.out, r.err);
	}
}

static void test_output_fails(void **state)
{
	static const char *const cases[][3] = {
		{"help"}, {"version"}, {"status", "--help"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct result r;

		run_to(&r, (char *const *)(uintptr_t)cases[i],
		       open("/dev/full", O_RDWR | O_CLOEXEC));
		assert_int_equal(r.status, CLI_EXIT_FAILURE);
		assert_non_null(strstr(r.err, "No space left on device"));
	}
}

static int set_up(void **state)
{
	struct daemon *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	(void)str_copy(d->dir, sizeof(d->dir), "/tmp/fairlead-cli-XXXXXX");
	assert_non_null(mkdtemp(d->dir));
	(void)str_printf(d->path, sizeof(d->path), "%s/control.sock", d->dir);
	*state = d;
	return 0;
}

static int tear_down(void **state)
{
	struct daemon *d = *state;

	rmdir(d->dir);
	free(d);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_partial),
		cmocka_unit_test(test_long_and_hostile),
		cmocka_unit_test(test_not_json),
		cmocka_unit_test(test_full_disk),
		TEST(test_status),
		TEST(test_status_json),
		TEST(test_pools),
		TEST(test_bad_answers),
		TEST(test_no_daemon),
		TEST(test_socket_from_settings),
		cmocka_unit_test(test_command_lines),
		cmocka_unit_test(test_output_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
