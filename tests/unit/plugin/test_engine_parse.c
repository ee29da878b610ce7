// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What engines send, as it was recorded from 20.10, 26.1, 28.5 and 29.7 (shortened),
 * and what a hostile one could send.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plugin/base/mem.h"
#include "plugin/base/str.h"
#include "plugin/engine_parse.h"

#define ID "4b5c820fb709a780a3b7acf5333581fb38f8e3039f8285911ba9acfa0f93e997"
#define CONTAINER(action, attributes)                                                 \
	"{\"status\":\"" action "\",\"id\":\"" ID "\",\"from\":\"web:lab\","          \
	"\"Type\":\"container\",\"Action\":\"" action "\",\"Actor\":{\"ID\":\"" ID    \
	"\",\"Attributes\":{\"com.docker.swarm.service.name\":\"web\",\"com.docker."  \
	"swarm.task\":\"\",\"image\":\"web:lab\",\"name\":\"web.4\"" attributes "}}," \
	"\"scope\":\"local\",\"time\":1795258498,\"timeNano\":1795258498489725700}"
#define NETWORK(action, container)                                                     \
	"{\"Type\":\"network\",\"Action\":\"" action                                   \
	"\",\"Actor\":{\"ID\":\"bpsc35wtbav6r8jkl2ahc6bhb\",\"Attributes\":{"          \
	"\"container\":\"" container "\",\"name\":\"ingress\",\"type\":\"overlay\"}}," \
	"\"scope\":\"local\",\"time\":1795254957,\"timeNano\":1795254957970878737}"

static void test_events(void **state)
{
	static const struct {
		const char *line;
		enum engine_message_kind kind;
		enum engine_event event;
		int signal;
		enum engine_health health;
	} cases[] = {
		{CONTAINER("start", ""), ENGINE_MESSAGE_INSPECT, 0, 0, 0},
		{CONTAINER("kill", ",\"signal\":\"15\""), ENGINE_MESSAGE_EVENT,
		 ENGINE_EVENT_KILL, 15, 0},
		{CONTAINER("kill", ",\"signal\":\"9\""), ENGINE_MESSAGE_EVENT,
		 ENGINE_EVENT_KILL, 9, 0},
		{CONTAINER("kill", ",\"signal\":\"SIGQUIT\""), ENGINE_MESSAGE_EVENT,
		 ENGINE_EVENT_KILL, 3, 0},
		{CONTAINER("kill", ",\"signal\":15"), ENGINE_MESSAGE_EVENT,
		 ENGINE_EVENT_KILL, 0, 0},
		{CONTAINER("kill", ",\"signal\":\"4294967297\""), ENGINE_MESSAGE_EVENT,
		 ENGINE_EVENT_KILL, 0, 0},
		{CONTAINER("kill", ""), ENGINE_MESSAGE_EVENT, ENGINE_EVENT_KILL, 0, 0},
		{CONTAINER("die", ",\"execDuration\":\"21\",\"exitCode\":\"137\""),
		 ENGINE_MESSAGE_EVENT, ENGINE_EVENT_DIE, 0, 0},
		{CONTAINER("pause", ""), ENGINE_MESSAGE_EVENT, ENGINE_EVENT_PAUSE, 0, 0},
		{CONTAINER("unpause", ""), ENGINE_MESSAGE_EVENT, ENGINE_EVENT_UNPAUSE, 0,
		 0},
		{CONTAINER("health_status: healthy", ""), ENGINE_MESSAGE_EVENT,
		 ENGINE_EVENT_HEALTH, 0, ENGINE_HEALTH_HEALTHY},
		{CONTAINER("health_status: unhealthy", ""), ENGINE_MESSAGE_EVENT,
		 ENGINE_EVENT_HEALTH, 0, ENGINE_HEALTH_UNHEALTHY},
		{CONTAINER("health_status: starting", ""), ENGINE_MESSAGE_EVENT,
		 ENGINE_EVENT_HEALTH, 0, ENGINE_HEALTH_STARTING},
		{CONTAINER("health_status: running", ""), ENGINE_MESSAGE_INSPECT,
		 ENGINE_EVENT_HEALTH, 0, 0},
		{CONTAINER("health_status", ""), ENGINE_MESSAGE_INSPECT,
		 ENGINE_EVENT_HEALTH, 0, 0},
		{CONTAINER("create", ""), ENGINE_MESSAGE_OTHER, 0, 0, 0},
		{CONTAINER("stop", ""), ENGINE_MESSAGE_OTHER, 0, 0, 0},
		{CONTAINER("destroy", ""), ENGINE_MESSAGE_OTHER, 0, 0, 0},
		{CONTAINER("rename", ",\"oldName\":\"/old\""), ENGINE_MESSAGE_OTHER, 0, 0,
		 0},
		{CONTAINER("exec_start: sh -c start\\n", ""), ENGINE_MESSAGE_OTHER, 0, 0,
		 0},
		{NETWORK("connect", ID), ENGINE_MESSAGE_CONNECT, 0, 0, 0},
		{NETWORK("connect", "ingress-sbox"), ENGINE_MESSAGE_OTHER, 0, 0, 0},
		{NETWORK("connect", ""), ENGINE_MESSAGE_OTHER, 0, 0, 0},
		{NETWORK("disconnect", ID), ENGINE_MESSAGE_OTHER, 0, 0, 0},
		{"{\"Type\":\"service\",\"Action\":\"start\",\"Actor\":{\"ID\":"
		 "\"6o9aims94wcwdt76wvg7ccp9w\",\"Attributes\":{\"name\":\"web\"}}}",
		 ENGINE_MESSAGE_OTHER, 0, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct engine_message m;
		struct err e = {0};

		if (engine_parse_event(cases[i].line, strlen(cases[i].line), &m, &e) != 0)
			fail_msg("case %zu: %s", i, e.text);
		if (m.kind != cases[i].kind || m.event != cases[i].event ||
		    m.signal != cases[i].signal || m.health != cases[i].health)
			fail_msg("case %zu: kind %d event %d signal %d health %d", i,
				 (int)m.kind, (int)m.event, m.signal, (int)m.health);
		if (m.kind != ENGINE_MESSAGE_OTHER)
			assert_string_equal(m.id, ID);
	}
}

static void test_event_time(void **state)
{
	const char *line = CONTAINER("start", "");
	struct engine_message m;

	(void)state;
	assert_int_equal(engine_parse_event(line, strlen(line), &m, NULL), 0);
	assert_true(m.time_ns == 1795258498489725700LL);
}

static void test_hostile_events(void **state)
{
	static const char *const lines[] = {
		"",
		"null",
		"[]",
		"7",
		"\"start\"",
		"{}",
		"{\"Type\":\"container\"",
		"{\"Type\":7,\"Action\":\"start\",\"Actor\":{\"ID\":\"aa\"}}",
		"{\"Type\":\"container\",\"Action\":null,\"Actor\":{\"ID\":\"aa\"}}",
		"{\"Type\":\"container\",\"Action\":\"start\"}",
		"{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":[]}",
		"{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":7}}",
		"{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"\"}}",
		"{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"../"
		"etc\"}}",
		"{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"a?b\"}}",
		"{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"" ID
		"0\"}}",
		"{\"Type\":\"container\",\"Type\":\"network\",\"Action\":\"connect\"}",
		"{\"Type\":\"container\\u0000\",\"Action\":\"die\",\"Actor\":{\"ID\":"
		"\"a\"}}",
		"{\"Type\":\"\xff\",\"Action\":\"die\",\"Actor\":{\"ID\":\"aa\"}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		struct engine_message m;
		struct err e = {0};

		if (engine_parse_event(lines[i], strlen(lines[i]), &m, &e) != -EINVAL)
			fail_msg("case %zu is accepted", i);
		assert_true(e.text[0] != '\0');
	}
}

static void test_deep_nesting(void **state)
{
	static char line[200000];
	struct engine_message m;

	(void)state;
	memset(line, '[', sizeof(line));
	assert_int_equal(engine_parse_event(line, sizeof(line), &m, NULL), -EINVAL);
}

struct lines_seen {
	char text[256];
	unsigned int count;
	size_t longest;
};

static void on_line(void *ctx, const char *line, size_t len)
{
	struct lines_seen *seen = ctx;
	size_t used = strlen(seen->text);

	seen->count++;
	if (len > seen->longest)
		seen->longest = len;
	if (len < 32)
		(void)snprintf(seen->text + used, sizeof(seen->text) - used, "%.*s|",
			       (int)len, line);
}

static void test_lines(void **state)
{
	static const char text[] = "one\n\n\r\ntwo\r\nthree four\nrest";

	(void)state;
	for (size_t piece = 1; piece <= sizeof(text) - 1; piece++) {
		struct engine_lines l = {0};
		struct lines_seen seen = {0};

		for (size_t i = 0; i < sizeof(text) - 1; i += piece) {
			size_t left = sizeof(text) - 1 - i;

			assert_int_equal(engine_lines_feed(&l, text + i,
							   left < piece ? left : piece,
							   on_line, &seen),
					 0);
		}
		assert_string_equal(seen.text, "one|two|three four|");
		assert_int_equal(engine_lines_feed(&l, "\n", 1, on_line, &seen), 0);
		assert_string_equal(seen.text, "one|two|three four|rest|");
		engine_lines_fini(&l);
	}
}

static void test_long_lines(void **state)
{
	struct engine_lines l = {0};
	struct lines_seen seen = {0};
	auto_free char *longest = malloc(ENGINE_LINE_MAX + 1);

	(void)state;
	assert_non_null(longest);
	memset(longest, 'a', ENGINE_LINE_MAX + 1);
	assert_int_equal(engine_lines_feed(&l, longest, ENGINE_LINE_MAX, on_line, &seen),
			 0);
	assert_int_equal(engine_lines_feed(&l, "\nb\n", 3, on_line, &seen), 0);
	assert_int_equal(seen.longest, ENGINE_LINE_MAX);
	assert_int_equal(seen.count, 2);
	/* one more character: it is left out, and said once */
	assert_int_equal(
		engine_lines_feed(&l, longest, ENGINE_LINE_MAX + 1, on_line, &seen), 1);
	assert_int_equal(engine_lines_feed(&l, longest, ENGINE_LINE_MAX, on_line, &seen),
			 0);
	assert_int_equal(engine_lines_feed(&l, "\nc\n", 3, on_line, &seen), 0);
	assert_string_equal(seen.text, "b|c|");
	assert_true(l.size <= 2 * ENGINE_LINE_MAX);
	engine_lines_fini(&l);
}

static void test_signals(void **state)
{
	static const struct {
		const char *text;
		int number;
	} cases[] = {
		{"1", 1},
		{"15", 15},
		{"64", 64},
		{"SIGTERM", 15},
		{"SIGQUIT", 3},
		{"quit", 3},
		{"sigwinch", 28},
		{"SIGRTMIN", 34},
		{"SIGRTMIN+3", 37},
		{"rtmin+30", 64},
		{"SIGRTMAX", 64},
		{"RTMAX-30", 34},
		{"0", -EINVAL},
		{"65", -EINVAL},
		{"-1", -EINVAL},
		{"", -EINVAL},
		{"SIG", -EINVAL},
		{"SIGFOO", -EINVAL},
		{"RTMIN-1", -EINVAL},
		{"RTMAX+1", -EINVAL},
		{"RTMIN+31", -EINVAL},
		{"RTMIN+", -EINVAL},
		{"15 ", -EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (engine_parse_signal(cases[i].text) != cases[i].number)
			fail_msg("%s: %d", cases[i].text,
				 engine_parse_signal(cases[i].text));
}

static void test_versions(void **state)
{
	static const struct {
		const char *text, *version;
	} cases[] = {
		{"1.12", "1.12"}, {"1.41", "1.41"},
		{"1.47", "1.47"}, {"1.48", "1.47"},
		{"1.55", "1.47"}, {"2.0", "1.47"},
		{"", NULL},	  {"1", NULL},
		{"1.", NULL},	  {".41", NULL},
		{"0.9", NULL},	  {"1.41.2", NULL},
		{"v1.41", NULL},  {"1.99999", NULL},
		{"1.-4", NULL},	  {"11111111111111111111.1", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char version[ENGINE_VERSION_SIZE] = "";
		int r = engine_parse_version(cases[i].text, version);

		if (r != (cases[i].version ? 0 : -EINVAL) ||
		    strcmp(version, cases[i].version ? cases[i].version : "") != 0)
			fail_msg("%s: %d %s", cases[i].text, r, version);
	}
}

static struct engine_inspection *inspect(const char *text)
{
	struct engine_inspection *in = NULL;
	struct err e = {0};

	if (engine_inspection_new(text, strlen(text), &in, &e) != 0)
		fail_msg("%s", e.text);
	return in;
}

/* Engine 29.7 with a health check, two networks and one that is not joined yet. */
static void test_container(void **state)
{
	struct engine_inspection *in = inspect(
		"{\"Id\":\"" ID "\",\"Created\":\"2026-11-21T10:54:22Z\",\"State\":{"
		"\"Status\":\"running\",\"Running\":true,\"Paused\":true,\"Pid\":558,"
		"\"Health\":{\"Status\":\"unhealthy\",\"FailingStreak\":3,\"Log\":null}},"
		"\"Name\":\"/web.2.nhw6\",\"Config\":{\"StopSignal\":\"SIGRTMIN+3\","
		"\"StopTimeout\":45,\"Labels\":{\"com.docker.swarm.service.name\":"
		"\"web\","
		"\"maintainer\":\"x\",\"fairlead.weight\":\"5\","
		"\"com.docker.compose.project\":\"demo\",\"fairleadx\":\"no\"}},"
		"\"NetworkSettings\":{\"SandboxID\":\"x\",\"Networks\":{"
		"\"app\":{\"NetworkID\":\"2iuo8n4\",\"EndpointID\":\"0b540c\"},"
		"\"later\":{\"NetworkID\":\"\",\"EndpointID\":\"\"},"
		"\"null\":null,"
		"\"ingress\":{\"NetworkID\":\"ojy4ab\",\"EndpointID\":\"762ecb\"}}}}");
	const struct engine_container *c = engine_inspection_container(in);

	(void)state;
	assert_string_equal(c->id, ID);
	assert_string_equal(c->name, "web.2.nhw6");
	assert_true(c->running);
	assert_true(c->paused);
	assert_int_equal(c->health, ENGINE_HEALTH_UNHEALTHY);
	assert_int_equal(c->stop_signal, 37);
	assert_int_equal(c->stop_timeout_s, 45);
	assert_int_equal(c->label_count, 3);
	assert_string_equal(c->labels[0].name, "com.docker.swarm.service.name");
	assert_string_equal(c->labels[0].value, "web");
	assert_string_equal(c->labels[1].name, "fairlead.weight");
	assert_string_equal(c->labels[2].name, "com.docker.compose.project");
	assert_int_equal(c->endpoint_count, 2);
	assert_string_equal(c->endpoints[0].network_id, "2iuo8n4");
	assert_string_equal(c->endpoints[0].network_name, "app");
	assert_string_equal(c->endpoints[0].endpoint_id, "0b540c");
	assert_string_equal(c->endpoints[1].endpoint_id, "762ecb");
	engine_inspection_free(in);
}

/* Engine 20.10: what is not set is missing or null. */
static void test_bare_container(void **state)
{
	static const char *const texts[] = {
		"{\"Id\":\"" ID "\",\"State\":{}}",
		"{\"Id\":\"" ID "\",\"Name\":null,\"State\":{\"Running\":null,"
		"\"Health\":null},\"Config\":{\"StopSignal\":null,\"StopTimeout\":null,"
		"\"Labels\":null},\"NetworkSettings\":{\"Networks\":null}}",
		"{\"Id\":\"" ID "\",\"Name\":7,\"State\":{\"Running\":\"yes\","
		"\"Health\":{\"Status\":\"none\"}},\"Config\":{\"StopSignal\":\"FOO\","
		"\"StopTimeout\":\"9\",\"Labels\":[\"fairlead.weight\"]},"
		"\"NetworkSettings\":{\"Networks\":[1]}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct engine_inspection *in = inspect(texts[i]);
		const struct engine_container *c = engine_inspection_container(in);

		assert_string_equal(c->name, "");
		assert_false(c->running);
		assert_false(c->paused);
		assert_int_equal(c->health, ENGINE_HEALTH_NONE);
		assert_int_equal(c->stop_signal, 15);
		assert_int_equal(c->stop_timeout_s, 10);
		assert_int_equal(c->label_count, 0);
		assert_int_equal(c->endpoint_count, 0);
		engine_inspection_free(in);
	}
}

static void test_stop_timeouts(void **state)
{
	static const struct {
		const char *text;
		unsigned int seconds;
	} cases[] = {
		{"0", 0},
		{"-1", ENGINE_STOP_FOREVER},
		{"4294967296", ENGINE_STOP_FOREVER},
		{"1.5", 10},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct engine_inspection *in;
		char text[256];

		(void)str_printf(
			text, sizeof(text),
			"{\"Id\":\"%s\",\"State\":{},\"Config\":{\"StopTimeout\":%s}}",
			ID, cases[i].text);
		in = inspect(text);
		assert_int_equal(engine_inspection_container(in)->stop_timeout_s,
				 cases[i].seconds);
		engine_inspection_free(in);
	}
}

static void test_too_many_labels_and_networks(void **state)
{
	size_t size = 1024 * 1024;
	auto_free char *text = malloc(size);
	size_t len;
	struct engine_inspection *in;

	(void)state;
	assert_non_null(text);
	len = (size_t)snprintf(text, size,
			       "{\"Id\":\"%s\",\"State\":{},\"Config\":{"
			       "\"Labels\":{\"a\":\"\"",
			       ID);
	for (int i = 0; i < 600; i++)
		len += (size_t)snprintf(text + len, size - len, ",\"fairlead.%d\":\"\"",
					i);
	len += (size_t)snprintf(text + len, size - len,
				"}},\"NetworkSettings\":{\"Networks\":{\"a\":{}");
	for (int i = 0; i < 100; i++)
		len += (size_t)snprintf(text + len, size - len,
					",\"n%d\":{\"EndpointID\":\"e\"}", i);
	(void)snprintf(text + len, size - len, "}}}");
	in = inspect(text);
	assert_int_equal(engine_inspection_container(in)->label_count, ENGINE_LABELS_MAX);
	assert_int_equal(engine_inspection_container(in)->endpoint_count,
			 ENGINE_ENDPOINTS_MAX);
	engine_inspection_free(in);
}

static void test_hostile_containers(void **state)
{
	static const char *const texts[] = {
		"",
		"[]",
		"{}",
		"{\"Id\":\"" ID "\"}",
		"{\"Id\":\"" ID "\",\"State\":null}",
		"{\"Id\":\"x/../y\",\"State\":{}}",
		"{\"Id\":null,\"State\":{}}",
		"{\"Id\":\"" ID "\",\"State\":{}",
		"{\"Id\":\"" ID "\",\"State\":{}}}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct engine_inspection *in = NULL;
		struct err e = {0};

		assert_int_equal(
			engine_inspection_new(texts[i], strlen(texts[i]), &in, &e),
			-EINVAL);
		assert_null(in);
		assert_true(e.text[0] != '\0');
	}
}

static void test_lists(void **state)
{
	static const struct {
		const char *text;
		int result;
		unsigned int count;
	} cases[] = {
		{"[]", 0, 0},
		{"[{\"Id\":\"aa\",\"Names\":[\"/x\"]},{\"Id\":\"" ID "\"}]", 0, 2},
		{"{}", -EINVAL, 0},
		{"null", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"[{\"Id\":\"aa\"}", -EINVAL, 0},
		{"[{\"Id\":\"aa\"},7]", -EINVAL, 0},
		{"[{\"Id\":\"a/b\"}]", -EINVAL, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char(*ids)[ENGINE_ID_SIZE] = NULL;
		unsigned int count = 0;

		assert_int_equal(engine_parse_list(cases[i].text, strlen(cases[i].text),
						   &ids, &count, NULL),
				 cases[i].result);
		assert_int_equal(count, cases[i].count);
		if (count == 2)
			assert_string_equal(ids[1], ID);
	}
}

static void test_errors(void **state)
{
	static const struct {
		const char *body, *text;
	} cases[] = {
		{"{\"message\":\"client version 1.30 is too old\"}\n",
		 "client version 1.30 is too old"},
		{"{\"message\":\"\"}", NULL},
		{"{\"message\":{}}", NULL},
		{"page not found", NULL},
		{"", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free char *text =
			engine_parse_error(cases[i].body, strlen(cases[i].body));

		if (cases[i].text)
			assert_string_equal(text, cases[i].text);
		else
			assert_null(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_event_time),
		cmocka_unit_test(test_hostile_events),
		cmocka_unit_test(test_deep_nesting),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_container),
		cmocka_unit_test(test_bare_container),
		cmocka_unit_test(test_stop_timeouts),
		cmocka_unit_test(test_too_many_labels_and_networks),
		cmocka_unit_test(test_hostile_containers),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
