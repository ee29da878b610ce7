// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who may ask for which names, with the real zone and a DNS server that only takes note:
 * sockets and clients come in any order, a task has the networks of all its endpoints.
 */
#include "plugin/names.h"

#include "plugin/base/mem.h"
#include "plugin/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#define TASKS_MAX    4
#define NETWORKS_MAX 8

/* --- the server -------------------------------------------------------------------- */

struct dns_server {
	const struct zone *zone;
	unsigned int sets; /* calls of set_client that were heard */
	struct {
		char key[ACTUAL_KEY_SIZE]; /* "": free */
		char networks[NETWORKS_MAX][LB_ID_SIZE];
		unsigned int network_count;
		char project[LB_NAME_SIZE];
	} tasks[TASKS_MAX];
};

static struct dns_server *server; /* the one that there is */
static bool server_refuses;

int __wrap_dns_server_new(sd_event *event, const struct zone *zone,
			  struct dns_server **ret, struct err *e);
void __wrap_dns_server_free(struct dns_server *s);
int __wrap_dns_server_add(struct dns_server *s, const char *key, int nsfd,
			  struct dns_sockets *sockets, struct err *e);
int __wrap_dns_server_set_client(struct dns_server *s, const char *key,
				 const struct zone_client *client);
void __wrap_dns_server_del(struct dns_server *s, const char *key);

int __wrap_dns_server_new(sd_event *event, const struct zone *zone,
			  struct dns_server **ret, struct err *e)
{
	(void)event;
	if (server_refuses)
		return err_set(e, -EIO, "no server");
	server = calloc(1, sizeof(*server));
	assert_non_null(server);
	server->zone = zone;
	*ret = server;
	return 0;
}

void __wrap_dns_server_free(struct dns_server *s)
{
	free(s);
	server = NULL;
}

static int find_task(const struct dns_server *s, const char *key)
{
	for (int i = 0; i < TASKS_MAX; i++)
		if (!strcmp(s->tasks[i].key, key))
			return i;
	return -1;
}

int __wrap_dns_server_add(struct dns_server *s, const char *key, int nsfd,
			  struct dns_sockets *sockets, struct err *e)
{
	int i = find_task(s, key);

	assert_true(fcntl(nsfd, F_GETFD) >= 0); /* borrowed, and open */
	(void)close(sockets->udp);
	(void)close(sockets->tcp);
	if (server_refuses)
		return err_set(e, -EIO, "no task");
	if (i < 0)
		i = find_task(s, "");
	assert_true(i >= 0);
	memset(&s->tasks[i], 0, sizeof(s->tasks[i]));
	assert_int_equal(str_copy(s->tasks[i].key, sizeof(s->tasks[i].key), key), 0);
	return 0;
}

int __wrap_dns_server_set_client(struct dns_server *s, const char *key,
				 const struct zone_client *client)
{
	int i = find_task(s, key);

	if (i < 0)
		return -ENOENT;
	s->sets++;
	assert_in_range(client->network_count, 0, NETWORKS_MAX);
	for (unsigned int k = 0; k < client->network_count; k++)
		memcpy(s->tasks[i].networks[k], client->networks[k], LB_ID_SIZE);
	s->tasks[i].network_count = client->network_count;
	return str_copy(s->tasks[i].project, sizeof(s->tasks[i].project),
			client->project);
}

void __wrap_dns_server_del(struct dns_server *s, const char *key)
{
	int i = find_task(s, key);

	if (i >= 0)
		memset(&s->tasks[i], 0, sizeof(s->tasks[i]));
}

/* --- the fixture ---------------------------------------------------------------------
 */

static int setup(void **state)
{
	struct names *n = NULL;
	struct err e = {0};

	server_refuses = false;
	if (names_new(NULL, &n, &e) < 0)
		return -1;
	*state = n;
	return 0;
}

static int teardown(void **state)
{
	names_free(*state);
	return server != NULL;
}

static void client(struct names *n, const char *endpoint, const char *network,
		   const char *key, const char *project)
{
	struct change_client c = {0};

	(void)str_copy(c.endpoint, sizeof(c.endpoint), endpoint);
	(void)str_copy(c.network, sizeof(c.network), network);
	(void)str_copy(c.key, sizeof(c.key), key);
	(void)str_copy(c.project, sizeof(c.project), project);
	names_client(n, &c);
}

static int some_fd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void task(struct names *n, const char *key)
{
	struct dns_sockets sockets = {some_fd(), some_fd(), 4242};
	int nsfd = some_fd();

	names_task_added(n, key, nsfd, &sockets);
	assert_int_equal(fcntl(nsfd, F_GETFD), -1); /* taken */
}

/* "net,net project" as the server would use it for this task; "-": unknown. */
static const char *view_of(const char *key)
{
	static char text[256];
	int i = find_task(server, key);
	size_t len = 0;

	if (i < 0)
		return "-";
	text[0] = '\0';
	for (unsigned int k = 0; k < server->tasks[i].network_count; k++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s",
					k ? "," : "", server->tasks[i].networks[k]);
	(void)snprintf(text + len, sizeof(text) - len, " %s", server->tasks[i].project);
	return text;
}

static void set_service(struct names *n, uint32_t mark, const char *network,
			const char *name, uint8_t last)
{
	struct lb_view *v = lb_view_new(0);

	assert_non_null(v);
	v->mark = mark;
	(void)str_copy(v->network, sizeof(v->network), network);
	(void)str_copy(v->name, sizeof(v->name), name);
	v->vip4 = (struct addr){AF_INET, {10, 1, 0, last}};
	names_service(n, mark, v);
	lb_view_put(v);
}

/* Last byte of the address that the task gets for the name; 0: not known. */
static int ask(const char *key, const char *name)
{
	int i = find_task(server, key);
	const char(*networks)[LB_ID_SIZE] =
		(const char(*)[LB_ID_SIZE])server->tasks[i].networks;
	const struct zone_client c = {networks, server->tasks[i].network_count,
				      server->tasks[i].project};
	struct addr found[1] = {{0}};
	struct zone_answer answer = {.list = found, .max = 1};

	if (zone_lookup(server->zone, &c, name, AF_INET, 0, &answer) !=
		    ZONE_RESULT_FOUND ||
	    answer.count == 0)
		return 0;
	return found[0].bytes[3];
}

static void test_any_order(void **state)
{
	struct names *n = *state;

	client(n, "e1", "n1", "/k1", "");
	assert_string_equal(view_of("/k1"), "-");
	task(n, "/k1");
	assert_string_equal(view_of("/k1"), "n1 ");
	task(n, "/k2");
	assert_string_equal(view_of("/k2"), " ");
	client(n, "e2", "n2", "/k2", "p");
	assert_string_equal(view_of("/k2"), "n2 p");
	assert_string_equal(view_of("/k1"), "n1 ");
}

static void test_several_networks(void **state)
{
	struct names *n = *state;

	task(n, "/k1");
	client(n, "e1", "n1", "/k1", "p");
	client(n, "e2", "n2", "/k1", "");
	assert_string_equal(view_of("/k1"), "n1,n2 p");
	client(n, "e3", "n3", "/k1", "p");
	names_client_gone(n, "e2");
	assert_string_equal(view_of("/k1"), "n1,n3 p");
	names_client_gone(n, "e2");
	names_client_gone(n, "e1");
	names_client_gone(n, "e3");
	assert_string_equal(view_of("/k1"), " ");
	client(n, "e1", "n1", "/k1", "");
	assert_string_equal(view_of("/k1"), "n1 ");
}

/* What is told of an endpoint once more replaces what was known. */
static void test_changes(void **state)
{
	struct names *n = *state;

	task(n, "/k1");
	task(n, "/k2");
	client(n, "e1", "n1", "/k1", "");
	client(n, "e1", "n1", "/k1", "shop");
	assert_string_equal(view_of("/k1"), "n1 shop");
	client(n, "e1", "n1", "/k1", "");
	assert_string_equal(view_of("/k1"), "n1 ");
	/* Into another sandbox: the first one has lost the network. */
	client(n, "e1", "n1", "/k2", "shop");
	assert_string_equal(view_of("/k1"), " ");
	assert_string_equal(view_of("/k2"), "n1 shop");
}

static void test_tasks_come_and_go(void **state)
{
	struct names *n = *state;

	client(n, "e1", "n1", "/k1", "p");
	task(n, "/k1");
	names_task_removed(n, "/k1");
	assert_string_equal(view_of("/k1"), "-");
	names_task_removed(n, "/k1");
	task(n, "/k1"); /* Docker's daemon came back: the endpoint is known still */
	assert_string_equal(view_of("/k1"), "n1 p");
	task(n, "/k1"); /* replaced */
	assert_string_equal(view_of("/k1"), "n1 p");
	server_refuses = true;
	task(n, "/k2"); /* nothing is left open */
	assert_string_equal(view_of("/k2"), "-");
}

static void test_services(void **state)
{
	struct names *n = *state;

	task(n, "/k1");
	task(n, "/k2");
	client(n, "e1", "n1", "/k1", "");
	client(n, "e2", "n2", "/k2", "");
	set_service(n, 256, "n1", "web", 200);
	assert_int_equal(ask("/k1", "web"), 200);
	assert_int_equal(ask("/k2", "web"), 0); /* not its network */
	set_service(n, 256, "n1", "web", 201);
	assert_int_equal(ask("/k1", "web"), 201);
	set_service(n, 257, "n2", "web", 7);
	assert_int_equal(ask("/k2", "web"), 7);
	names_service(n, 256, NULL);
	names_service(n, 999, NULL);
	assert_int_equal(ask("/k1", "web"), 0);
	assert_int_equal(ask("/k2", "web"), 7);
	client(n, "e3", "n2", "/k1", ""); /* docker network connect */
	assert_int_equal(ask("/k1", "web"), 7);
	names_client_gone(n, "e3");
	assert_int_equal(ask("/k1", "web"), 0);
}

static void test_no_server(void **state)
{
	struct names *n = NULL;
	struct err e = {0};

	(void)state;
	server_refuses = true;
	assert_int_equal(names_new(NULL, &n, &e), -EIO);
	assert_string_equal(e.text, "no server");
	assert_null(n);
	names_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_any_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_several_networks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_tasks_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_services, setup, teardown),
		cmocka_unit_test(test_no_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
