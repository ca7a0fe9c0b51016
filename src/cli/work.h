/*
 * work.h - what the parts of `cloaca work` share: the worker, its jobs, and who does what
 *
 * work.c has the loop, work_claim.c the connection and the claims, work_wait.c the wait for work, work_job.c the commands,
 * work_report.c how they ended. One process, one thread; nothing here takes a lock.
 */
#ifndef CLOACA_CLI_WORK_H
#define CLOACA_CLI_WORK_H

#include "cli.h"
#include "process.h"

#define SECOND INT64_C(1000000)
#define NEVER INT64_MAX
#define BACKOFF_LOW (SECOND / 10)
#define BACKOFF_HIGH (5 * SECOND)
#define DEFAULT_LEASE (30 * SECOND)
#define POLL_HIGH SECOND

/* How the worker will report a task. */
enum ending { ENDING_NONE, ENDING_COMPLETE, ENDING_FAIL, ENDING_FINAL, ENDING_DEFER, ENDING_RELEASE, ENDING_FORGET };

/* Why we ended a command ourselves. */
enum reason { REASON_NONE, REASON_CANCELLED, REASON_LOST, REASON_TIMEOUT, REASON_OVERFLOW, REASON_SHUTDOWN };

struct job {
    struct job *next;
    int64_t task;
    int64_t lease_id;
    int64_t execution; /* of a workflow, or 0 */
    int attempt;
    int max_attempts;
    char *payload;
    size_t payload_length;
    int64_t extend_at;
    int64_t timeout_at;
    int64_t kill_at; /* SIGKILL follows SIGTERM */
    enum reason reason;
    enum ending ending;
    bool cancelled;     /* to be released to acknowledge it */
    bool unsure;        /* a report was sent whose outcome is unknown */
    struct buffer text; /* the result, or the error */
    struct process process;
    size_t first_entry; /* in the poll table */
    size_t entries;
};

/* The wait for work, on a connection of its own. */
struct waiter {
    cloaca *connection; /* NULL until it is needed, and while it is lost */
    bool waiting;
    bool impossible;  /* the server cannot wait: the worker polls */
    bool woken;       /* the next claim is to find something */
    int in_vain;      /* claims in a row that found nothing after it was woken */
    int64_t next;     /* not before */
    int64_t check_at; /* look at it then, whatever its descriptor says */
    int64_t backoff;
};

struct worker {
    const struct invocation *invocation;
    cloaca *connection; /* NULL while it is lost */
    const char *queue;
    char name[201];
    int64_t lease;
    int64_t clock;  /* the database's clock minus ours, as far as we know */
    bool own_lease; /* --lease; else the queue's */
    int64_t timeout;
    int64_t grace;
    int64_t kill_after;
    int64_t defer;
    int64_t poll_low;
    int64_t pause; /* the next idle pause, where it polls */
    int64_t backoff;
    int64_t max_tasks;
    size_t concurrency;
    bool once;
    bool drain;
    bool raw;
    bool maintain;
    bool quiet;
    bool verbose;

    struct waiter waiter;
    struct job *jobs;
    size_t running; /* jobs whose command runs or whose report is not made */
    bool stopping;  /* no more claims */
    bool dry;       /* the last claim found nothing */
    bool drained;
    int signals;
    int status;
    int64_t next_claim;
    int64_t next_connect;
    int64_t next_report;
    int64_t next_upkeep;
    int64_t next_due; /* maintenance is due, or is to be asked for */
    int64_t grace_at;
    int64_t give_up_at;
    struct pollfd *entries;

    int64_t claimed;
    int64_t completed;
    int64_t failed;
    int64_t dead;
    int64_t deferred;
    int64_t released;
    int64_t cancelled;
    int64_t lost;
};

/* work.c */
/* No more claims; what runs may end within the grace. */
void stop(struct worker *worker, int status);
/* A line about the worker on stderr. */
void note(const struct worker *worker, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* work_claim.c */
/* Opens the connection that claims and reports; its status is that of the command. */
int open_worker(struct worker *worker);
void connect_again(struct worker *worker);
bool call_failed(struct worker *worker, const char *what, const cloaca_error *error);
void upkeep(struct worker *worker, int64_t now);
/* Whether there is room for another task, and leave to claim it. */
bool wants_tasks(const struct worker *worker);
void claim_tasks(struct worker *worker, int64_t now);
void extend_leases(struct worker *worker, int64_t now);
/* When a lease that ends at that time of the database is to be extended. */
int64_t extend_time(const struct worker *worker, int64_t lease_until, int64_t before);

/* work_wait.c */
/* Begins to wait when there is nothing to claim, and ends a wait that is not wanted any more. */
void wait_for_work(struct worker *worker, int64_t now);
/* Whether claims need not be tried until the wait is over. */
bool waits_for_work(const struct worker *worker);
/* The descriptor to poll, in one entry; returns how many entries it took. */
size_t waiter_entries(const struct worker *worker, struct pollfd *entry);
/* When to look at it, at the latest. */
int64_t waiter_event(const struct worker *worker);
void check_waiter(struct worker *worker, int64_t now);
/* After a claim: were we woken in vain? */
void note_claim(struct worker *worker, bool found, int64_t now);
void close_waiter(struct worker *worker);

/* work_job.c */
void start_job(struct worker *worker, const cloaca_task *task, int64_t before);
void end_command(struct worker *worker, struct job *job, enum reason reason);
void enforce_deadlines(struct worker *worker, int64_t now);
void reap(struct worker *worker);

/* work_report.c */
void report_endings(struct worker *worker, int64_t now);
void remove_settled(struct worker *worker);

static inline int64_t earlier(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

#endif
