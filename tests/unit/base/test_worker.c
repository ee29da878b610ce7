// SPDX-License-Identifier: GPL-2.0-or-later
/* Mailboxes and workers: order, batches that fail, limits, who is told what at the end,
 * and jobs on their way between threads. */
#include "plugin/base/worker.h"

#include "plugin/base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WAIT_US	  10000000 /* longest wait for an event */
#define TRACE_MAX 512

/* What happened, in order: one word each. */
static char trace[TRACE_MAX];

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void note(const char *fmt, ...)
{
	size_t len = strlen(trace);
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(trace + len, sizeof(trace) - len, fmt, ap);
	va_end(ap);
	len = strlen(trace);
	(void)snprintf(trace + len, sizeof(trace) - len, " ");
}

static void assert_trace(const char *want)
{
	assert_string_equal(trace, want);
	trace[0] = '\0';
}

struct numbered {
	struct job job;
	int number;
	int fails; /* error that run reports */
	struct mailbox *again;
	struct numbered *post;
};

static void on_run(struct job *job)
{
	struct numbered *n = CONTAINER_OF(job, struct numbered, job);

	note("run%d%s", n->number, job->err.code ? "!" : "");
	if (n->fails)
		(void)err_set(&job->err, n->fails, "of its own");
	if (n->post)
		assert_int_equal(mailbox_post(n->again, &n->post->job), 0);
}

static void on_done(struct job *job)
{
	struct numbered *n = CONTAINER_OF(job, struct numbered, job);

	note("done%d", n->number);
	if (job->err.code)
		note("(%d:%s)", job->err.code, job->err.text);
}

/* --- a mailbox on the test's own loop ------------------------------------------- */

struct box {
	sd_event *event;
	struct mailbox *mailbox;
	int begin_result;
	int end_result;
	bool silent; /* fails without a text */
	struct numbered jobs[8];
};

static int on_begin(void *ctx, struct err *e)
{
	struct box *b = ctx;

	note("begin");
	if (b->begin_result < 0 && !b->silent)
		(void)err_set(e, b->begin_result, "no begin");
	return b->begin_result;
}

static int on_end(void *ctx, struct err *e)
{
	struct box *b = ctx;

	note("end");
	if (b->end_result < 0 && !b->silent)
		(void)err_set(e, b->end_result, "no end");
	return b->end_result;
}

static void box_init(struct box *b, unsigned int limit, bool batches)
{
	const struct mailbox_batch batch = {on_begin, on_end, b};
	struct err e = {0};

	memset(b, 0, sizeof(*b));
	trace[0] = '\0';
	assert_true(sd_event_new(&b->event) >= 0);
	assert_int_equal(
		mailbox_new(b->event, limit, batches ? &batch : NULL, &b->mailbox, &e),
		0);
	for (int i = 0; i < (int)ARRAY_SIZE(b->jobs); i++) {
		b->jobs[i].number = i;
		b->jobs[i].job.run = on_run;
		b->jobs[i].job.done = i % 2 ? NULL : on_done;
		b->jobs[i].again = b->mailbox;
	}
}

static void box_fini(struct box *b)
{
	mailbox_free(b->mailbox);
	sd_event_unref(b->event);
}

static int box_post(struct box *b, int i)
{
	return mailbox_post(b->mailbox, &b->jobs[i].job);
}

/* Runs what waits; returns false when nothing did. */
static bool box_turn(struct box *b)
{
	int r = sd_event_run(b->event, 0);

	assert_true(r >= 0);
	return r > 0;
}

static void test_order(void **state)
{
	struct box b;

	(void)state;
	box_init(&b, 8, false);
	assert_false(box_turn(&b));
	for (int i = 0; i < 5; i++)
		assert_int_equal(box_post(&b, i), 0);
	assert_true(box_turn(&b));
	assert_trace("run0 run1 run2 run3 run4 done0 done2 done4 ");
	assert_false(box_turn(&b));
	assert_trace("");
	box_fini(&b);
}

static void test_batches(void **state)
{
	struct box b;

	(void)state;
	box_init(&b, 8, true);
	b.jobs[2].post = &b.jobs[4];
	assert_int_equal(box_post(&b, 0), 0);
	assert_int_equal(box_post(&b, 2), 0);
	assert_true(box_turn(&b));
	/* What run posts is part of the next batch. */
	assert_trace("begin run0 run2 end done0 done2 ");
	assert_true(box_turn(&b));
	assert_trace("begin run4 end done4 ");
	assert_false(box_turn(&b));
	box_fini(&b);
	assert_trace("");
}

static void test_begin_fails(void **state)
{
	struct box b;

	(void)state;
	box_init(&b, 8, true);
	b.begin_result = -EROFS;
	assert_int_equal(box_post(&b, 0), 0);
	assert_int_equal(box_post(&b, 1), 0);
	assert_true(box_turn(&b));
	/* Without done it is run that is told. */
	assert_trace("begin done0 (-30:no begin) run1! ");
	b.silent = true;
	assert_int_equal(box_post(&b, 3), 0);
	assert_true(box_turn(&b));
	assert_trace("begin run3! ");
	assert_int_equal(b.jobs[3].job.err.code, -EROFS);
	b.begin_result = 0;
	assert_int_equal(box_post(&b, 2), 0);
	assert_true(box_turn(&b));
	assert_trace("begin run2 end done2 ");
	box_fini(&b);
}

static void test_end_fails(void **state)
{
	struct box b;

	(void)state;
	box_init(&b, 8, true);
	b.end_result = -ENOSPC;
	b.jobs[2].fails = -EINVAL;
	for (int i = 0; i < 3; i++)
		assert_int_equal(box_post(&b, i), 0);
	assert_true(box_turn(&b));
	assert_trace("begin run0 run1 run2 end done0 (-28:no end) done2 "
		     "(-22:of its own) ");
	b.silent = true;
	assert_int_equal(box_post(&b, 4), 0);
	assert_true(box_turn(&b));
	assert_int_equal(b.jobs[4].job.err.code, -ENOSPC);
	box_fini(&b);
}

static void test_limit(void **state)
{
	struct box b;

	(void)state;
	box_init(&b, 2, false);
	assert_int_equal(box_post(&b, 0), 0);
	assert_int_equal(box_post(&b, 1), 0);
	assert_int_equal(box_post(&b, 2), -EAGAIN);
	mailbox_post_always(b.mailbox, &b.jobs[3].job);
	assert_int_equal(box_post(&b, 2), -EAGAIN);
	assert_true(box_turn(&b));
	assert_trace("run0 run1 run3 done0 ");
	assert_int_equal(box_post(&b, 2), 0);
	assert_true(box_turn(&b));
	assert_trace("run2 done2 ");
	box_fini(&b);
}

static void test_cancel(void **state)
{
	struct box b;

	(void)state;
	box_init(&b, 8, true);
	for (int i = 0; i < 3; i++)
		assert_int_equal(box_post(&b, i), 0);
	box_fini(&b);
	assert_trace("done0 (-125:shutting down) run1! done2 (-125:shutting down) ");
	assert_int_equal(b.jobs[1].job.err.code, -ECANCELED);
	mailbox_free(NULL);
}

/* --- workers ------------------------------------------------------------------------ */

struct life {
	struct worker *worker;
	int start_result;
	bool silent;
	bool post_at_start;
	pthread_t thread;
	struct numbered first;
};

static int life_start(void *ctx, sd_event *event, struct err *e)
{
	struct life *l = ctx;

	note(event ? "start" : "start-without-loop");
	l->thread = pthread_self();
	if (l->post_at_start)
		mailbox_post_always(worker_mailbox(l->worker), &l->first.job);
	if (l->start_result < 0 && !l->silent)
		(void)err_set(e, l->start_result, "no start");
	return l->start_result;
}

static void life_stop(void *ctx)
{
	struct life *l = ctx;

	note(pthread_equal(l->thread, pthread_self()) ? "stop" : "stop-elsewhere");
}

static const struct worker_ops life_ops = {
	.name = "test", .start = life_start, .stop = life_stop, .limit = 4};

static void life_init(struct life *l)
{
	trace[0] = '\0';
	memset(l, 0, sizeof(*l));
	l->first.job.run = on_run;
	l->first.job.done = on_done;
}

static void test_life(void **state)
{
	struct err e = {0};
	struct numbered late = {.job = {.run = on_run, .done = on_done}, .number = 9};
	struct life l;

	(void)state;
	life_init(&l);
	l.post_at_start = true;
	assert_int_equal(worker_new(&life_ops, &l, &l.worker, &e), 0);
	assert_false(pthread_equal(l.thread, pthread_self()));
	worker_stop(l.worker);
	assert_trace("start run0 done0 stop ");
	worker_stop(l.worker);
	assert_int_equal(mailbox_post(worker_mailbox(l.worker), &late.job), 0);
	worker_free(l.worker);
	assert_trace("done9 (-125:shutting down) ");
	worker_stop(NULL);
	worker_free(NULL);
}

static void test_start_fails(void **state)
{
	struct err e = {0};
	struct life l;

	(void)state;
	life_init(&l);
	l.start_result = -EUCLEAN;
	l.post_at_start = true;
	assert_int_equal(worker_new(&life_ops, &l, &l.worker, &e), -EUCLEAN);
	assert_null(l.worker);
	assert_int_equal(e.code, -EUCLEAN);
	assert_string_equal(e.text, "no start");
	/* What start had made is put away, and the job is told. */
	assert_trace("start stop done0 (-125:shutting down) ");

	life_init(&l);
	l.start_result = -EPERM;
	l.silent = true;
	memset(&e, 0, sizeof(e));
	assert_int_equal(worker_new(&life_ops, &l, &l.worker, &e), -EPERM);
	assert_string_equal(e.text, "worker test: Operation not permitted");
	assert_trace("start stop ");
	assert_int_equal(worker_new(&life_ops, &l, &l.worker, NULL), -EPERM);
}

/* --- jobs between threads ------------------------------------------------------------
 */

#define TRAVELLERS 64
#define HOPS	   50

struct traveller {
	struct job job;
	struct travel *travel;
	unsigned int hops;
	unsigned int seen[3]; /* places that it was run at, by whoever holds it */
	unsigned int done;
};

struct travel {
	sd_event *event;
	struct worker *workers[2];
	struct mailbox *home;
	unsigned int back; /* Thread: main */
	struct traveller travellers[TRAVELLERS];
};

static void travel_on(struct traveller *t);

static void travel_run(struct job *job)
{
	struct traveller *t = CONTAINER_OF(job, struct traveller, job);

	t->seen[t->hops % 2]++;
}

static void travel_done(struct job *job)
{
	struct traveller *t = CONTAINER_OF(job, struct traveller, job);

	t->done++;
	t->hops++;
	travel_on(t);
}

static void travel_home(struct job *job)
{
	struct traveller *t = CONTAINER_OF(job, struct traveller, job);

	t->seen[2]++;
	if (++t->travel->back == TRAVELLERS)
		(void)sd_event_exit(t->travel->event, 0);
}

/* Back and forth between the two workers, then to the loop. */
static void travel_on(struct traveller *t)
{
	if (t->hops < HOPS) {
		t->job.run = travel_run;
		t->job.done = travel_done;
		mailbox_post_always(worker_mailbox(t->travel->workers[t->hops % 2]),
				    &t->job);
		return;
	}
	t->job.run = travel_home;
	t->job.done = NULL;
	mailbox_post_always(t->travel->home, &t->job);
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	return sd_event_exit(userdata, -ETIMEDOUT);
}

static void test_travel(void **state)
{
	static const struct worker_ops ops = {.name = "travel", .limit = 1};
	struct travel *t = calloc(1, sizeof(*t));
	struct err e = {0};

	(void)state;
	assert_non_null(t);
	assert_true(sd_event_new(&t->event) >= 0);
	assert_true(sd_event_add_time_relative(t->event, NULL, CLOCK_MONOTONIC, WAIT_US,
					       0, on_timeout, t->event) >= 0);
	assert_int_equal(mailbox_new(t->event, 1, NULL, &t->home, &e), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(worker_new(&ops, t, &t->workers[i], &e), 0);
	for (int i = 0; i < TRAVELLERS; i++) {
		t->travellers[i].travel = t;
		travel_on(&t->travellers[i]);
	}
	assert_int_equal(sd_event_loop(t->event), 0);
	for (int i = 0; i < 2; i++)
		worker_stop(t->workers[i]);
	for (int i = 0; i < TRAVELLERS; i++) {
		assert_int_equal(t->travellers[i].seen[0], HOPS / 2);
		assert_int_equal(t->travellers[i].seen[1], HOPS / 2);
		assert_int_equal(t->travellers[i].seen[2], 1);
		assert_int_equal(t->travellers[i].done, HOPS);
	}
	for (int i = 0; i < 2; i++)
		worker_free(t->workers[i]);
	mailbox_free(t->home);
	sd_event_unref(t->event);
	free(t);
}

/* Several threads post to one mailbox: none is lost, each poster's order is kept. */

#define POSTERS	 4
#define PER_POST 200

struct posted {
	struct job job;
	struct rush *rush;
	int poster;
	int number;
};

struct rush {
	sd_event *event;
	struct mailbox *mailbox;
	int next[POSTERS];
	int total;
	unsigned int refused[POSTERS];
	struct posted jobs[POSTERS][PER_POST];
};

static void rush_run(struct job *job)
{
	struct posted *p = CONTAINER_OF(job, struct posted, job);
	struct rush *r = p->rush;

	assert_int_equal(p->number, r->next[p->poster]);
	r->next[p->poster]++;
	if (++r->total == POSTERS * PER_POST)
		(void)sd_event_exit(r->event, 0);
}

struct poster {
	struct rush *rush;
	int number;
};

static void *poster_main(void *arg)
{
	struct poster *p = arg;

	for (int i = 0; i < PER_POST; i++) {
		struct posted *job = &p->rush->jobs[p->number][i];

		job->job.run = rush_run;
		job->rush = p->rush;
		job->poster = p->number;
		job->number = i;
		while (mailbox_post(p->rush->mailbox, &job->job) == -EAGAIN) {
			p->rush->refused[p->number]++;
			(void)sched_yield();
		}
	}
	return NULL;
}

static void test_rush(void **state)
{
	struct rush *r = calloc(1, sizeof(*r));
	struct poster posters[POSTERS];
	pthread_t threads[POSTERS];
	struct err e = {0};

	(void)state;
	assert_non_null(r);
	assert_true(sd_event_new(&r->event) >= 0);
	assert_true(sd_event_add_time_relative(r->event, NULL, CLOCK_MONOTONIC, WAIT_US,
					       0, on_timeout, r->event) >= 0);
	assert_int_equal(mailbox_new(r->event, 3, NULL, &r->mailbox, &e), 0);
	for (int i = 0; i < POSTERS; i++) {
		posters[i] = (struct poster){r, i};
		assert_int_equal(
			pthread_create(&threads[i], NULL, poster_main, &posters[i]), 0);
	}
	assert_int_equal(sd_event_loop(r->event), 0);
	for (int i = 0; i < POSTERS; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(r->next[i], PER_POST);
	}
	mailbox_free(r->mailbox);
	sd_event_unref(r->event);
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),	    cmocka_unit_test(test_batches),
		cmocka_unit_test(test_begin_fails), cmocka_unit_test(test_end_fails),
		cmocka_unit_test(test_limit),	    cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_life),	    cmocka_unit_test(test_start_fails),
		cmocka_unit_test(test_travel),	    cmocka_unit_test(test_rush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
