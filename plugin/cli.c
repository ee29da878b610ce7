// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The dispatcher of the commands and their way to the daemon: one GET over the unix
 * control socket. Where that is, is looked up as the daemon does it: flag,
 * environment, file, default.
 */
#include "plugin/cli.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "plugin/base/mem.h"
#include "plugin/base/str.h"
#include "plugin/config.h"

#define TIMEOUT_S  10L
#define BODY_LIMIT (64UL * 1024 * 1024)

struct body {
	char *data;
	size_t size;
};

/* A command that shows a page of the daemon. */
struct page {
	const char *command;
	const char *url;
	const char *usage;
	/* Prints what the daemon answers with as text. */
	int (*print)(const char *json, size_t len, FILE *out, struct err *e);
};

struct page_options {
	const char *socket; /* NULL: from the settings */
	char *config[3];    /* "--config" FILE NULL, for config_load */
	bool json;
};

static const char usage_text[] =
	"Usage: fairlead COMMAND [OPTION...]\n\n"
	"A Docker network and IPAM driver that gives every service one virtual IP.\n\n"
	"Commands:\n"
	"  serve      run the daemon; see fairlead serve --help\n"
	"  status     show networks, services and backends; see fairlead status --help\n"
	"  pools      show address pools and how full they are; see fairlead pools "
	"--help\n"
	"  version    show the version\n"
	"  help       this text\n\n"
	"Exit status: 0 done, 1 failed, 2 bad command line, 3 the daemon does not run.\n"
	"See fairlead(8) and fairlead.conf(5).\n";

#define PAGE_OPTIONS                                                                     \
	"  --json                 the daemon's answer as it is\n"                        \
	"  --control-socket PATH  socket of the daemon (default: as in the settings)\n"  \
	"  --config FILE          file with the settings (default: " CONFIG_FILE_DEFAULT \
	")\n"                                                                            \
	"  -h, --help             this text\n"

static const struct page status_page = {
	.command = "status",
	.url = "http://localhost/v1/status",
	.usage = "Usage: fairlead status [--json] [--control-socket PATH] "
		 "[--config FILE]\n\n"
		 "Shows the state of the running daemon.\n\n" PAGE_OPTIONS,
	.print = cli_status_print,
};

static const struct page pools_page = {
	.command = "pools",
	.url = "http://localhost/v1/pools",
	.usage = "Usage: fairlead pools [--json] [--control-socket PATH] "
		 "[--config FILE]\n\n"
		 "Shows the address pools of the running daemon and their VIP "
		 "ranges.\n\n" PAGE_OPTIONS,
	.print = cli_pools_print,
};

static size_t on_body(char *data, size_t one, size_t size, void *ctx)
{
	struct body *b = ctx;
	char *grown;

	(void)one;
	if (size > BODY_LIMIT - b->size)
		return 0;
	grown = realloc(b->data, b->size + size + 1);
	if (!grown)
		return 0;
	memcpy(grown + b->size, data, size);
	b->data = grown;
	b->size += size;
	grown[b->size] = '\0';
	return size;
}

/* What a failed transfer means to the person in front of it. */
static int transfer_error(CURL *c, CURLcode code, const char *path, struct err *e)
{
	long os_errno = 0;

	(void)curl_easy_getinfo(c, CURLINFO_OS_ERRNO, &os_errno);
	if (code != CURLE_COULDNT_CONNECT)
		return err_set(e, -EIO, "%.108s: %s", path, curl_easy_strerror(code));
	if (os_errno == EACCES || os_errno == EPERM)
		return err_set(e, -EACCES, "%.108s: permission denied, run it as root",
			       path);
	if (os_errno == ENOENT || os_errno == ECONNREFUSED)
		return err_set(e, -ECONNREFUSED,
			       "the daemon does not run: nobody answers on %.108s", path);
	return err_sys(e, os_errno ? (int)-os_errno : -ECONNREFUSED, "%.108s", path);
}

static CURLcode set_options(CURL *c, const char *path, const char *url, struct body *body)
{
	CURLcode r = curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, path);

	if (!r)
		r = curl_easy_setopt(c, CURLOPT_URL, url);
	if (!r)
		r = curl_easy_setopt(c, CURLOPT_PROXY, ""); /* not from the environment */
	if (r)
		return r;
	(void)curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(c, CURLOPT_TIMEOUT, TIMEOUT_S);
	(void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(c, CURLOPT_WRITEDATA, body);
	return CURLE_OK;
}

/* GET over the socket; body is the caller's, also on error. -ECONNREFUSED: no daemon. */
static int control_get(const char *path, const char *url, struct body *body,
		       struct err *e)
{
	CURL *c = curl_easy_init();
	long status = 0;
	CURLcode code;
	int r = 0;

	if (!c)
		return err_sys(e, -ENOMEM, "curl");
	code = set_options(c, path, url, body);
	if (!code)
		code = curl_easy_perform(c);
	(void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	if (code)
		r = transfer_error(c, code, path, e);
	else if (status != 200)
		r = err_set(e, -EIO, "%.108s: the daemon answers with HTTP status %ld",
			    path, status);
	curl_easy_cleanup(c);
	return r;
}

static int fail(const struct err *e)
{
	(void)fprintf(stderr, "fairlead: %s\n", e->text);
	return e->code == -ECONNREFUSED ? CLI_EXIT_NOT_RUNNING : CLI_EXIT_FAILURE;
}

/* The value of "--name value" or "--name=value" at args[*i], which moves on; NULL: it is
 * another argument, or the value is missing. */
static char *flag_value(char **args, int *i, const char *name)
{
	size_t len = strlen(name);

	if (strncmp(args[*i], name, len) != 0)
		return NULL;
	if (args[*i][len] == '=')
		return args[*i] + len + 1;
	return args[*i][len] ? NULL : args[*i + 1] ? args[++*i] : NULL;
}

/* The output may be a full disk. */
static int print(const char *text)
{
	struct err e = {0};

	if (fputs(text, stdout) >= 0 && fflush(stdout) == 0)
		return CLI_EXIT_OK;
	(void)err_sys(&e, -errno, "output");
	return fail(&e);
}

static int page_usage_error(const struct page *page, const char *arg)
{
	(void)fprintf(
		stderr,
		"fairlead: %s: bad or incomplete option %s\nTry: fairlead %s --help\n",
		page->command, arg, page->command);
	return CLI_EXIT_USAGE;
}

/* -1: go on, else an exit status. */
static int read_options(const struct page *page, char **args, struct page_options *o)
{
	for (int i = 0; args[i]; i++) {
		char *value;

		if (!strcmp(args[i], "--help") || !strcmp(args[i], "-h"))
			return print(page->usage);
		if (!strcmp(args[i], "--json")) {
			o->json = true;
		} else if ((value = flag_value(args, &i, "--control-socket"))) {
			o->socket = value;
		} else if ((value = flag_value(args, &i, "--config"))) {
			o->config[0] = (char *)"--config";
			o->config[1] = value;
		} else {
			return page_usage_error(page, args[i]);
		}
	}
	return -1;
}

static int show_page(const struct page *page, char **args)
{
	struct page_options o = {0};
	auto_free char *data = NULL;
	struct body body = {0};
	struct config config;
	struct err e = {0};
	int r = read_options(page, args, &o);

	if (r >= 0)
		return r;
	if (!o.socket) {
		r = config_load(o.config, environ, &config, &e);
		if (r < 0)
			return fail(&e);
		o.socket = config.control_socket;
	}
	r = control_get(o.socket, page->url, &body, &e);
	data = body.data;
	if (!r && o.json &&
	    (fputs(data ? data : "", stdout) < 0 || fputc('\n', stdout) < 0 ||
	     fflush(stdout)))
		r = err_sys(&e, -errno, "output");
	else if (!r && !o.json)
		r = page->print(data ? data : "", body.size, stdout, &e);
	return r < 0 ? fail(&e) : CLI_EXIT_OK;
}

static int status_command(char **args)
{
	return show_page(&status_page, args);
}

static int pools_command(char **args)
{
	return show_page(&pools_page, args);
}

static int version_command(char **args)
{
	(void)args;
	return print("fairlead " FAIRLEAD_VERSION "\n");
}

static int help_command(char **args)
{
	(void)args;
	return print(usage_text);
}

int cli_main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(char **args);
	} commands[] = {
		{"status", status_command},   {"pools", pools_command},
		{"version", version_command}, {"--version", version_command},
		{"-V", version_command},      {"help", help_command},
		{"--help", help_command},     {"-h", help_command},
	};

	if (argc < 2) {
		(void)fputs(usage_text, stderr);
		return CLI_EXIT_USAGE;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argv + 2);
	(void)fprintf(stderr, "fairlead: unknown command %s\nTry: fairlead --help\n",
		      argv[1]);
	return CLI_EXIT_USAGE;
}
