/*
 * due.h - when maintenance is due, in shared memory: what worker.c, launcher.c and maintenance.c ask of due.c
 *
 * A round of a worker: begin, take each tenant whose turn it is, settle it, end. What somebody notes meanwhile is for the next
 * round.
 */
#ifndef CLOACA_DUE_H
#define CLOACA_DUE_H

#include "extension.h"

#include "storage/latch.h"

#include "worker.h"

/* How many databases there are places for. */
#define CLOACA_MOST_DATABASES 1024

/* The launcher */

extern void cloaca_due_launch(Latch *latch);
/* Chooses a database to start a worker for, and marks that as started: its place, or -1. `next`: when to ask again. Asks a
 * worker to leave when there are `most` of them and another database has its turn. */
extern int cloaca_due_pick(int most, Oid *database, TimestampTz *next);
/* Whether the place's worker was started and has not arrived yet. */
extern bool cloaca_due_is_starting(int place);
/* It did not arrive; another may start then. */
extern void cloaca_due_failed(int place, TimestampTz until);
/* There is no such database for a worker to be in. */
extern void cloaca_due_remove(int place);

/* A worker */

/* It is here, in its database; false when it is not wanted. */
extern bool cloaca_due_arrive(Oid database);
/* It leaves; another may start at `until`. `is_useless`: there is no extension in the database. */
extern void cloaca_due_leave(TimestampTz until, bool is_useless);
extern bool cloaca_due_must_leave(void);
/* When the next round is to begin. */
extern TimestampTz cloaca_due_next(void);
/* Begins a round; true when all tenants have their turn. */
extern bool cloaca_due_begin(TimestampTz now);
/* Whether a tenant has its turn; all have when `all`. If so, `looks`: it is to be looked which leases ended, which may be done
 * when `may_look`. */
extern bool cloaca_due_take(Oid table, TimestampTz now, bool all, bool may_look, bool *looks);
/* The tenant has its next turn at `due`, and its first lease ends at `lease`. */
extern void cloaca_due_settle(Oid table, TimestampTz due, TimestampTz lease);
/* Ends the round. All tenants have their next turn then. */
extern void cloaca_due_end(TimestampTz all);
/* Gives up the places of tables that `is_tenant` says no of. */
extern void cloaca_due_prune(bool (*is_tenant)(Oid table));

/* Anybody */

/* When the first lease of a tenant ends, as far as was noted: DT_NOEND: none does; DT_NOBEGIN: nothing is known. */
extern TimestampTz cloaca_due_lease(Oid table);
/* Whether a worker is in this database. */
extern bool cloaca_due_has_worker(void);

#endif
