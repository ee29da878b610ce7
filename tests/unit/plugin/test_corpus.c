// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Replays the fuzz corpora that concern this folder, as they are and damaged byte by
 * byte. The targets abort on a broken promise. Runs from the root of the source tree.
 */
#include "tests/fuzz/fuzz_api.c" /* a target has no header: its entry is libFuzzer's */

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define CORPUS_API	"tests/fuzz/corpus/api"
#define CORPUS_FILE_MAX 65536
#define DAMAGE_MAX	2048 /* larger inputs are replayed only as they are */

/* Runs the input from memory that ends where it ends. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	assert_non_null(copy);
	memcpy(copy, data, size);
	assert_int_equal(LLVMFuzzerTestOneInput(copy, size), 0);
	free(copy);
}

static void run_damaged(uint8_t *data, size_t size)
{
	static const uint8_t bytes[] = {'"', '0', '}', 0, 0xff};

	for (size_t i = 0; i < size; i++) {
		uint8_t old = data[i];

		data[i] = bytes[i % ARRAY_SIZE(bytes)];
		run(data, size);
		data[i] = (uint8_t)(old ^ 1);
		run(data, size);
		data[i] = old;
		run(data, i);
	}
}

static size_t load(const char *name, uint8_t *data)
{
	char path[PATH_MAX];
	size_t size;
	FILE *f;

	(void)snprintf(path, sizeof(path), CORPUS_API "/%s", name);
	f = fopen(path, "r");
	assert_non_null(f);
	size = fread(data, 1, CORPUS_FILE_MAX, f);
	assert_true(feof(f)); /* all of it */
	fclose(f);
	return size;
}

static void test_api(void **state)
{
	auto_free uint8_t *data = malloc(CORPUS_FILE_MAX);
	struct dirent **list = NULL;
	int count;

	(void)state;
	assert_non_null(data);
	count = scandir(CORPUS_API, &list, NULL, alphasort);
	assert_true(count > (int)ARRAY_SIZE(decoders));
	for (int i = 0; i < count; i++) {
		if (list[i]->d_name[0] != '.') {
			size_t size = load(list[i]->d_name, data);

			run(data, size);
			if (size <= DAMAGE_MAX)
				run_damaged(data, size);
		}
		free(list[i]);
	}
	free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_api),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
