// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Metrics as text. Every family is written in one go, its help and type first, as the
 * format demands; each sample of it has another set of labels. Labels of networks come
 * from users: what is not printable ASCII becomes "?".
 */
#include "plugin/metrics.h"

#include "plugin/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct label {
	const char *name;
	const char *value; /* "": left out, which means the same */
};

/* --- the format; the stream is ours alone, so nothing locks it ---------------------- */

static void family(FILE *out, const char *name, const char *type, const char *help)
{
	(void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_value(FILE *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '\\' || *text == '"')
			(void)putc_unlocked('\\', out);
		(void)putc_unlocked(*text < ' ' || *text > '~' ? '?' : *text, out);
	}
}

static void begin_sample(FILE *out, const char *name, const struct label *labels,
			 unsigned int count)
{
	char separator = '{';

	(void)fputs_unlocked(name, out);
	for (unsigned int i = 0; i < count; i++) {
		if (!*labels[i].value)
			continue;
		(void)putc_unlocked(separator, out);
		(void)fputs_unlocked(labels[i].name, out);
		(void)fputs_unlocked("=\"", out);
		put_value(out, labels[i].value);
		(void)putc_unlocked('"', out);
		separator = ',';
	}
	(void)fputs_unlocked(separator == ',' ? "} " : " ", out);
}

static void sample(FILE *out, const char *name, const struct label *labels,
		   unsigned int count, uint64_t value)
{
	begin_sample(out, name, labels, count);
	(void)fprintf(out, "%" PRIu64 "\n", value);
}

/* A gauge without labels. */
static void gauge(FILE *out, const char *name, const char *help, uint64_t value)
{
	family(out, name, "gauge", help);
	sample(out, name, NULL, 0, value);
}

/* --- pools, networks, services ----------------------------------------------------- */

static const char *name_of(const struct metrics_state *s,
			   const struct gauges_network *network)
{
	return network ? s->network_name(s->ctx, network->id) : "";
}

static uint64_t pool_capacity_value(const struct gauges_pool *p)
{
	return p->capacity;
}

static uint64_t pool_used_value(const struct gauges_pool *p)
{
	return p->used;
}

static void print_pools(FILE *out, const struct metrics_state *s)
{
	static const struct {
		const char *name;
		const char *help;
		uint64_t (*value)(const struct gauges_pool *p);
	} families[] = {
		{"fairlead_pool_capacity_addresses",
		 "Addresses of a pool that containers can get.", pool_capacity_value},
		{"fairlead_pool_used_addresses",
		 "Addresses of a pool that are leased, gateway included.",
		 pool_used_value},
	};

	for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
		family(out, families[f].name, "gauge", families[f].help);
		for (unsigned int i = 0; i < s->gauges->pool_count; i++) {
			const struct gauges_pool *p = &s->gauges->pools[i];
			char text[CIDR_TEXT_SIZE];
			const struct label labels[] = {
				{"space", p->space},
				{"pool", cidr_format(&p->pool, text)},
				{"sub_pool", p->sub_pool},
				{"network", name_of(s, p->network)},
				{"network_id", p->network ? p->network->id : ""},
			};

			sample(out, families[f].name, labels, ARRAY_SIZE(labels),
			       families[f].value(p));
		}
	}
}

static uint64_t vips_capacity_value(const struct registry_vips *v)
{
	return v->capacity;
}

static uint64_t vips_used_value(const struct registry_vips *v)
{
	return v->used;
}

static uint64_t vips_kept_value(const struct registry_vips *v)
{
	return v->kept;
}

static void print_vips(FILE *out, const struct metrics_state *s)
{
	static const struct {
		const char *name;
		const char *help;
		uint64_t (*value)(const struct registry_vips *v);
	} families[] = {
		{"fairlead_vip_capacity_addresses",
		 "Addresses of a VIP range that services can get.", vips_capacity_value},
		{"fairlead_vip_used_addresses",
		 "Addresses of a VIP range that services with containers have.",
		 vips_used_value},
		{"fairlead_vip_kept_addresses",
		 "Addresses of a VIP range kept for names without containers, given away "
		 "when needed.",
		 vips_kept_value},
	};

	for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
		family(out, families[f].name, "gauge", families[f].help);
		for (unsigned int i = 0;
		     i < s->gauges->network_count * GAUGES_FAMILY_COUNT; i++) {
			const struct gauges_network *n =
				&s->gauges->networks[i / GAUGES_FAMILY_COUNT];
			const struct registry_vips *v = &n->vips[i % GAUGES_FAMILY_COUNT];
			char text[CIDR_TEXT_SIZE];
			const struct label labels[] = {
				{"range", cidr_format(&v->range, text)},
				{"network", name_of(s, n)},
				{"network_id", n->id},
			};

			if (addr_is_set(&v->range.addr))
				sample(out, families[f].name, labels, ARRAY_SIZE(labels),
				       families[f].value(v));
		}
	}
}

static void print_leases(FILE *out, const struct metrics_state *s)
{
	static const char *const spaces[] = {IPAM_SPACE_LOCAL, IPAM_SPACE_GLOBAL};

	family(out, "fairlead_leases", "gauge",
	       "Addresses that are leased, in all pools of an address space.");
	for (size_t k = 0; k < ARRAY_SIZE(spaces); k++) {
		const struct label label = {"space", spaces[k]};
		uint64_t total = 0;

		for (unsigned int i = 0; i < s->gauges->pool_count; i++)
			if (!strcmp(s->gauges->pools[i].space, spaces[k]))
				total += s->gauges->pools[i].used;
		sample(out, "fairlead_leases", &label, 1, total);
	}
}

static void print_networks(FILE *out, const struct metrics_state *s)
{
	gauge(out, "fairlead_networks", "Networks.", s->gauges->network_count);
	family(out, "fairlead_endpoints", "gauge", "Endpoints of a network.");
	for (unsigned int i = 0; i < s->gauges->network_count; i++) {
		const struct gauges_network *n = &s->gauges->networks[i];
		const struct label labels[] = {
			{"network", name_of(s, n)},
			{"network_id", n->id},
		};

		sample(out, "fairlead_endpoints", labels, ARRAY_SIZE(labels),
		       n->endpoints);
	}
}

static void print_services(FILE *out, const struct metrics_state *s)
{
	gauge(out, "fairlead_services", "Services that have containers.",
	      s->gauges->services);
	gauge(out, "fairlead_services_kept",
	      "Services without containers whose VIP is kept for their name.",
	      s->gauges->kept);
	gauge(out, "fairlead_services_failing",
	      "Services with containers for which the status shows an error.",
	      s->gauges->failing);
	family(out, "fairlead_backends", "gauge", "Backends of services, by state.");
	for (unsigned int i = 0; i < BACKEND_STATE_COUNT; i++) {
		const struct label label = {"state", backend_state_name(i)};

		sample(out, "fairlead_backends", &label, 1, s->gauges->backends[i]);
	}
}

/* --- calls ------------------------------------------------------------------------- */

static const char *const result_names[METRICS_RESULT_COUNT] = {
	[METRICS_RESULT_OK] = "ok",	      [METRICS_RESULT_REFUSED] = "refused",
	[METRICS_RESULT_INVALID] = "invalid", [METRICS_RESULT_BUSY] = "busy",
	[METRICS_RESULT_FAILED] = "failed",
};

void metrics_count_call(struct metrics *m, const char *method, enum metrics_result result,
			uint64_t us)
{
	unsigned int i = 0;

	if (!m)
		return;
	while (i < m->method_count && m->methods[i].name != method)
		i++;
	if (i == METRICS_METHODS_MAX)
		return;
	if (i == m->method_count)
		m->methods[m->method_count++].name = method;
	m->methods[i].results[result]++;
	m->methods[i].us += us;
}

static void print_calls(FILE *out, const struct metrics *m)
{
	family(out, "fairlead_calls_total", "counter",
	       "Calls of Docker that were answered, by method and result.");
	for (unsigned int i = 0; i < m->method_count; i++) {
		for (unsigned int k = 0; k < METRICS_RESULT_COUNT; k++) {
			const struct label labels[] = {
				{"method", m->methods[i].name},
				{"result", result_names[k]},
			};

			if (m->methods[i].results[k] || k <= METRICS_RESULT_REFUSED)
				sample(out, "fairlead_calls_total", labels,
				       ARRAY_SIZE(labels), m->methods[i].results[k]);
		}
	}
	family(out, "fairlead_call_seconds_total", "counter",
	       "Time from a call of Docker to its answer, by method.");
	for (unsigned int i = 0; i < m->method_count; i++) {
		const struct label label = {"method", m->methods[i].name};
		uint64_t us = m->methods[i].us;

		begin_sample(out, "fairlead_call_seconds_total", &label, 1);
		(void)fprintf(out, "%" PRIu64 ".%06" PRIu64 "\n", us / 1000000,
			      us % 1000000);
	}
}

/* --- the page ---------------------------------------------------------------------- */

static void print_daemon(FILE *out, const struct metrics_state *s)
{
	const struct label build[] = {
		{"version", FAIRLEAD_VERSION},
		{"balancer", s->balancer},
	};

	family(out, "fairlead_build_info", "gauge",
	       "Always 1; its labels tell what runs.");
	sample(out, "fairlead_build_info", build, ARRAY_SIZE(build), 1);
	gauge(out, "fairlead_engine_connected",
	      "Whether the engine's events are followed.", s->connected);
	gauge(out, "fairlead_engine_synced",
	      "Whether every running container is known since the connection.",
	      s->synced);
	family(out, "fairlead_repairs_total", "counter",
	       "Repairs of what differed in the kernel from the database.");
	sample(out, "fairlead_repairs_total", NULL, 0, s->repairs);
}

char *metrics_print(const struct metrics_state *s, size_t *ret_len)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	bool failed;

	if (!out)
		return NULL;
	print_daemon(out, s);
	print_pools(out, s);
	print_leases(out, s);
	print_vips(out, s);
	print_networks(out, s);
	print_services(out, s);
	print_calls(out, s->counters);
	failed = ferror(out) != 0;
	if (fclose(out) != 0 || failed) {
		free(text);
		return NULL;
	}
	*ret_len = len;
	return text;
}
