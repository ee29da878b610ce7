// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Settings from four sources, each weaker one applied before the stronger: default,
 * file, environment, flag. A setting is a row of the table; its parser writes the
 * typed value into struct config. Every value is checked where it is read, also one
 * that a stronger source replaces: a bad file is found before it is needed.
 */
#include "plugin/config.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#define LINE_SIZE      1024
#define ENV_PREFIX     "FAIRLEAD_"
#define ENV_NAME_SIZE  64
#define MTU_MIN	       1280 /* below, IPv6 does not work */
#define POOL4_SIZE_MAX 29   /* gateway, VIPs and some tasks must fit */
#define POOL6_SIZE_MAX 125

struct setting;

/* Parses text into field; why: the reason of a failure. */
typedef int (*setting_parser)(const struct setting *s, const char *text, void *field,
			      struct err *why);

struct setting {
	const char *name;
	const char *value; /* as in the help: "DIR" */
	const char *initial;
	const char *help;
	setting_parser parse;
	size_t offset;
	size_t size;  /* of a text */
	uint32_t min; /* of a number */
	uint32_t max;
	const char *const *choices; /* of an enum, ended by NULL */
};

static int parse_path(const struct setting *s, const char *text, void *field,
		      struct err *why)
{
	if (text[0] != '/')
		return err_set(why, -EINVAL, "\"%.80s\" is not an absolute path", text);
	if (str_copy(field, s->size, text) < 0)
		return err_set(why, -EINVAL, "the path is longer than %zu characters",
			       s->size - 1);
	return 0;
}

static int parse_url(const struct setting *s, const char *text, void *field,
		     struct err *why)
{
	bool path = str_has_prefix(text, "unix:///") && text[strlen("unix:///")];
	bool host = str_has_prefix(text, "tcp://") && text[strlen("tcp://")];

	if (!path && !host)
		return err_set(why, -EINVAL,
			       "\"%.80s\" is neither unix:///PATH nor tcp://HOST:PORT",
			       text);
	if (str_copy(field, s->size, text) < 0)
		return err_set(why, -EINVAL, "it is longer than %zu characters",
			       s->size - 1);
	return 0;
}

static int parse_choice(const struct setting *s, const char *text, void *field,
			struct err *why)
{
	for (unsigned int i = 0; s->choices[i]; i++) {
		if (!strcmp(text, s->choices[i])) {
			/* All enums here have the size of int; see static_assert. */
			*(unsigned int *)field = i;
			return 0;
		}
	}
	return err_set(why, -EINVAL, "\"%.80s\" is none of %s", text, s->value);
}

static int parse_number(const struct setting *s, const char *text, void *field,
			struct err *why)
{
	if (str_to_u32(text, s->min, s->max, field) < 0)
		return err_set(why, -EINVAL, "\"%.80s\" is not a number from %u to %u",
			       text, s->min, s->max);
	return 0;
}

static int parse_mtu(const struct setting *s, const char *text, void *field,
		     struct err *why)
{
	if (str_to_u32(text, s->min, s->max, field) < 0 && strcmp(text, "0") != 0)
		return err_set(why, -EINVAL,
			       "\"%.80s\" is neither 0 nor a number from %u to %u", text,
			       s->min, s->max);
	if (!strcmp(text, "0"))
		*(uint32_t *)field = 0;
	return 0;
}

static int parse_switch(const struct setting *s, const char *text, void *field,
			struct err *why)
{
	(void)s;
	if (str_to_bool(text, field) < 0)
		return err_set(why, -EINVAL, "\"%.80s\" is neither on nor off", text);
	return 0;
}

static int parse_log(const struct setting *s, const char *text, void *field,
		     struct err *why)
{
	static const char *const levels[] = {"error", "warning", "info", "debug"};
	size_t len = strcspn(text, ",");
	bool known = false;

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		known |= strlen(levels[i]) == len && !strncmp(text, levels[i], len);
	if (!known)
		return err_set(
			why, -EINVAL,
			"\"%.80s\" does not begin with error, warning, info or debug",
			text);
	if (str_copy(field, s->size, text) < 0)
		return err_set(why, -EINVAL, "it is longer than %zu characters",
			       s->size - 1);
	return 0;
}

/* "10.128.0.0/9:24": the last colon is before the size, those of IPv6 are earlier. */
static int parse_pool(const char *text, struct config_pools *ret, struct err *why)
{
	const char *slash = strchr(text, '/');
	const char *colon = slash ? strchr(slash, ':') : NULL;
	char cidr_text[CIDR_TEXT_SIZE];
	struct config_pools p = {0};
	struct cidr network;
	unsigned int max;
	uint32_t size;

	if (!colon || (size_t)(colon - text) >= sizeof(cidr_text))
		return err_set(why, -EINVAL, "\"%.60s\" is not PREFIX/LENGTH:SIZE", text);
	memcpy(cidr_text, text, (size_t)(colon - text));
	cidr_text[colon - text] = '\0';
	if (cidr_parse(cidr_text, &p.cidr) < 0)
		return err_set(why, -EINVAL, "\"%s\" is not a prefix", cidr_text);
	network = cidr_network(&p.cidr);
	if (!cidr_equal(&network, &p.cidr))
		return err_set(why, -EINVAL, "%s has bits behind its length", cidr_text);
	max = p.cidr.addr.family == AF_INET ? POOL4_SIZE_MAX : POOL6_SIZE_MAX;
	if (str_to_u32(colon + 1, p.cidr.prefix, max, &size) < 0)
		return err_set(why, -EINVAL,
			       "the size of the pools of %s must be from %u to %u, not "
			       "\"%.20s\"",
			       cidr_text, p.cidr.prefix, max, colon + 1);
	p.size = (uint8_t)size;
	*ret = p;
	return 0;
}

/* At most one of each family; a family that is not named keeps its default. */
static int parse_pools(const struct setting *s, const char *text, void *field,
		       struct err *why)
{
	struct config_default_pools *pools = field;
	char copy[LINE_SIZE];
	char *rest = copy;
	bool seen4 = false;
	bool seen6 = false;
	char *item;

	(void)s;
	if (str_copy(copy, sizeof(copy), text) < 0)
		return err_set(why, -EINVAL, "it is too long");
	while ((item = strsep(&rest, ","))) {
		struct config_pools p = {0};
		bool v4;
		int r;

		while (isspace((unsigned char)*item))
			item++;
		r = parse_pool(item, &p, why);
		if (r < 0)
			return r;
		v4 = p.cidr.addr.family == AF_INET;
		if (v4 ? seen4 : seen6)
			return err_set(why, -EINVAL, "more than one prefix of IPv%d",
				       v4 ? 4 : 6);
		*(v4 ? &seen4 : &seen6) = true;
		*(v4 ? &pools->v4 : &pools->v6) = p;
	}
	return 0;
}

static const char *const balancers[] = {
	[CONFIG_BALANCER_AUTO] = "auto",
	[CONFIG_BALANCER_IPVS] = "ipvs",
	[CONFIG_BALANCER_NFT] = "nft",
	NULL,
};
static const char *const scopes[] = {
	[CONFIG_SCOPE_LOCAL] = "local",
	[CONFIG_SCOPE_GLOBAL] = "global",
	NULL,
};
_Static_assert(sizeof(enum config_balancer) == sizeof(unsigned int), "see parse_choice");
_Static_assert(sizeof(enum config_scope) == sizeof(unsigned int), "see parse_choice");

#define FIELD(member)                              \
	.offset = offsetof(struct config, member), \
	.size = sizeof(((struct config *)0)->member)

/* The man page fairlead.conf(5) and the sample fairlead.conf describe each of these
 * (tests/lint-man.sh). */
static const struct setting settings[] = {
	{
		.name = "state-dir",
		.value = "DIR",
		.initial = "/var/lib/fairlead",
		.help = "folder of the database",
		.parse = parse_path,
		FIELD(state_dir),
	},
	{
		.name = "run-dir",
		.value = "DIR",
		.initial = "/run/fairlead",
		.help = "folder of the network sandboxes",
		.parse = parse_path,
		FIELD(run_dir),
	},
	{
		.name = "plugin-socket",
		.value = "PATH",
		.initial = "/run/docker/plugins/fairlead.sock",
		.help = "socket for Docker; its file name is the driver's name",
		.parse = parse_path,
		FIELD(plugin_socket),
	},
	{
		.name = "control-socket",
		.value = "PATH",
		.initial = "/run/fairlead/control.sock",
		.help = "socket for fairlead status and health checks",
		.parse = parse_path,
		FIELD(control_socket),
	},
	{
		.name = "docker-host",
		.value = "URL",
		.initial = "unix:///var/run/docker.sock",
		.help = "the engine: unix:///PATH or tcp://HOST:PORT",
		.parse = parse_url,
		FIELD(docker_host),
	},
	{
		.name = "balancer",
		.value = "auto|ipvs|nft",
		.initial = "auto",
		.help = "who spreads connections; auto takes ipvs if the kernel has it",
		.parse = parse_choice,
		.choices = balancers,
		FIELD(balancer),
	},
	{
		.name = "scope",
		.value = "local|global",
		.initial = "local",
		.help = "scope of the networks; global is for Swarm",
		.parse = parse_choice,
		.choices = scopes,
		FIELD(scope),
	},
	{
		.name = "default-pools",
		.value = "LIST",
		.initial = "10.128.0.0/9:24,fd66:6c00::/32:64",
		.help = "where networks without a subnet get one: PREFIX/LENGTH:SIZE,...",
		.parse = parse_pools,
		FIELD(default_pools),
	},
	{
		.name = "address-rest",
		.value = "SECONDS",
		.initial = "60",
		.help = "how long a released address is not given again; 0: not at all",
		.parse = parse_number,
		.min = 0,
		.max = 86400,
		FIELD(address_rest_s),
	},
	{
		.name = "mtu",
		.value = "BYTES",
		.initial = "0",
		.help = "MTU of networks that do not set one; 0: that of the default "
			"route",
		.parse = parse_mtu,
		.min = MTU_MIN,
		.max = 65535,
		FIELD(mtu),
	},
	{
		.name = "dns",
		.value = "on|off",
		.initial = "on",
		.help = "answer the names of services in the containers",
		.parse = parse_switch,
		FIELD(dns),
	},
	{
		.name = "reconcile-interval",
		.value = "SECONDS",
		.initial = "30",
		.help = "pause between two comparisons of the kernel with the database",
		.parse = parse_number,
		.min = 1,
		.max = 86400,
		FIELD(reconcile_interval_s),
	},
	{
		.name = "log",
		.value = "LEVEL[,MODULE...]",
		.initial = "info",
		.help = "error, warning, info or debug; debug only of these modules",
		.parse = parse_log,
		FIELD(log),
	},
};

static const struct setting *find_setting(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (!strcmp(settings[i].name, name))
			return &settings[i];
	return NULL;
}

static int set_value(struct config *c, const struct setting *s, const char *text,
		     struct err *why)
{
	return s->parse(s, text, (char *)c + s->offset, why);
}

static void set_defaults(struct config *c)
{
	memset(c, 0, sizeof(*c));
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		(void)set_value(c, &settings[i], settings[i].initial, NULL); /* tested */
}

/* --- the file --------------------------------------------------------------- */

/* Cuts a comment (from # at the start or after a space) and spaces at both ends. */
static char *strip(char *text)
{
	char *end;

	for (char *p = text; (p = strchr(p, '#')); p++) {
		if (p == text || isspace((unsigned char)p[-1])) {
			*p = '\0';
			break;
		}
	}
	while (isspace((unsigned char)*text))
		text++;
	end = text + strlen(text);
	while (end > text && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return text;
}

static int read_line(struct config *c, char *line, unsigned int number,
		     unsigned int seen[], struct err *why)
{
	char *name = strip(line);
	char *equals = strchr(name, '=');
	const struct setting *s;
	char *value;
	int r;

	if (!*name)
		return 0;
	if (!equals)
		return err_set(why, -EINVAL, "not \"setting = value\"");
	*equals = '\0';
	name = strip(name);
	value = strip(equals + 1);
	s = find_setting(name);
	if (!s)
		return err_set(why, -EINVAL, "unknown setting \"%.80s\"", name);
	if (seen[s - settings])
		return err_set(why, -EINVAL, "%s is set already in line %u", name,
			       seen[s - settings]);
	seen[s - settings] = number;
	r = set_value(c, s, value, why);
	return r < 0 ? err_wrap(why, r, "%s", name) : 0;
}

static int check_line(const char *line, size_t len, struct err *why)
{
	if (len != strlen(line))
		return err_set(why, -EINVAL, "there is a NUL character");
	if (len == LINE_SIZE - 1 && line[len - 1] != '\n')
		return err_set(why, -EINVAL, "the line is longer than %d characters",
			       LINE_SIZE - 2);
	return 0;
}

static int read_lines(struct config *c, FILE *file, const char *path, struct err *e)
{
	unsigned int seen[ARRAY_SIZE(settings)] = {0};
	char line[LINE_SIZE];

	for (unsigned int number = 1;; number++) {
		int r;

		/* fgets does not tell how much it read; a NUL cuts its line short */
		memset(line, '\n', sizeof(line));
		if (!fgets(line, sizeof(line), file))
			break;
		r = check_line(line,
			       (size_t)((char *)memrchr(line, '\0', sizeof(line)) - line),
			       e);
		if (!r)
			r = read_line(c, line, number, seen, e);
		if (r < 0)
			return err_wrap(e, r, "%.120s:%u", path, number);
	}
	return ferror(file) ? err_sys(e, -EIO, "%.120s", path) : 0;
}

static int read_file(struct config *c, const char *path, bool required, struct err *e)
{
	FILE *file = fopen(path, "re");
	int r = -errno;

	if (!file && r == -ENOENT && !required)
		return 0;
	if (!file)
		return err_sys(e, r, "%.120s", path);
	r = read_lines(c, file, path, e);
	(void)fclose(file); /* it was only read */
	return r;
}

/* --- the environment -------------------------------------------------------- */

static void env_name(const char *name, char buf[ENV_NAME_SIZE])
{
	size_t len;

	(void)snprintf(buf, ENV_NAME_SIZE, "%s%s", ENV_PREFIX, name); /* fits */
	len = strlen(buf);
	for (size_t i = 0; i < len; i++)
		buf[i] = (char)(buf[i] == '-' ? '_' : toupper((unsigned char)buf[i]));
}

/* NULL: not there, or empty, which means the same. */
static const char *env_find(char *const *env, const char *name)
{
	size_t len = strlen(name);

	for (; *env; env++)
		if (!strncmp(*env, name, len) && (*env)[len] == '=' && (*env)[len + 1])
			return *env + len + 1;
	return NULL;
}

static int read_env(struct config *c, char *const *env, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
		char name[ENV_NAME_SIZE];
		const char *value;
		int r;

		env_name(settings[i].name, name);
		value = env_find(env, name);
		r = value ? set_value(c, &settings[i], value, e) : 0;
		if (r < 0)
			return err_wrap(e, r, "%s", name);
	}
	return 0;
}

/* --- the command line ------------------------------------------------------- */

/*
 * Takes one flag off *args: "--name=value" or "--name" "value". Sets *ret_s to its
 * setting, or to NULL for --config. CONFIG_HELP for --help.
 */
static int next_flag(char *const **args, const struct setting **ret_s,
		     const char **ret_value, struct err *e)
{
	const char *arg = *(*args)++;
	const char *equals = strchr(arg, '=');
	size_t len = equals ? (size_t)(equals - arg) : strlen(arg);
	char name[ENV_NAME_SIZE];

	if (!strcmp(arg, "--help") || !strcmp(arg, "-h"))
		return CONFIG_HELP;
	if (!str_has_prefix(arg, "--") || len < 3 || len - 2 >= sizeof(name))
		return err_set(e, -EINVAL, "%.80s: not a flag of fairlead serve", arg);
	memcpy(name, arg + 2, len - 2);
	name[len - 2] = '\0';
	*ret_s = find_setting(name);
	if (!*ret_s && strcmp(name, "config") != 0)
		return err_set(e, -EINVAL, "--%s: unknown flag", name);
	if (!equals && !**args)
		return err_set(e, -EINVAL, "--%s: its value is missing", name);
	*ret_value = equals ? equals + 1 : *(*args)++;
	return 0;
}

/* One pass over the flags: into c, or (c NULL) only looking for --config. */
static int read_args(struct config *c, char *const *args, const char **ret_file,
		     struct err *e)
{
	while (*args) {
		const struct setting *s = NULL;
		const char *value = NULL;
		int r = next_flag(&args, &s, &value, e);

		if (r)
			return r;
		if (!s)
			*ret_file = value;
		r = s && c ? set_value(c, s, value, e) : 0;
		if (r < 0)
			return err_wrap(e, r, "--%s", s->name);
	}
	return 0;
}

int config_load(char *const *args, char *const *env, struct config *ret, struct err *e)
{
	const char *file = env_find(env, ENV_PREFIX "CONFIG");
	struct config c;
	int r;

	set_defaults(&c);
	r = read_args(NULL, args, &file, e);
	if (r)
		return r;
	r = read_file(&c, file ? file : CONFIG_FILE_DEFAULT, file != NULL, e);
	if (!r)
		r = read_env(&c, env, e);
	if (!r)
		r = read_args(&c, args, &file, e);
	if (r)
		return r;
	if (!strcmp(c.plugin_socket, c.control_socket))
		return err_set(e, -EINVAL,
			       "--plugin-socket and --control-socket are the same: %s",
			       c.plugin_socket);
	*ret = c;
	return 0;
}

void config_print_help(FILE *out)
{
	(void)fputs("Usage: fairlead serve [--config FILE] [SETTING...]\n\n"
		    "Runs the Docker network and IPAM driver.\n\n"
		    "  --config FILE\n"
		    "      file with settings; the default one may be missing\n"
		    "      (default: " CONFIG_FILE_DEFAULT ")\n",
		    out);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		(void)fprintf(out, "  --%s %s\n      %s\n      (default: %s)\n",
			      settings[i].name, settings[i].value, settings[i].help,
			      settings[i].initial);
	(void)fputs(
		"  -h, --help\n"
		"      this text\n\n"
		"Each setting can also stand in the file as \"setting = value\", and in "
		"the\n"
		"environment: --state-dir is FAIRLEAD_STATE_DIR. A flag wins over the\n"
		"environment, that over the file. See fairlead(8) and "
		"fairlead.conf(5).\n",
		out);
}
