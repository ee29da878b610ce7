/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PLUGIN_BASE_WORKER_H
#define PLUGIN_BASE_WORKER_H
/*
 * Messages between threads. A mailbox is a bounded queue of jobs that an sd_event
 * loop empties; a worker is a thread with an sd_event loop of its own and one
 * mailbox. The queues are the only mutable data that threads share.
 *
 * A job is embedded in the message that it carries. Whoever posts it hands it
 * over; run (and after it done) is called on the receiving thread, and from then
 * on the job belongs to that code: it frees it or posts it on.
 */
#include <systemd/sd-event.h>

#include "plugin/base/err.h"
#include "plugin/base/map.h"

struct job {
	TAILQ_ENTRY(job) link;
	void (*run)(struct job *job);
	/*
	 * After the batch that run was part of is durable (or failed: then err
	 * says so, and nothing that run wrote has happened). May be NULL.
	 */
	void (*done)(struct job *job);
	struct err err; /* code 0 until something fails */
};
TAILQ_HEAD(job_list, job);

struct mailbox;

/* Called around all jobs found in the queue at once. Thread: the receiver. */
struct mailbox_batch {
	int (*begin)(void *ctx, struct err *e);
	int (*end)(void *ctx, struct err *e); /* negative: the batch is lost */
	void *ctx;
};

/*
 * Makes a mailbox and attaches it to event. limit: jobs that may wait, at least 1.
 * batch: copied, or NULL. -ENOMEM or the error of eventfd/sd_event.
 */
int mailbox_new(sd_event *event, unsigned int limit, const struct mailbox_batch *batch,
		struct mailbox **ret, struct err *e);
/*
 * Jobs that still wait get err -ECANCELED and are called once more (done, or run where
 * there is no done) to free themselves. Thread: the receiver, or any once it has ended.
 */
void mailbox_free(struct mailbox *mb);

/*
 * Hands the job over. -EAGAIN: the queue is full, the caller keeps the job.
 * Thread: any.
 */
int mailbox_post(struct mailbox *mb, struct job *job);
/* As mailbox_post for a job that must not be lost (an answer, a clean-up): it
 * never says no. Thread: any. */
void mailbox_post_always(struct mailbox *mb, struct job *job);

struct worker;

struct worker_ops {
	const char *name; /* of the thread, at most 15 characters */
	/* On the new thread, before the first job: sets ctx up, with the loop. */
	int (*start)(void *ctx, sd_event *event, struct err *e);
	/* On the thread, after the last job, or after a start that failed half-way. */
	void (*stop)(void *ctx);
	struct mailbox_batch batch; /* ctx in it is ignored: it gets the worker's */
	unsigned int limit;
};

/* Starts the thread and waits until ops->start has ended; its error is returned. *ret is
 * set before the thread starts, and NULL after a failure. */
int worker_new(const struct worker_ops *ops, void *ctx, struct worker **ret,
	       struct err *e);
/* Runs what waits, ends and joins the thread. What is posted from now on waits for ever.
 * NULL or stopped already: nothing. Not from the thread itself. */
void worker_stop(struct worker *w);
/* Stops, and cancels what was posted since. */
void worker_free(struct worker *w);
struct mailbox *worker_mailbox(struct worker *w);

#endif
