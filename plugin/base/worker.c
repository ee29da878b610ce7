// SPDX-License-Identifier: GPL-2.0-or-later
/* Mailboxes and worker threads: the only place with locks. */
#include "plugin/base/worker.h"

#include "plugin/base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/eventfd.h>

struct mailbox {
	pthread_mutex_t lock;
	struct job_list queue; /* under lock */
	unsigned int waiting;  /* under lock */
	unsigned int limit;
	int fd;
	sd_event_source *source;
	struct mailbox_batch batch;
};

/* Takes all that waits at once, so that posting goes on while jobs run. */
static void mailbox_take(struct mailbox *mb, struct job_list *ret)
{
	TAILQ_INIT(ret);
	(void)pthread_mutex_lock(&mb->lock);
	TAILQ_CONCAT(ret, &mb->queue, link);
	mb->waiting = 0;
	(void)pthread_mutex_unlock(&mb->lock);
}

static void run_all(struct job_list *jobs)
{
	struct job *job;
	struct job *next;

	TAILQ_FOREACH_SAFE (job, jobs, link, next) {
		if (!job->done)
			TAILQ_REMOVE(jobs, job, link); /* run may free it */
		job->run(job);
	}
}

static void cancel(struct job_list *jobs, const struct err *e)
{
	struct job *job;

	while ((job = TAILQ_FIRST(jobs))) {
		TAILQ_REMOVE(jobs, job, link);
		job->err = *e;
		if (job->done)
			job->done(job);
		else
			job->run(job);
	}
}

static void mailbox_drain(struct mailbox *mb)
{
	struct err e = {0};
	struct job_list jobs;
	struct job *job;
	int r = 0;

	mailbox_take(mb, &jobs);
	if (TAILQ_EMPTY(&jobs))
		return;
	if (mb->batch.begin)
		r = mb->batch.begin(mb->batch.ctx, &e);
	if (r < 0) {
		e.code = r;
		cancel(&jobs, &e); /* nothing can be stored now: every job is told */
		return;
	}
	run_all(&jobs);
	if (mb->batch.end)
		r = mb->batch.end(mb->batch.ctx, &e);
	e.code = r;
	while ((job = TAILQ_FIRST(&jobs))) {
		TAILQ_REMOVE(&jobs, job, link);
		if (r < 0 && job->err.code == 0)
			job->err = e;
		job->done(job);
	}
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	eventfd_t count;

	(void)source;
	(void)revents;
	(void)eventfd_read(fd, &count); /* the count is not needed */
	mailbox_drain(userdata);
	return 0;
}

int mailbox_new(sd_event *event, unsigned int limit, const struct mailbox_batch *batch,
		struct mailbox **ret, struct err *e)
{
	struct mailbox *mb = calloc(1, sizeof(*mb));
	int r;

	if (!mb)
		return err_sys(e, -ENOMEM, "mailbox");
	(void)pthread_mutex_init(&mb->lock, NULL); /* cannot fail on Linux */
	TAILQ_INIT(&mb->queue);
	mb->limit = limit;
	if (batch)
		mb->batch = *batch;
	mb->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (mb->fd < 0) {
		r = err_sys(e, -errno, "mailbox eventfd");
		mailbox_free(mb);
		return r;
	}
	r = sd_event_add_io(event, &mb->source, mb->fd, EPOLLIN, on_readable, mb);
	if (r < 0) {
		mailbox_free(mb);
		return err_sys(e, r, "mailbox event source");
	}
	*ret = mb;
	return 0;
}

void mailbox_free(struct mailbox *mb)
{
	const struct err e = {-ECANCELED, "shutting down"};
	struct job_list jobs;

	if (!mb)
		return;
	mailbox_take(mb, &jobs);
	cancel(&jobs, &e);
	sd_event_source_disable_unref(mb->source);
	if (mb->fd >= 0)
		(void)close(mb->fd);
	(void)pthread_mutex_destroy(&mb->lock);
	free(mb);
}

static int post(struct mailbox *mb, struct job *job, bool always)
{
	bool first;

	(void)pthread_mutex_lock(&mb->lock);
	if (!always && mb->waiting >= mb->limit) {
		(void)pthread_mutex_unlock(&mb->lock);
		return -EAGAIN;
	}
	first = mb->waiting++ == 0;
	TAILQ_INSERT_TAIL(&mb->queue, job, link);
	if (first)
		(void)eventfd_write(mb->fd, 1); /* cannot overflow: one per drain */
	(void)pthread_mutex_unlock(&mb->lock);
	return 0;
}

int mailbox_post(struct mailbox *mb, struct job *job)
{
	return post(mb, job, false);
}

void mailbox_post_always(struct mailbox *mb, struct job *job)
{
	(void)post(mb, job, true); /* never says no */
}

struct worker {
	struct worker_ops ops;
	void *ctx;
	pthread_t thread;
	bool running;
	sd_event *event;
	struct mailbox *mailbox;
	struct job quit;
	/* Start-up hand-shake: the starter waits on cond until started. */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool started; /* under lock */
	struct err start_err;
};

static void quit_run(struct job *job)
{
	struct worker *w = CONTAINER_OF(job, struct worker, quit);

	(void)sd_event_exit(w->event, 0); /* the loop exists while jobs run */
}

static int worker_setup(struct worker *w, struct err *e)
{
	struct mailbox_batch batch = w->ops.batch;
	int r;

	batch.ctx = w->ctx;
	r = sd_event_new(&w->event);
	if (r < 0)
		return err_sys(e, r, "worker %s: event loop", w->ops.name);
	r = mailbox_new(w->event, w->ops.limit, &batch, &w->mailbox, e);
	if (r < 0)
		return err_wrap(e, r, "worker %s", w->ops.name);
	return w->ops.start ? w->ops.start(w->ctx, w->event, e) : 0;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	int r;

	(void)pthread_setname_np(pthread_self(), w->ops.name); /* for ps and gdb */
	r = worker_setup(w, &w->start_err);
	if (r < 0 && !w->start_err.code)
		(void)err_sys(&w->start_err, r, "worker %s", w->ops.name);
	(void)pthread_mutex_lock(&w->lock);
	w->started = true;
	(void)pthread_cond_signal(&w->cond);
	(void)pthread_mutex_unlock(&w->lock);
	if (r >= 0) {
		(void)sd_event_loop(w->event); /* ends by quit_run */
		mailbox_drain(w->mailbox);
	}
	if (w->ops.stop)
		w->ops.stop(w->ctx);
	return NULL;
}

int worker_new(const struct worker_ops *ops, void *ctx, struct worker **ret,
	       struct err *e)
{
	struct worker *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return err_sys(e, -ENOMEM, "worker %s", ops->name);
	w->ops = *ops;
	w->ctx = ctx;
	w->quit.run = quit_run;
	*ret = w; /* what the thread starts may already post to it */
	(void)pthread_mutex_init(&w->lock, NULL);
	(void)pthread_cond_init(&w->cond, NULL);
	r = -pthread_create(&w->thread, NULL, worker_main, w);
	if (r < 0) {
		(void)err_sys(e, r, "worker %s: thread", ops->name);
		*ret = NULL;
		worker_free(w);
		return r;
	}
	w->running = true;
	(void)pthread_mutex_lock(&w->lock);
	while (!w->started)
		(void)pthread_cond_wait(&w->cond, &w->lock);
	(void)pthread_mutex_unlock(&w->lock);
	if (w->start_err.code < 0) {
		r = w->start_err.code;
		if (e)
			*e = w->start_err;
		(void)pthread_join(w->thread, NULL);
		w->running = false;
		*ret = NULL;
		worker_free(w);
		return r;
	}
	return 0;
}

void worker_stop(struct worker *w)
{
	if (!w || !w->running)
		return;
	mailbox_post_always(w->mailbox, &w->quit);
	(void)pthread_join(w->thread, NULL);
	w->running = false;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	worker_stop(w);
	mailbox_free(w->mailbox);
	sd_event_unref(w->event);
	(void)pthread_cond_destroy(&w->cond);
	(void)pthread_mutex_destroy(&w->lock);
	free(w);
}

struct mailbox *worker_mailbox(struct worker *w)
{
	return w->mailbox;
}
