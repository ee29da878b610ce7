// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pieces of tables. Names come from users of Docker: they may be of any length, in UTF-8,
 * and hold what a terminal would obey.
 */
#include "plugin/cli_text.h"

#include <stdbool.h>

const char *cli_text_clean(const char *text, char *buf, size_t size)
{
	size_t n = 0;

	for (; *text && n + 1 < size; text++) {
		unsigned char c = (unsigned char)*text;
		/* U+0080 to U+009F are control characters too */
		bool c1 = c == 0xc2 && (unsigned char)text[1] < 0xa0;

		buf[n++] = (char)(c < ' ' || c == 127 || c1 ? '?' : *text);
		if (c1 && text[1])
			text++;
	}
	buf[n] = '\0';
	return buf;
}

unsigned int cli_text_width(const char *text)
{
	unsigned int n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

void cli_text_spaces(FILE *out, unsigned int count)
{
	(void)fprintf(out, "%*s", (int)count, "");
}

void cli_text_cell(FILE *out, const char *text, unsigned int size)
{
	char buf[CLI_TEXT_SIZE];
	unsigned int left = size;
	const char *p = cli_text_clean(text, buf, sizeof(buf));
	bool cut = cli_text_width(buf) > size;

	for (; *p && (left > (cut ? 1U : 0U) || ((unsigned char)*p & 0xc0) == 0x80);
	     p++) {
		left -= ((unsigned char)*p & 0xc0) != 0x80;
		(void)fputc(*p, out);
	}
	if (cut) {
		(void)fputc('~', out);
		left--;
	}
	cli_text_spaces(out, left + 2);
}
