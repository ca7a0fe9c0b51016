/*
 * due.c - when maintenance is due, for the background worker: a time for each tenant and each database, in shared memory
 *
 * A commit that makes something due earlier than anybody knew says so here. The common case is a claim, whose lease ends later
 * than one that is known already: that costs two atomic reads. Otherwise, a few times a minute, the lock is taken, the times of
 * the tenant and of its database are made earlier, and the latch of the worker is set, or that of the launcher when the
 * database has no worker.
 *
 * Nothing is lost between a commit and a worker. The worker forgets what is known of a tenant before it takes the snapshot that
 * it works with, and a committer looks here after its transaction became visible: either the worker sees what was committed, or
 * the committer sees that nothing is known, and notes it.
 *
 * Tenants are known by their tables of tasks. They have 4,096 places, in sets of eight; when a set is full the database notes
 * that all of its tenants have their turn. All this is a hint: a worker looks at everything when it starts, and every
 * cloaca.maintenance_interval.
 *
 * Guarded by the second lightweight lock of the library, but for reads of times. Nothing here allocates or raises.
 */
#include "due.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/timestamp.h"

#define TENANTS 4096
#define SET_SIZE 8
/* How soon the launcher looks again for a worker that is to leave, though it is told when it has. */
#define PATIENCE (10 * USECS_PER_SEC)

typedef struct Tenant {
    pg_atomic_uint64 key;   /* database and table; 0: free */
    pg_atomic_uint64 due;   /* when it has its turn: not after `lease`, but while a worker is at it */
    pg_atomic_uint64 lease; /* when the first lease ends */
} Tenant;

typedef enum WorkerState { NO_WORKER, WORKER_STARTS, WORKER_RUNS } WorkerState;

typedef struct Database {
    Oid oid; /* InvalidOid: free */
    WorkerState state;
    Latch *latch;          /* of the worker that runs */
    bool leaves;           /* it is to leave */
    bool yields;           /* it is to leave after a round, for another database */
    int closings;          /* how many transactions want no worker there */
    TimestampTz changed;   /* when its worker arrived, or the last one left */
    TimestampTz not_until; /* no worker starts before */
    TimestampTz due;       /* when there is work; in a round, what was noted since it began */
    bool in_round;         /* of the worker that runs */
    pg_atomic_uint64 all;  /* when all tenants have their turn */
} Database;

typedef struct Area {
    Latch *launcher;
    Database databases[CLOACA_MOST_DATABASES];
    Tenant tenants[TENANTS];
} Area;

static Area *area; /* NULL: no shared memory */
static LWLock *lock;
static Database *own; /* of a worker */

static bool is_known(Oid database, Oid table, TimestampTz at, bool is_lease);
static Latch *hurry(Database *database, TimestampTz at);
static Latch *make_room(TimestampTz now);
static Latch *ask_to_leave(Database *database);
static uint64 key_of(Oid database, Oid table);
static Tenant *set_of(uint64 key);
static Tenant *find_tenant(uint64 key);
static Tenant *make_tenant(uint64 key);
static Database *find_database(Oid oid);
static Database *make_database(Oid oid);
static void remove_database(Database *database);
static TimestampTz read_time(pg_atomic_uint64 *time);
static void write_time(pg_atomic_uint64 *time, TimestampTz at);
static void lower_time(pg_atomic_uint64 *time, TimestampTz at);
static void set_latch(Latch *latch);

/* ------------------------------------------------------------------------------------------------------------ shared memory */

Size cloaca_due_size(void)
{
    return sizeof(Area);
}

void cloaca_due_attach(void *memory, bool found)
{
    area = memory;
    lock = &GetNamedLWLockTranche("cloaca")[1].lock;
    if (found)
        return;
    memset(area, 0, sizeof(Area));
    for (int i = 0; i < CLOACA_MOST_DATABASES; i++)
        pg_atomic_init_u64(&area->databases[i].all, 0);
    for (int i = 0; i < TENANTS; i++) {
        pg_atomic_init_u64(&area->tenants[i].key, 0);
        pg_atomic_init_u64(&area->tenants[i].due, 0);
        pg_atomic_init_u64(&area->tenants[i].lease, 0);
    }
}

/* ----------------------------------------------------------------------------------------------------- ends of transactions */

void cloaca_due_note(Oid database, Oid table, TimestampTz at, bool is_lease)
{
    Tenant *tenant;
    Database *place;
    Latch *latch = NULL;

    if (area == NULL)
        return;
    /* Whoever forgets what is known from now on sees what was committed. */
    pg_memory_barrier();
    if (is_known(database, table, at, is_lease))
        return;
    LWLockAcquire(lock, LW_EXCLUSIVE);
    tenant = OidIsValid(table) ? make_tenant(key_of(database, table)) : NULL;
    if (tenant) {
        lower_time(&tenant->due, at);
        if (is_lease)
            lower_time(&tenant->lease, at);
    }
    place = make_database(database);
    if (place) {
        if (tenant == NULL)
            lower_time(&place->all, at);
        latch = hurry(place, at);
    }
    LWLockRelease(lock);
    set_latch(latch);
}

/* By reads alone, and for the database that was last asked about. */
static bool is_known(Oid database, Oid table, TimestampTz at, bool is_lease)
{
    static Database *last;
    Tenant *tenant = OidIsValid(table) ? find_tenant(key_of(database, table)) : NULL;

    if (last == NULL || last->oid != database) {
        last = NULL;
        for (int i = 0; i < CLOACA_MOST_DATABASES && last == NULL; i++) {
            if (area->databases[i].oid == database)
                last = &area->databases[i];
        }
    }
    if (last == NULL)
        return false;
    if (read_time(&last->all) <= at)
        return true;
    return tenant && read_time(is_lease ? &tenant->lease : &tenant->due) <= at;
}

void cloaca_due_close(Oid database)
{
    Latch *latch = NULL;
    Database *place;

    if (area == NULL)
        return;
    LWLockAcquire(lock, LW_EXCLUSIVE);
    place = find_database(database);
    if (place) {
        place->closings++;
        latch = ask_to_leave(place);
    }
    LWLockRelease(lock);
    set_latch(latch);
}

bool cloaca_due_is_closed(Oid database)
{
    Database *place;
    bool is_closed;

    if (area == NULL)
        return true;
    LWLockAcquire(lock, LW_SHARED);
    place = find_database(database);
    is_closed = place == NULL || place->state != WORKER_RUNS;
    LWLockRelease(lock);
    return is_closed;
}

/* Whether there still is such a database, the launcher finds out. */
void cloaca_due_open(Oid database)
{
    Latch *latch = NULL;
    Database *place;

    if (area == NULL)
        return;
    LWLockAcquire(lock, LW_EXCLUSIVE);
    place = find_database(database);
    if (place && place->closings > 0 && --place->closings == 0) {
        place->not_until = place->due = DT_NOBEGIN;
        write_time(&place->all, DT_NOBEGIN);
        latch = area->launcher;
    }
    LWLockRelease(lock);
    set_latch(latch);
}

/* There is work at that time. The latch of the process that has to know. */
static Latch *hurry(Database *database, TimestampTz at)
{
    if (at >= database->due)
        return NULL;
    database->due = at;
    return database->state == WORKER_RUNS ? database->latch : area->launcher;
}

static Latch *ask_to_leave(Database *database)
{
    database->leaves = true;
    return database->state == WORKER_RUNS ? database->latch : NULL;
}

/* ------------------------------------------------------------------------------------------------------------- the launcher */

void cloaca_due_launch(Latch *latch)
{
    LWLockAcquire(lock, LW_EXCLUSIVE);
    area->launcher = latch;
    /* What the launcher before this one started and nobody watches: such a worker will not be wanted, should it still arrive.
     */
    for (int i = 0; i < CLOACA_MOST_DATABASES; i++) {
        if (area->databases[i].state == WORKER_STARTS)
            area->databases[i].state = NO_WORKER;
    }
    LWLockRelease(lock);
}

int cloaca_due_pick(int most, Oid *database, TimestampTz *next)
{
    TimestampTz now = GetCurrentTimestamp();
    Database *picked = NULL; /* of those that are due, the one that has been without a worker for longest */
    Latch *latch = NULL;
    bool one_leaves = false;
    int count = 0;

    *next = DT_NOEND;
    LWLockAcquire(lock, LW_EXCLUSIVE);
    for (Database *each = area->databases; each < area->databases + CLOACA_MOST_DATABASES; each++) {
        if (!OidIsValid(each->oid))
            continue;
        if (each->state != NO_WORKER) {
            count++;
            one_leaves = one_leaves || each->leaves || each->yields;
        } else if (each->closings == 0) {
            TimestampTz start = Max(each->due, each->not_until);

            *next = Min(*next, start);
            if (start <= now && (picked == NULL || each->changed < picked->changed))
                picked = each;
        }
    }
    if (picked && count >= most) {
        picked = NULL;
        *next = now + PATIENCE;
        if (!one_leaves)
            latch = make_room(now);
    }
    if (picked) {
        picked->state = WORKER_STARTS;
        picked->leaves = picked->yields = false;
        *database = picked->oid;
    }
    LWLockRelease(lock);
    set_latch(latch);
    return picked ? (int) (picked - area->databases) : -1;
}

/* Has the worker leave that has nothing to do for longest; if all are busy, the one that has been there for longest, after the
 * round that it is in or is about to begin. So each goes round once at least, and tenants that come last are not forgotten. */
static Latch *make_room(TimestampTz now)
{
    Database *idle = NULL;
    Database *oldest = NULL;

    for (Database *each = area->databases; each < area->databases + CLOACA_MOST_DATABASES; each++) {
        if (!OidIsValid(each->oid) || each->state != WORKER_RUNS)
            continue;
        if (!each->in_round && each->due > now && (idle == NULL || each->due > idle->due))
            idle = each;
        if (oldest == NULL || each->changed < oldest->changed)
            oldest = each;
    }
    if (idle)
        return ask_to_leave(idle);
    if (oldest)
        oldest->yields = true;
    return NULL;
}

bool cloaca_due_is_starting(int place)
{
    bool is_starting;

    LWLockAcquire(lock, LW_SHARED);
    is_starting = area->databases[place].state == WORKER_STARTS;
    LWLockRelease(lock);
    return is_starting;
}

void cloaca_due_failed(int place, TimestampTz until)
{
    LWLockAcquire(lock, LW_EXCLUSIVE);
    if (area->databases[place].state == WORKER_STARTS) {
        area->databases[place].state = NO_WORKER;
        area->databases[place].not_until = until;
    }
    LWLockRelease(lock);
}

void cloaca_due_remove(int place)
{
    LWLockAcquire(lock, LW_EXCLUSIVE);
    remove_database(&area->databases[place]);
    LWLockRelease(lock);
}

/* ---------------------------------------------------------------------------------------------------------------- a worker */

bool cloaca_due_arrive(Oid database)
{
    Latch *launcher;

    LWLockAcquire(lock, LW_EXCLUSIVE);
    own = find_database(database);
    if (own && own->state == WORKER_STARTS && own->closings == 0) {
        own->state = WORKER_RUNS;
        own->changed = GetCurrentTimestamp();
        own->latch = MyLatch;
        own->leaves = own->yields = own->in_round = false;
        own->due = DT_NOBEGIN;
        write_time(&own->all, DT_NOBEGIN);
    } else {
        own = NULL;
    }
    launcher = area->launcher;
    LWLockRelease(lock);
    /* It may wait for one that it can ask to leave. */
    set_latch(launcher);
    return own != NULL;
}

void cloaca_due_leave(TimestampTz until, bool is_useless)
{
    Latch *launcher;

    if (own == NULL)
        return;
    LWLockAcquire(lock, LW_EXCLUSIVE);
    own->state = NO_WORKER;
    own->changed = GetCurrentTimestamp();
    own->latch = NULL;
    own->leaves = own->yields = false;
    own->not_until = until;
    if (!is_useless) {
        /* What the round had taken, and nobody would note again, is the next worker's. */
        if (own->in_round)
            own->due = DT_NOBEGIN;
    } else if (own->due == DT_NOEND && own->closings == 0) {
        /* Unless somebody noted something since the round began. */
        remove_database(own);
    }
    own = NULL;
    launcher = area->launcher;
    LWLockRelease(lock);
    set_latch(launcher);
}

bool cloaca_due_must_leave(void)
{
    bool leaves;

    LWLockAcquire(lock, LW_SHARED);
    leaves = own->leaves;
    LWLockRelease(lock);
    return leaves;
}

TimestampTz cloaca_due_next(void)
{
    TimestampTz due;

    LWLockAcquire(lock, LW_SHARED);
    due = own->due;
    LWLockRelease(lock);
    return due;
}

bool cloaca_due_begin(TimestampTz now)
{
    bool all;

    LWLockAcquire(lock, LW_EXCLUSIVE);
    own->in_round = true;
    own->due = DT_NOEND;
    all = read_time(&own->all) <= now;
    if (all)
        write_time(&own->all, DT_NOEND);
    LWLockRelease(lock);
    return all;
}

bool cloaca_due_take(Oid table, TimestampTz now, bool all, bool may_look, bool *looks)
{
    Tenant *tenant;
    bool is_due;

    LWLockAcquire(lock, LW_EXCLUSIVE);
    tenant = find_tenant(key_of(MyDatabaseId, table));
    is_due = all || (tenant && read_time(&tenant->due) <= now);
    *looks = may_look && (all || (tenant && read_time(&tenant->lease) <= now));
    if (tenant && is_due)
        write_time(&tenant->due, DT_NOEND);
    if (tenant && is_due && *looks)
        write_time(&tenant->lease, DT_NOEND);
    LWLockRelease(lock);
    return is_due;
}

void cloaca_due_settle(Oid table, TimestampTz due, TimestampTz lease)
{
    Tenant *tenant;

    LWLockAcquire(lock, LW_EXCLUSIVE);
    tenant = make_tenant(key_of(MyDatabaseId, table));
    if (tenant) {
        lower_time(&tenant->due, due);
        lower_time(&tenant->lease, lease);
    } else {
        lower_time(&own->all, due);
    }
    LWLockRelease(lock);
}

void cloaca_due_end(TimestampTz all)
{
    LWLockAcquire(lock, LW_EXCLUSIVE);
    lower_time(&own->all, all);
    own->due = Min(own->due, read_time(&own->all));
    for (int i = 0; i < TENANTS; i++) {
        if (pg_atomic_read_u64(&area->tenants[i].key) >> 32 == MyDatabaseId)
            own->due = Min(own->due, read_time(&area->tenants[i].due));
    }
    own->in_round = false;
    own->leaves = own->leaves || own->yields;
    LWLockRelease(lock);
}

void cloaca_due_prune(bool (*is_tenant)(Oid table))
{
    LWLockAcquire(lock, LW_EXCLUSIVE);
    for (int i = 0; i < TENANTS; i++) {
        uint64 key = pg_atomic_read_u64(&area->tenants[i].key);

        if (key >> 32 == MyDatabaseId && !is_tenant((Oid) key))
            pg_atomic_write_u64(&area->tenants[i].key, 0);
    }
    LWLockRelease(lock);
}

/* ------------------------------------------------------------------------------------------------------------------ anybody */

TimestampTz cloaca_due_lease(Oid table)
{
    Tenant *tenant = area ? find_tenant(key_of(MyDatabaseId, table)) : NULL;

    return tenant ? read_time(&tenant->lease) : DT_NOBEGIN;
}

bool cloaca_due_has_worker(void)
{
    Database *place;
    bool has_worker;

    if (area == NULL)
        return false;
    LWLockAcquire(lock, LW_SHARED);
    place = find_database(MyDatabaseId);
    has_worker = place && place->state == WORKER_RUNS;
    LWLockRelease(lock);
    return has_worker;
}

/* ------------------------------------------------------------------------------------------------------------------- places */

static uint64 key_of(Oid database, Oid table)
{
    return ((uint64) database << 32) | table;
}

static Tenant *set_of(uint64 key)
{
    uint32 hash = murmurhash32((uint32) key ^ murmurhash32((uint32) (key >> 32)));

    return &area->tenants[hash % (TENANTS / SET_SIZE) * SET_SIZE];
}

/* Without the lock, too: then a place may be given away meanwhile, and its times be another's. */
static Tenant *find_tenant(uint64 key)
{
    Tenant *set = set_of(key);

    for (int i = 0; i < SET_SIZE; i++) {
        if (pg_atomic_read_u64(&set[i].key) == key)
            return &set[i];
    }
    return NULL;
}

/* NULL when there is no room. */
static Tenant *make_tenant(uint64 key)
{
    Tenant *tenant = find_tenant(key);

    for (int i = 0; i < SET_SIZE && tenant == NULL; i++) {
        Tenant *place = set_of(key) + i;

        if (pg_atomic_read_u64(&place->key) == 0) {
            write_time(&place->due, DT_NOEND);
            write_time(&place->lease, DT_NOEND);
            pg_write_barrier();
            pg_atomic_write_u64(&place->key, key);
            tenant = place;
        }
    }
    return tenant;
}

static Database *find_database(Oid oid)
{
    for (int i = 0; i < CLOACA_MOST_DATABASES; i++) {
        if (area->databases[i].oid == oid)
            return &area->databases[i];
    }
    return NULL;
}

static Database *make_database(Oid oid)
{
    Database *place = find_database(oid);

    if (place == NULL) {
        place = find_database(InvalidOid);
        if (place) {
            place->state = NO_WORKER;
            place->latch = NULL;
            place->leaves = place->yields = place->in_round = false;
            place->closings = 0;
            place->changed = DT_NOBEGIN;
            place->not_until = DT_NOBEGIN;
            place->due = DT_NOEND;
            write_time(&place->all, DT_NOEND);
            place->oid = oid;
        }
    }
    return place;
}

static void remove_database(Database *database)
{
    for (int i = 0; i < TENANTS; i++) {
        if (pg_atomic_read_u64(&area->tenants[i].key) >> 32 == database->oid)
            pg_atomic_write_u64(&area->tenants[i].key, 0);
    }
    database->oid = InvalidOid;
}

static TimestampTz read_time(pg_atomic_uint64 *time)
{
    return (TimestampTz) pg_atomic_read_u64(time);
}

static void write_time(pg_atomic_uint64 *time, TimestampTz at)
{
    pg_atomic_write_u64(time, (uint64) at);
}

static void lower_time(pg_atomic_uint64 *time, TimestampTz at)
{
    if (at < read_time(time))
        write_time(time, at);
}

static void set_latch(Latch *latch)
{
    if (latch)
        SetLatch(latch);
}
