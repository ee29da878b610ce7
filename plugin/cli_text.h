/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_CLI_TEXT_H
#define PLUGIN_CLI_TEXT_H
/* Text for the operator's terminal. Thread: main. */
#include <stddef.h>
#include <stdio.h>

#define CLI_TEXT_COLUMNS 100 /* of a line */
#define CLI_TEXT_SIZE	 512 /* of an item in bytes; longer ones are cut */

/* Copies text into buf without control characters; "?" stands for them. Returns buf. */
const char *cli_text_clean(const char *text, char *buf, size_t size);
/* Characters of UTF-8 text: all bytes but the following ones. */
unsigned int cli_text_width(const char *text);
void cli_text_spaces(FILE *out, unsigned int count);
/* text, cleaned, in a column of size characters and a gap of two; what is too long ends
 * in "~". */
void cli_text_cell(FILE *out, const char *text, unsigned int size);

#endif
