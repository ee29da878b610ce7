// SPDX-License-Identifier: GPL-2.0-or-later
/* Pinning, opening and entering namespaces; settings inside them. */
#include "tests/netns/kern/fixture.h"

#include <fcntl.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

static void pin_is_adopted_and_removed(void **state)
{
	int n = fixture_add();
	int again;
	int own;

	(void)state;
	assert_ok(again = ns_create(fixture.path[n], &fixture_err));
	assert_ok(own = ns_open_own(&fixture_err));
	assert_true(ns_same(again, fixture.fd[n]));
	assert_false(ns_same(own, fixture.fd[n]));
	assert_true(fcntl(again, F_GETFD) & FD_CLOEXEC);
	close(again);
	close(own);
	assert_ok(ns_remove(fixture.path[n], &fixture_err));
	assert_int_equal(access(fixture.path[n], F_OK), -1);
	assert_ok(ns_remove(fixture.path[n], &fixture_err));
}

static void folder_is_private(void **state)
{
	char path[96];
	struct stat st;

	(void)state;
	(void)fixture_add();
	(void)snprintf(path, sizeof(path), "%s/ns", fixture_dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
}

/* What a kill between making the file and the mount leaves. */
static void file_without_mount_is_used(void **state)
{
	char path[96];
	int fd;

	(void)state;
	(void)fixture_add();
	(void)snprintf(path, sizeof(path), "%s/ns/half", fixture_dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(ns_open(path, &fixture_err), -EINVAL);
	assert_non_null(strstr(fixture_err.text, path));
	assert_ok(fd = ns_create(path, &fixture_err));
	assert_false(ns_same(fd, fixture.fd[0]));
	close(fd);
	assert_ok(ns_remove(path, &fixture_err));
}

static void open_refuses_what_is_none(void **state)
{
	static const struct {
		const char *path;
		int code;
	} cases[] = {
		{"/nonexistent/ns", -ENOENT},
		{"/proc/self/ns/mnt", -EINVAL},
		{"/dev/null", -EINVAL},
		{"/tmp", -EINVAL},
	};
	char fifo[96];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct err e = {0};

		assert_int_equal(ns_open(cases[i].path, &e), cases[i].code);
		assert_int_equal(e.code, cases[i].code);
		assert_non_null(strstr(e.text, cases[i].path));
	}
	(void)snprintf(fifo, sizeof(fifo), "%s/fifo", fixture_dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(ns_open(fifo, NULL), -EINVAL);
	unlink(fifo);
}

static void create_names_the_path(void **state)
{
	struct err e = {0};

	(void)state;
	assert_true(ns_create("/nonexistent/folder/ns", &e) < 0);
	assert_non_null(strstr(e.text, "/nonexistent/folder"));
}

static int interface_count(void *arg)
{
	struct if_nameindex *list = if_nameindex();
	int n = 0;

	(void)arg;
	while (list && list[n].if_index)
		n++;
	if_freenameindex(list);
	return n;
}

static int refuse(void *arg)
{
	return -*(int *)arg;
}

static void call_runs_inside(void **state)
{
	int n = fixture_add();
	int code = EXDEV;

	(void)state;
	assert_int_equal(fixture_run(n, "ip link add d0 type bridge"), 0);
	assert_int_equal(ns_call(fixture.fd[n], interface_count, NULL, NULL), 2);
	assert_int_equal(interface_count(NULL), 1); /* we never left */
	assert_int_equal(ns_call(fixture.fd[n], refuse, &code, NULL), -EXDEV);
}

static void call_reports_a_wrong_fd(void **state)
{
	struct err e = {0};
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(ns_call(fd, interface_count, NULL, &e), -EINVAL);
	assert_non_null(strstr(e.text, "namespace"));
	assert_int_equal(ns_socket(fd, AF_INET, SOCK_DGRAM, 0, &e), -EINVAL);
	close(fd);
}

static void socket_lives_inside(void **state)
{
	struct ifreq ifr = {.ifr_name = "d0"};
	int n = fixture_add();
	int fd;

	(void)state;
	assert_int_equal(fixture_run(n, "ip link add d0 type bridge"), 0);
	assert_ok(fd = ns_socket(fixture.fd[n], AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0,
				 &fixture_err));
	assert_int_equal(ioctl(fd, SIOCGIFINDEX, &ifr), 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
	assert_ok(fd = ns_socket(-1, AF_INET, SOCK_DGRAM, 0, &fixture_err));
	assert_int_equal(ioctl(fd, SIOCGIFINDEX, &ifr), -1);
	close(fd);
	assert_int_equal(ns_socket(fixture.fd[n], AF_INET, 77, 0, &fixture_err), -EINVAL);
}

static void settings_are_of_the_namespace(void **state)
{
	static const struct ns_sysctl list[] = {
		{"net/ipv4/ip_forward", "1", false},
		{"net/bridge/no-such-setting", "0", true},
		{"net/ipv4/conf/all/arp_ignore", "1", false},
	};
	int a = fixture_add();
	int b = fixture_add();
	char buf[32];

	(void)state;
	assert_ok(ns_sysctl_set(fixture.fd[a], list, 3, &fixture_err));
	assert_ok(ns_sysctl_get(fixture.fd[a], "net/ipv4/ip_forward", buf, sizeof(buf),
				&fixture_err));
	assert_string_equal(buf, "1");
	assert_ok(ns_sysctl_get(fixture.fd[a], "net/ipv4/conf/all/arp_ignore", buf,
				sizeof(buf), &fixture_err));
	assert_string_equal(buf, "1");
	assert_ok(ns_sysctl_get(fixture.fd[b], "net/ipv4/conf/all/arp_ignore", buf,
				sizeof(buf), &fixture_err));
	assert_string_equal(buf, "0");
}

static void settings_report_the_first_error(void **state)
{
	static const struct ns_sysctl list[] = {
		{"net/ipv4/no_such", "1", false},
		{"net/ipv4/ip_forward", "none", false},
		{"net/ipv4/conf/all/arp_ignore", "2", false},
	};
	int n = fixture_add();
	struct err e = {0};
	char buf[8];

	(void)state;
	assert_int_equal(ns_sysctl_set(fixture.fd[n], list, 3, &e), -ENOENT);
	assert_non_null(strstr(e.text, "net/ipv4/no_such=1"));
	assert_ok(ns_sysctl_get(fixture.fd[n], "net/ipv4/conf/all/arp_ignore", buf,
				sizeof(buf), &fixture_err));
	assert_string_equal(buf, "2"); /* the rest was done */
	assert_int_equal(ns_sysctl_get(fixture.fd[n], "net/ipv4/no_such", buf, 8, &e),
			 -ENOENT);
	assert_int_equal(ns_sysctl_get(fixture.fd[n], "net/../kernel/ostype", buf, 8, &e),
			 -EINVAL);
	assert_int_equal(ns_sysctl_get(fixture.fd[n], "net/ipv4/tcp_congestion_control",
				       buf, 2, &e),
			 -ENAMETOOLONG);
}

/* As in a managed plugin. Last: the proc is kept for the rest of the program. */
static void read_only_proc_is_replaced(void **state)
{
	static const struct ns_sysctl one = {"net/ipv4/ip_forward", "1", false};
	int n = fixture_add();
	char path[96];
	char buf[8];

	(void)state;
	assert_ok(ns_setup(fixture_dir, &fixture_err));
	(void)snprintf(path, sizeof(path), "%s/proc", fixture_dir);
	assert_int_equal(access(path, F_OK), -1); /* not needed yet */
	assert_int_equal(mount("/proc/sys", "/proc/sys", NULL, MS_BIND, NULL), 0);
	assert_int_equal(
		mount("none", "/proc/sys", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL),
		0);
	assert_int_equal(ns_sysctl_set(fixture.fd[n], &one, 1, &fixture_err), -EROFS);
	if (ns_setup(fixture_dir, &fixture_err) == -EPERM) {
		print_message("[  SKIP  ] no own proc: %s\n", fixture_err.text);
		skip();
	}
	assert_ok(ns_setup(fixture_dir, &fixture_err)); /* a second start */
	assert_ok(ns_sysctl_set(fixture.fd[n], &one, 1, &fixture_err));
	assert_ok(ns_sysctl_get(fixture.fd[n], "net/ipv4/ip_forward", buf, sizeof(buf),
				&fixture_err));
	assert_string_equal(buf, "1");
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(umount2("/proc/sys", MNT_DETACH), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(pin_is_adopted_and_removed),
		TEST(folder_is_private),
		TEST(file_without_mount_is_used),
		TEST(open_refuses_what_is_none),
		TEST(create_names_the_path),
		TEST(call_runs_inside),
		TEST(call_reports_a_wrong_fd),
		TEST(socket_lives_inside),
		TEST(settings_are_of_the_namespace),
		TEST(settings_report_the_first_error),
		TEST(read_only_proc_is_replaced),
	};

	return fixture_enter() < 0 ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
