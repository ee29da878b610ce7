// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The registry on a real database: whole lives of services and backends, told as
 * transitions that the fixture's witness checks for gaps.
 */
#include "tests/unit/lb/fixture.h"

#include "plugin/base/log.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#define LOST_SIZE 64

static void test_first_backend(void **state)
{
	struct fixture *f = *state;
	const char *project;

	add_network(f, NET, "10.1.0.192/26", "fd00::100/120");
	add_endpoint(f, NET, "e1", "10.1.0.2", NULL);
	assert_int_equal(f->changed_calls, 0);
	assert_int_equal(f->assigned_calls, 0);
	run(f, "e1", WEB);
	assert_int_equal(f->changed_calls, 1);
	assert_int_equal(f->assigned_calls, 1);
	assert_backends(web(f), "e1:1");
	assert_vip(web(f), "10.1.0.193", "fd00::101");
	assert_int_equal(web(f)->mark, LB_MARK_FIRST);
	assert_int_equal(web(f)->scheduler, LB_SCHEDULER_RR);
	assert_false(web(f)->dnsrr);
	assert_ptr_equal(registry_endpoint_service(f->registry, "e1", &project), web(f));
	assert_string_equal(project, "shop");
	assert_no_error(f, NET, "web");
	check_witness(f);
}

static void test_driver_option_is_at_once(void **state)
{
	struct fixture *f = *state;
	const char *project;

	add_network(f, NET, "10.1.0.192/26", NULL);
	add_endpoint(f, NET, "e1", "10.1.0.2", "fairlead.service=API fairlead.weight=7");
	assert_backends(view(f, NET, "", "api"), "e1:7");
	/* Its labels do not move it, but its project is known now. */
	run(f, "e1", WEB " fairlead.weight=9");
	assert_backends(view(f, NET, "", "api"), "e1:7");
	assert_null(web(f));
	(void)registry_endpoint_service(f->registry, "e1", &project);
	assert_string_equal(project, "shop");
	check_witness(f);
}

static void test_client_has_project_only(void **state)
{
	struct fixture *f = with_web(state, 1);
	const char *project;

	add_endpoint(f, NET, "cli", "10.1.0.9", NULL);
	run(f, "cli",
	    "com.docker.compose.project=shop fairlead.enable=false "
	    "com.docker.compose.service=web");
	assert_null(registry_endpoint_service(f->registry, "cli", &project));
	assert_string_equal(project, "shop");
	assert_backends(web(f), "e1:1");
	assert_null(registry_endpoint_service(f->registry, "nobody", &project));
	assert_string_equal(project, "");
	check_witness(f);
	del_endpoint(f, "cli");
	assert_int_equal(HASH_COUNT(f->endpoints), 1);
}

static void test_unknown_things(void **state)
{
	struct fixture *f = *state;
	const char *const foreign = "foreign";

	del_network(f, "nothing");
	del_endpoint(f, "nothing");
	event(f, "nothing", REGISTRY_EVENT_DIE, 0, 0);
	see(f, container("c1", &foreign), WEB);
	assert_int_equal(try_endpoint(f, "nothing", "e1", "10.1.0.2", NULL), -ENOENT);
	assert_int_equal(f->changed_calls + f->assigned_calls, 0);
	assert_int_equal(registry_deadline(f->registry), UINT64_MAX);
}

static void test_bad_arguments(void **state)
{
	struct fixture *f = *state;
	char longest[LB_ID_SIZE];
	char too_long[LB_ID_SIZE + 1];
	struct registry_endpoint ep = {
		.id = "e1", .network = NET, .addr4 = address("fd00::1")};
	struct registry_container c = container("", NULL);
	struct err e;

	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	memset(too_long, 'a', sizeof(too_long));
	too_long[sizeof(too_long) - 1] = '\0';
	assert_int_equal(try_network(f, "", NULL, NULL, NULL), -EINVAL);
	assert_int_equal(try_network(f, too_long, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(try_network(f, NET, "fd00::/64", NULL, NULL), -EINVAL);
	assert_int_equal(try_network(f, NET, NULL, "10.0.0.0/24", NULL), -EINVAL);
	add_network(f, longest, "10.1.0.192/26", NULL);
	assert_int_equal(try_endpoint(f, longest, "", "10.1.0.2", NULL), -EINVAL);
	assert_int_equal(try_endpoint(f, longest, too_long, "10.1.0.2", NULL), -EINVAL);
	add_endpoint(f, longest, longest, "10.1.0.2", "fairlead.service=web");
	assert_int_equal(registry_endpoint_add(f->registry, &ep, &e), -EINVAL);
	assert_int_equal(registry_container_seen(f->registry, &c, 0, &e), -EINVAL);
	fixture_restart(f);
	assert_backends(
		view(f, longest, "", "web"),
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:1");
	check_witness(f);
}

static void test_no_callback_for_nothing(void **state)
{
	struct fixture *f = with_web(state, 2);
	unsigned int calls = f->changed_calls + f->assigned_calls;

	add_network(f, NET, "10.1.0.192/26", NULL);
	add_endpoint(f, NET, "e1", "10.1.0.2", NULL);
	run(f, "e1", WEB);
	run(f, "e2", "com.docker.compose.project=shop com.docker.compose.service=WEB");
	health(f, "c-e1", REGISTRY_HEALTH_HEALTHY);
	event(f, "c-e1", REGISTRY_EVENT_KILL, SIGHUP, 1000);
	event(f, "c-e1", REGISTRY_EVENT_UNPAUSE, 0, 1000);
	assert_int_equal(registry_expire(f->registry, 99999, NULL), 0);
	assert_int_equal(registry_reload(f->registry, NULL), 0);
	assert_int_equal(f->changed_calls + f->assigned_calls, calls);
	check_witness(f);
}

static void test_last_takes_the_place(void **state)
{
	struct fixture *f = with_web(state, 4);

	assert_backends(web(f), "e1:1 e2:1 e3:1 e4:1");
	del_endpoint(f, "e2");
	assert_backends(web(f), "e1:1 e4:1 e3:1");
	del_endpoint(f, "e3");
	assert_backends(web(f), "e1:1 e4:1");
	fixture_restart(f);
	check_witness(f);
	add_endpoint(f, NET, "e5", "10.1.0.9", NULL);
	run(f, "e5", WEB);
	del_endpoint(f, "e1");
	assert_backends(web(f), "e5:1 e4:1");
	check_witness(f);
}

static void test_changed_labels_move(void **state)
{
	struct fixture *f = with_web(state, 2);

	run(f, "e2", "com.docker.compose.service=api com.docker.compose.project=shop");
	assert_backends(web(f), "e1:1");
	assert_backends(view(f, NET, "shop", "api"), "e2:1");
	run(f, "e2", NULL);
	assert_backends(view(f, NET, "shop", "api"), "");
	assert_null(registry_endpoint_service(f->registry, "e2", NULL));
	check_witness(f);
}

static void test_address_changes(void **state)
{
	struct fixture *f = with_web(state, 1);
	char text[ADDR_TEXT_SIZE];

	add_endpoint(f, NET, "e1", "10.1.0.77", NULL);
	assert_string_equal(addr_format(&web(f)->backends[0].addr4, text), "10.1.0.77");
	/* The same endpoint on another network is another backend. */
	add_network(f, "net2", "10.2.0.192/26", NULL);
	add_endpoint(f, "net2", "e1", "10.2.0.2", "fairlead.service=web");
	assert_backends(web(f), "");
	assert_backends(view(f, "net2", "", "web"), "e1:1");
	fixture_restart(f);
	check_witness(f);
}

static void test_several_networks(void **state)
{
	struct fixture *f = with_web(state, 1);
	const char *const ids[] = {"e1", "f1"};
	struct registry_container c = container("c-e1", ids);

	add_network(f, "net2", "10.1.0.192/26", NULL);
	add_endpoint(f, "net2", "f1", "10.1.0.2", NULL);
	c.endpoint_count = 2;
	see(f, c, WEB);
	assert_backends(view(f, "net2", "shop", "web"), "f1:1");
	assert_vip(view(f, "net2", "shop", "web"), "10.1.0.193", "");
	assert_int_not_equal(view(f, "net2", "shop", "web")->mark, web(f)->mark);
	/* Disconnected, and the engine's description is faster than Leave. */
	c.endpoint_count = 1;
	see(f, c, WEB);
	assert_backends(view(f, "net2", "shop", "web"), "f1:0");
	assert_backends(web(f), "e1:1");
	fixture_restart(f);
	assert_backends(view(f, "net2", "shop", "web"), "f1:0");
	c.endpoint_count = 2;
	see(f, c, WEB);
	assert_backends(view(f, "net2", "shop", "web"), "f1:1");
	check_witness(f);
}

static void test_endpoint_of_another_container(void **state)
{
	struct fixture *f = with_web(state, 1);
	const char *const e1 = "e1";

	see(f, container("other", &e1), "fairlead.service=other");
	assert_backends(web(f), "");
	assert_backends(view(f, NET, "", "other"), "e1:1");
	/* The former one has no endpoint any more and is forgotten. */
	event(f, "c-e1", REGISTRY_EVENT_DIE, 0, 0);
	assert_backends(view(f, NET, "", "other"), "e1:1");
	fixture_restart(f);
	event(f, "c-e1", REGISTRY_EVENT_DIE, 0, 0);
	event(f, "other", REGISTRY_EVENT_DIE, 0, 0);
	assert_backends(view(f, NET, "", "other"), "e1:0");
	see(f, container("c-e1", &e1), WEB);
	assert_backends(web(f), "e1:1");
	check_witness(f);
}

static void test_stop_and_start(void **state)
{
	struct fixture *f = with_web(state, 2);

	event(f, "c-e1", REGISTRY_EVENT_KILL, SIGTERM, 5000);
	assert_backends(web(f), "e1:0 e2:1");
	assert_string_equal(list(f, NET, "web").backends,
			    "e1 draining 0 c-e1\ne2 active 1 c-e2\n");
	/* The engine still sees it running: that takes nothing back. */
	run(f, "e1", WEB);
	assert_backends(web(f), "e1:0 e2:1");
	event(f, "c-e1", REGISTRY_EVENT_DIE, 0, 6000);
	assert_int_equal(registry_deadline(f->registry), UINT64_MAX);
	del_endpoint(f, "e1");
	assert_backends(web(f), "e2:1");
	/* Started again, with a new endpoint. */
	add_endpoint(f, NET, "e9", "10.1.0.2", NULL);
	see(f, container("c-e1", &(const char *){"e9"}), WEB);
	assert_backends(web(f), "e2:1 e9:1");
	check_witness(f);
}

static void test_signal_that_does_not_end(void **state)
{
	struct fixture *f = with_web(state, 2);

	event(f, "c-e1", REGISTRY_EVENT_KILL, SIGTERM, 5000);
	event(f, "c-e2", REGISTRY_EVENT_KILL, SIGKILL, 4000);
	assert_backends(web(f), "e1:0 e2:0");
	assert_int_equal(registry_deadline(f->registry), 19000);
	assert_int_equal(registry_expire(f->registry, 18999, NULL), 0);
	assert_backends(web(f), "e1:0 e2:0");
	assert_int_equal(registry_expire(f->registry, 19000, NULL), 0);
	assert_backends(web(f), "e1:0 e2:1");
	assert_int_equal(registry_deadline(f->registry), 20000);
	assert_int_equal(registry_expire(f->registry, 30000, NULL), 0);
	assert_backends(web(f), "e1:1 e2:1");
	assert_int_equal(registry_deadline(f->registry), UINT64_MAX);
	check_witness(f);
}

static void test_draining_survives_restart(void **state)
{
	struct fixture *f = with_web(state, 2);

	event(f, "c-e1", REGISTRY_EVENT_KILL, SIGTERM, 5000);
	health(f, "c-e2", REGISTRY_HEALTH_STARTING);
	fixture_restart(f);
	check_witness(f);
	assert_backends(web(f), "e1:0 e2:0");
	/* The clock may be another one: the time begins anew. */
	assert_int_equal(registry_deadline(f->registry), 0);
	assert_int_equal(registry_expire(f->registry, 100, NULL), 0);
	assert_int_equal(registry_deadline(f->registry), 15100);
	assert_int_equal(registry_expire(f->registry, 15100, NULL), 0);
	assert_backends(web(f), "e1:1 e2:0");
	check_witness(f);
}

static void test_pause(void **state)
{
	struct fixture *f = with_web(state, 2);

	event(f, "c-e1", REGISTRY_EVENT_PAUSE, 0, 0);
	assert_backends(web(f), "e1:0 e2:1");
	event(f, "c-e1", REGISTRY_EVENT_UNPAUSE, 0, 0);
	assert_backends(web(f), "e1:1 e2:1");
	check_witness(f);
}

static void test_health_and_fail_open(void **state)
{
	struct fixture *f = with_web(state, 3);

	health(f, "c-e1", REGISTRY_HEALTH_UNHEALTHY);
	assert_backends(web(f), "e1:0 e2:1 e3:1");
	health(f, "c-e2", REGISTRY_HEALTH_STARTING);
	event(f, "c-e3", REGISTRY_EVENT_PAUSE, 0, 0);
	/* Only the unhealthy one takes traffic now: not those known to be unable. */
	assert_backends(web(f), "e1:1 e2:0 e3:0");
	assert_error(f, NET, "web", "no backend is healthy");
	health(f, "c-e2", REGISTRY_HEALTH_HEALTHY);
	assert_backends(web(f), "e1:0 e2:1 e3:0");
	assert_no_error(f, NET, "web");
	check_witness(f);
}

static void test_health_is_ignored(void **state)
{
	struct fixture *f = with_web(state, 2);

	run(f, "e1", WEB " fairlead.health=none");
	health(f, "c-e1", REGISTRY_HEALTH_UNHEALTHY);
	assert_backends(web(f), "e1:1 e2:1");
	run(f, "e1", WEB);
	health(f, "c-e1", REGISTRY_HEALTH_UNHEALTHY);
	assert_backends(web(f), "e1:0 e2:1");
}

static void test_not_running_when_seen(void **state)
{
	struct fixture *f = with_web(state, 1);
	struct registry_container c = container("c-e1", NULL);

	/* A stopped container has no endpoints for the engine. */
	c.running = false;
	see(f, c, WEB);
	assert_backends(web(f), "e1:0");
	run(f, "e1", WEB);
	assert_backends(web(f), "e1:1");
}

/* --- the containers that run --------------------------------------------------- */

static void note_lost(void *ctx, const char *endpoint)
{
	char *lost = ctx;

	assert_true(strlen(lost) + strlen(endpoint) + 2 <= LOST_SIZE);
	if (lost[0])
		strcat(lost, " ");
	strcat(lost, endpoint);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Tells that only ids (separated by spaces) run; which endpoints are lost. */
static void assert_lost(struct fixture *f, const char *ids, bool complete,
			const char *expected)
{
	char list[8][LB_ID_SIZE] = {0};
	char words[8][8] = {0};
	char copy[LOST_SIZE];
	char lost[LOST_SIZE] = "";
	char sorted[LOST_SIZE] = "";
	char *save = NULL;
	struct registry_running running = {(const char(*)[LB_ID_SIZE])list, 0, complete,
					   note_lost, lost};
	struct err e = {0};
	unsigned int n = 0;

	assert_return_code(str_copy(copy, sizeof(copy), ids), 0);
	for (char *id = strtok_r(copy, " ", &save); id; id = strtok_r(NULL, " ", &save))
		assert_return_code(str_copy(list[running.count++], LB_ID_SIZE, id), 0);
	assert_int_equal(registry_containers_only(f->registry, &running, 1000, &e), 0);
	for (char *id = strtok_r(lost, " ", &save); id; id = strtok_r(NULL, " ", &save))
		assert_return_code(str_copy(words[n++], sizeof(words[0]), id), 0);
	qsort(words, n, sizeof(words[0]), by_text);
	for (unsigned int i = 0; i < n; i++)
		note_lost(sorted, words[i]);
	assert_string_equal(sorted, expected);
	check_witness(f);
}

/* fairlead was away while "c-e1" ended; nobody will ever tell. */
static void test_ended_unseen(void **state)
{
	struct fixture *f = with_web(state, 3);
	struct err e = {0};

	fixture_restart(f);
	assert_backends(web(f), "e1:1 e2:1 e3:1");
	assert_lost(f, "c-e2 c-e3", true, "e1");
	assert_backends(web(f), "e1:0 e2:1 e3:1");
	/* It stands up again, and then it stays. */
	run(f, "e1", WEB);
	assert_lost(f, "c-e1 c-e2 c-e3 another", true, "");
	assert_backends(web(f), "e1:1 e2:1 e3:1");
	/* None runs any more. */
	assert_lost(f, "", true, "e1 e2 e3");
	assert_backends(web(f), "e1:0 e2:0 e3:0");
	assert_return_code(registry_reload(f->registry, &e), 0);
	assert_lost(f, "", false, "e1 e2 e3");
}

/* Their service is known from a driver option, their container was never seen. */
static void test_endpoints_without_container(void **state)
{
	struct fixture *f = *state;
	struct err e = {0};

	add_network(f, NET, "10.1.0.192/26", NULL);
	add_endpoint(f, NET, "e1", "10.1.0.2", "fairlead.service=web");
	add_endpoint(f, NET, "e2", "10.1.0.3", "fairlead.service=web");
	add_endpoint(f, NET, "e3", "10.1.0.4", "fairlead.service=web");
	assert_lost(f, "", true, ""); /* they came after the start */
	fixture_restart(f);
	assert_lost(f, "", false, ""); /* some that run were not seen */
	run(f, "e2", NULL);
	add_endpoint(f, NET, "e3", "10.1.0.4", "fairlead.service=web");
	add_endpoint(f, NET, "e4", "10.1.0.5", "fairlead.service=web");
	assert_return_code(registry_reload(f->registry, &e), 0); /* is no start */
	assert_lost(f, "c-e2", true, "e1");
	assert_backends(view(f, NET, "", "web"), "e1:1 e2:1 e3:1 e4:1");
}

static void test_weights(void **state)
{
	struct fixture *f = with_web(state, 3);

	run(f, "e1", WEB " fairlead.weight=256");
	run(f, "e2", WEB " fairlead.weight=0");
	run(f, "e3", WEB " fairlead.weight=257");
	assert_backends(web(f), "e1:256 e2:0 e3:1");
	assert_error(f, NET, "web",
		     "label fairlead.weight=257: must be a number from 0 to 256");
	fixture_restart(f);
	check_witness(f);
	assert_error(f, NET, "web", "fairlead.weight=257");
}

static void test_newest_decides(void **state)
{
	struct fixture *f = with_web(state, 2);

	run(f, "e1", WEB " fairlead.scheduler=wlc");
	assert_int_equal(web(f)->scheduler, LB_SCHEDULER_RR);
	assert_error(f, NET, "web", "backends have different options");
	run(f, "e2", WEB " fairlead.scheduler=lc");
	assert_int_equal(web(f)->scheduler, LB_SCHEDULER_LC);
	del_endpoint(f, "e2");
	assert_int_equal(web(f)->scheduler, LB_SCHEDULER_WLC);
	assert_no_error(f, NET, "web");
	/* Without backends it stays as it was, also over a restart. */
	del_endpoint(f, "e1");
	assert_int_equal(web(f)->scheduler, LB_SCHEDULER_WLC);
	fixture_restart(f);
	check_witness(f);
	assert_string_equal(list(f, NET, "web").wanted, "wlc");
}

static void test_scheduler_that_balancer_lacks(void **state)
{
	struct fixture *f = with_web(state, 1);

	f->schedulers = 1U << LB_SCHEDULER_RR | 1U << LB_SCHEDULER_SH;
	fixture_restart(f);
	run(f, "e1", WEB " fairlead.scheduler=mh");
	assert_int_equal(web(f)->scheduler, LB_SCHEDULER_RR);
	assert_error(f, NET, "web", "scheduler mh: the balancer test does not have it");
	assert_string_equal(list(f, NET, "web").wanted, "mh");
	run(f, "e1", WEB " fairlead.scheduler=sh");
	assert_int_equal(web(f)->scheduler, LB_SCHEDULER_SH);
	run(f, "e1", WEB " fairlead.scheduler=best\tever");
	assert_int_equal(web(f)->scheduler, LB_SCHEDULER_RR);
	assert_error(f, NET, "web", "label fairlead.scheduler=best?ever: no such");
	assert_string_equal(list(f, NET, "web").wanted, "best?ever");
}

static void test_network_defaults(void **state)
{
	struct fixture *f = with_web(state, 2);

	run(f, "e2", WEB " fairlead.weight=5");
	assert_int_equal(try_network(f, NET, "10.1.0.192/26", NULL,
				     "fairlead.scheduler=lc fairlead.weight=3 "
				     "fairlead.vip=10.1.0.200"),
			 0);
	assert_int_equal(web(f)->scheduler, LB_SCHEDULER_LC);
	assert_backends(web(f), "e1:3 e2:5");
	assert_vip(web(f), "10.1.0.193", "");
	assert_error(f, NET, "web",
		     "network option fairlead.vip=10.1.0.200: not for a network");
	fixture_restart(f);
	check_witness(f);
}

static void test_dnsrr(void **state)
{
	struct fixture *f = with_web(state, 1);

	run(f, "e1", WEB " fairlead.mode=dnsrr");
	assert_true(web(f)->dnsrr);
	assert_vip(web(f), "", "");
	assert_no_error(f, NET, "web");
	fixture_restart(f);
	check_witness(f);
	run(f, "e1", WEB);
	assert_false(web(f)->dnsrr);
	/* Addresses go round. */
	assert_true(addr_is_set(&web(f)->vip4));
	run(f, "e1", WEB " fairlead.mode=dnsrr");
	del_endpoint(f, "e1");
	/* Nothing is left that is worth a name. */
	assert_null(web(f));
	check_witness(f);
}

static void test_network_deletion(void **state)
{
	struct fixture *f = with_web(state, 2);

	add_network(f, "net2", "10.2.0.192/26", NULL);
	add_endpoint(f, "net2", "x", "10.2.0.2", "fairlead.service=x");
	assert_int_equal(view(f, "net2", "", "x")->mark, LB_MARK_FIRST + 1);
	del_network(f, NET);
	assert_null(web(f));
	assert_null(registry_endpoint_service(f->registry, "e1", NULL));
	check_witness(f);
	fixture_restart(f);
	check_witness(f);
	assert_int_equal(list(f, NULL, "x").services, 1);
	/* The lowest mark is free again. */
	add_endpoint(f, "net2", "y", "10.2.0.3", "fairlead.service=y");
	assert_int_equal(view(f, "net2", "", "y")->mark, LB_MARK_FIRST);
	/* And the network can come again. */
	(void)with_web(state, 1);
	assert_vip(web(f), "10.1.0.193", "");
	assert_int_equal(web(f)->mark, LB_MARK_FIRST + 2);
	check_witness(f);
}

static void test_list(void **state)
{
	struct fixture *f = with_web(state, 2);

	add_named(f, "zoo");
	add_network(f, "net2", "10.2.0.192/26", NULL);
	add_endpoint(f, "net2", "x", "10.2.0.2", "fairlead.service=web");
	assert_int_equal(list(f, NET, "web").services, 2);
	assert_int_equal(list(f, "net2", "web").services, 1);
	assert_int_equal(list(f, NULL, "web").services, 3);
	assert_int_equal(list(f, "net3", "web").services, 0);
	assert_string_equal(list(f, NET, "zoo").backends, "zoo active 1 \n");
}

static void test_rollback_of_additions(void **state)
{
	struct fixture *f = with_web(state, 1);

	assert_int_equal(db_begin(f->db, NULL), 0);
	add_network(f, "net2", "10.2.0.192/26", NULL);
	add_endpoint(f, "net2", "x", "10.2.0.2", "fairlead.service=x");
	add_endpoint(f, NET, "e2", "10.1.0.3", NULL);
	run(f, "e2", WEB " fairlead.scheduler=lc");
	event(f, "c-e1", REGISTRY_EVENT_KILL, SIGTERM, 100);
	assert_backends(web(f), "e1:0 e2:1");
	db_rollback(f->db);
	assert_int_equal(registry_reload(f->registry, NULL), 0);
	assert_backends(web(f), "e1:1");
	assert_int_equal(web(f)->scheduler, LB_SCHEDULER_RR);
	assert_null(view(f, "net2", "", "x"));
	assert_int_equal(HASH_COUNT(f->endpoints), 1);
	check_witness(f);
	assert_int_equal(try_endpoint(f, "net2", "x", "10.2.0.2", NULL), -ENOENT);
}

static void test_rollback_of_removals(void **state)
{
	struct fixture *f = with_web(state, 2);
	const char *project;

	assert_int_equal(db_begin(f->db, NULL), 0);
	del_endpoint(f, "e1");
	run(f, "e2", "fairlead.service=web");
	del_network(f, NET);
	/* Another takes the mark meanwhile. */
	add_network(f, "net2", "10.2.0.192/26", NULL);
	add_endpoint(f, "net2", "x", "10.2.0.2", "fairlead.service=x");
	assert_int_equal(view(f, "net2", "", "x")->mark, LB_MARK_FIRST);
	db_rollback(f->db);
	assert_int_equal(registry_reload(f->registry, NULL), 0);
	assert_backends(web(f), "e1:1 e2:1");
	assert_null(view(f, NET, "", "web"));
	assert_null(view(f, "net2", "", "x"));
	assert_ptr_equal(registry_endpoint_service(f->registry, "e2", &project), web(f));
	assert_string_equal(project, "shop");
	assert_int_equal(HASH_COUNT(f->endpoints), 2);
	check_witness(f);
}

/* From now on each write to the database fails, or works again. */
static void set_read_only(struct fixture *f, bool read_only)
{
	const char *sql = read_only ? "PRAGMA query_only=1" : "PRAGMA query_only=0";
	struct db_stmt **st;

	assert_int_equal(db_prepare(f->db, &sql, 1, &st, NULL), 0);
	assert_int_equal(db_run(st[0], NULL), 0);
	db_finalize(st, 1);
}

static void test_write_error(void **state)
{
	struct fixture *f = with_web(state, 2);
	struct err e = {0};

	/* Nothing is told until it is written. */
	set_read_only(f, true);
	assert_true(registry_endpoint_del(f->registry, "e1", &e) < 0);
	assert_non_null(strstr(e.text, "saving services"));
	assert_backends(web(f), "e1:1 e2:1");
	assert_true(try_endpoint(f, NET, "e1", "10.1.0.99", "fairlead.service=web") < 0);
	assert_true(try_endpoint(f, NET, "e3", "10.1.0.98", "fairlead.service=api") < 0);
	assert_backends(web(f), "e1:1 e2:1");
	/* The next verb brings all that waits. */
	set_read_only(f, false);
	del_endpoint(f, "nothing");
	assert_backends(web(f), "e2:1");
	assert_backends(view(f, NET, "", "web"), "e1:1");
	assert_backends(view(f, NET, "", "api"), "e3:1");
	check_witness(f);
	fixture_restart(f);
	check_witness(f);
}

static void test_reload_after_write_error(void **state)
{
	struct fixture *f = with_web(state, 2);

	set_read_only(f, true);
	assert_true(registry_network_del(f->registry, NET, NULL) < 0);
	set_read_only(f, false);
	assert_int_equal(registry_reload(f->registry, NULL), 0);
	assert_backends(web(f), "e1:1 e2:1");
	assert_int_equal(HASH_COUNT(f->endpoints), 2);
	check_witness(f);
}

static void test_reopened_file(void **state)
{
	char path[] = "/tmp/test_service.XXXXXX";
	char file[64];
	struct fixture f;
	int r;

	(void)state;
	assert_non_null(mkdtemp(path));
	(void)snprintf(file, sizeof(file), "%s/db", path);
	fixture_init(&f, file);
	add_network(&f, NET, "10.1.0.192/26", "fd00::/120");
	add_endpoint(&f, NET, "e1", "10.1.0.2", NULL);
	run(&f, "e1", WEB " fairlead.weight=4 fairlead.scheduler=sed");
	add_endpoint(&f, NET, "e2", "10.1.0.3", "fairlead.service=api");
	del_endpoint(&f, "e2");
	registry_free(f.registry);
	db_close(f.db);
	assert_int_equal(db_open(file, &f.db, NULL), 0);
	open_registry(&f);
	check_witness(&f);
	assert_int_equal(HASH_COUNT(f.views), 2);
	assert_backends(web(&f), "e1:4");
	event(&f, "c-e1", REGISTRY_EVENT_DIE, 0, 0);
	assert_backends(web(&f), "e1:0");
	fixture_fini(&f);
	r = unlink(file);
	assert_int_equal(r, 0);
	(void)snprintf(file, sizeof(file), "%s/db-wal", path);
	(void)unlink(file); /* SQLite removes it itself, as a rule */
	(void)snprintf(file, sizeof(file), "%s/db-shm", path);
	(void)unlink(file);
	assert_int_equal(rmdir(path), 0);
}

static void test_many_backends(void **state)
{
	struct fixture *f = *state;
	char id[16];

	add_network(f, NET, "10.1.0.192/26", NULL);
	assert_int_equal(db_begin(f->db, NULL), 0);
	/* One view for each would take long: the service is made of them at the end. */
	for (unsigned int i = 0; i <= LB_BACKENDS_MAX; i++) {
		(void)snprintf(id, sizeof(id), "e%u", i);
		add_endpoint(f, NET, id, "10.1.0.2", NULL);
	}
	for (unsigned int i = 0; i <= LB_BACKENDS_MAX; i += 64) {
		const char *ids[64];
		char names[64][16];
		struct registry_container c = container("c", ids);

		(void)snprintf(id, sizeof(id), "c%u", i);
		c.id = id;
		c.endpoint_count = 0;
		for (unsigned int j = 0; j < 64 && i + j <= LB_BACKENDS_MAX; j++) {
			(void)snprintf(names[j], sizeof(names[j]), "e%u", i + j);
			ids[c.endpoint_count++] = names[j];
		}
		see(f, c, WEB);
	}
	assert_int_equal(web(f)->count, LB_BACKENDS_MAX);
	assert_error(f, NET, "web", "more than 4096 backends");
	del_endpoint(f, "e0");
	assert_int_equal(web(f)->count, LB_BACKENDS_MAX);
	assert_string_equal(web(f)->backends[0].endpoint, "e4096");
	assert_no_error(f, NET, "web");
	assert_int_equal(db_commit(f->db, NULL), 0);
	check_witness(f);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_first_backend),
		T(test_driver_option_is_at_once),
		T(test_client_has_project_only),
		T(test_unknown_things),
		T(test_bad_arguments),
		T(test_no_callback_for_nothing),
		T(test_last_takes_the_place),
		T(test_changed_labels_move),
		T(test_address_changes),
		T(test_several_networks),
		T(test_endpoint_of_another_container),
		T(test_stop_and_start),
		T(test_signal_that_does_not_end),
		T(test_draining_survives_restart),
		T(test_pause),
		T(test_health_and_fail_open),
		T(test_health_is_ignored),
		T(test_not_running_when_seen),
		T(test_ended_unseen),
		T(test_endpoints_without_container),
		T(test_weights),
		T(test_newest_decides),
		T(test_scheduler_that_balancer_lacks),
		T(test_network_defaults),
		T(test_dnsrr),
		T(test_network_deletion),
		T(test_list),
		T(test_rollback_of_additions),
		T(test_rollback_of_removals),
		T(test_write_error),
		T(test_reload_after_write_error),
		cmocka_unit_test(test_reopened_file),
		T(test_many_backends),
	};

	/* Errors of users are meant here. */
	assert_int_equal(log_setup("error"), 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
