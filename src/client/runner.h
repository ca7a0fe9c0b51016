/*
 * runner.h - what the parts of the runner share. Private.
 *
 * Threads: one claims (runner_claim.c), one reports (runner_report.c), one extends leases (runner_lease.c), one keeps the time
 * and never waits for the database (runner_time.c), the others run handlers (runner_job.c); runner.c has what programs call.
 * `lock` guards everything that says so below and is never held over a call of the database, a hook or a handler. `report_lock`
 * guards the connection that reports, and is held over its calls; whoever needs both takes it first.
 *
 * A job belongs to the claiming thread until it is in the list, to its handler's thread while it runs, and to the reporting one
 * once it has ended or was given up, which alone takes jobs off the list, and only when the handler has ended.
 */
#ifndef CLO_RUNNER_H
#define CLO_RUNNER_H

#include "backend.h"

#include <pthread.h>

#define MILLISECOND INT64_C(1000)
#define SECOND INT64_C(1000000)
#define NEVER INT64_MAX
#define LEASE_DEFAULT (30 * SECOND)
#define BACKOFF_LOW (100 * MILLISECOND)
#define BACKOFF_HIGH (5 * SECOND)
/* 10 years, as in the database, so that sums of a time and an interval never overflow. */
#define INTERVAL_LIMIT (INT64_C(315576000) * SECOND)

/* A connection that is opened again when it was lost, less and less often. */
typedef struct runner_link {
    cloaca *connection;  /* NULL: lost */
    const char *purpose; /* for the log: "to claim" */
    bool binds_leases;
    bool was_open;
    clo_guard guard;
    int64_t backoff;
    int64_t next_try;
} runner_link;

typedef struct handler_entry {
    char *name; /* NULL: any other */
    cloaca_handler handler;
    void *user;
} handler_entry;

typedef struct handler_thread {
    cloaca_runner *runner;
    pthread_t thread;
    clo_guard guard;
    cloaca *connection; /* what cloaca_job_connection opened; NULL: nobody asked yet */
} handler_thread;

typedef enum job_state { JOB_QUEUED, JOB_RUNNING, JOB_ENDED, JOB_ABANDONED } job_state;

struct cloaca_job {
    cloaca_job *next;        /* in the list; lock */
    cloaca_job *next_queued; /* lock */
    job_state state;         /* lock */
    cloaca_runner *runner;
    clo_arena arena; /* the texts of the task */
    int64_t task;
    int64_t lease_id;
    int64_t execution;
    int32_t attempt;
    int32_t max_attempts;
    int16_t priority;
    const char *name;
    const char *queue;
    const char *payload;
    int64_t claimed_at; /* the moment before, on our clock */
    int64_t waited;     /* since it became claimable */
    int64_t lease;      /* its length */
    int64_t timeout_at;
    int64_t lease_end; /* on our clock, as far as it is known; lock, and so the next three */
    int64_t extend_at;
    bool extending; /* a call that extends it is under way */
    bool alone;     /* it may hold up others that are extended with it */

    atomic_int reason; /* cloaca_stop_reason; set under the lock */
    bool has_pipe;     /* lock */
    int pipe[2];

    /* The handler's thread, until it has ended. */
    handler_thread *thread;
    cloaca_job_outcome outcome;
    char *result;
    char *error;
    int64_t retry_in;
    int64_t sleep_until;
    int64_t sleep_for;
    atomic_bool awaiting;  /* the lease was given up */
    atomic_bool committed; /* the task was completed in the handler's transaction */
    bool no_memory;        /* for the result or the error */
    bool unknown;          /* there is no handler for it */
    atomic_bool unsure;    /* a report was sent whose outcome is unknown */

    /* The reporting thread. */
    bool handler_ended;       /* although the job was given up; lock */
    bool cancelled;           /* to be released, to acknowledge it */
    bool refused;             /* the database does not take what it came to */
    int held_up;              /* how many reports took too long */
    int64_t backoff;          /* 0: no report has failed */
    int64_t next_try;         /* lock */
    atomic_bool acknowledged; /* the database let it go already */
    atomic_bool settled;
};

/* A wait for an execution, which the end of the runner interrupts. */
typedef struct execution_wait {
    struct execution_wait *next;
    cloaca *connection;
} execution_wait;

struct cloaca_runner {
    /* Settled before the start. */
    clo_arena arena; /* the texts of the options */
    cloaca_runner_options options;
    handler_entry *handlers;
    size_t handler_count;
    size_t capacity; /* jobs in hand at most, reported or not */
    handler_thread *threads;
    size_t thread_count; /* those that run */
    pthread_t claimer;
    pthread_t services[3]; /* the time, reports, leases */
    size_t service_count;  /* those that run */

    pthread_mutex_t lock;
    pthread_cond_t work;       /* a job is queued, or the runner stops */
    pthread_cond_t changed;    /* there is room, or the runner stops, or has ended */
    pthread_cond_t reports;    /* there is something to report, or the runner ends */
    pthread_cond_t leases_due; /* a lease is due earlier than any before, or the runner ends */
    bool started;
    bool stopping;
    bool quitting; /* the threads are to end */
    bool claimer_ended;
    bool reporter_ended;
    bool extender_ended;
    bool ended;
    bool complete;        /* it ended, and nothing was left undone */
    bool maintained;      /* the first maintenance was tried, or is not ours */
    bool claim_soon;      /* nothing is in hand any more: whether the runner ends is to be seen */
    cloaca_error failure; /* what ended it, with stop_on_error */
    int64_t grace_at;
    cloaca_job *jobs;
    cloaca_job *first_queued;
    cloaca_job *last_queued;
    size_t in_hand; /* in the list, without the abandoned */
    size_t busy;    /* queued and running */
    int64_t clock;  /* the database's clock minus ours */
    execution_wait *waits;
    int64_t next_extension;
    int64_t next_event; /* when the time is looked at */
    int64_t abandon_at;
    int64_t give_up_at;

    /* Wakes the thread that keeps the time. */
    int wake[2];
    atomic_bool woken;
    atomic_int interrupts;

    /* The claiming thread; the connection is set under the lock, for others interrupt its waits. */
    runner_link claim_link;
    int64_t *leases; /* of each queue */
    int64_t learn_at;
    int64_t claimed;
    bool was_idle; /* nothing was in hand before the last claim */
    size_t next_queue;
    int64_t poll_pause;
    int in_vain;
    bool polls;

    /* The reporting thread. */
    pthread_mutex_t report_lock;
    runner_link report_link; /* report_lock */
    int64_t maintain_at;
    int64_t maintain_patience;
    int64_t due_at;
    int64_t ask_at;
    bool attended; /* a background worker does the maintenance */
    struct report_batch *batch;

    /* The thread that extends leases. */
    runner_link lease_link;
    struct lease_batch *lease_batch;

    /* The one that keeps the time. */
    int interrupts_seen;
};

/* runner.c */
int64_t clo_monotonic_now(void);
/* The system's clock minus ours. */
int64_t clo_runner_clock(void);
void clo_runner_log(cloaca_runner *runner, cloaca_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void clo_runner_log_error(cloaca_runner *runner, cloaca_log_level level, const char *what, const cloaca_error *error);
void clo_runner_metric(cloaca_runner *runner, const cloaca_job *job, cloaca_job_event event, int64_t latency);
void clo_runner_wake(cloaca_runner *runner);
/* With the lock: no more claims, and nothing that is queued begins; running handlers have until `grace_at`. */
void clo_runner_begin_stop(cloaca_runner *runner, int64_t grace_at);
/* Begins a stop because of an error, if that is how the runner is to take it. */
void clo_runner_fail(cloaca_runner *runner, const cloaca_error *error);
/* With the lock: waits for a change until that time. */
void clo_runner_await_change(cloaca_runner *runner, int64_t until);
/* The same, for another condition. */
void clo_runner_await(cloaca_runner *runner, pthread_cond_t *condition, int64_t until);
/* Sleeps; ends early when the runner stops. */
void clo_runner_pause(cloaca_runner *runner, int64_t until);

/* runner_link.c */
/* Opens the connection if it is time to; says whether it is there. */
bool clo_link_ready(cloaca_runner *runner, runner_link *link, cloaca_error *error);
/* The next call may take so long, after which it is cancelled; on SQLite as long as the busy timeout lets it. */
void clo_link_limit(runner_link *link, int64_t patience);
/* Whether the whole file was locked, so that nothing else would have come through either. */
bool clo_link_is_locked(const runner_link *link, const cloaca_error *error);
/* A call failed: whether it is to be repeated, after the link's next_try. */
bool clo_link_failed(cloaca_runner *runner, runner_link *link, const char *what, const cloaca_error *error);
/* The same for what has pauses of its own: only a lost connection puts off what comes next. */
void clo_link_note(cloaca_runner *runner, runner_link *link, const char *what, const cloaca_error *error);
/* Whether repeating helps. */
bool clo_passes(const cloaca_error *error);
/* What was called may have been done. */
bool clo_is_unsure(const cloaca_error *error);
void clo_link_worked(runner_link *link);
void clo_link_close(cloaca_runner *runner, runner_link *link);

/* runner_claim.c, runner_report.c, runner_lease.c, runner_time.c, runner_job.c: the threads. */
void *clo_runner_claim(void *runner);
void *clo_runner_report(void *runner);
void *clo_runner_extend(void *runner);
void *clo_runner_keep_time(void *runner);
void *clo_runner_handle(void *thread);
bool clo_report_batch_new(cloaca_runner *runner);
void clo_report_batch_free(cloaca_runner *runner);
bool clo_lease_batch_new(cloaca_runner *runner);
void clo_lease_batch_free(cloaca_runner *runner);

/* runner_job.c */
cloaca_job *clo_job_new(cloaca_runner *runner, const cloaca_task *task, const char *queue, int64_t lease, int64_t claimed_at);
void clo_job_free(cloaca_job *job);
/* With the lock: tells the handler, once. */
void clo_job_stop(cloaca_job *job, cloaca_stop_reason reason);
/* With the lock: off the list. */
void clo_job_unlink(cloaca_runner *runner, cloaca_job *job);
/* Its lease ends at that time of the database, by an answer to what was asked at `before`: sets when to extend it. */
void clo_job_set_lease(cloaca_job *job, int64_t lease_until, int64_t before, int64_t clock);
/* Whether this is a thread of a handler of that runner. */
bool clo_runner_is_own_thread(const cloaca_runner *runner);

static inline int64_t clo_earlier(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

/* A sum that stays at NEVER. */
static inline int64_t clo_later_by(int64_t time, int64_t interval)
{
    return interval >= NEVER - time ? NEVER : time + interval;
}

#endif
