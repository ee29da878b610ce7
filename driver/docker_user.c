// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Docker's FORWARD policy is DROP; what it does not know passes by rules in DOCKER-USER.
 * Two of them are ours. They stand behind the users' rules, which hold for our networks
 * as for Docker's, and before the plain RETURN that some engines end the chain with:
 * nothing behind that is ever looked at. What is not so is put so again.
 */
#include "driver/docker_user.h"

#include "driver/network.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define ACCEPT_COMMENT "fairlead"
#define TABLE	       "filter"
#define CHAIN	       "DOCKER-USER"
#define LOCK_SECONDS   "5" /* somebody may hold the lock of iptables */
#define LEGACY_ANY     NETWORK_LINK_PREFIX "u+" /* iptables' way to write flu* */

/* --- nftables ---------------------------------------------------------------- */

static void add_accept(struct nft_batch *b, uint64_t before, bool in)
{
	nft_rule_begin_before(b, CHAIN, before, ACCEPT_COMMENT);
	if (in)
		nft_match_iifname(b, NETWORK_UPLINK_ANY, true);
	else
		nft_match_oifname(b, NETWORK_UPLINK_ANY, true);
	nft_act_counter(b);
	nft_act_accept(b);
	nft_rule_end(b);
}

static int allow_nft(struct nft_sock *nft, enum nft_family family, struct err *e)
{
	struct nft_rules found;
	struct nft_batch *b;
	int r = nft_chain_exists(nft, family, TABLE, CHAIN, e);

	if (r <= 0)
		return r;
	r = nft_rule_find(nft, &(struct nft_place){family, TABLE, CHAIN}, ACCEPT_COMMENT,
			  &found, e);
	if (r < 0 || (found.count == 2 && found.at_end))
		return r;
	b = nft_batch_new(family, TABLE);
	if (!b)
		return err_sys(e, -ENOMEM, CHAIN);
	for (unsigned int i = 0; i < found.count; i++)
		nft_rule_del(b, CHAIN, found.handles[i]);
	add_accept(b, found.end, true);
	add_accept(b, found.end, false);
	r = nft_commit(nft, b, e);
	nft_batch_free(b);
	return r;
}

/* --- iptables-legacy --------------------------------------------------------- */

/* Runs a program found in PATH, its output to fd; 0, its exit status, or -errno. */
static int run(char *const argv[], int fd)
{
	char *const env[] = {"PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin", NULL};
	posix_spawn_file_actions_t files;
	int status;
	pid_t pid;
	int r;

	(void)posix_spawn_file_actions_init(&files); /* cannot fail in glibc */
	r = posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY,
					     0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&files, fd, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawnp(&pid, argv[0], &files, NULL, argv, env);
	(void)posix_spawn_file_actions_destroy(&files);
	if (r)
		return -r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

static const char *const directions[] = {"-i", "-o"};

/* What the chain holds before its first plain RETURN, and of us behind it. */
struct legacy_rules {
	unsigned int others;
	unsigned int ours[ARRAY_SIZE(directions)];
	bool at_end; /* ours are the last ones */
	bool has_return;
};

static void read_legacy_rule(struct legacy_rules *lr, const char *line)
{
	unsigned int known = lr->ours[0] + lr->ours[1];
	char own[96];

	for (size_t i = 0; i < ARRAY_SIZE(directions); i++) {
		(void)snprintf(own, sizeof(own),
			       "-A " CHAIN " %s " LEGACY_ANY " -j ACCEPT\n",
			       directions[i]); /* it fits */
		if (strcmp(line, own) != 0)
			continue;
		lr->ours[i]++;
		lr->at_end &= !lr->has_return;
		return;
	}
	if (!str_has_prefix(line, "-A " CHAIN " ") || lr->has_return)
		return;
	if (!strcmp(line, "-A " CHAIN " -j RETURN\n")) {
		lr->has_return = true;
		return;
	}
	lr->others++;
	lr->at_end &= known == 0;
}

/* 1, 0 if there is no such chain (then nothing forbids us), or negative. */
static int read_legacy(const char *program, struct legacy_rules *ret, struct err *e)
{
	/* argv is not changed by posix_spawn */
	char *argv[] = {(char *)program, "-w", LOCK_SECONDS, "-S", CHAIN, NULL};
	auto_close int fd = memfd_create("rules", MFD_CLOEXEC);
	char line[1024];
	FILE *f;
	int r;

	if (fd < 0)
		return err_sys(e, -errno, "rules of %s", program);
	r = run(argv, fd);
	if (r < 0)
		return err_sys(e, r, "Docker's rules are iptables-legacy, but running %s",
			       program);
	if (r > 1)
		return err_set(e, -EIO, "%s -S " CHAIN ": exit status %d", program, r);
	if (r == 1)
		return 0;
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, -errno, "rules of %s", program);
	f = fdopen(fd, "r");
	if (!f)
		return err_sys(e, -errno, "rules of %s", program);
	(void)TAKE_FD(fd); /* is the stream's now */
	*ret = (struct legacy_rules){.at_end = true};
	while (fgets(line, sizeof(line), f))
		read_legacy_rule(ret, line);
	(void)fclose(f); /* read only */
	return 1;
}

/* op: -A, -D, or -I with a position. */
static int change_legacy(const char *program, char *op, unsigned int position,
			 const char *direction, struct err *e)
{
	char number[16];
	char *argv[16] = {(char *)program, "-w", LOCK_SECONDS, op, CHAIN};
	size_t n = 5;
	auto_close int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_sys(e, -errno, "/dev/null");
	(void)snprintf(number, sizeof(number), "%u", position); /* it fits */
	if (position)
		argv[n++] = number;
	argv[n++] = (char *)direction;
	argv[n++] = LEGACY_ANY;
	argv[n++] = "-j";
	argv[n++] = "ACCEPT";
	argv[n] = NULL;
	r = run(argv, fd);
	if (r < 0)
		return err_sys(e, r, "running %s", program);
	return r ? err_set(e, -EIO, "%s %s " CHAIN ": exit status %d", program, op, r)
		 : 0;
}

static int allow_legacy(const char *program, struct err *e)
{
	struct legacy_rules lr = {0};
	int r = read_legacy(program, &lr, e);

	if (r <= 0 || (lr.ours[0] == 1 && lr.ours[1] == 1 && lr.at_end))
		return r < 0 ? r : 0;
	r = 0;
	for (size_t i = 0; i < ARRAY_SIZE(directions); i++)
		for (unsigned int k = 0; r == 0 && k < lr.ours[i]; k++)
			r = change_legacy(program, "-D", 0, directions[i], e);
	for (unsigned int i = 0; r == 0 && i < ARRAY_SIZE(directions); i++)
		r = lr.has_return ? change_legacy(program, "-I", lr.others + 1 + i,
						  directions[i], e)
				  : change_legacy(program, "-A", 0, directions[i], e);
	return r;
}

/* Does iptables-legacy have a filter table in this kernel? */
static bool legacy_in_use(const char *names_path)
{
	FILE *f = fopen(names_path, "re");
	char line[64];
	bool found = false;

	while (f && fgets(line, sizeof(line), f))
		found |= !strcmp(line, TABLE "\n");
	if (f)
		(void)fclose(f); /* read only */
	return found;
}

int docker_user_allow(struct nft_sock *nft, struct err *e)
{
	int r = allow_nft(nft, NFT_FAMILY_IPV4, e);

	if (r == 0)
		r = allow_nft(nft, NFT_FAMILY_IPV6, e);
	if (r == 0 && legacy_in_use("/proc/self/net/ip_tables_names"))
		r = allow_legacy("iptables-legacy", e);
	if (r == 0 && legacy_in_use("/proc/self/net/ip6_tables_names"))
		r = allow_legacy("ip6tables-legacy", e);
	return r < 0 ? err_wrap(e, r, "letting traffic through " CHAIN) : 0;
}
