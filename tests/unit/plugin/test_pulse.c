// SPDX-License-Identifier: GPL-2.0-or-later
/* Two workers, one of which can be made to hang: who is told, when, and the way back. */
#include "plugin/pulse.h"

#include "plugin/base/clock.h"
#include "plugin/base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PERIOD_MS   5
#define LIMIT	    100
#define PATIENCE_MS 20000

struct fixture {
	sd_event *event;
	struct mailbox *loop;
	struct worker *workers[2];
	struct pulse *pulse;
	unsigned int posts[2];
	unsigned int changes;
	bool alive;
};

static void post_first(void *ctx, struct job *job)
{
	struct fixture *f = ctx;

	f->posts[0]++;
	mailbox_post_always(worker_mailbox(f->workers[0]), job);
}

static void post_second(void *ctx, struct job *job)
{
	struct fixture *f = ctx;

	f->posts[1]++;
	mailbox_post_always(worker_mailbox(f->workers[1]), job);
}

static void post_loop(void *ctx, struct job *job)
{
	mailbox_post_always(((struct fixture *)ctx)->loop, job);
}

static void on_changed(void *ctx, bool alive)
{
	struct fixture *f = ctx;

	f->changes++;
	f->alive = alive;
}

static int setup(void **state)
{
	static const struct worker_ops ops = {.name = "test", .limit = 10};
	struct fixture *f = calloc(1, sizeof(*f));
	const struct pulse_config config = {
		.period_ms = PERIOD_MS,
		.limit = LIMIT,
		.count = 2,
		.workers = {{"first", post_first}, {"second", post_second}},
		.post_loop = post_loop,
		.changed = on_changed,
		.ctx = f,
	};
	struct err e = {0};

	if (!f || sd_event_new(&f->event) < 0 ||
	    mailbox_new(f->event, 10, NULL, &f->loop, &e) < 0 ||
	    worker_new(&ops, NULL, &f->workers[0], &e) < 0 ||
	    worker_new(&ops, NULL, &f->workers[1], &e) < 0 ||
	    pulse_new(f->event, &config, &f->pulse, &e) < 0)
		return -1;
	f->alive = true;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	worker_free(f->workers[0]);
	worker_free(f->workers[1]);
	mailbox_free(f->loop);
	pulse_free(f->pulse);
	sd_event_unref(f->event);
	free(f);
	return 0;
}

static void turn(struct fixture *f, uint64_t end)
{
	assert_true(clock_ms() < end);
	assert_true(sd_event_run(f->event, PERIOD_MS * 1000) >= 0);
}

/* A job that stands until it is let go. */
struct blocker {
	struct job job;
	pthread_mutex_t lock;
};

static void block(struct job *job)
{
	struct blocker *b = CONTAINER_OF(job, struct blocker, job);

	(void)pthread_mutex_lock(&b->lock);
	(void)pthread_mutex_unlock(&b->lock);
}

static void test_beats_go_round(void **state)
{
	struct fixture *f = *state;
	uint64_t end = clock_ms() + PATIENCE_MS;

	while (f->posts[0] < 10 || f->posts[1] < 10)
		turn(f, end);
	assert_int_equal(f->changes, 0);
}

static void test_hanging_worker(void **state)
{
	struct fixture *f = *state;
	struct blocker b = {.job = {.run = block}, .lock = PTHREAD_MUTEX_INITIALIZER};
	uint64_t end = clock_ms() + PATIENCE_MS;
	unsigned int posts;

	assert_int_equal(pthread_mutex_lock(&b.lock), 0);
	mailbox_post_always(worker_mailbox(f->workers[1]), &b.job);
	while (f->alive)
		turn(f, end);
	/* The other one goes on, this one gets nothing more, and is not told again. */
	posts = f->posts[0];
	while (f->posts[0] < posts + 2 * LIMIT)
		turn(f, end);
	assert_in_range(f->posts[1], 1, 2);
	assert_int_equal(f->changes, 1);
	assert_int_equal(pthread_mutex_unlock(&b.lock), 0);
	while (!f->alive)
		turn(f, end);
	assert_int_equal(f->changes, 2);
	posts = f->posts[1];
	while (f->posts[1] == posts)
		turn(f, end);
}

static void test_both_hang(void **state)
{
	struct fixture *f = *state;
	struct blocker b[2] = {
		{.job = {.run = block}, .lock = PTHREAD_MUTEX_INITIALIZER},
		{.job = {.run = block}, .lock = PTHREAD_MUTEX_INITIALIZER}};
	uint64_t end = clock_ms() + PATIENCE_MS;
	uint64_t both;
	unsigned int posts;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_mutex_lock(&b[i].lock), 0);
		mailbox_post_always(worker_mailbox(f->workers[i]), &b[i].job);
	}
	while (f->alive)
		turn(f, end);
	both = clock_ms() + 2UL * LIMIT * PERIOD_MS;
	while (clock_ms() < both) /* the other one too, by now */
		turn(f, end);
	posts = f->posts[0];
	assert_int_equal(pthread_mutex_unlock(&b[0].lock), 0);
	while (f->posts[0] == posts)
		turn(f, end);
	assert_false(f->alive); /* one still hangs */
	assert_int_equal(pthread_mutex_unlock(&b[1].lock), 0);
	while (!f->alive)
		turn(f, end);
	assert_int_equal(f->changes, 2);
}

static void test_end_with_a_beat_on_its_way(void **state)
{
	struct fixture *f = *state;
	uint64_t end = clock_ms() + PATIENCE_MS;

	while (f->posts[0] == 0) /* teardown frees what has not come back */
		turn(f, end);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_beats_go_round),
		TEST(test_hanging_worker),
		TEST(test_both_hang),
		TEST(test_end_with_a_beat_on_its_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
