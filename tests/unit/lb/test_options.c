// SPDX-License-Identifier: GPL-2.0-or-later
/* Options from labels and driver options: every value, every source, hostile texts. */
#include "lb/options.h"

#include "plugin/base/mem.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#define MAX_PAIRS 4

struct given { /* name, value, ..., NULL */
	const char *network[2 * MAX_PAIRS + 1];
	const char *label[2 * MAX_PAIRS + 1];
	const char *endpoint[2 * MAX_PAIRS + 1];
};

static void fill(struct option_set *set, const char *const *pairs)
{
	struct registry_option list[MAX_PAIRS];
	unsigned int count = 0;

	for (; pairs[2 * count]; count++)
		list[count] =
			(struct registry_option){pairs[2 * count], pairs[2 * count + 1]};
	assert_int_equal(option_set_copy(list, count, set), 0);
}

static void parse(const struct given *given, struct options *ret, struct texts *errors)
{
	struct option_set network;
	struct option_set label;
	struct option_set endpoint;
	const struct option_sources sources = {&endpoint, &label, &network};

	fill(&network, given->network);
	fill(&label, given->label);
	fill(&endpoint, given->endpoint);
	options_parse(&sources, ret, errors);
	option_set_fini(&network);
	option_set_fini(&label);
	option_set_fini(&endpoint);
}

static void assert_one_error(struct texts *errors, const char *want)
{
	assert_int_equal(errors->count, want ? 1 : 0);
	if (want)
		assert_string_equal(errors->list[0], want);
	texts_fini(errors);
}

static void test_defaults(void **state)
{
	struct option_set none = {0};
	struct option_sources sources = {&none, NULL, &none};
	struct options o;
	struct texts errors = {0};

	(void)state;
	options_parse(&sources, &o, &errors);
	assert_one_error(&errors, NULL);
	assert_true(o.enabled);
	assert_string_equal(o.name, "");
	assert_string_equal(o.project, "");
	assert_int_equal(o.weight, 1);
	assert_int_equal(o.drain_s, 0);
	assert_false(o.ignore_health);
	assert_int_equal(o.scheduler, LB_SCHEDULER_RR);
	assert_string_equal(o.scheduler_wanted, "rr");
	assert_false(o.dnsrr);
	assert_false(addr_is_set(&o.vip[VIP_V4]) || addr_is_set(&o.vip[VIP_V6]));
}

#define SWARM	"com.docker.swarm.service.name"
#define COMPOSE "com.docker.compose.service"
#define PROJECT "com.docker.compose.project"
#define ONEOFF	"com.docker.compose.oneoff"
#define FL	"fairlead."
#define CHARS	"may have only letters, digits, - and _"
#define S21	"aaaaaaaaaaaaaaaaaaaaa"

static void test_names(void **state)
{
	static const struct {
		const char *title;
		struct given given;
		const char *name;
		const char *service_project;
		const char *project;
		const char *error;
	} cases[] = {
		{"compose",
		 {.label = {COMPOSE, "Web", PROJECT, "Shop"}},
		 "web",
		 "shop",
		 "shop"},
		{"compose without project", {.label = {COMPOSE, "web"}}, "web", "", ""},
		{"project only", {.label = {PROJECT, "shop"}}, "", "", "shop"},
		{"swarm", {.label = {SWARM, "stack_web"}}, "stack_web", "", ""},
		{"swarm before compose",
		 {.label = {SWARM, "s", COMPOSE, "c", PROJECT, "p"}},
		 "s",
		 "",
		 "p"},
		{"label before swarm",
		 {.label = {SWARM, "s", FL "service", "l"}},
		 "l",
		 "",
		 ""},
		{"label before compose",
		 {.label = {COMPOSE, "c", PROJECT, "p", FL "service", "l"}},
		 "l",
		 "",
		 "p"},
		{"driver option before label",
		 {.label = {FL "service", "l"}, .endpoint = {FL "service", "d"}},
		 "d",
		 "",
		 ""},
		{"one-off of compose",
		 {.label = {COMPOSE, "c", PROJECT, "p", ONEOFF, "True"}},
		 "",
		 "",
		 "p"},
		{"not one-off", {.label = {COMPOSE, "c", ONEOFF, "False"}}, "c", "", ""},
		{"not enabled",
		 {.label = {COMPOSE, "c", PROJECT, "p", FL "enable", "no"}},
		 "",
		 "",
		 "p"},
		{"enabled by the container only",
		 {.network = {FL "enable", "false"},
		  .label = {COMPOSE, "c", FL "enable", "true"}},
		 "c",
		 "",
		 ""},
		{"driver option disables",
		 {.label = {COMPOSE, "c", FL "enable", "on"},
		  .endpoint = {FL "enable", "off"}},
		 "",
		 "",
		 ""},
		{"docker's labels count on containers only",
		 {.network = {COMPOSE, "c"}, .endpoint = {SWARM, "s"}},
		 "",
		 "",
		 ""},
		{"dot",
		 {.label = {COMPOSE, "a.b"}},
		 "",
		 "",
		 "",
		 "label " COMPOSE "=a.b: " CHARS},
		{"empty",
		 {.endpoint = {FL "service", ""}},
		 "",
		 "",
		 "",
		 "driver option fairlead.service=: is empty"},
		{"bad label, good compose name",
		 {.label = {FL "service", "a b", COMPOSE, "c", PROJECT, "p"}},
		 "c",
		 "p",
		 "p",
		 "label fairlead.service=a b: " CHARS},
		{"line end",
		 {.label = {FL "service", "a\nb"}},
		 "",
		 "",
		 "",
		 "label fairlead.service=a?b: " CHARS},
		{"UTF-8",
		 {.label = {FL "service", "\xc3\xa4"}},
		 "",
		 "",
		 "",
		 "label fairlead.service=??: " CHARS},
		{"begins with -",
		 {.label = {FL "service", "-a"}},
		 "",
		 "",
		 "",
		 "label fairlead.service=-a: must not begin or end with -"},
		{"ends with -",
		 {.label = {FL "service", "a-"}},
		 "",
		 "",
		 "",
		 "label fairlead.service=a-: must not begin or end with -"},
		{"63 characters",
		 {.label = {FL "service", S21 S21 S21}},
		 S21 S21 S21,
		 "",
		 ""},
		{"64 characters",
		 {.label = {FL "service", S21 S21 S21 "b"}},
		 "",
		 "",
		 "",
		 "label fairlead.service=" S21 S21 S21 "b: is longer than 63 characters"},
		{"bad project",
		 {.label = {COMPOSE, "c", PROJECT, "p."}},
		 "c",
		 "",
		 "",
		 "label " PROJECT "=p.: " CHARS},
		{"on a network",
		 {.network = {FL "service", "n"}},
		 "",
		 "",
		 "",
		 "network option fairlead.service=n: not for a network"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct options o;
		struct texts errors = {0};

		print_message("%s\n", cases[i].title);
		parse(&cases[i].given, &o, &errors);
		assert_string_equal(o.name, cases[i].name);
		assert_string_equal(o.service_project, cases[i].service_project);
		assert_string_equal(o.project, cases[i].project);
		assert_one_error(&errors, cases[i].error);
	}
}

static const char *render(const struct options *o, char *buf, size_t size)
{
	char vip4[ADDR_TEXT_SIZE];
	char vip6[ADDR_TEXT_SIZE];

	(void)snprintf(buf, size, "%s(%s) %s%s%s weight=%u drain=%u%s%s%s",
		       lb_scheduler_name(o->scheduler), o->scheduler_wanted,
		       addr_format(&o->vip[VIP_V4], vip4),
		       addr_is_set(&o->vip[VIP_V4]) ? " " : "",
		       addr_format(&o->vip[VIP_V6], vip6), o->weight, o->drain_s,
		       o->dnsrr ? " dnsrr" : "", o->ignore_health ? " nohealth" : "",
		       o->enabled ? "" : " disabled");
	return buf;
}

#define PLAIN  "rr(rr)  weight=1 drain=0"
#define NO_VIP "must be an IPv4 or IPv6 address, or one of each with a comma"

static void test_values(void **state)
{
	static const struct {
		const char *name;
		const char *value;
		const char *want;
		const char *error; /* after "label name=value: " */
	} cases[] = {
		{"scheduler", "wlc", "wlc(wlc)  weight=1 drain=0", NULL},
		{"scheduler", "random", "random(random)  weight=1 drain=0", NULL},
		{"scheduler", "WLC", "rr(WLC)  weight=1 drain=0", "no such scheduler"},
		{"scheduler", "", "rr()  weight=1 drain=0", "no such scheduler"},
		{"weight", "0", "rr(rr)  weight=0 drain=0", NULL},
		{"weight", "256", "rr(rr)  weight=256 drain=0", NULL},
		{"weight", "257", PLAIN, "must be a number from 0 to 256"},
		{"weight", "-1", PLAIN, "must be a number from 0 to 256"},
		{"weight", " 1", PLAIN, "must be a number from 0 to 256"},
		{"weight", "1x", PLAIN, "must be a number from 0 to 256"},
		{"weight", "18446744073709551617", PLAIN,
		 "must be a number from 0 to 256"},
		{"mode", "vip", PLAIN, NULL},
		{"mode", "dnsrr", PLAIN " dnsrr", NULL},
		{"mode", "dns", PLAIN, "must be vip or dnsrr"},
		{"vip", "10.1.2.3", "rr(rr) 10.1.2.3  weight=1 drain=0", NULL},
		{"vip", "fd00::5", "rr(rr) fd00::5 weight=1 drain=0", NULL},
		{"vip", "10.1.2.3,fd00::5", "rr(rr) 10.1.2.3 fd00::5 weight=1 drain=0",
		 NULL},
		{"vip", "fd00::5,10.1.2.3", "rr(rr) 10.1.2.3 fd00::5 weight=1 drain=0",
		 NULL},
		{"vip", "10.1.2.3,10.1.2.4", PLAIN,
		 "has two addresses of one IP version"},
		{"vip", "10.1.2.3,fd00::5,fd00::5", PLAIN,
		 "has two addresses of one IP version"},
		{"vip", "10.1.2.3/24", PLAIN, NO_VIP},
		{"vip", "10.1.2.3,", PLAIN, NO_VIP},
		{"vip", ",10.1.2.3", PLAIN, NO_VIP},
		{"vip", "10.1.2.3, fd00::5", PLAIN, NO_VIP},
		{"vip", "web", PLAIN, NO_VIP},
		{"vip", "", PLAIN, NO_VIP},
		{"vip", "fd00:1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa", PLAIN,
		 NO_VIP},
		{"drain", "86400", "rr(rr)  weight=1 drain=86400", NULL},
		{"drain", "86401", PLAIN, "must be a number of seconds from 0 to 86400"},
		{"drain", "10s", PLAIN, "must be a number of seconds from 0 to 86400"},
		{"health", "docker", PLAIN, NULL},
		{"health", "none", PLAIN " nohealth", NULL},
		{"health", "tcp:80", PLAIN, "not supported yet"},
		{"health", "http:80/x", PLAIN, "not supported yet"},
		{"health", "yes", PLAIN, "must be docker or none"},
		{"enable", "off", PLAIN " disabled", NULL},
		{"enable", "maybe", PLAIN, "must be true or false"},
		{"affinity", "client-ip", PLAIN, "not supported yet"},
		{"idle-timeout", "5", PLAIN, "not supported yet"},
		{"publish", "80:80", PLAIN, "not supported yet"},
		{"host-ip", "1.2.3.4", PLAIN, "not supported yet"},
		{"allow-from", "1.2.3.0/24", PLAIN, "not supported yet"},
		{"wieght", "5", PLAIN, "unknown option"},
		{"", "5", PLAIN, "unknown option"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct given given = {0};
		struct options o;
		struct texts errors = {0};
		char name[64];
		char have[256];
		char error[256];

		(void)snprintf(name, sizeof(name), FL "%s", cases[i].name);
		print_message("%s=%s\n", name, cases[i].value);
		(void)snprintf(error, sizeof(error), "label %s=%s: %s", name,
			       cases[i].value, cases[i].error ? cases[i].error : "");
		given.label[0] = name;
		given.label[1] = cases[i].value;
		parse(&given, &o, &errors);
		assert_string_equal(render(&o, have, sizeof(have)), cases[i].want);
		assert_one_error(&errors, cases[i].error ? error : NULL);
	}
}

/* Each option that may stand at all three, at every combination of them: the endpoint
 * wins over the label, that over the network; a bad value counts as none. */
static void test_precedence(void **state)
{
	static const char *const names[] = {FL "weight", FL "drain"};
	static const char *const values[] = {NULL, "7", "bad"};

	(void)state;
	for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
		for (unsigned int i = 0; i < 27; i++) {
			const char *network = values[i % 3];
			const char *label = values[i / 3 % 3];
			const char *endpoint = values[i / 9];
			struct given given = {
				.network = {network ? names[n] : NULL,
					    i % 3 == 1 ? "2" : network},
				.label = {label ? names[n] : NULL,
					  i / 3 % 3 == 1 ? "3" : label},
				.endpoint = {endpoint ? names[n] : NULL,
					     i / 9 == 1 ? "4" : endpoint},
			};
			uint32_t want = n == 0 ? 1 : 0;
			struct texts errors = {0};
			struct options o;

			if (i % 3 == 1)
				want = 2;
			if (i / 3 % 3 == 1)
				want = 3;
			if (i / 9 == 1)
				want = 4;
			parse(&given, &o, &errors);
			assert_int_equal(n == 0 ? o.weight : o.drain_s, want);
			assert_int_equal(errors.count,
					 (i % 3 == 2) + (i / 3 % 3 == 2) + (i / 9 == 2));
			texts_fini(&errors);
		}
	}
}

static void test_sources_are_named(void **state)
{
	static const struct given given = {
		.network = {FL "mode", "x"},
		.label = {FL "mode", "x"},
		.endpoint = {FL "mode", "x"},
	};
	struct texts errors = {0};
	struct options o;

	(void)state;
	parse(&given, &o, &errors);
	assert_int_equal(errors.count, 3);
	assert_true(texts_has(&errors,
			      "network option fairlead.mode=x: must be vip or dnsrr"));
	assert_true(texts_has(&errors, "label fairlead.mode=x: must be vip or dnsrr"));
	assert_true(texts_has(&errors,
			      "driver option fairlead.mode=x: must be vip or dnsrr"));
	texts_fini(&errors);
}

static void test_set_is_filtered_and_sorted(void **state)
{
	static const struct registry_option list[] = {
		{"fairlead.weight", "1"},
		{"com.docker.compose.config-hash", "x"},
		{"fairleadx", "x"},
		{"", ""},
		{"com.docker.compose.service", "web"},
		{"fairlead.drain", "5"},
		{"fairlead.weight", "2"},
	};
	static const struct registry_option other[] = {
		{"fairlead.drain", "5"},
		{"fairlead.weight", "2"},
		{"com.docker.compose.service", "web"},
	};
	struct option_set a;
	struct option_set b;

	(void)state;
	assert_int_equal(option_set_copy(list, ARRAY_SIZE(list), &a), 0);
	assert_int_equal(option_set_copy(other, ARRAY_SIZE(other), &b), 0);
	assert_int_equal(a.count, 3);
	assert_string_equal(a.items[0].name, "com.docker.compose.service");
	assert_string_equal(a.items[2].value, "2");
	assert_true(option_set_equal(&a, &b));
	assert_int_equal(option_set_add(&b, "fairlead.weight", "3"), 0);
	assert_false(option_set_equal(&a, &b));
	option_set_fini(&b);
	assert_false(option_set_equal(&a, &b));
	option_set_fini(&a);
	assert_true(option_set_equal(&a, &b));
}

static void test_floods_are_bounded(void **state)
{
	static char big[100000];
	struct option_set set = {0};
	struct option_sources sources = {&set, NULL, &set};
	struct texts errors = {0};
	struct options o;
	char name[64];

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	for (unsigned int i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), FL "aaa%u", i);
		assert_int_equal(option_set_add(&set, name, big), 0);
	}
	assert_int_equal(set.count, OPTIONS_UNKNOWN_MAX);
	/* What is known still has its place. */
	assert_int_equal(option_set_add(&set, FL "weight", "5"), 0);
	assert_int_equal(option_set_add(&set, FL "vip", big), 0);
	assert_int_equal(set.count, OPTIONS_UNKNOWN_MAX + 2);
	for (unsigned int i = 0; i < set.count; i++)
		assert_true(strlen(set.items[i].value) <= OPTIONS_VALUE_MAX + 1);
	options_parse(&sources, &o, &errors);
	assert_int_equal(o.weight, 5);
	assert_true(errors.count <= TEXTS_MAX);
	for (unsigned int i = 0; i < errors.count; i++)
		assert_true(strlen(errors.list[i]) < TEXTS_TEXT_SIZE);
	texts_fini(&errors);
	option_set_fini(&set);
	/* A name that is all option and longer than what is kept. */
	memcpy(big, FL, strlen(FL));
	assert_int_equal(option_set_add(&set, big, "1"), 0);
	assert_int_equal(strlen(set.items[0].name), OPTIONS_NAME_MAX);
	assert_int_equal(option_set_add(&set, FL "drain", big), 0);
	options_parse(&sources, &o, &errors);
	assert_int_equal(o.drain_s, 0);
	texts_fini(&errors);
	option_set_fini(&set);
}

static void test_every_byte_is_harmless(void **state)
{
	(void)state;
	for (unsigned int c = 1; c < 256; c++) {
		const char value[] = {'a', (char)c, 'b', '\0'};
		const char name[] = {'f', 'a', 'i', 'r',     'l', 'e',
				     'a', 'd', '.', (char)c, 0};
		struct given given = {.label = {FL "service", value, FL "scheduler",
						value, name, value}};
		struct texts errors = {0};
		struct options o;

		parse(&given, &o, &errors);
		assert_true(errors.count >= 2);
		for (unsigned int i = 0; i < errors.count; i++) {
			for (const char *p = errors.list[i]; *p; p++)
				assert_in_range(*p, ' ', '~');
		}
		for (const char *p = o.name; *p; p++)
			assert_non_null(
				strchr("abcdefghijklmnopqrstuvwxyz0123456789-_", *p));
		for (const char *p = o.scheduler_wanted; *p; p++)
			assert_in_range(*p, ' ', '~');
		texts_fini(&errors);
	}
}

static void test_texts(void **state)
{
	struct texts t = {0};
	struct texts u = {0};

	(void)state;
	texts_add(&t, "a %d", 1);
	texts_add(&t, "a %d", 1);
	texts_add(&t, "a %d", 2);
	assert_int_equal(t.count, 2);
	texts_add(&u, "a 1");
	texts_add_all(&u, &t);
	assert_int_equal(u.count, 2);
	assert_false(texts_has(&u, "a 3"));
	for (unsigned int i = 0; i < 100; i++)
		texts_add(&t, "%u %0300u", i, i);
	assert_int_equal(t.count, TEXTS_MAX);
	texts_fini(&t);
	texts_fini(&u);
	texts_fini(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_sources_are_named),
		cmocka_unit_test(test_set_is_filtered_and_sorted),
		cmocka_unit_test(test_floods_are_bounded),
		cmocka_unit_test(test_every_byte_is_harmless),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
