/*
 * extension.h - what the parts of the server library share
 *
 * The library is loaded by the first call of one of its functions, or by shared_preload_libraries; both work. Everything runs
 * in the backend of the session that calls it. Functions here hold no lock of their own.
 */
#ifndef CLOACA_EXTENSION_H
#define CLOACA_EXTENSION_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"

#include "compat.h"
#include "conditions.h"

/* The conditions of sql/conditions: CLOACA_INVALID_ARGUMENT and so on. */
#define CLOACA_ENUMERATOR(name, text, sqlstate, kind, message) CLOACA_##name,
typedef enum CloacaCondition { CLOACA_CONDITIONS(CLOACA_ENUMERATOR) CLOACA_CONDITION_COUNT } CloacaCondition;

/* condition.c: raises it, with a detail and a hint (full sentences, or NULL), as cloaca.raise_condition does. */
extern _Noreturn void cloaca_raise(CloacaCondition condition, const char *detail, const char *hint);

/* module.c: the settings. */
extern bool cloaca_allow_plain_password;
extern bool cloaca_direct;
extern bool cloaca_asynchronous_claims;
extern bool cloaca_bind_leases;
extern int cloaca_repair_interval; /* milliseconds */
extern int cloaca_poll_interval;   /* milliseconds */
extern char *cloaca_tenant_setting;
/* The one clock, as cloaca.now() reads it. */
extern TimestampTz cloaca_now(void);

/* A queue of a tenant, as hints know it: the tenant's table of tasks, and a hash of the queue's name. */
typedef struct CloacaQueue {
    Oid database;
    Oid table;
    uint64 hash;
} CloacaQueue;

extern CloacaQueue cloaca_queue(Oid table, const char *name, size_t length);

/* wait.c: sleepers of wait_for_task. All of these do nothing without shared memory. */
extern Size cloaca_wait_size(void);
/* Called once a process that uses the area; `found` when somebody else has initialised it. */
extern void cloaca_wait_attach(void *area, bool found);
/* After a commit or an abort made tasks claimable: wakes as many sleepers on the queue, those who wait longest first. */
extern void cloaca_wake(const CloacaQueue *queue, int64 count);
/* After a commit made a task that is due later: whoever keeps time for the queue has to know. */
extern void cloaca_wake_at(const CloacaQueue *queue, TimestampTz run_at);
/* Wakes every sleeper of this database, for changes that name no queue. */
extern void cloaca_wake_all(void);

/* claim.c: whether a claim on the queue would get a task. If not, *due is when the next may become claimable (DT_NOEND: nothing
 * is known). Takes the direct path; false for *possible when that cannot serve this tenant. Needs a transaction, leaves no lock. */
extern bool cloaca_probe(const char *queue, size_t length, TimestampTz *due, bool *possible);

/* lease.c: leases that end with the connection. Called when a claim of this session committed, and when a lease has ended. */
extern void cloaca_bind_lease(const char *schema_name, int64 task, int64 lease_id, TimestampTz lease_until);
extern void cloaca_unbind_lease(int64 lease_id);

/* password.c */
#define CLOACA_GENERATED_LENGTH 32

typedef struct CloacaPassword {
    char *plain;    /* what the caller is told; NULL when it gave a verifier */
    char *verifier; /* what the role gets: a SCRAM verifier */
} CloacaPassword;

/* The password that an argument (NULL or empty: a generated one) means. Raises when plain text is not allowed. */
extern CloacaPassword cloaca_password(const char *argument);
/* Gives it to a role. */
extern void cloaca_set_password(const char *role, const CloacaPassword *password);
/* Overwrites it in memory. */
extern void cloaca_wipe_password(CloacaPassword *password);

#endif
