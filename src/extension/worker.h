/*
 * worker.h - what the background processes share: launcher.c, worker.c and maintenance.c
 */
#ifndef CLOACA_WORKER_H
#define CLOACA_WORKER_H

#include "extension.h"

/* module.c: the settings. */
extern bool cloaca_background_worker;
extern int cloaca_max_workers;
extern int cloaca_maintenance_interval; /* seconds */

/* due.c: what is asked of it at the end of any transaction. These do nothing without shared memory, and raise nothing. */
extern Size cloaca_due_size(void);
extern void cloaca_due_attach(void *area, bool found);
/* Maintenance of the tenant with this table of tasks is due then; `is_lease`: because a lease ends. Without a table: of all
 * tenants of the database. */
extern void cloaca_due_note(Oid database, Oid table, TimestampTz at, bool is_lease);
/* No worker may be in this database, and the one that is there leaves; whether it has left; and back. */
extern void cloaca_due_close(Oid database);
extern bool cloaca_due_is_closed(Oid database);
extern void cloaca_due_open(Oid database);

/* transaction.c: the same, once this transaction commits, and until it ends. */
extern void cloaca_note_due(Oid database, Oid table, TimestampTz at, bool is_lease);
extern void cloaca_note_closed(Oid database);

/* launcher.c */
extern void cloaca_register_launcher(void);
/* Around every utility statement. */
extern void cloaca_before_command(struct Node *statement);
extern void cloaca_after_command(struct Node *statement);
extern PGDLLEXPORT void cloaca_launcher_main(Datum argument);

extern PGDLLEXPORT void cloaca_worker_main(Datum argument);

/* worker.c: gives the process a name in pg_stat_activity. */
extern void cloaca_name_process(const char *name);
/* Handles what other processes want; false when the process is to end. */
extern bool cloaca_process_goes_on(void);
/* Begins a transaction that begins now: no statement of a client says so here. */
extern void cloaca_begin_transaction(void);
/* Sleeps until then, or until the latch is set; DT_NOEND: as long as it takes. */
extern void cloaca_sleep_until(TimestampTz until);

/* maintenance.c: what a worker says to maintain_tenant, and what that answers. */
typedef struct CloacaLeaseLook {
    bool is_needless;       /* no lease has ended, as far as is known */
    TimestampTz first_left; /* when the first lease ends that was not dealt with */
} CloacaLeaseLook;

extern CloacaLeaseLook cloaca_lease_look;

#endif
