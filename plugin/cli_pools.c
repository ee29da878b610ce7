// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The table of "fairlead pools". Every cell is made as text first, then each column gets
 * the width of its widest one; names of networks are shortened where a line would be too
 * long.
 */
#include "plugin/cli.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "plugin/base/mem.h"
#include "plugin/base/str.h"
#include "plugin/cli_text.h"

#define CELL_SIZE    160
#define SPACE_PREFIX "fairlead-"  /* of all address spaces: not shown */
#define LARGE	     1000000000.0 /* numbers from here on are shown as powers of ten */
#define ID_SHOWN     12
#define NETWORK_MIN  7 /* "NETWORK" */

enum column {
	COLUMN_POOL,
	COLUMN_SPACE,
	COLUMN_NETWORK,
	COLUMN_CAPACITY,
	COLUMN_USED,
	COLUMN_FREE,
	COLUMN_USE,
	COLUMN_RANGE,
	COLUMN_VIPS,
	COLUMN_COUNT
};

struct row {
	char cells[COLUMN_COUNT][CELL_SIZE];
};

static const struct row head = {{"POOL", "SPACE", "NETWORK", "CAPACITY", "USED", "FREE",
				 "USE", "VIP RANGE", "VIPS"}};

DEFINE_CLEANUP(json_t *, json_decref);

static const char *get_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* "-": it is not there. */
static void put_text(char cell[CELL_SIZE], const char *text)
{
	(void)cli_text_clean(*text ? text : "-", cell, CELL_SIZE);
}

static void put_number(char cell[CELL_SIZE], const json_t *value)
{
	double number = json_number_value(value);

	if (!json_is_number(value))
		put_text(cell, "");
	else
		(void)snprintf(cell, CELL_SIZE, number < LARGE ? "%.0f" : "%.1e", number);
}

static void put_use(char cell[CELL_SIZE], const json_t *pool)
{
	double capacity = json_number_value(json_object_get(pool, "capacity"));
	double used = json_number_value(json_object_get(pool, "used"));

	if (capacity > 0)
		(void)snprintf(cell, CELL_SIZE, "%.0f%%", 100.0 * used / capacity);
	else
		put_text(cell, "");
}

/* "2/62": of services with containers, of all that can be given. */
static void put_vips(char cell[CELL_SIZE], const json_t *vips)
{
	char used[CELL_SIZE];
	char capacity[CELL_SIZE];

	put_text(cell, "");
	if (!json_is_object(vips))
		return;
	put_number(used, json_object_get(vips, "used"));
	put_number(capacity, json_object_get(vips, "capacity"));
	(void)str_printf(cell, CELL_SIZE, "%s/%s", used, capacity); /* numbers fit */
}

static void fill(struct row *row, const json_t *pool)
{
	const char *space = get_text(pool, "space");
	const char *sub = get_text(pool, "sub_pool");
	const char *name = get_text(pool, "network_name");
	char text[CELL_SIZE];

	(void)snprintf(text, sizeof(text), *sub ? "%s (%s)" : "%s%s",
		       get_text(pool, "pool"), sub); /* cut off is fine */
	put_text(row->cells[COLUMN_POOL], text);
	if (str_has_prefix(space, SPACE_PREFIX))
		space += strlen(SPACE_PREFIX);
	put_text(row->cells[COLUMN_SPACE], space);
	(void)snprintf(text, sizeof(text), "%.*s", *name ? CELL_SIZE - 1 : ID_SHOWN,
		       *name ? name : get_text(pool, "network"));
	put_text(row->cells[COLUMN_NETWORK], text);
	put_number(row->cells[COLUMN_CAPACITY], json_object_get(pool, "capacity"));
	put_number(row->cells[COLUMN_USED], json_object_get(pool, "used"));
	put_number(row->cells[COLUMN_FREE], json_object_get(pool, "free"));
	put_use(row->cells[COLUMN_USE], pool);
	put_text(row->cells[COLUMN_RANGE], get_text(pool, "vip_range"));
	put_vips(row->cells[COLUMN_VIPS], json_object_get(pool, "vips"));
}

static void measure(const struct row *row, unsigned int widths[COLUMN_COUNT])
{
	for (unsigned int i = 0; i < COLUMN_COUNT; i++) {
		unsigned int w = cli_text_width(row->cells[i]);

		widths[i] = w > widths[i] ? w : widths[i];
	}
}

/* Takes from the network's column what a line is too long. */
static void fit(unsigned int widths[COLUMN_COUNT])
{
	unsigned int total = 2 * (COLUMN_COUNT - 1);
	unsigned int over;

	for (unsigned int i = 0; i < COLUMN_COUNT; i++)
		total += widths[i];
	if (total <= CLI_TEXT_COLUMNS)
		return;
	over = total - CLI_TEXT_COLUMNS;
	if (widths[COLUMN_NETWORK] < NETWORK_MIN + over)
		widths[COLUMN_NETWORK] = NETWORK_MIN;
	else
		widths[COLUMN_NETWORK] -= over;
}

static void print_row(FILE *out, const struct row *row,
		      const unsigned int widths[COLUMN_COUNT])
{
	for (unsigned int i = 0; i < COLUMN_COUNT - 1; i++)
		cli_text_cell(out, row->cells[i], widths[i]);
	(void)fprintf(out, "%s\n", row->cells[COLUMN_COUNT - 1]);
}

static int print_table(const json_t *pools, FILE *out, struct err *e)
{
	size_t count = json_array_size(pools);
	auto_free struct row *rows = calloc(count + 1, sizeof(*rows));
	unsigned int widths[COLUMN_COUNT] = {0};
	size_t i;
	json_t *pool;

	if (!rows)
		return err_sys(e, -ENOMEM, "pools");
	measure(&head, widths);
	json_array_foreach (pools, i, pool) {
		fill(&rows[i], pool);
		measure(&rows[i], widths);
	}
	fit(widths);
	print_row(out, &head, widths);
	for (i = 0; i < count; i++)
		print_row(out, &rows[i], widths);
	return 0;
}

int cli_pools_print(const char *json, size_t len, FILE *out, struct err *e)
{
	json_error_t je;
	auto_with(json_decref) json_t *root = json_loadb(json, len, 0, &je);
	const json_t *pools = json_object_get(root, "pools");
	int r = 0;

	if (!json_is_object(root))
		return err_set(e, -EINVAL, "pools: %s", root ? "not an object" : je.text);
	if (json_array_size(pools) == 0)
		(void)fputs("no pools\n", out);
	else
		r = print_table(pools, out, e);
	if (r == 0 && (fflush(out) || ferror(out)))
		r = err_sys(e, -EIO, "output");
	return r;
}
