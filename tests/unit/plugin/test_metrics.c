// SPDX-License-Identifier: GPL-2.0-or-later
/* The text of /metrics, whole, and its counters. */
#include "plugin/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plugin/base/mem.h"

static const char *network_name(void *ctx, const char *id)
{
	(void)ctx;
	return strcmp(id, "n1") ? "" : "a\"p\\p\n\xc3\xbc";
}

static struct cidr prefix(const char *text)
{
	struct cidr c;

	assert_int_equal(cidr_parse(text, &c), 0);
	return c;
}

static char *print(const struct metrics *counters, const struct gauges *gauges)
{
	const struct metrics_state s = {.counters = counters,
					.gauges = gauges,
					.balancer = "nft",
					.connected = true,
					.repairs = 7,
					.network_name = network_name};
	size_t len = 0;
	char *text = metrics_print(&s, &len);

	assert_non_null(text);
	assert_int_equal(len, strlen(text));
	return text;
}

/* The lines of a family, without its help. */
static void assert_family(const char *text, const char *name, const char *expected)
{
	char head[128];
	const char *begin;
	const char *end;

	(void)snprintf(head, sizeof(head), "# HELP %s ", name);
	begin = strstr(text, head);
	if (!begin)
		fail_msg("no family %s in:\n%s", name, text);
	assert_null(strstr(begin + 1, head)); /* once */
	begin = strchr(begin, '\n') + 1;
	end = strstr(begin, "# HELP ");
	if (!end)
		end = begin + strlen(begin);
	if (strlen(expected) != (size_t)(end - begin) ||
	    memcmp(begin, expected, strlen(expected)) != 0)
		fail_msg("%s is\n%.*sand not\n%s", name, (int)(end - begin), begin,
			 expected);
}

static void test_families(void **state)
{
	struct gauges_network networks[] = {
		{.id = "n1",
		 .endpoints = 3,
		 .vips = {{prefix("10.1.0.192/26"), 62, 2, 1}}},
		{.id = "n2",
		 .vips = {{.capacity = 0}, {prefix("fd00::/66"), UINT64_MAX, 0, 0}}},
	};
	struct gauges_pool pools[] = {
		{.space = "fairlead-local",
		 .pool = prefix("10.1.0.0/24"),
		 .capacity = 189,
		 .used = 5,
		 .network = &networks[0]},
		{.space = "fairlead-local",
		 .pool = prefix("10.2.0.0/16"),
		 .sub_pool = "10.2.5.0/24",
		 .capacity = 254},
		{.space = "fairlead-local",
		 .pool = prefix("fd00::/64"),
		 .capacity = UINT64_MAX,
		 .used = 1,
		 .network = &networks[1]},
	};
	const struct gauges gauges = {
		.pools = pools,
		.pool_count = 3,
		.networks = networks,
		.network_count = 2,
		.services = 4,
		.kept = 1,
		.failing = 2,
		.backends = {[BACKEND_STATE_ACTIVE] = 9, [BACKEND_STATE_DRAINING] = 1},
	};
	static const struct {
		const char *name;
		const char *text;
	} cases[] = {
		{"fairlead_build_info", "# TYPE fairlead_build_info gauge\n"
					"fairlead_build_info{version=\"" FAIRLEAD_VERSION
					"\",balancer=\"nft\"} 1\n"},
		{"fairlead_engine_connected",
		 "# TYPE fairlead_engine_connected gauge\nfairlead_engine_connected "
		 "1\n"},
		{"fairlead_engine_synced",
		 "# TYPE fairlead_engine_synced gauge\nfairlead_engine_synced 0\n"},
		{"fairlead_repairs_total",
		 "# TYPE fairlead_repairs_total counter\nfairlead_repairs_total 7\n"},
		{"fairlead_pool_capacity_addresses",
		 "# TYPE fairlead_pool_capacity_addresses gauge\n"
		 "fairlead_pool_capacity_addresses{space=\"fairlead-local\","
		 "pool=\"10.1.0.0/24\",network=\"a\\\"p\\\\p\?\?\?\",network_id=\"n1\"} "
		 "189\n"
		 "fairlead_pool_capacity_addresses{space=\"fairlead-local\","
		 "pool=\"10.2.0.0/16\",sub_pool=\"10.2.5.0/24\"} 254\n"
		 "fairlead_pool_capacity_addresses{space=\"fairlead-local\","
		 "pool=\"fd00::/64\",network_id=\"n2\"} 18446744073709551615\n"},
		{"fairlead_pool_used_addresses",
		 "# TYPE fairlead_pool_used_addresses gauge\n"
		 "fairlead_pool_used_addresses{space=\"fairlead-local\","
		 "pool=\"10.1.0.0/24\",network=\"a\\\"p\\\\p\?\?\?\",network_id=\"n1\"} "
		 "5\n"
		 "fairlead_pool_used_addresses{space=\"fairlead-local\","
		 "pool=\"10.2.0.0/16\",sub_pool=\"10.2.5.0/24\"} 0\n"
		 "fairlead_pool_used_addresses{space=\"fairlead-local\","
		 "pool=\"fd00::/64\",network_id=\"n2\"} 1\n"},
		{"fairlead_leases", "# TYPE fairlead_leases gauge\n"
				    "fairlead_leases{space=\"fairlead-local\"} 6\n"
				    "fairlead_leases{space=\"fairlead-global\"} 0\n"},
		{"fairlead_vip_capacity_addresses",
		 "# TYPE fairlead_vip_capacity_addresses gauge\n"
		 "fairlead_vip_capacity_addresses{range=\"10.1.0.192/26\","
		 "network=\"a\\\"p\\\\p\?\?\?\",network_id=\"n1\"} 62\n"
		 "fairlead_vip_capacity_addresses{range=\"fd00::/66\",network_id=\"n2\"} "
		 "18446744073709551615\n"},
		{"fairlead_vip_used_addresses",
		 "# TYPE fairlead_vip_used_addresses gauge\n"
		 "fairlead_vip_used_addresses{range=\"10.1.0.192/26\","
		 "network=\"a\\\"p\\\\p\?\?\?\",network_id=\"n1\"} 2\n"
		 "fairlead_vip_used_addresses{range=\"fd00::/66\",network_id=\"n2\"} "
		 "0\n"},
		{"fairlead_vip_kept_addresses",
		 "# TYPE fairlead_vip_kept_addresses gauge\n"
		 "fairlead_vip_kept_addresses{range=\"10.1.0.192/26\","
		 "network=\"a\\\"p\\\\p\?\?\?\",network_id=\"n1\"} 1\n"
		 "fairlead_vip_kept_addresses{range=\"fd00::/66\",network_id=\"n2\"} "
		 "0\n"},
		{"fairlead_networks",
		 "# TYPE fairlead_networks gauge\nfairlead_networks 2\n"},
		{"fairlead_endpoints",
		 "# TYPE fairlead_endpoints gauge\n"
		 "fairlead_endpoints{network=\"a\\\"p\\\\p\?\?\?\",network_id=\"n1\"} 3\n"
		 "fairlead_endpoints{network_id=\"n2\"} 0\n"},
		{"fairlead_services",
		 "# TYPE fairlead_services gauge\nfairlead_services 4\n"},
		{"fairlead_services_kept",
		 "# TYPE fairlead_services_kept gauge\nfairlead_services_kept 1\n"},
		{"fairlead_services_failing",
		 "# TYPE fairlead_services_failing gauge\nfairlead_services_failing "
		 "2\n"},
		{"fairlead_backends", "# TYPE fairlead_backends gauge\n"
				      "fairlead_backends{state=\"starting\"} 0\n"
				      "fairlead_backends{state=\"active\"} 9\n"
				      "fairlead_backends{state=\"unhealthy\"} 0\n"
				      "fairlead_backends{state=\"paused\"} 0\n"
				      "fairlead_backends{state=\"draining\"} 1\n"},
		{"fairlead_calls_total", "# TYPE fairlead_calls_total counter\n"},
		{"fairlead_call_seconds_total",
		 "# TYPE fairlead_call_seconds_total counter\n"},
	};
	static const struct metrics none;
	auto_free char *text = print(&none, &gauges);
	unsigned int families = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_family(text, cases[i].name, cases[i].text);
	for (const char *p = text; (p = strstr(p, "# HELP ")); p++)
		families++;
	assert_int_equal(families, ARRAY_SIZE(cases));
}

static void test_calls_are_counted(void **state)
{
	static const char *const join = "NetworkDriver.Join";
	static const char *const leave = "NetworkDriver.Leave";
	static const struct gauges nothing;
	struct metrics m = {.method_count = 0};
	auto_free char *text = NULL;

	(void)state;
	metrics_count_call(NULL, join, METRICS_RESULT_OK, 1);
	metrics_count_call(&m, join, METRICS_RESULT_OK, 1500000);
	metrics_count_call(&m, leave, METRICS_RESULT_BUSY, 0);
	metrics_count_call(&m, join, METRICS_RESULT_OK, 1);
	metrics_count_call(&m, join, METRICS_RESULT_REFUSED, 2);
	text = print(&m, &nothing);
	assert_family(
		text, "fairlead_calls_total",
		"# TYPE fairlead_calls_total counter\n"
		"fairlead_calls_total{method=\"NetworkDriver.Join\",result=\"ok\"} 2\n"
		"fairlead_calls_total{method=\"NetworkDriver.Join\",result=\"refused\"} "
		"1\n"
		"fairlead_calls_total{method=\"NetworkDriver.Leave\",result=\"ok\"} 0\n"
		"fairlead_calls_total{method=\"NetworkDriver.Leave\",result=\"refused\"} "
		"0\n"
		"fairlead_calls_total{method=\"NetworkDriver.Leave\",result=\"busy\"} "
		"1\n");
	assert_family(
		text, "fairlead_call_seconds_total",
		"# TYPE fairlead_call_seconds_total counter\n"
		"fairlead_call_seconds_total{method=\"NetworkDriver.Join\"} 1.500003\n"
		"fairlead_call_seconds_total{method=\"NetworkDriver.Leave\"} 0.000000\n");
}

static void test_methods_are_bounded(void **state)
{
	char names[METRICS_METHODS_MAX + 1][8];
	struct metrics m = {.method_count = 0};

	(void)state;
	for (unsigned int i = 0; i <= METRICS_METHODS_MAX; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "m%u", i);
		metrics_count_call(&m, names[i], METRICS_RESULT_OK, 1);
	}
	assert_int_equal(m.method_count, METRICS_METHODS_MAX);
	metrics_count_call(&m, names[METRICS_METHODS_MAX - 1], METRICS_RESULT_OK, 1);
	assert_int_equal(m.methods[METRICS_METHODS_MAX - 1].results[METRICS_RESULT_OK],
			 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_calls_are_counted),
		cmocka_unit_test(test_methods_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
