/*
 * maintenance.c - what maintenance in SQL and the background worker tell each other
 *
 * Runs in the backend of the caller. note_due acts when the transaction commits; the others only read and set variables of the
 * process, and read hints.
 */
#include "due.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "worker.h"

PG_FUNCTION_INFO_V1(cloaca_note_due_call);
PG_FUNCTION_INFO_V1(cloaca_looks_at_leases);
PG_FUNCTION_INFO_V1(cloaca_note_leases);
PG_FUNCTION_INFO_V1(cloaca_noted_lease);
PG_FUNCTION_INFO_V1(cloaca_has_worker);

CloacaLeaseLook cloaca_lease_look;

static bool named_tenant(text *schema, CloacaQueue *queue);

/* note_due(tenant, at) */
Datum cloaca_note_due_call(PG_FUNCTION_ARGS)
{
    CloacaQueue tenant;

    if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1) && named_tenant(PG_GETARG_TEXT_PP(0), &tenant))
        cloaca_note_due(tenant.database, tenant.table, PG_GETARG_TIMESTAMPTZ(1), false);
    PG_RETURN_VOID();
}

/* looks_at_leases(): everybody does, but for a worker that knows better. */
Datum cloaca_looks_at_leases(PG_FUNCTION_ARGS)
{
    PG_RETURN_BOOL(!cloaca_lease_look.is_needless);
}

/* note_leases(first): null when there are none. */
Datum cloaca_note_leases(PG_FUNCTION_ARGS)
{
    cloaca_lease_look.first_left = PG_ARGISNULL(0) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(0);
    PG_RETURN_VOID();
}

/* noted_lease(tenant): infinity when no lease runs, null when nothing is known. */
Datum cloaca_noted_lease(PG_FUNCTION_ARGS)
{
    CloacaQueue tenant;
    TimestampTz lease = DT_NOBEGIN;

    if (!PG_ARGISNULL(0) && named_tenant(PG_GETARG_TEXT_PP(0), &tenant))
        lease = cloaca_due_lease(tenant.table);
    if (lease == DT_NOBEGIN)
        PG_RETURN_NULL();
    PG_RETURN_TIMESTAMPTZ(lease);
}

Datum cloaca_has_worker(PG_FUNCTION_ARGS)
{
    PG_RETURN_BOOL(cloaca_due_has_worker());
}

/* A tenant that the caller may use, by its table of tasks. */
static bool named_tenant(text *schema, CloacaQueue *queue)
{
    return cloaca_named_queue(schema, cstring_to_text(""), queue);
}
