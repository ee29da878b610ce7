// SPDX-License-Identifier: GPL-2.0-or-later
/* Our two rules in DOCKER-USER: behind the users' rules, before what ends the chain, and
 * put right when somebody has changed that. */
#include "tests/netns/kern/fixture.h"

#include "driver/firewall.h"
#include "plugin/base/mem.h"

static struct firewall *fw;
static int host; /* the program's own namespace */

static int setup(void **state)
{
	if (unshare(CLONE_NEWNET) < 0 || fixture_setup(state) < 0)
		return -1;
	host = fixture.count++;
	(void)snprintf(fixture.path[host], sizeof(fixture.path[host]), "/proc/%d/ns/net",
		       (int)getpid());
	return firewall_open(&fw, &fixture_err);
}

static int teardown(void **state)
{
	(void)state;
	firewall_close(fw);
	fw = NULL;
	fixture.count = 0;
	return rmdir(fixture_dir);
}

/* "IN OUT" are ours; d drops of users', r a return, in the order of the chain. */
static const char *order(const char *program)
{
	static char text[256];
	char *line;
	char *rest = NULL;

	text[0] = '\0';
	assert_int_equal(fixture_run(host, "%s -w 5 -S DOCKER-USER", program), 0);
	for (line = strtok_r(fixture.output, "\n", &rest); line;
	     line = strtok_r(NULL, "\n", &rest)) {
		const char *word = "? ";

		if (strncmp(line, "-A ", 3) != 0)
			continue;
		if (strstr(line, "-i flu+ "))
			word = "IN ";
		else if (strstr(line, "-o flu+ "))
			word = "OUT ";
		else if (strstr(line, "-j DROP"))
			word = "d ";
		else if (strcmp(line, "-A DOCKER-USER -j RETURN") == 0)
			word = "r ";
		assert_in_range(strlen(text) + strlen(word), 0, sizeof(text) - 1);
		strcat(text, word);
	}
	return text;
}

/* P: the program with its lock's limit. */
static void check_places(const char *program)
{
	static const struct {
		const char *change; /* after the last one */
		const char *want;
	} cases[] = {
		{"P -N DOCKER-USER", "IN OUT "},
		{"P -A DOCKER-USER -s 10.9.0.1 -j DROP", "d IN OUT "},
		{"P -I DOCKER-USER -s 10.9.0.2 -j DROP", "d d IN OUT "},
		{"P -F DOCKER-USER; P -A DOCKER-USER -j RETURN", "IN OUT r "},
		{"P -I DOCKER-USER -s 10.9.0.2 -j DROP", "d IN OUT r "},
		{"P -I DOCKER-USER 4 -s 10.9.0.3 -j DROP", "d d IN OUT r "},
		{"P -D DOCKER-USER 3", "d d IN OUT r "},
		{"P -D DOCKER-USER 4", "d d IN OUT r "},
		{"P -D DOCKER-USER 3; P -D DOCKER-USER 3", "d d IN OUT r "},
		/* behind a return nothing is looked at */
		{"P -I DOCKER-USER -j RETURN", "IN OUT r d d r "},
		{"P -A DOCKER-USER -s 10.9.0.4 -j DROP", "IN OUT r d d r d "},
		/* one with a condition ends nothing */
		{"P -F DOCKER-USER; P -A DOCKER-USER -s 10.9.0.5 -j RETURN; "
		 "P -A DOCKER-USER -s 10.9.0.1 -j DROP",
		 "? d IN OUT "},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("%s: %s\n", program, cases[i].change);
		if (fixture_run(host, "set -e; P() { %s -w 5 \"$@\"; }; %s", program,
				cases[i].change) != 0)
			fail_msg("%s", fixture.output);
		assert_ok(firewall_allow_forward(fw, &fixture_err));
		assert_string_equal(order(program), cases[i].want);
		assert_int_equal(fixture_run(host, "%s -w 5 -Z DOCKER-USER", program), 0);
		assert_ok(firewall_allow_forward(fw, &fixture_err));
		assert_string_equal(order(program), cases[i].want);
	}
}

static void places_in_nftables(void **state)
{
	(void)state;
	if (fixture_run(host, "iptables-nft -w 5 -S") != 0) {
		print_message("[  SKIP  ] no iptables-nft: %s\n", fixture.output);
		skip();
	}
	check_places("iptables-nft");
}

static void places_in_iptables_legacy(void **state)
{
	(void)state;
	if (fixture_run(host, "iptables-legacy -w 5 -S") != 0) {
		print_message("[  SKIP  ] no iptables-legacy: %s\n", fixture.output);
		skip();
	}
	check_places("iptables-legacy");
}

static void without_the_chain_nothing_is_made(void **state)
{
	(void)state;
	(void)fixture_run(host,
			  "iptables-legacy -w 5 -S"); /* its tables are there then */
	assert_ok(firewall_allow_forward(fw, &fixture_err));
	assert_int_equal(fixture_run(host, "nft list ruleset; iptables-legacy-save"), 0);
	assert_no_output("flu");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(places_in_nftables),
		TEST(places_in_iptables_legacy),
		TEST(without_the_chain_nothing_is_made),
	};

	return fixture_enter() < 0 ? 0 : cmocka_run_group_tests(tests, NULL, NULL);
}
