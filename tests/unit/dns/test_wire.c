// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The DNS codec: questions good and hostile, answers built, cut and compared. Messages
 * lie in memory of exactly their size, so that ASan sees each byte read too far.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lb/dns/wire.h"
#include "plugin/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct bytes {
	const char *data;
	size_t size;
};
#define BYTES(text) ((struct bytes){(text), sizeof(text) - 1})

#define HEADER(qd, an, ns, ar) "\x12\x34\x01\x00\0" qd "\0" an "\0" ns "\0" ar
#define ONE_QUESTION	       HEADER("\1", "\0", "\0", "\0")
#define WITH_OPT	       HEADER("\1", "\0", "\0", "\1")
#define IN_A		       "\0\1\0\1"
#define OPT_1232	       "\0\0\x29\x04\xd0\0\0\x80\0\0\0"

/* Parses a copy on the heap. */
static int parse(struct bytes b, struct wire_query *q)
{
	auto_free uint8_t *copy = malloc(b.size ? b.size : 1);

	assert_non_null(copy);
	memcpy(copy, b.data, b.size);
	return wire_parse_query(copy, b.size, q);
}

static const struct {
	const char *name;
	struct bytes msg;
	int result;
	const char *text;
} questions[] = {
	{"nothing", {"", 0}, -EINVAL, ""},
	{"half a header", {"\x12\x34\x01\0\0\1", 6}, -EINVAL, ""},
	{"an answer", {"\x12\x34\x81\0\0\1\0\0\0\0\0\0\3web\0" IN_A, 21}, -EINVAL, ""},
	{"notify", {"\x12\x34\x20\0\0\1\0\0\0\0\0\0\3web\0" IN_A, 21}, -EOPNOTSUPP, ""},
	{"header only", {ONE_QUESTION, 12}, -EBADMSG, ""},
	{"no question", {HEADER("\0", "\0", "\0", "\0"), 12}, -EBADMSG, ""},
	{"two questions",
	 {HEADER("\2", "\0", "\0", "\0") "\1a\0" IN_A "\1b\0" IN_A, 26},
	 -EBADMSG,
	 ""},
	{"plain", {ONE_QUESTION "\3web\0" IN_A, 21}, 0, "web"},
	{"case", {ONE_QUESTION "\3WeB\4Proj\0" IN_A, 26}, 0, "web.proj"},
	{"root", {ONE_QUESTION "\0" IN_A, 17}, 0, ""},
	{"trailing bytes", {ONE_QUESTION "\3web\0" IN_A "xyz", 24}, 0, "web"},
	{"dot in a label", {ONE_QUESTION "\3a.b\0" IN_A, 21}, 0, ""},
	{"zero in a label", {ONE_QUESTION "\3a\0b\0" IN_A, 21}, 0, ""},
	{"space in a label", {ONE_QUESTION "\3a b\0" IN_A, 21}, 0, ""},
	{"high bit in the 2nd label", {ONE_QUESTION "\1a\2\xff\xfe\0" IN_A, 22}, 0, ""},
	{"name cut off", {ONE_QUESTION "\3we", 15}, -EBADMSG, ""},
	{"name without end", {ONE_QUESTION "\3web", 16}, -EBADMSG, ""},
	{"type cut off", {ONE_QUESTION "\3web\0\0\1", 19}, -EBADMSG, ""},
	{"pointer to itself", {ONE_QUESTION "\xc0\x0c" IN_A, 18}, -EBADMSG, ""},
	{"pointer to the header", {ONE_QUESTION "\xc0\x00" IN_A, 18}, -EBADMSG, ""},
	{"pointer behind a label", {ONE_QUESTION "\1a\xc0\x0c" IN_A, 20}, -EBADMSG, ""},
	{"label type 01",
	 {ONE_QUESTION "\x41"
		       "a" IN_A,
	  18},
	 -EBADMSG,
	 ""},
	{"label type 10",
	 {ONE_QUESTION "\x81"
		       "a" IN_A,
	  18},
	 -EBADMSG,
	 ""},
	{"giant counts",
	 {"\x12\x34\x01\0\0\1\xff\xff\xff\xff\xff\xff\3web\0" IN_A, 21},
	 -EBADMSG,
	 ""},
	{"giant question count",
	 {"\x12\x34\x01\0\xff\xff\0\0\0\0\0\0\3web\0" IN_A, 21},
	 -EBADMSG,
	 ""},
	{"OPT", {WITH_OPT "\3web\0" IN_A OPT_1232, 32}, 0, "web"},
	{"OPT cut off", {WITH_OPT "\3web\0" IN_A OPT_1232, 31}, -EBADMSG, ""},
	{"OPT with too much length",
	 {WITH_OPT "\3web\0" IN_A "\0\0\x29\x04\xd0\0\0\0\0\0\1", 32},
	 -EBADMSG,
	 ""},
	{"OPT with a name",
	 {WITH_OPT "\3web\0" IN_A "\1x\0\0\x29\x04\xd0\0\0\0\0\0\0", 34},
	 -EBADMSG,
	 ""},
	{"two OPT",
	 {HEADER("\1", "\0", "\0", "\2") "\3web\0" IN_A OPT_1232 OPT_1232, 43},
	 -EBADMSG,
	 ""},
	{"OPT among the answers",
	 {HEADER("\1", "\1", "\0", "\0") "\3web\0" IN_A OPT_1232, 32},
	 -EBADMSG,
	 ""},
	{"record whose name points to itself",
	 {WITH_OPT "\3web\0" IN_A "\xc0\x15\0\1\0\1\0\0\0\0\0\0", 33},
	 0,
	 "web"},
	{"record with half a pointer",
	 {WITH_OPT "\3web\0" IN_A "\xc0", 22},
	 -EBADMSG,
	 ""},
};

static void test_questions(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(questions); i++) {
		struct wire_query q;
		int r = parse(questions[i].msg, &q);

		if (r != questions[i].result)
			fail_msg("%s: %d, not %d", questions[i].name, r,
				 questions[i].result);
		if (r == 0 && strcmp(q.name, questions[i].text) != 0)
			fail_msg("%s: name \"%s\"", questions[i].name, q.name);
		if (questions[i].msg.size >= WIRE_HEADER_SIZE)
			assert_int_equal(q.id, 0x1234);
	}
}

/* Every beginning of a good message is refused, and none read too far. */
static void test_cut_off(void **state)
{
	struct bytes b = BYTES(WITH_OPT "\3web\0" IN_A OPT_1232);
	struct wire_query q;

	(void)state;
	assert_int_equal(parse(b, &q), 0);
	while (b.size-- > 0)
		assert_true(parse(b, &q) < 0);
}

static size_t question_of(const char *labels, unsigned int len, unsigned int count,
			  uint8_t *msg)
{
	size_t size = WIRE_HEADER_SIZE;

	memcpy(msg, ONE_QUESTION, WIRE_HEADER_SIZE);
	for (unsigned int i = 0; i < count; i++) {
		msg[size++] = (uint8_t)len;
		memset(msg + size, labels[0], len);
		size += len;
	}
	msg[size++] = 0;
	memcpy(msg + size, IN_A, 4);
	return size + 4;
}

static void test_name_sizes(void **state)
{
	uint8_t msg[1024];
	struct wire_query q;

	(void)state;
	/* 127 labels of one letter: 255 bytes, 253 characters, the most there is */
	assert_int_equal(wire_parse_query(msg, question_of("a", 1, 127, msg), &q), 0);
	assert_int_equal(strlen(q.name), 253);
	assert_int_equal(q.question_size, WIRE_QUESTION_MAX);
	assert_int_equal(wire_parse_query(msg, question_of("a", 1, 128, msg), &q),
			 -EBADMSG);
	assert_int_equal(wire_parse_query(msg, question_of("a", 63, 3, msg), &q), 0);
	assert_int_equal(wire_parse_query(msg, question_of("a", 63, 4, msg), &q),
			 -EBADMSG);
}

static void test_edns(void **state)
{
	struct wire_query q;

	(void)state;
	assert_int_equal(parse(BYTES(ONE_QUESTION "\3web\0" IN_A), &q), 0);
	assert_false(q.has_edns);
	assert_int_equal(q.udp_size, WIRE_UDP_MIN);
	assert_int_equal(q.opt_offset, 0);

	assert_int_equal(parse(BYTES(WITH_OPT "\3web\0" IN_A OPT_1232), &q), 0);
	assert_true(q.has_edns);
	assert_true(q.dnssec_ok);
	assert_int_equal(q.udp_size, 1232);
	assert_int_equal(q.opt_offset, 21);

	assert_int_equal(parse(BYTES(WITH_OPT "\0" IN_A "\0\0\x29\0\1\0\3\0\0\0\0"), &q),
			 0);
	assert_int_equal(q.udp_size, WIRE_UDP_MIN);
	assert_int_equal(q.edns_version, 3);
	assert_int_equal(
		parse(BYTES(WITH_OPT "\0" IN_A "\0\0\x29\xff\xff\0\0\0\0\0\0"), &q), 0);
	assert_int_equal(q.udp_size, WIRE_UDP_MAX);
}

static void test_reverse(void **state)
{
	static const struct {
		const char *name;
		const char *addr; /* NULL: none */
	} cases[] = {
		{"2.0.128.10.in-addr.arpa", "10.128.0.2"},
		{"255.255.255.255.in-addr.arpa", "255.255.255.255"},
		{"256.0.128.10.in-addr.arpa", NULL},
		{"02.0.128.10.in-addr.arpa", NULL},
		{"0.128.10.in-addr.arpa", NULL},
		{"1.2.0.128.10.in-addr.arpa", NULL},
		{"+1.0.128.10.in-addr.arpa", NULL},
		{"2.0.128.10.in-addr.arpa.x", NULL},
		{"2.0.128.10", NULL},
		{"", NULL},
		{"web", NULL},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f."
		 "ip6.arpa",
		 "fd00::1"},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f."
		 "ip6.arpa",
		 NULL},
		{"g.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f."
		 "ip6.arpa",
		 NULL},
		{"1.0.0.0", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr a;
		struct addr want;
		int r = wire_parse_reverse(cases[i].name, &a);

		if ((r == 0) != (cases[i].addr != NULL))
			fail_msg("%s: %d", cases[i].name, r);
		if (r == 0) {
			assert_int_equal(addr_parse(cases[i].addr, &want), 0);
			assert_true(addr_equal(&a, &want));
		}
	}
}

static size_t build(const struct wire_query *q, unsigned int count, uint8_t *data,
		    size_t limit)
{
	struct addr a = {.family = AF_INET, .bytes = {10, 0, 0, 1}};
	struct wire_answer answer;

	wire_answer_begin(&answer, q, data, limit);
	for (unsigned int i = 0; i < count; i++) {
		a.bytes[3] = (uint8_t)i;
		wire_answer_addr(&answer, &a, 5);
	}
	return wire_answer_end(&answer, WIRE_RCODE_NOERROR);
}

static void test_answer(void **state)
{
	static const char want[] = "\x12\x34\x81\x80\0\1\0\1\0\0\0\0\3wEb\0" IN_A
				   "\xc0\x0c" IN_A "\0\0\0\5\0\4\x0a\0\0\0";
	uint8_t data[WIRE_UDP_MIN];
	struct wire_query q;

	(void)state;
	assert_int_equal(parse(BYTES(ONE_QUESTION "\3wEb\0" IN_A), &q), 0);
	assert_int_equal(build(&q, 1, data, sizeof(data)), sizeof(want) - 1);
	assert_memory_equal(data, want, sizeof(want) - 1);
	assert_true(wire_answers(data, sizeof(want) - 1, &q));
}

/* As many as fit, in a buffer of exactly the limit; OPT is always there. */
static void test_answer_limits(void **state)
{
	static const struct {
		bool edns;
		size_t limit;
		unsigned int fit;
	} cases[] = {
		{false, 512, (512 - 21) / 16},
		{true, 512, (512 - 21 - 11) / 16},
		{true, 1232, (1232 - 21 - 11) / 16},
		{true, 4096, (4096 - 21 - 11) / 16},
	};
	struct wire_query q;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bytes b = cases[i].edns ? BYTES(WITH_OPT "\3web\0" IN_A OPT_1232)
					       : BYTES(ONE_QUESTION "\3web\0" IN_A);
		auto_free uint8_t *data = malloc(cases[i].limit);
		size_t size;

		assert_non_null(data);
		assert_int_equal(parse(b, &q), 0);
		size = build(&q, cases[i].fit, data, cases[i].limit);
		assert_int_equal(wire_get16(data + 2) & WIRE_FLAG_TC, 0);
		assert_true(size <= cases[i].limit);
		size = build(&q, cases[i].fit + 1, data, cases[i].limit);
		assert_int_equal(wire_get16(data + 2) & WIRE_FLAG_TC, WIRE_FLAG_TC);
		assert_int_equal(wire_get16(data + 6), cases[i].fit);
		assert_true(size <= cases[i].limit);
		assert_int_equal(wire_get16(data + 10), cases[i].edns ? 1 : 0);
		if (cases[i].edns)
			assert_memory_equal(data + size - 11,
					    "\0\0\x29\x10\0\0\0\x80\0\0\0", 11);
	}
}

static void test_ptr(void **state)
{
	static const struct {
		const char *target;
		struct bytes data; /* empty: no record */
	} cases[] = {
		{"web", {"\3web\0", 5}},
		{"web.proj", {"\3web\4proj\0", 10}},
		{"a..b", {"", 0}},
		{".", {"", 0}},
	};
	uint8_t data[WIRE_UDP_MIN];
	struct wire_query q;

	(void)state;
	assert_int_equal(parse(BYTES(ONE_QUESTION "\1x\0\0\x0c\0\1"), &q), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct wire_answer a;
		size_t size;

		wire_answer_begin(&a, &q, data, sizeof(data));
		wire_answer_ptr(&a, cases[i].target, 1);
		size = wire_answer_end(&a, WIRE_RCODE_NOERROR);
		assert_int_equal(wire_get16(data + 6), cases[i].data.size ? 1 : 0);
		if (!cases[i].data.size)
			continue;
		assert_int_equal(wire_get16(data + size - cases[i].data.size - 2),
				 cases[i].data.size);
		assert_memory_equal(data + size - cases[i].data.size, cases[i].data.data,
				    cases[i].data.size);
	}
}

static void test_errors(void **state)
{
	uint8_t data[WIRE_UDP_MIN];
	struct wire_query q;

	(void)state;
	assert_int_equal(parse(BYTES(ONE_QUESTION "\3we"), &q), -EBADMSG);
	assert_int_equal(wire_error(&q, WIRE_RCODE_FORMERR, data), WIRE_HEADER_SIZE);
	assert_memory_equal(data, "\x12\x34\x81\x81\0\0\0\0\0\0\0\0", 12);

	assert_int_equal(parse(BYTES(WITH_OPT "\3web\0" IN_A OPT_1232), &q), 0);
	assert_int_equal(wire_error(&q, WIRE_RCODE_BADVERS, data), 32);
	assert_int_equal(wire_get16(data + 2) & WIRE_RCODE_MASK, 0);
	assert_int_equal(data[21 + 5], 1); /* the upper bits of 16 */
}

static void test_answers(void **state)
{
	static const struct {
		const char *name;
		struct bytes msg;
		bool is_answer;
	} cases[] = {
		{"same", {"\0\0\x81\0\0\1\0\0\0\0\0\0\3web\0" IN_A, 21}, true},
		{"other case", {"\0\0\x81\0\0\1\0\0\0\0\0\0\3WEB\0" IN_A, 21}, true},
		{"a question", {"\0\0\x01\0\0\1\0\0\0\0\0\0\3web\0" IN_A, 21}, false},
		{"other name", {"\0\0\x81\0\0\1\0\0\0\0\0\0\3wec\0" IN_A, 21}, false},
		{"other type", {"\0\0\x81\0\0\1\0\0\0\0\0\0\3web\0\0\2\0\1", 21}, false},
		{"other class", {"\0\0\x81\0\0\1\0\0\0\0\0\0\3web\0\0\1\0\2", 21}, false},
		{"no question", {"\0\0\x81\0\0\0\0\0\0\0\0\0\3web\0" IN_A, 21}, false},
		{"cut off", {"\0\0\x81\0\0\1\0\0\0\0\0\0\3web\0\0\1\0", 20}, false},
		{"header", {"\0\0\x81\0\0\1\0\0\0\0\0\0", 12}, false},
		{"nothing", {"", 0}, false},
	};
	struct wire_query q;

	(void)state;
	assert_int_equal(parse(BYTES(ONE_QUESTION "\3web\0" IN_A), &q), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		auto_free uint8_t *copy = malloc(cases[i].msg.size + 1);

		assert_non_null(copy);
		memcpy(copy, cases[i].msg.data, cases[i].msg.size);
		if (wire_answers(copy, cases[i].msg.size, &q) != cases[i].is_answer)
			fail_msg("%s", cases[i].name);
	}
}

static void test_truncate(void **state)
{
	auto_free uint8_t *data = malloc(4096);
	struct wire_query q;
	size_t size;

	(void)state;
	assert_non_null(data);
	assert_int_equal(parse(BYTES(WITH_OPT "\3web\0" IN_A OPT_1232), &q), 0);
	size = build(&q, 100, data, 4096);
	assert_int_equal(size, 21 + 1600 + 11);
	assert_int_equal(wire_truncate(data, size, 4096), size);
	assert_int_equal(wire_get16(data + 2) & WIRE_FLAG_TC, 0);

	size = wire_truncate(data, size, 512);
	assert_int_equal(size, 21 + 30 * 16 + 11);
	assert_int_equal(wire_get16(data + 2) & WIRE_FLAG_TC, WIRE_FLAG_TC);
	assert_int_equal(wire_get16(data + 6), 30);
	assert_int_equal(wire_get16(data + 10), 1);
	assert_int_equal(data[21 + 29 * 16 + 15], 29); /* the first ones, in order */
	assert_memory_equal(data + size - 11, "\0\0\x29\x10\0\0\0\x80\0\0\0", 11);
}

/* Records that lie about their size or their number end the answer early. */
static void test_truncate_hostile(void **state)
{
	auto_free uint8_t *data = malloc(1632);
	struct wire_query q;
	size_t size;

	(void)state;
	assert_non_null(data);
	assert_int_equal(parse(BYTES(WITH_OPT "\3web\0" IN_A OPT_1232), &q), 0);
	size = build(&q, 100, data, 1632);
	wire_put16(data + 6, 0xffff);
	wire_put16(data + 8, 0xffff);
	wire_put16(data + 10, 0xffff);
	assert_int_equal(wire_truncate(data, size, 512), 21 + 30 * 16);

	size = build(&q, 100, data, 1632);
	wire_put16(data + 21 + 2 * 16 + 10, 0xfff0); /* the third one's length */
	assert_int_equal(wire_truncate(data, size, 512), 21 + 2 * 16);
	assert_int_equal(wire_get16(data + 6), 2);
	assert_int_equal(wire_get16(data + 10), 0);

	size = build(&q, 100, data, 1632);
	memset(data + 21, 0xff, size - 21);
	assert_int_equal(wire_truncate(data, size, 512), 21);
	assert_int_equal(wire_get16(data + 6), 0);
}

/* Random changes of good messages: nothing but the sanitizers' eyes. */
static void test_mutations(void **state)
{
	struct bytes b = BYTES(WITH_OPT "\3web\4proj\0" IN_A OPT_1232);
	uint32_t seed = 1;
	unsigned int good = 0;

	(void)state;
	for (unsigned int i = 0; i < 20000; i++) {
		auto_free uint8_t *copy = malloc(b.size);
		struct wire_query q;

		assert_non_null(copy);
		memcpy(copy, b.data, b.size);
		for (int k = 0; k < 3; k++) {
			seed = seed * 1664525 + 1013904223;
			copy[(seed >> 8) % b.size] = (uint8_t)(seed >> 24);
		}
		if (wire_parse_query(copy, b.size, &q) == 0) {
			good++;
			assert_true(q.question_size <= WIRE_QUESTION_MAX);
			assert_true(strlen(q.name) < WIRE_NAME_SIZE);
		}
	}
	assert_true(good > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_name_sizes),
		cmocka_unit_test(test_edns),
		cmocka_unit_test(test_reverse),
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_answer_limits),
		cmocka_unit_test(test_ptr),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_truncate),
		cmocka_unit_test(test_truncate_hostile),
		cmocka_unit_test(test_mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
