/*
 * sleepers.c - the sessions that wait for tasks, in shared memory
 *
 * Each has a seat for every queue that it waits for. Seats lie in a table of buckets by queue: those asleep, who waits longest
 * first, and those woken. A commit that makes n tasks claimable wakes n sleepers of the queue and moves all of their seats to
 * the woken ones, so nobody is woken twice. It finds out by one atomic read when nobody sleeps.
 *
 * No wake is lost. A sleeper lies down before it takes the snapshot that it looks with, and a committer looks for sleepers
 * after its transaction became visible, with a full barrier on either side: one of them sees the other. Whoever is woken lies
 * down again before it looks, so that the next commit finds it; and whoever leaves without having used a wake passes it on.
 *
 * One seat of each queue keeps time: its session looks when the next task is due, or after cloaca.repair_interval, and wakes
 * others as there are tasks for them. All others sleep without a timer. Keeping time goes to another seat when a session
 * leaves.
 *
 * Everything is guarded by the lightweight lock of the library, but for the counters of a bucket. It is held for microseconds.
 * Committers and leaving sessions do their part in places where an error must not happen: nothing here allocates or raises.
 */
#include "sleepers.h"

#include "lib/ilist.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#define BUCKETS 1024
/* On average; one session may have many more. */
#define SEATS_PER_CONNECTION 8
/* So many latches are set after one turn with the lock. */
#define WAKE_AT_ONCE 32

typedef struct Sleeper Sleeper;

/* A queue that a session waits for. */
typedef struct Seat {
    dlist_node place;  /* in its bucket, asleep or woken */
    dlist_node keeper; /* in its bucket, when it keeps time */
    struct Seat *next; /* of the same session, or free */
    Sleeper *sleeper;
    CloacaQueue queue;
    int number; /* of the queue in the session's call */
    bool keeps;
    TimestampTz until;     /* keeps: when to look; DT_NOEND while it looks */
    TimestampTz seen;      /* keeps: as in CloacaWatch */
    TimestampTz last_wake; /* keeps: as in CloacaWatch */
} Seat;

struct Sleeper {
    Sleeper *next_free;
    Latch *latch;
    Seat *seats;
    Seat *woken; /* the seat it was woken for; NULL: asleep */
};

typedef struct Bucket {
    pg_atomic_uint32 asleep_count;
    pg_atomic_uint32 seat_count;
    dlist_head asleep;
    dlist_head woken;
    dlist_head keepers;
} Bucket;

typedef struct Area {
    Sleeper *free_sleepers;
    Seat *free_seats;
    int free_seat_count;
    Bucket buckets[BUCKETS];
} Area;

static Area *area; /* NULL: no shared memory */
static LWLock *lock;
static Sleeper *self; /* NULL: not entered */
static Seat *owed;    /* what this session was woken for and has not looked at yet */

static void initialise(void);
static void lie_down(Sleeper *sleeper, bool is_first);
static void unlink_seat(Seat *seat);
static void keep_time(Seat *seat, TimestampTz until, TimestampTz seen, TimestampTz last_wake);
static Seat *find_keeper(Bucket *bucket, const CloacaQueue *queue);
static Seat *find_in(dlist_head *list, const CloacaQueue *queue);
static int take_sleepers(const CloacaQueue *queue, int64 count, Latch **latches);
static void mark_woken(Seat *seat);
static void hand_over(const Seat *seat, bool satisfied, bool broken);
static Seat *seat_of(int number);
static void leave_at_exit(int code, Datum argument);
static Bucket *bucket_of(const CloacaQueue *queue);
static bool is_same(const CloacaQueue *one, const CloacaQueue *other);

/* ------------------------------------------------------------------------------------------------------------ shared memory */

Size cloaca_wait_size(void)
{
    Size size = MAXALIGN(sizeof(Area));

    size = add_size(size, mul_size(MaxConnections, MAXALIGN(sizeof(Sleeper))));
    return add_size(size, mul_size(MaxConnections, SEATS_PER_CONNECTION * sizeof(Seat)));
}

void cloaca_wait_attach(void *memory, bool found)
{
    area = memory;
    lock = &GetNamedLWLockTranche("cloaca")->lock;
    if (!found)
        initialise();
}

static void initialise(void)
{
    char *sleepers = (char *) area + MAXALIGN(sizeof(Area));
    Seat *seats = (Seat *) (sleepers + MaxConnections * MAXALIGN(sizeof(Sleeper)));

    memset(area, 0, cloaca_wait_size());
    for (int i = 0; i < BUCKETS; i++) {
        pg_atomic_init_u32(&area->buckets[i].asleep_count, 0);
        pg_atomic_init_u32(&area->buckets[i].seat_count, 0);
        dlist_init(&area->buckets[i].asleep);
        dlist_init(&area->buckets[i].woken);
        dlist_init(&area->buckets[i].keepers);
    }
    for (int i = 0; i < MaxConnections; i++) {
        Sleeper *sleeper = (Sleeper *) (sleepers + i * MAXALIGN(sizeof(Sleeper)));

        sleeper->next_free = area->free_sleepers;
        area->free_sleepers = sleeper;
    }
    area->free_seat_count = MaxConnections * SEATS_PER_CONNECTION;
    for (int i = 0; i < area->free_seat_count; i++) {
        seats[i].next = area->free_seats;
        area->free_seats = &seats[i];
    }
}

/* ----------------------------------------------------------------------------------------------------------------- committers
 */

void cloaca_wake(const CloacaQueue *queue, int64 count)
{
    Latch *latches[WAKE_AT_ONCE];
    int taken = WAKE_AT_ONCE;

    if (area == NULL)
        return;
    pg_memory_barrier();
    while (count > 0 && taken == WAKE_AT_ONCE && pg_atomic_read_u32(&bucket_of(queue)->asleep_count) > 0) {
        taken = take_sleepers(queue, Min(count, WAKE_AT_ONCE), latches);
        for (int i = 0; i < taken; i++)
            SetLatch(latches[i]);
        count -= taken;
    }
}

void cloaca_wake_at(const CloacaQueue *queue, TimestampTz run_at)
{
    Latch *latch = NULL;
    Seat *seat;

    if (area == NULL)
        return;
    pg_memory_barrier();
    if (pg_atomic_read_u32(&bucket_of(queue)->seat_count) == 0)
        return;
    LWLockAcquire(lock, LW_EXCLUSIVE);
    seat = find_keeper(bucket_of(queue), queue);
    if (seat) {
        /* It may be past already: it was not to be seen before. */
        seat->seen = Min(seat->seen, run_at == DT_NOBEGIN ? DT_NOBEGIN : run_at - 1);
        if (run_at < seat->until) {
            seat->until = run_at;
            latch = seat->sleeper->latch;
        }
    }
    LWLockRelease(lock);
    if (latch)
        SetLatch(latch);
}

void cloaca_wake_all(void)
{
    dlist_iter each;

    if (area == NULL)
        return;
    LWLockAcquire(lock, LW_EXCLUSIVE);
    for (int i = 0; i < BUCKETS; i++) {
        dlist_foreach(each, &area->buckets[i].keepers)
        {
            Seat *seat = dlist_container(Seat, keeper, each.cur);

            if (seat->queue.database != MyDatabaseId)
                continue;
            seat->until = seat->seen = DT_NOBEGIN;
            SetLatch(seat->sleeper->latch);
        }
    }
    LWLockRelease(lock);
}

/* Marks up to `count` sleepers as woken, who wait longest first; the caller sets their latches without the lock. */
static int take_sleepers(const CloacaQueue *queue, int64 count, Latch **latches)
{
    Bucket *bucket = bucket_of(queue);
    int taken = 0;
    Seat *seat;

    LWLockAcquire(lock, LW_EXCLUSIVE);
    while (taken < count && (seat = find_in(&bucket->asleep, queue)) != NULL) {
        mark_woken(seat);
        latches[taken++] = seat->sleeper->latch;
    }
    seat = taken ? find_keeper(bucket, queue) : NULL;
    if (seat)
        seat->last_wake = GetCurrentTimestamp();
    LWLockRelease(lock);
    return taken;
}

/* All of its seats go: it is one session, and looks at one task. */
static void mark_woken(Seat *seat)
{
    seat->sleeper->woken = seat;
    for (Seat *each = seat->sleeper->seats; each; each = each->next) {
        Bucket *bucket = bucket_of(&each->queue);

        dlist_delete(&each->place);
        pg_atomic_fetch_sub_u32(&bucket->asleep_count, 1);
        dlist_push_tail(&bucket->woken, &each->place);
    }
}

/* ----------------------------------------------------------------------------------------------------------- enter and leave
 */

bool cloaca_sleepers_entered(void)
{
    return self != NULL;
}

bool cloaca_sleepers_enter(const CloacaQueue *queues, int count, TimestampTz seen)
{
    static bool is_registered = false;

    if (area == NULL)
        return false;
    if (!is_registered) {
        before_shmem_exit(leave_at_exit, (Datum) 0);
        is_registered = true;
    }
    LWLockAcquire(lock, LW_EXCLUSIVE);
    if (area->free_sleepers == NULL || area->free_seat_count < count) {
        LWLockRelease(lock);
        return false;
    }
    self = area->free_sleepers;
    area->free_sleepers = self->next_free;
    *self = (Sleeper){.latch = MyLatch};
    for (int i = count - 1; i >= 0; i--) {
        Seat *seat = area->free_seats;

        area->free_seats = seat->next;
        area->free_seat_count--;
        *seat = (Seat){.next = self->seats, .sleeper = self, .queue = queues[i], .number = i};
        self->seats = seat;
        pg_atomic_fetch_add_u32(&bucket_of(&seat->queue)->seat_count, 1);
        if (find_keeper(bucket_of(&seat->queue), &seat->queue) == NULL)
            keep_time(seat, DT_NOEND, seen, DT_NOBEGIN);
    }
    lie_down(self, false);
    LWLockRelease(lock);
    pg_memory_barrier();
    return true;
}

void cloaca_sleepers_leave(bool satisfied, bool broken)
{
    CloacaQueue unused[2];
    int unused_count = 0;

    if (self == NULL)
        return;
    LWLockAcquire(lock, LW_EXCLUSIVE);
    if (owed && !satisfied)
        unused[unused_count++] = owed->queue;
    if (self->woken)
        unused[unused_count++] = self->woken->queue;
    for (Seat *seat = self->seats; seat; seat = seat->next)
        unlink_seat(seat);
    while (self->seats) {
        Seat *seat = self->seats;

        self->seats = seat->next;
        if (seat->keeps)
            hand_over(seat, satisfied, broken);
        seat->next = area->free_seats;
        area->free_seats = seat;
        area->free_seat_count++;
    }
    self->next_free = area->free_sleepers;
    area->free_sleepers = self;
    self = NULL;
    owed = NULL;
    LWLockRelease(lock);
    for (int i = 0; i < unused_count; i++)
        cloaca_wake(&unused[i], 1);
}

/* FATAL may have come in the middle of anything. */
static void leave_at_exit(int code, Datum argument)
{
    LWLockReleaseAll();
    cloaca_sleepers_leave(false, false);
}

/* Another seat of the queue keeps time from now on; one that sleeps, if there is any. */
static void hand_over(const Seat *seat, bool satisfied, bool broken)
{
    Bucket *bucket = bucket_of(&seat->queue);
    Seat *heir = find_in(&bucket->asleep, &seat->queue);

    if (heir == NULL)
        heir = find_in(&bucket->woken, &seat->queue);
    if (heir == NULL)
        return;
    keep_time(heir, broken || seat->until == DT_NOEND ? DT_NOBEGIN : seat->until, seat->seen,
              satisfied ? GetCurrentTimestamp() : seat->last_wake);
    SetLatch(heir->sleeper->latch);
}

static void keep_time(Seat *seat, TimestampTz until, TimestampTz seen, TimestampTz last_wake)
{
    seat->keeps = true;
    seat->until = until;
    seat->seen = seen;
    seat->last_wake = last_wake;
    dlist_push_tail(&bucket_of(&seat->queue)->keepers, &seat->keeper);
}

static void unlink_seat(Seat *seat)
{
    Bucket *bucket = bucket_of(&seat->queue);

    dlist_delete(&seat->place);
    if (seat->keeps)
        dlist_delete(&seat->keeper);
    if (seat->sleeper->woken == NULL)
        pg_atomic_fetch_sub_u32(&bucket->asleep_count, 1);
    pg_atomic_fetch_sub_u32(&bucket->seat_count, 1);
}

/* --------------------------------------------------------------------------------------------------------------------- rounds
 */

int cloaca_sleepers_begin(bool all, bool *looks)
{
    TimestampTz now = GetCurrentTimestamp();
    int woken_for = -1;

    LWLockAcquire(lock, LW_EXCLUSIVE);
    if (self->woken) {
        owed = self->woken;
        woken_for = owed->number;
        for (Seat *seat = self->seats; seat; seat = seat->next)
            dlist_delete(&seat->place);
        lie_down(self, true);
    }
    for (Seat *seat = self->seats; seat; seat = seat->next) {
        bool is_time = all || (seat->keeps && seat->until <= now);

        looks[seat->number] = is_time || seat == owed;
        if (is_time)
            seat->until = DT_NOEND;
    }
    LWLockRelease(lock);
    pg_memory_barrier();
    return woken_for;
}

void cloaca_sleepers_done(int queue, TimestampTz at, TimestampTz until)
{
    Seat *seat = seat_of(queue);

    if (seat == owed)
        owed = NULL;
    LWLockAcquire(lock, LW_EXCLUSIVE);
    /* What somebody announced while we looked was perhaps not seen. */
    if (seat->until == DT_NOEND)
        seat->seen = at;
    seat->until = Min(seat->until, until);
    LWLockRelease(lock);
}

CloacaWatch cloaca_sleepers_watch(int queue)
{
    const Seat *seat = seat_of(queue);
    Bucket *bucket = bucket_of(&seat->queue);
    CloacaWatch watch = {0};
    dlist_iter each;

    LWLockAcquire(lock, LW_SHARED);
    watch.seen = seat->seen;
    watch.woken = seat->last_wake;
    dlist_foreach(each, &bucket->asleep)
    {
        const Seat *other = dlist_container(Seat, place, each.cur);

        if (other != seat && is_same(&other->queue, &seat->queue))
            watch.others++;
    }
    LWLockRelease(lock);
    return watch;
}

void cloaca_sleepers_share(int queue, int64 count, TimestampTz at, TimestampTz until)
{
    Seat *seat = seat_of(queue);

    cloaca_sleepers_done(queue, at, until);
    seat->last_wake = GetCurrentTimestamp();
    cloaca_wake(&seat->queue, count);
}

TimestampTz cloaca_sleepers_alarm(void)
{
    TimestampTz alarm = DT_NOEND;

    LWLockAcquire(lock, LW_SHARED);
    for (Seat *seat = self->seats; seat; seat = seat->next) {
        if (seat->keeps)
            alarm = Min(alarm, seat->until);
    }
    if (self->woken)
        alarm = DT_NOBEGIN;
    LWLockRelease(lock);
    return alarm;
}

static void lie_down(Sleeper *sleeper, bool is_first)
{
    sleeper->woken = NULL;
    for (Seat *seat = sleeper->seats; seat; seat = seat->next) {
        Bucket *bucket = bucket_of(&seat->queue);

        if (is_first)
            dlist_push_head(&bucket->asleep, &seat->place);
        else
            dlist_push_tail(&bucket->asleep, &seat->place);
        pg_atomic_fetch_add_u32(&bucket->asleep_count, 1);
    }
}

/* -------------------------------------------------------------------------------------------------------------------- helpers
 */

static Seat *find_keeper(Bucket *bucket, const CloacaQueue *queue)
{
    dlist_iter each;

    dlist_foreach(each, &bucket->keepers)
    {
        if (is_same(&dlist_container(Seat, keeper, each.cur)->queue, queue))
            return dlist_container(Seat, keeper, each.cur);
    }
    return NULL;
}

/* The first seat of the queue in one of a bucket's lists, of those asleep or of those woken. */
static Seat *find_in(dlist_head *list, const CloacaQueue *queue)
{
    dlist_iter each;

    dlist_foreach(each, list)
    {
        if (is_same(&dlist_container(Seat, place, each.cur)->queue, queue))
            return dlist_container(Seat, place, each.cur);
    }
    return NULL;
}

static Seat *seat_of(int number)
{
    Seat *seat = self->seats;

    while (seat->number != number)
        seat = seat->next;
    return seat;
}

static Bucket *bucket_of(const CloacaQueue *queue)
{
    uint64 hash = (queue->hash ^ queue->table) * UINT64CONST(0x9E3779B97F4A7C15);

    return &area->buckets[(hash >> 32) % BUCKETS];
}

static bool is_same(const CloacaQueue *one, const CloacaQueue *other)
{
    return one->hash == other->hash && one->table == other->table && one->database == other->database;
}
