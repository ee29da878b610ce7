// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * labcall: runs commands in a guest over a virtio-serial port, both ends.
 *
 *   labcall serve                       in the guest, as process 1: serves every
 *                                       port named lab.N and reaps orphans
 *   labcall call [-i] [-t SEC] DIR N CMD...
 *                                       on the host: takes a free one of DIR's N
 *                                       ports (DIR/lab.K, unix sockets), runs CMD,
 *                                       returns its output and exit status;
 *                                       -i passes standard input on, -t waits
 *                                       that long for the guest (default 30 s)
 *
 * On the wire: the caller says MAGIC + 8 random bytes, the server repeats them;
 * then frames: type byte, 4 bytes of length (big endian), payload.
 * Caller: A (argv, each ended by NUL), I (input; empty: end). Server: O, E
 * (output, error), X (exit status, one byte).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAGIC "LAB1"
enum {
	HELLO = 12,
	HEAD = 5,
	CHUNK = 32768,
	ARGS_MAX = 131072,
	STATUS_LOST = 255
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "labcall: %s: %s\n", what, strerror(errno));
	exit(STATUS_LOST);
}

/* Writes all, waiting where the descriptor is not ready; false: other end gone. */
static bool write_all(int fd, const void *buf, size_t n)
{
	const char *p = buf;

	while (n > 0) {
		ssize_t w = write(fd, p, n);

		if (w > 0) {
			p += w;
			n -= (size_t)w;
		} else if (w < 0 && errno == EAGAIN) {
			struct pollfd pf = {.fd = fd, .events = POLLOUT};

			poll(&pf, 1, 1000);
			if (pf.revents & (POLLHUP | POLLERR))
				return false;
		} else if (w < 0 && errno == EINTR) {
			continue;
		} else {
			return false;
		}
	}
	return true;
}

/* Reads exactly n bytes within timeout_ms per wait; false: gone or too slow. */
static bool read_all(int fd, void *buf, size_t n, int timeout_ms)
{
	char *p = buf;

	while (n > 0) {
		struct pollfd pf = {.fd = fd, .events = POLLIN};
		ssize_t r;

		if (poll(&pf, 1, timeout_ms) <= 0)
			return false;
		r = read(fd, p, n);
		if (r <= 0 && !(r < 0 && (errno == EAGAIN || errno == EINTR)))
			return false;
		if (r > 0) {
			p += r;
			n -= (size_t)r;
		}
	}
	return true;
}

static bool send_frame(int fd, char type, const void *payload, size_t n)
{
	static char frame[HEAD + ARGS_MAX];
	uint32_t len = htonl((uint32_t)n);

	frame[0] = type;
	memcpy(frame + 1, &len, 4);
	memcpy(frame + HEAD, payload, n);
	return write_all(fd, frame, HEAD + n);
}

/* ---- in the guest ---------------------------------------------------------- */

struct job {
	pid_t pid;
	int in, out, err;  /* -1: closed */
	char input[CHUNK]; /* taken from the caller, not yet by the command */
	size_t at, end;
};

static void set_nonblock(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static bool job_start(struct job *j, char *args, size_t n)
{
	char *argv[4096];
	int argc = 0, in[2], out[2], err[2];

	for (char *p = args; p < args + n && argc < 4095; p += strlen(p) + 1)
		argv[argc++] = p;
	argv[argc] = NULL;
	if (argc == 0 || pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) ||
	    pipe2(err, O_CLOEXEC))
		return false;
	j->pid = fork();
	if (j->pid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		setsid();
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		execvp(argv[0], argv);
		fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	close(err[1]);
	j->in = in[1];
	j->out = out[0];
	j->err = err[0];
	set_nonblock(j->in);
	set_nonblock(j->out);
	set_nonblock(j->err);
	return j->pid > 0;
}

static void job_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Passes on what is there to read; false: the caller is gone. */
static bool job_output(int port, int *fd, char type)
{
	char buf[CHUNK];
	ssize_t r;

	while (*fd >= 0 && (r = read(*fd, buf, sizeof(buf))) != 0) {
		if (r < 0)
			return true; /* nothing now */
		if (!send_frame(port, type, buf, (size_t)r))
			return false;
	}
	job_close(fd);
	return true;
}

/* Gives the command as much of its pending input as it takes now. */
static void job_feed(struct job *j)
{
	while (j->at < j->end) {
		ssize_t w =
			j->in < 0 ? -1 : write(j->in, j->input + j->at, j->end - j->at);

		if (w < 0 && j->in >= 0 && errno == EAGAIN)
			return;
		if (w < 0) { /* it reads no more */
			job_close(&j->in);
			j->at = j->end;
			return;
		}
		j->at += (size_t)w;
	}
}

/* Takes one frame of input; false: the caller is gone or out of step. */
static bool job_input(int port, struct job *j)
{
	char head[HEAD];
	uint32_t len;

	if (!read_all(port, head, HEAD, 2000) || head[0] != 'I')
		return false;
	memcpy(&len, head + 1, 4);
	len = ntohl(len);
	if (len > sizeof(j->input) || !read_all(port, j->input, len, 2000))
		return false;
	if (len == 0)
		job_close(&j->in);
	j->at = 0;
	j->end = len;
	job_feed(j);
	return true;
}

/* Runs one command to its end; kills it when the caller goes away. */
static void job_run(int port, int chld, char *args, size_t n)
{
	struct job j = {.pid = -1, .in = -1, .out = -1, .err = -1};
	int status = 0;
	bool alive = job_start(&j, args, n), caller = alive;

	while (alive && caller) {
		bool full = j.at < j.end;
		struct pollfd p[] = {{.fd = chld, .events = POLLIN},
				     {.fd = port, .events = full ? 0 : POLLIN},
				     {.fd = j.out, .events = POLLIN},
				     {.fd = j.err, .events = POLLIN},
				     {.fd = full ? j.in : -1, .events = POLLOUT}};
		struct signalfd_siginfo si;

		poll(p, 5, -1);
		if (p[4].revents)
			job_feed(&j);
		if (p[1].revents & (POLLHUP | POLLERR))
			caller = false;
		else if (p[1].revents & POLLIN)
			caller = job_input(port, &j);
		if (p[0].revents && read(chld, &si, sizeof(si)) > 0 &&
		    waitpid(j.pid, &status, WNOHANG) == j.pid)
			alive = false;
		caller = caller && job_output(port, &j.out, 'O') &&
			 job_output(port, &j.err, 'E');
	}
	if (alive && j.pid > 0) {
		kill(-j.pid, SIGKILL);
		waitpid(j.pid, &status, 0);
	}
	job_close(&j.in);
	job_close(&j.out);
	job_close(&j.err);
	if (caller) {
		unsigned char code = WIFEXITED(status)
					     ? (unsigned char)WEXITSTATUS(status)
					     : (unsigned char)(128 + WTERMSIG(status));

		send_frame(port, 'X', &code, 1);
	}
}

/* Waits for a caller's greeting and answers it; false: start over. */
static bool greet(int port)
{
	char hello[HELLO];
	size_t got = 0;

	while (got < sizeof(hello)) {
		if (!read_all(port, hello + got, 1, -1))
			return false;
		if (got < 4 && hello[got] != MAGIC[got])
			got = hello[got] == MAGIC[0] ? (hello[0] = MAGIC[0], 1) : 0;
		else
			got++;
	}
	return write_all(port, hello, sizeof(hello));
}

static void serve_caller(int port, int chld)
{
	static char args[ARGS_MAX];
	char head[HEAD];
	uint32_t len;

	if (!greet(port) || !read_all(port, head, HEAD, 5000) || head[0] != 'A')
		return;
	memcpy(&len, head + 1, 4);
	len = ntohl(len);
	if (len == 0 || len > sizeof(args) || !read_all(port, args, len, 5000) ||
	    args[len - 1] != 0)
		return;
	job_run(port, chld, args, len);
}

static _Noreturn void serve_port(const char *dev)
{
	sigset_t set, io;
	int chld;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGIO);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&io);
	sigaddset(&io, SIGIO);
	sigdelset(&set, SIGIO);
	chld = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	for (;;) {
		const struct timespec wait = {.tv_sec = 1};
		int port = open(dev, O_RDWR | O_CLOEXEC | O_NONBLOCK);
		struct pollfd pf = {.fd = port, .events = POLLIN};

		if (port < 0)
			fail(dev);
		/* The port raises SIGIO when a caller connects or leaves. */
		fcntl(port, F_SETOWN, getpid());
		fcntl(port, F_SETFL, O_RDWR | O_NONBLOCK | O_ASYNC);
		while (poll(&pf, 1, 0) > 0 && (pf.revents & POLLHUP))
			sigtimedwait(&io, NULL, &wait);
		serve_caller(port, chld);
		/* Let the caller hang up first; closing drops what it still sent. */
		for (int i = 0;
		     i < 1000 && poll(&pf, 1, 0) >= 0 && !(pf.revents & POLLHUP); i++) {
			const struct timespec tick = {.tv_nsec = 2000000};

			sigtimedwait(&io, NULL, &tick);
		}
		close(port);
	}
}

static _Noreturn void serve(void)
{
	DIR *d = opendir("/sys/class/virtio-ports");
	struct dirent *e;

	if (d == NULL)
		fail("/sys/class/virtio-ports");
	while ((e = readdir(d)) != NULL) {
		char path[600], name[64] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/sys/class/virtio-ports/%s/name",
			 e->d_name);
		f = fopen(path, "re");
		if (f != NULL) {
			if (fgets(name, sizeof(name), f) == NULL)
				name[0] = 0;
			fclose(f);
		}
		if (strncmp(name, "lab.", 4) == 0 && fork() == 0) {
			closedir(d);
			snprintf(path, sizeof(path), "/dev/%s", e->d_name);
			serve_port(path);
		}
	}
	closedir(d);
	for (;;)
		if (wait(NULL) < 0 && errno == ECHILD)
			pause();
}

/* ---- on the host ----------------------------------------------------------- */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Locks a free port (the lock goes with this process); returns its number. */
static int take_port(const char *dir, int ports, double deadline)
{
	do {
		for (int i = 0; i < ports; i++) {
			char path[600];
			int fd;

			snprintf(path, sizeof(path), "%s/lab.%d.lock", dir, i);
			fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
			if (fd < 0)
				fail(path);
			if (flock(fd, LOCK_EX | LOCK_NB) == 0)
				return i;
			close(fd);
		}
		usleep(20000);
	} while (now() < deadline);
	errno = EBUSY;
	fail("no free port");
}

/* Connects and greets; -1: not now. */
static int dial(const char *dir, int port, int timeout_ms)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	char hello[HELLO] = MAGIC, got[HELLO];
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (snprintf(a.sun_path, sizeof(a.sun_path), "%s/lab.%d", dir, port) >=
	    (int)sizeof(a.sun_path)) {
		errno = ENAMETOOLONG;
		fail(dir);
	}
	if (getrandom(hello + 4, 8, 0) != 8 ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    !write_all(fd, hello, HELLO) || !read_all(fd, got, HELLO, timeout_ms))
		goto bad;
	while (memcmp(got, hello, HELLO) != 0) { /* leftovers of an earlier call */
		memmove(got, got + 1, HELLO - 1);
		if (!read_all(fd, got + HELLO - 1, 1, timeout_ms))
			goto bad;
	}
	return fd;
bad:
	close(fd);
	return -1;
}

static void send_args(int fd, char **argv)
{
	static char args[ARGS_MAX];
	size_t n = 0;

	for (; *argv != NULL; argv++) {
		size_t len = strlen(*argv) + 1;

		if (n + len > sizeof(args)) {
			errno = E2BIG;
			fail("command");
		}
		memcpy(args + n, *argv, len);
		n += len;
	}
	if (!send_frame(fd, 'A', args, n))
		fail("guest");
}

/* Takes one frame from the guest; the exit status, or -1 to go on. */
static int take_frame(int fd)
{
	static char buf[ARGS_MAX];
	char head[HEAD];
	uint32_t len;

	if (!read_all(fd, head, HEAD, -1))
		fail("guest went away");
	memcpy(&len, head + 1, 4);
	len = ntohl(len);
	if (len > sizeof(buf) || !read_all(fd, buf, len, -1))
		fail("guest went away");
	if (head[0] == 'X')
		return (unsigned char)buf[0];
	if (!write_all(head[0] == 'E' ? 2 : 1, buf, len))
		fail("output");
	return -1;
}

/* In a process of its own, so that input and output never wait for each other. */
static _Noreturn void pump_input(int fd, bool input)
{
	char buf[CHUNK];
	ssize_t r = 0;

	while (input && (r = read(0, buf, sizeof(buf))) > 0)
		if (!send_frame(fd, 'I', buf, (size_t)r))
			break;
	send_frame(fd, 'I', "", 0);
	_exit(0);
}

static int call(int argc, char **argv)
{
	double wait = 30, deadline;
	bool input = false;
	int opt, ports, port, fd, status = -1;
	pid_t pump;

	while ((opt = getopt(argc, argv, "+it:")) != -1) {
		if (opt == 'i')
			input = true;
		else if (opt == 't')
			wait = atof(optarg);
		else
			return STATUS_LOST;
	}
	if (argc - optind < 3) {
		fprintf(stderr, "usage: labcall call [-i] [-t SEC] DIR PORTS CMD...\n");
		return STATUS_LOST;
	}
	signal(SIGPIPE, SIG_IGN);
	deadline = now() + wait;
	ports = atoi(argv[optind + 1]);
	port = take_port(argv[optind], ports, deadline);
	while ((fd = dial(argv[optind], port, 3000)) < 0) {
		if (now() > deadline) {
			errno = ETIMEDOUT;
			fail("guest does not answer");
		}
		usleep(50000);
	}
	send_args(fd, argv + optind + 2);
	pump = fork();
	if (pump == 0)
		pump_input(fd, input);
	while (status < 0)
		status = take_frame(fd);
	if (pump > 0) {
		kill(pump, SIGKILL);
		waitpid(pump, NULL, 0);
	}
	return status;
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "serve") == 0)
		serve();
	if (argc > 1 && strcmp(argv[1], "call") == 0)
		return call(argc - 1, argv + 1);
	fprintf(stderr, "usage: labcall serve | call ...\n");
	return STATUS_LOST;
}
