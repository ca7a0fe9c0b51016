/*
 * cursor.c - where a claim begins to look, for each queue and priority
 *
 * Finished tasks stay in the index until they can be vacuumed; under a snapshot that somebody holds that may be hours. A cursor
 * says below which key (run_at, id) of a priority nothing is claimable, so that a claim does not walk over them. It is a hint:
 * one that is too low costs time, one that is too high hides a task until a claim has looked below it again, which happens
 * every cloaca.repair_interval, a piece at a time, for at most a twentieth of a backend's time.
 *
 * A cursor may advance only over what its reader's snapshot showed. So the reader notes, before the snapshot, how often the
 * cursor had been lowered; whoever makes a task claimable lowers it after the commit. If it was lowered in between, the
 * reader's advance stops at the lowest of these keys.
 *
 * With preload the cursors are in shared memory, otherwise each backend has its own, which the others' commits do not lower:
 * there the reader itself keeps below what it saw in flux (claim.c). The table has a fixed size: sets of a few places, one
 * spinlock a set. A full set gives up the place that was used longest ago, of the tenant that has most places there, so that
 * one with a million queues pushes out its own.
 */
#include "extension.h"

#include <time.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/spin.h"
#include "utils/memutils.h"

#define PLACES 8
#define SHARED_SETS 2048
#define LOCAL_SETS 256
#define REMEMBERED_LOWERINGS 8

/* One time that a cursor was lowered, or several of them taken together. */
typedef struct Lowering {
    uint64 generation; /* the last of them */
    CloacaKey to;      /* the lowest of them */
} Lowering;

typedef struct Place {
    CloacaQueue queue;
    int16 priority;
    bool is_used;
    bool is_urgent;    /* the present look below found something, and there may be more */
    uint64 created;    /* never the same for two cursors in one place */
    uint64 generation; /* how often it was lowered */
    Lowering lowered[REMEMBERED_LOWERINGS];
    CloacaKey start;
    CloacaKey rest;         /* up from `start` to here nothing is claimable but what lowered it */
    bool is_partial;        /* the present look below did not begin at the first key */
    CloacaKey sweep;        /* how far below `start` the present look below has come; the first key: there is none */
    int64 swept_at;         /* when the last one ended, on the monotonic clock */
    TimestampTz next_lease; /* when the first lease below `start` ends, as far as is known, ... */
    TimestampTz seen_lease; /* ... and as far as the present look below has seen */
    uint64 last_used;
} Place;

typedef struct Set {
    slock_t lock;
    uint64 ticks; /* counts uses and creations */
    Place places[PLACES];
} Set;

static Set *sets;
static uint32 set_count;
static bool is_shared;

static void remember_lowering(Place *place, CloacaKey to);
static Set *lock_set(const CloacaQueue *queue, int16 priority);
static Place *find_place(Set *set, const CloacaQueue *queue, int16 priority);
static Place *make_place(Set *set, const CloacaQueue *queue, int16 priority);
static Place *victim(Set *set, const CloacaQueue *newcomer);
static Place *oldest_of(Set *set, Oid database, Oid table, int *count);
static Place *same_place(Set *set, const CloacaCursor *cursor);

Size cloaca_cursor_size(void)
{
    return mul_size(SHARED_SETS, sizeof(Set));
}

void cloaca_cursor_attach(void *area, bool found)
{
    sets = area;
    set_count = SHARED_SETS;
    is_shared = true;
    if (!found) {
        memset(area, 0, cloaca_cursor_size());
        for (uint32 i = 0; i < set_count; i++)
            SpinLockInit(&sets[i].lock);
    }
}

bool cloaca_cursors_shared(void)
{
    return is_shared;
}

CloacaQueue cloaca_queue(Oid table, const char *name, size_t length)
{
    return (CloacaQueue){MyDatabaseId, table, hash_bytes_extended((const unsigned char *) name, length, 0)};
}

void cloaca_cursor_read(const CloacaQueue *queue, int16 priority, TimestampTz at, CloacaCursor *cursor)
{
    int64 now = cloaca_monotonic();
    Set *set = lock_set(queue, priority);
    Place *place = find_place(set, queue, priority);

    if (place == NULL) {
        place = make_place(set, queue, priority);
        place->swept_at = now;
    }
    place->last_used = ++set->ticks;
    *cursor = (CloacaCursor){.queue = *queue,
                             .priority = priority,
                             .start = place->start,
                             .rest = place->rest,
                             .created = place->created,
                             .generation = place->generation,
                             .is_urgent = place->is_urgent,
                             .has_ended = at >= place->next_lease,
                             .next_lease = place->next_lease,
                             .sweep = place->sweep};
    cursor->sweeps = cursor->is_urgent || cursor->has_ended || cloaca_key_less(CLOACA_FIRST_KEY, cursor->sweep) ||
                     now >= place->swept_at + (int64) cloaca_repair_interval * 1000;
    SpinLockRelease(&set->lock);
}

void cloaca_cursor_advance(const CloacaCursor *cursor, CloacaKey to, TimestampTz lease)
{
    Set *set = lock_set(&cursor->queue, cursor->priority);
    Place *place = same_place(set, cursor);

    if (place) {
        place->next_lease = Min(place->next_lease, lease);
        place->seen_lease = Min(place->seen_lease, lease);
        for (int i = 0; i < REMEMBERED_LOWERINGS; i++) {
            if (place->lowered[i].generation > cursor->generation && cloaca_key_less(place->lowered[i].to, to))
                to = place->lowered[i].to;
        }
        if (cloaca_key_less(place->start, to))
            place->start = to;
        if (cloaca_key_less(place->rest, to))
            place->rest = to;
    }
    SpinLockRelease(&set->lock);
}

void cloaca_cursor_skipped(const CloacaCursor *cursor, CloacaKey from)
{
    Set *set = lock_set(&cursor->queue, cursor->priority);
    Place *place = same_place(set, cursor);

    if (place) {
        bool sweeps = cloaca_key_less(CLOACA_FIRST_KEY, place->sweep);

        place->is_partial = place->is_partial || !sweeps;
        place->sweep = sweeps && cloaca_key_less(place->sweep, from) ? place->sweep : from;
        place->is_urgent = true;
    }
    SpinLockRelease(&set->lock);
}

/* At the end of a transaction, when nothing may fail: a backend that has no cursors yet needs none. */
void cloaca_cursor_lower(const CloacaQueue *queue, int16 priority, CloacaKey to)
{
    Set *set;
    Place *place;

    if (sets == NULL)
        return;
    set = lock_set(queue, priority);
    place = find_place(set, queue, priority);
    if (place) {
        remember_lowering(place, to);
        if (cloaca_key_less(to, place->start))
            place->start = to;
    }
    SpinLockRelease(&set->lock);
}

void cloaca_cursor_lease(const CloacaQueue *queue, int16 priority, TimestampTz until)
{
    Set *set = lock_set(queue, priority);
    Place *place = find_place(set, queue, priority);

    if (place) {
        place->next_lease = Min(place->next_lease, until);
        place->seen_lease = Min(place->seen_lease, until);
    }
    SpinLockRelease(&set->lock);
}

bool cloaca_cursor_swept(const CloacaCursor *cursor, CloacaKey to, bool done, bool found, TimestampTz lease, TimestampTz at)
{
    bool is_outdated = false;
    int64 now = cloaca_monotonic();
    Set *set = lock_set(&cursor->queue, cursor->priority);
    Place *place = same_place(set, cursor);

    if (place) {
        place->sweep = done ? CLOACA_FIRST_KEY : to;
        place->is_urgent = found && !done;
        place->seen_lease = Min(place->seen_lease, lease);
        if (done && !place->is_partial) {
            place->next_lease = place->seen_lease;
            place->seen_lease = DT_NOEND;
            place->swept_at = now;
            is_outdated = place->next_lease <= at;
        }
        place->is_partial = place->is_partial && !done;
    }
    SpinLockRelease(&set->lock);
    return is_outdated;
}

void cloaca_cursor_reset(void)
{
    for (uint32 i = 0; i < set_count; i++) {
        Set *set = &sets[i];

        SpinLockAcquire(&set->lock);
        for (int j = 0; j < PLACES; j++) {
            if (set->places[j].queue.database == MyDatabaseId)
                set->places[j].is_used = false;
        }
        SpinLockRelease(&set->lock);
    }
}

int64 cloaca_monotonic(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* The newest last. There is room for few: the two oldest become one, which is then as low as the lower and as new as the newer.
 */
static void remember_lowering(Place *place, CloacaKey to)
{
    Lowering *lowered = place->lowered;

    if (cloaca_key_less(lowered[0].to, lowered[1].to) && lowered[0].generation > 0)
        lowered[1].to = lowered[0].to;
    memmove(&lowered[0], &lowered[1], (REMEMBERED_LOWERINGS - 1) * sizeof(Lowering));
    lowered[REMEMBERED_LOWERINGS - 1] = (Lowering){++place->generation, to};
}

static Set *lock_set(const CloacaQueue *queue, int16 priority)
{
    uint64 hash = queue->hash ^ murmurhash32(queue->table ^ murmurhash32((uint32) priority + queue->database));
    Set *set;

    if (sets == NULL) {
        sets = MemoryContextAllocZero(TopMemoryContext, LOCAL_SETS * sizeof(Set));
        set_count = LOCAL_SETS;
        for (uint32 i = 0; i < set_count; i++)
            SpinLockInit(&sets[i].lock);
    }
    set = &sets[hash % set_count];
    SpinLockAcquire(&set->lock);
    return set;
}

static Place *find_place(Set *set, const CloacaQueue *queue, int16 priority)
{
    for (int i = 0; i < PLACES; i++) {
        Place *place = &set->places[i];

        if (place->is_used && place->queue.hash == queue->hash && place->queue.table == queue->table &&
            place->queue.database == queue->database && place->priority == priority)
            return place;
    }
    return NULL;
}

static Place *make_place(Set *set, const CloacaQueue *queue, int16 priority)
{
    Place *place = victim(set, queue);

    *place = (Place){.queue = *queue, .priority = priority, .is_used = true, .created = ++set->ticks};
    place->start = place->rest = place->sweep = CLOACA_FIRST_KEY;
    place->next_lease = place->seen_lease = DT_NOEND;
    return place;
}

/* A free place; else the one used longest ago, of the tenant that has most of the set, the newcomer's own if that has as many.
 */
static Place *victim(Set *set, const CloacaQueue *newcomer)
{
    int most;
    Place *chosen = oldest_of(set, newcomer->database, newcomer->table, &most);

    for (int i = 0; i < PLACES; i++) {
        Place *place = &set->places[i];
        Place *oldest;
        int count;

        if (!place->is_used)
            return place;
        oldest = oldest_of(set, place->queue.database, place->queue.table, &count);
        if (count > most || (most <= 1 && (chosen == NULL || oldest->last_used < chosen->last_used))) {
            most = count;
            chosen = oldest;
        }
    }
    return chosen;
}

/* Of a tenant's places in the set the one used longest ago, and how many there are. */
static Place *oldest_of(Set *set, Oid database, Oid table, int *count)
{
    Place *oldest = NULL;

    *count = 0;
    for (int i = 0; i < PLACES; i++) {
        Place *place = &set->places[i];

        if (place->is_used && place->queue.database == database && place->queue.table == table) {
            ++*count;
            if (oldest == NULL || place->last_used < oldest->last_used)
                oldest = place;
        }
    }
    return oldest;
}

/* The place that the cursor was read from, unless it was given to another in the meantime. */
static Place *same_place(Set *set, const CloacaCursor *cursor)
{
    Place *place = find_place(set, &cursor->queue, cursor->priority);

    return place && place->created == cursor->created ? place : NULL;
}
