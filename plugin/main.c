// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fairlead: `serve` is the daemon, everything else is a client of its admin socket
 * (cli.c). This file wires the parts: settings, node, servers, engine client, signals.
 */
#include "driver/kern/ns.h"
#include "lb/balancer.h"
#include "plugin/base/clock.h"
#include "plugin/base/mem.h"
#include "plugin/base/str.h"
#include "plugin/call.h"
#include "plugin/cli.h"
#include "plugin/config.h"
#include "plugin/control.h"
#include "plugin/discovery.h"
#include "plugin/engine.h"
#include "plugin/node.h"
#include "plugin/pulse.h"
#include "plugin/taken.h"
#include "plugin/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define LOG_MODULE "main"
#include "plugin/base/log.h"

#define PLUGIN_BODY_LIMIT    (16U << 20) /* EXPOSE 1-65535 is 1.6 MB for each list */
#define CONTROL_BODY_LIMIT   (64U << 10)
#define CONNECTION_LIMIT     1024
#define SOCKET_MODE	     0660
#define PULSE_PERIOD_MS	     10000
#define SWEEP_PERIOD_MS	     30000 /* a tenth of what is waited for */
#define PULSE_LIMIT	     5	   /* more than 45 s: then systemd may end us */
#define SECOND_LOOK_SLACK_US 1000000
#define DRAIN_POLL_US	     10000
#define DRAIN_LIMIT_US	     8000000 /* Docker sends SIGKILL 10 s after SIGTERM */

struct daemon {
	struct config config;
	sd_event *event;
	const struct balancer_ops *balancer;
	char balancer_why[160];
	struct node *node;
	struct ipam_config ipam;
	struct taken networks; /* all of Docker's, as told last */
	struct calls calls;
	struct metrics metrics;
	struct discovery discovery;
	struct control *control;
	struct engine *engine;
	struct pulse *pulse;
	struct http_server *plugin_server;
	struct http_server *control_server;
	sd_event_source *second_look;
	sd_event_source *drain;
	uint64_t drain_end;
	int locks[3]; /* fds; -1: not taken yet */
	int result;
};

/* --- what the parts tell each other ----------------------------------------------------
 */

static void on_container(void *ctx, const struct engine_container *c)
{
	struct daemon *d = ctx;

	discovery_container(&d->discovery, c);
	for (unsigned int i = 0; i < c->endpoint_count; i++)
		control_set_network_name(d->control, c->endpoints[i].network_id,
					 c->endpoints[i].network_name);
}

/* Our name is that of the plugin's socket; a managed plugin's has a tag. */
static bool is_own_ipam(const struct daemon *d, const char *driver)
{
	const char *slash = strrchr(d->config.plugin_socket, '/');
	const char *name = slash ? slash + 1 : d->config.plugin_socket;
	size_t len = strcspn(name, ".");

	return len && !strncmp(driver, name, len) &&
	       (driver[len] == '\0' || driver[len] == ':');
}

static void on_networks(void *ctx, const struct engine_network *list, unsigned int count)
{
	struct daemon *d = ctx;
	struct taken taken = {0};
	int r = 0;

	for (unsigned int i = 0; i < count; i++) {
		const struct engine_network *n = &list[i];

		control_set_network_name(d->control, n->id, n->name);
		if (is_own_ipam(d, n->ipam_driver))
			continue; /* it knows its pools better */
		for (unsigned int k = 0; r == 0 && k < n->subnet_count; k++)
			r = taken_add(&taken, &n->subnets[k], "network %.64s (%.20s)",
				      n->name, n->driver);
	}
	if (r < 0)
		log_error("no memory for the subnets of Docker's networks");
	taken_clear(&d->networks);
	d->networks = taken;
}

static void on_event(void *ctx, const char *container, enum engine_event event,
		     int signal, enum engine_health health)
{
	struct daemon *d = ctx;

	discovery_event(&d->discovery, container, event, signal, health);
}

static void on_running(void *ctx, const struct engine_running *running)
{
	struct daemon *d = ctx;

	discovery_running(&d->discovery, running);
}

/* Endpoints that no container of the first list has may have belonged to one that was
 * just starting then. */
static int on_second_look(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct daemon *d = userdata;

	(void)source;
	(void)usec;
	engine_relist(d->engine);
	return 0;
}

/* The database was full, perhaps. */
static void on_discovery_lost(void *ctx)
{
	struct daemon *d = ctx;

	engine_relist(d->engine);
}

static void on_engine_state(void *ctx, const char *version, bool synced, const char *text)
{
	struct daemon *d = ctx;

	control_set_engine(d->control, version, synced, text);
	if (version)
		d->calls.all_routes = strverscmp(version, "1.42") < 0;
	sweep_engine_synced(d->node, version && synced);
	if (version && !synced)
		discovery_engine_up(&d->discovery);
}

/* Docker registers the driver when it starts: its firewall rules are new, too. */
static void on_registered(void *ctx)
{
	struct daemon *d = ctx;

	discovery_engine_up(&d->discovery);
}

/* --- balancer
 * ---------------------------------------------------------------------------- */

static int choose_balancer(struct daemon *d, struct err *e)
{
	struct err why = {0};

	switch (d->config.balancer) {
	case CONFIG_BALANCER_IPVS:
		d->balancer = &balancer_ipvs;
		break;
	case CONFIG_BALANCER_NFT:
		d->balancer = &balancer_nft;
		break;
	case CONFIG_BALANCER_AUTO:
		d->balancer = &balancer_ipvs;
		if (balancer_ipvs.probe(&why) < 0) {
			d->balancer = &balancer_nft;
			(void)snprintf(d->balancer_why, sizeof(d->balancer_why), "%.150s",
				       why.text);
		}
		break;
	}
	return d->balancer->probe(e);
}

/* --- servers
 * ------------------------------------------------------------------------------- */

/* A socket of this path from systemd, or -1. */
static int inherited_socket(const char *path)
{
	int count = sd_listen_fds(0);

	for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + count; fd++)
		if (sd_is_socket_unix(fd, SOCK_STREAM, 1, path, 0) > 0)
			return fd;
	return -1;
}

static int make_folder_of(const char *path, struct err *e)
{
	char folder[CONFIG_PATH_SIZE];
	char *slash;

	if (str_copy(folder, sizeof(folder), path) < 0)
		return err_set(e, -ENAMETOOLONG, "%s: path too long", path);
	slash = strrchr(folder, '/');
	if (!slash || slash == folder)
		return 0;
	*slash = '\0';
	if (mkdir(folder, 0755) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "folder %s", folder);
	return 0;
}

static int serve_control(struct daemon *d, struct err *e)
{
	const struct http_config config = {
		.path = d->config.control_socket,
		.listen_fd = inherited_socket(d->config.control_socket),
		.mode = SOCKET_MODE,
		.body_limit = CONTROL_BODY_LIMIT,
		.connection_limit = CONNECTION_LIMIT,
		.handler = control_handle,
		.ctx = d->control};
	int r = make_folder_of(config.path, e);

	return r < 0 ? r : http_server_new(d->event, &config, &d->control_server, e);
}

static int serve_plugin(struct daemon *d, struct err *e)
{
	const struct http_config config = {
		.path = d->config.plugin_socket,
		.listen_fd = inherited_socket(d->config.plugin_socket),
		.mode = SOCKET_MODE,
		.body_limit = PLUGIN_BODY_LIMIT,
		.connection_limit = CONNECTION_LIMIT,
		.handler = call_handle,
		.ctx = &d->calls};
	int r = make_folder_of(config.path, e);

	return r < 0 ? r : http_server_new(d->event, &config, &d->plugin_server, e);
}

static void quit(struct daemon *d, int result)
{
	d->result = result;
	(void)sd_event_exit(d->event, 0); /* the loop runs: this is called from it */
}

/* --- watchdog --------------------------------------------------------------------------
 */

/* Under systemd the loop tells the watchdog that it turns, as long as the workers do. */
static void on_pulse(void *ctx, bool alive)
{
	struct daemon *d = ctx;

	if (sd_event_set_watchdog(d->event, alive) < 0)
		log_warning("no watchdog");
}

static void post_store(void *ctx, struct job *job)
{
	node_post_store_always(((struct daemon *)ctx)->node, job);
}

static void post_kernel(void *ctx, struct job *job)
{
	node_post_kernel(((struct daemon *)ctx)->node, job);
}

static void post_loop(void *ctx, struct job *job)
{
	node_post_loop(((struct daemon *)ctx)->node, job);
}

static int watch_workers(struct daemon *d, struct err *e)
{
	const struct pulse_config config = {
		.period_ms = PULSE_PERIOD_MS,
		.limit = PULSE_LIMIT,
		.count = 2,
		.workers = {{"store", post_store}, {"kernel", post_kernel}},
		.post_loop = post_loop,
		.changed = on_pulse,
		.ctx = d};

	return pulse_new(d->event, &config, &d->pulse, e);
}

/* What was there before is in place (which may take long): now Docker may come. */
static void on_ready(void *ctx, const struct err *state)
{
	const struct engine_callbacks callbacks = {.container = on_container,
						   .networks = on_networks,
						   .event = on_event,
						   .running = on_running,
						   .state = on_engine_state,
						   .ctx = ctx};
	struct daemon *d = ctx;
	struct err e = {0};
	int r;

	if (state->code < 0)
		log_error("starting all the same: %s", state->text);
	d->discovery = (struct discovery){.node = d->node,
					  .lost = on_discovery_lost,
					  .ctx = d,
					  .started_ms = clock_ms()};
	r = engine_new(d->event, d->config.docker_host, &callbacks, &d->engine, &e);
	if (r == 0)
		r = sd_event_add_time_relative(d->event, &d->second_look, CLOCK_MONOTONIC,
					       DISCOVERY_STARTING_LIMIT_MS * 1000UL,
					       SECOND_LOOK_SLACK_US, on_second_look, d);
	if (r >= 0)
		r = watch_workers(d, &e);
	if (r == 0)
		r = serve_plugin(d, &e);
	if (r < 0) {
		log_error("%s", e.code ? e.text : strerrordesc_np(-r));
		quit(d, 1);
		return;
	}
	control_set_ready(d->control, true);
	log_info("ready socket=%s balancer=%s%s%s", d->config.plugin_socket,
		 d->balancer->name, d->balancer_why[0] ? " because=" : "",
		 d->balancer_why);
	(void)sd_notify(0, "READY=1"); /* not under systemd: nothing */
}

/* --- end
 * ---------------------------------------------------------------------------------------
 */

static int on_drain(sd_event_source *source, uint64_t now, void *userdata)
{
	struct daemon *d = userdata;
	unsigned int pending =
		d->plugin_server ? http_server_pending(d->plugin_server) : 0;

	if (pending == 0 || now >= d->drain_end) {
		if (pending)
			log_warning("%u requests are cut off", pending);
		quit(d, 0);
		return 0;
	}
	(void)sd_event_source_set_time_relative(source, DRAIN_POLL_US);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

/* Requests in hand are finished; Docker would repeat a lost one with an empty body. */
static int on_signal(sd_event_source *source, const struct signalfd_siginfo *si,
		     void *userdata)
{
	struct daemon *d = userdata;
	uint64_t now;

	(void)source;
	if (d->drain)
		return 0;
	log_info("stopping signal=%u; the kernel goes on balancing", si->ssi_signo);
	(void)sd_notify(0, "STOPPING=1");
	if (d->plugin_server)
		http_server_drain(d->plugin_server);
	(void)sd_event_now(d->event, CLOCK_MONOTONIC, &now);
	d->drain_end = now + DRAIN_LIMIT_US;
	if (sd_event_add_time(d->event, &d->drain, CLOCK_MONOTONIC, now, 1, on_drain, d) <
	    0)
		quit(d, 1);
	return 0;
}

static int block_signals(sigset_t *ret)
{
	(void)sigemptyset(ret);
	(void)sigaddset(ret, SIGTERM);
	(void)sigaddset(ret, SIGINT);
	(void)sigaddset(ret, SIGPIPE);
	return -pthread_sigmask(SIG_BLOCK, ret, NULL);
}

static int handle_signals(struct daemon *d, struct err *e)
{
	int r = sd_event_add_signal(d->event, NULL, SIGTERM, on_signal, d);

	if (r >= 0)
		r = sd_event_add_signal(d->event, NULL, SIGINT, on_signal, d);
	return r < 0 ? err_sys(e, r, "signals") : 0;
}

/* --- start
 * ---------------------------------------------------------------------------------------
 */

static int make_dir(const char *path, mode_t mode, struct err *e)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "folder %s", path);
	return 0;
}

/* -EBUSY: another daemon has it. *ret is to stay open. */
static int lock_folder(const char *what, const char *path, int *ret, struct err *e)
{
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret < 0)
		return err_sys(e, -errno, "%s folder %s", what, path);
	if (flock(*ret, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return err_set(e, -EBUSY, "%s folder %s is in use by another fairlead",
			       what, path);
	return err_sys(e, -errno, "%s folder %s: lock", what, path);
}

/* The rules of the host are in one table: a name that exists once in each network
 * namespace stands for it. */
static int lock_host(int *ret, struct err *e)
{
	static const struct sockaddr_un name = {.sun_family = AF_UNIX,
						.sun_path = "\0fairlead"};

	*ret = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*ret < 0)
		return err_sys(e, -errno, "socket");
	if (bind(*ret, (const struct sockaddr *)&name,
		 offsetof(struct sockaddr_un, sun_path) + sizeof("fairlead")) == 0)
		return 0;
	if (errno == EADDRINUSE)
		return err_set(e, -EBUSY,
			       "another fairlead serves this network namespace");
	return err_sys(e, -errno, "name of this network namespace");
}

/* Two daemons would each take the other's addresses, sandboxes and rules for
 * left-overs. */
static int lock_all(struct daemon *d, struct err *e)
{
	int r = lock_folder("state", d->config.state_dir, &d->locks[0], e);

	if (r == 0)
		r = lock_folder("run", d->config.run_dir, &d->locks[1], e);
	return r == 0 ? lock_host(&d->locks[2], e) : r;
}

/* A task takes about seven: its namespace, netlink sockets, sockets for its names. The
 * usual soft limit of 1024 is for programs that call select(), as nobody does here. */
static void raise_fd_limit(void)
{
	struct rlimit limit;
	rlim_t before;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return; /* cannot fail */
	before = limit.rlim_cur;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warning("file descriptors: %s, the limit stays at %llu",
			    strerrordesc_np(errno), (unsigned long long)before);
	else
		log_debug("file descriptors limit=%llu before=%llu",
			  (unsigned long long)limit.rlim_max, (unsigned long long)before);
}

static int start_node(struct daemon *d, struct err *e)
{
	const struct config *c = &d->config;
	const struct node_config config = {
		.desired = {.state_dir = c->state_dir,
			    .ipam = d->ipam,
			    .mtu = c->mtu,
			    .schedulers = d->balancer->schedulers,
			    .balancer = d->balancer->name},
		.balancer = d->balancer,
		.run_dir = c->run_dir,
		.dns = c->dns,
		.reconcile_s = c->reconcile_interval_s,
		.sweep_ms = SWEEP_PERIOD_MS,
		.ready = on_ready,
		.ctx = d,
	};

	return node_new(d->event, &config, &d->node, e);
}

static int start(struct daemon *d, struct err *e)
{
	int r = make_dir(d->config.state_dir, 0700, e);

	raise_fd_limit();
	d->ipam = (struct ipam_config){
		.rest_s = d->config.address_rest_s,
		.default_pools4 = d->config.default_pools.v4.cidr,
		.default_size4 = d->config.default_pools.v4.size,
		.default_pools6 = d->config.default_pools.v6.cidr,
		.default_size6 = d->config.default_pools.v6.size,
	};
	if (r == 0)
		r = make_dir(d->config.run_dir, 0755, e);
	if (r == 0)
		r = lock_all(d, e);
	if (r == 0)
		r = ns_setup(d->config.run_dir, e);
	if (r == 0)
		r = choose_balancer(d, e);
	if (r == 0)
		r = handle_signals(d, e);
	if (r == 0 && sd_event_set_watchdog(d->event, true) < 0)
		log_warning("no watchdog"); /* not under systemd it is no error */
	if (r == 0)
		r = start_node(d, e);
	if (r == 0) {
		const struct control_config config = {d->node, d->balancer->name,
						      d->balancer_why, &d->metrics};

		d->calls.node = d->node;
		d->calls.scope =
			d->config.scope == CONFIG_SCOPE_GLOBAL ? "global" : "local";
		d->calls.ipam = &d->ipam;
		d->calls.networks = &d->networks;
		d->calls.registered = on_registered;
		d->calls.ctx = d;
		d->calls.metrics = &d->metrics;
		r = control_new(&config, &d->control, e);
	}
	if (r == 0)
		r = serve_control(d, e);
	return r;
}

/* Servers first: their requests hold jobs of the node. */
static void stop(struct daemon *d)
{
	engine_free(d->engine);
	node_free(d->node);
	pulse_free(d->pulse); /* the node held its jobs */
	http_server_free(d->plugin_server);
	http_server_free(d->control_server);
	control_free(d->control);
	taken_clear(&d->networks);
	sd_event_source_disable_unref(d->second_look);
	sd_event_source_disable_unref(d->drain);
	sd_event_unref(d->event);
	for (size_t i = 0; i < ARRAY_SIZE(d->locks); i++)
		if (d->locks[i] >= 0)
			(void)close(d->locks[i]);
}

static int serve(char *const *args)
{
	struct daemon d = {.locks = {-1, -1, -1}};
	struct err e = {0};
	sigset_t signals;
	int r = config_load(args, environ, &d.config, &e);

	if (r == CONFIG_HELP) {
		config_print_help(stdout);
		return 0;
	}
	if (r < 0) {
		(void)fprintf(stderr, "fairlead: %s\n", e.text);
		return 2;
	}
	if (log_setup(d.config.log) < 0) {
		(void)fprintf(stderr, "fairlead: bad log setting %s\n", d.config.log);
		return 2;
	}
	r = block_signals(&signals);
	if (r == 0)
		r = sd_event_new(&d.event);
	if (r >= 0)
		r = start(&d, &e);
	if (r >= 0)
		r = sd_event_loop(d.event);
	if (r < 0) {
		log_error("%s", e.code ? e.text : strerrordesc_np(-r));
		d.result = 1;
	}
	stop(&d);
	return d.result;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "serve"))
		return serve(argv + 2);
	return cli_main(argc, argv);
}
