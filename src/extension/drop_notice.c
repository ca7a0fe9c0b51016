/*
 * drop_notice.c - the event trigger that says at DROP EXTENSION which schemas of tenants stay behind
 *
 * Runs in the backend that drops, before the command does anything, with that user's rights: one who may not read the registry
 * may not drop the extension either, and learns nothing. Takes a share lock on the registry, which the command then upgrades.
 */
#include "extension.h"

#include "catalog/namespace.h"
#include "commands/event_trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(cloaca_drop_notice);

static bool drops_cloaca(Node *statement);
static bool may_read_registry(void);
static void name_schemas(void);

Datum cloaca_drop_notice(PG_FUNCTION_ARGS)
{
    if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED), errmsg("drop_notice is an event trigger")));
    if (drops_cloaca(((EventTriggerData *) fcinfo->context)->parsetree) && may_read_registry())
        name_schemas();
    PG_RETURN_NULL();
}

static bool drops_cloaca(Node *statement)
{
    ListCell *cell;

    if (!IsA(statement, DropStmt) || ((DropStmt *) statement)->removeType != OBJECT_EXTENSION)
        return false;
    foreach (cell, ((DropStmt *) statement)->objects) {
        if (strcmp(strVal(lfirst(cell)), "cloaca") == 0)
            return true;
    }
    return false;
}

static bool may_read_registry(void)
{
    Oid schema = get_namespace_oid("cloaca", true);
    Oid registry = OidIsValid(schema) ? get_relname_relid("tenant", schema) : InvalidOid;

    return OidIsValid(registry) && pg_class_aclcheck(registry, GetUserId(), ACL_SELECT) == ACLCHECK_OK;
}

/* A notice with the first twenty, if there are any. */
static void name_schemas(void)
{
    char *names;

    SPI_connect();
    if (SPI_execute(
            "select pg_catalog.string_agg(case when n operator(pg_catalog.<=) 20 then pg_catalog.quote_ident(schema_name)"
            " when n operator(pg_catalog.=) 21 then '...' end, ', ' order by n)"
            " from (select schema_name, pg_catalog.row_number() over (order by schema_name) n from cloaca.tenant) t",
            false, 1) != SPI_OK_SELECT ||
        SPI_processed != 1)
        elog(ERROR, "could not read the registry of tenants");
    names = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
    if (names)
        ereport(NOTICE,
                (errmsg("the schemas of tenants stay, with all that is in them: %s", names),
                 errhint("So do their roles. After a new CREATE EXTENSION, cloaca.adopt_tenant makes tenants of them again; "
                         "DROP SCHEMA and DROP ROLE remove them.")));
    SPI_finish();
}
