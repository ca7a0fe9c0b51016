/*
 * sleepers.h - the sessions that wait for tasks, in shared memory: what wait.c asks of sleepers.c
 *
 * A session enters once for the queues of its call, which are known by their place in its array from then on. It looks at
 * queues in rounds: begin says at which ones, done that there was nothing. Whoever leaves hands on what it was woken for and
 * did not use.
 */
#ifndef CLOACA_SLEEPERS_H
#define CLOACA_SLEEPERS_H

#include "extension.h"

/* What the keeper of a queue's time has to know when it found tasks. */
typedef struct CloacaWatch {
    int others;        /* how many more sleep, and nobody has woken */
    TimestampTz seen;  /* up to when tasks that came due were seen; DT_NOBEGIN: count all */
    TimestampTz woken; /* when somebody was last woken, in real time */
} CloacaWatch;

/* Enters, who has just seen that there was nothing at the time `seen`; false without shared memory, and when all places are
 * taken. */
extern bool cloaca_sleepers_enter(const CloacaQueue *queues, int count, TimestampTz seen);
extern bool cloaca_sleepers_entered(void);
/* Begins a round: sets looks[queue] for those to look at. Returns the queue that a commit woke us for, or -1. */
extern int cloaca_sleepers_begin(bool all, bool *looks);
/* There was nothing on the queue at the time `at`; look again at `until`, in real time, if nobody wakes us before. */
extern void cloaca_sleepers_done(int queue, TimestampTz at, TimestampTz until);
extern CloacaWatch cloaca_sleepers_watch(int queue);
/* Wakes up to `count` others on the queue, and lets the next look be at `until`. */
extern void cloaca_sleepers_share(int queue, int64 count, TimestampTz at, TimestampTz until);
/* When the next round has to begin, in real time: DT_NOBEGIN at once, DT_NOEND when somebody will wake us. */
extern TimestampTz cloaca_sleepers_alarm(void);
/* Leaves, if it has entered; `satisfied`: with the task that it was woken for; `broken`: the others have to look at once. */
extern void cloaca_sleepers_leave(bool satisfied, bool broken);

/* wait.c: raises unless the procedure that was called can commit. */
extern void cloaca_refuse_atomic(FunctionCallInfo fcinfo);
/* Sleeps until the next look, which without a seat is at `alarm`; false when it is `end` by then. Both in real time. */
extern bool cloaca_nap(TimestampTz end, TimestampTz alarm);

#endif
