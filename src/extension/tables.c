/*
 * tables.c - the tables of the session's tenant, for the direct path
 *
 * Which tenant a call means is what cloaca.current_tenant() says; its answer is remembered for each role and setting until the
 * registry, a schema, a role or a membership changes. Whether a tenant's tables are what this library knows is looked at once,
 * and again whenever one of them changes: everything else (triggers, rules, row security, other columns and indexes, storage
 * other than a plain heap) is left to SQL. Privileges are remembered in the same way.
 *
 * Runs in the backend of the caller, with its rights. Locks are those of the SQL statements it stands in for: ROW EXCLUSIVE on
 * cloaca_task and its indexes, ACCESS SHARE on cloaca_queue, until the transaction ends.
 */
#include "extension.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(cloaca_registry_changed);

#define REMEMBERED_TENANTS 10000

/* The columns of cloaca_queue. */
enum { QUEUE_NAME = 1, QUEUE_PAUSED, QUEUE_LEASE, QUEUE_MAX_ATTEMPTS, QUEUE_RETRY, QUEUE_RETENTION, QUEUE_KEY_RETENTION };

static const CloacaColumn task_columns[] = {
    {"id", INT8OID, true},
    {"run_at", TIMESTAMPTZOID, true},
    {"enqueued_at", TIMESTAMPTZOID, true},
    {"max_attempts", INT4OID, true},
    {"priority", INT2OID, true},
    {"cancelled", BOOLOID, true},
    {"worker", TEXTOID, false},
    {"lease_id", INT8OID, false},
    {"lease_until", TIMESTAMPTZOID, false},
    {"claimed_at", TIMESTAMPTZOID, false},
    {"attempt", INT4OID, true},
    {"queue", TEXTOID, true},
    {"name", TEXTOID, true},
    {"key", TEXTOID, false},
    {"execution", INT8OID, false},
    {"deadline", TIMESTAMPTZOID, false},
    {"timeout", INTERVALOID, false},
    {"payload", JSONBOID, true},
    {"retry", JSONBOID, false},
    {"errors", JSONBOID, false},
    {"steps", JSONBOID, false},
};

static const CloacaColumn queue_columns[] = {
    {"queue", TEXTOID, true},
    {"paused", BOOLOID, true},
    {"lease", INTERVALOID, true},
    {"max_attempts", INT4OID, true},
    {"retry", JSONBOID, true},
    {"retention", INTERVALOID, true},
    {"key_retention", INTERVALOID, true},
    {"created_at", TIMESTAMPTZOID, true},
};

/* What a remembered tenant is known by: the role, and the setting cloaca.tenant. */
typedef struct Caller {
    Oid role;
    NameData setting;
} Caller;

typedef struct Tenant {
    Caller caller;     /* the hash key */
    bool is_known;     /* schema, task and queue are right */
    bool is_seen;      /* is_plain and the rest of the tables are right */
    bool is_plain;     /* the direct path can serve it */
    AclMode permitted; /* what is known to be granted on the table of tasks, with all that goes with it */
    Oid schema;
    Oid task;
    Oid queue;
    CloacaTables tables;
} Tenant;

static HTAB *tenants;
static uint64 forgettings; /* how often something was forgotten */
static Oid registry;       /* the table cloaca.tenant */

static bool may_write_directly(void);
static Tenant *find_tenant(void);
static Tenant *recall_tenant(void);
static Caller this_caller(void);
static void know_tenant(Tenant *tenant);
static bool open_tenant(Tenant *tenant, CloacaTables *tables, AclMode mode);
static bool is_permitted(Tenant *tenant, AclMode mode);
static bool see_tables(Tenant *tenant, Relation task, Relation queue);
static bool see_task_indexes(Relation task, CloacaTables *tables);
static bool see_queue_index(Relation queue, CloacaTables *tables);
static bool is_not_null_key(Relation index);
static void remember(void);
static void forget_relation(Datum argument, Oid relation);
static void forget_tenants(Datum argument, int cache, uint32 hash);
static bool find_settings(const CloacaTables *tables, Datum queue, TupleTableSlot *slot);
static bool is_some_time(Datum interval);

/* The trigger on the registry: whatever sessions remember of tenants is outdated when this transaction commits. */
Datum cloaca_registry_changed(PG_FUNCTION_ARGS)
{
    if (!CALLED_AS_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED), errmsg("registry_changed is a trigger")));
    CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
    return PointerGetDatum(NULL);
}

bool cloaca_open_tables(CloacaTables *tables, AclMode mode)
{
    if (!may_write_directly())
        return false;
    /* What others took away is to be noticed in a long transaction, too. */
    AcceptInvalidationMessages();
    return open_tenant(find_tenant(), tables, mode);
}

bool cloaca_open_remembered(const char *schema, CloacaTables *tables, AclMode mode)
{
    Tenant *tenant;

    if (!may_write_directly())
        return false;
    AcceptInvalidationMessages();
    tenant = recall_tenant();
    return tenant && strcmp(NameStr(tenant->tables.schema), schema) == 0 && open_tenant(tenant, tables, mode);
}

void cloaca_close_tables(CloacaTables *tables)
{
    relation_close(tables->queue, NoLock);
    relation_close(tables->task, NoLock);
}

void cloaca_read_settings(const CloacaTables *tables, Datum queue, CloacaSettings *settings)
{
    TupleTableSlot *slot;

    *settings = (CloacaSettings){.max_attempts = 3, .lease = {.time = 30 * USECS_PER_SEC}};
    if (RelationGetNumberOfBlocks(tables->queue) == 0)
        return;
    PushActiveSnapshot(GetTransactionSnapshot());
    slot = table_slot_create(tables->queue, NULL);
    if (find_settings(tables, queue, slot)) {
        bool is_null;

        settings->paused = DatumGetBool(slot_getattr(slot, QUEUE_PAUSED, &is_null));
        settings->lease = *DatumGetIntervalP(slot_getattr(slot, QUEUE_LEASE, &is_null));
        settings->max_attempts = DatumGetInt32(slot_getattr(slot, QUEUE_MAX_ATTEMPTS, &is_null));
        settings->keeps = is_some_time(slot_getattr(slot, QUEUE_RETENTION, &is_null)) ||
                          is_some_time(slot_getattr(slot, QUEUE_KEY_RETENTION, &is_null));
    }
    ExecDropSingleTupleTableSlot(slot);
    PopActiveSnapshot();
}

uint64 cloaca_forgettings(void)
{
    return forgettings;
}

static bool may_write_directly(void)
{
    return cloaca_direct && strlen(cloaca_tenant_setting) < NAMEDATALEN && XactIsoLevel == XACT_READ_COMMITTED &&
           !XactReadOnly && !RecoveryInProgress() && !IsInParallelMode();
}

/* The tenant of this call, which cloaca.current_tenant() names when nothing is remembered. */
static Tenant *find_tenant(void)
{
    Caller caller = this_caller();
    Tenant *tenant = recall_tenant();
    bool found;

    if (tenant)
        return tenant;
    if (tenants == NULL)
        remember();
    if (!hash_search(tenants, &caller, HASH_FIND, NULL) && hash_get_num_entries(tenants) >= REMEMBERED_TENANTS) {
        hash_destroy(tenants);
        tenants = NULL;
        remember();
    }
    tenant = hash_search(tenants, &caller, HASH_ENTER, &found);
    tenant->is_known = tenant->is_seen = false;
    tenant->permitted = 0;
    know_tenant(tenant);
    return tenant;
}

/* The same if it is remembered, else NULL. */
static Tenant *recall_tenant(void)
{
    Caller caller = this_caller();
    Tenant *tenant = tenants ? hash_search(tenants, &caller, HASH_FIND, NULL) : NULL;

    return tenant && tenant->is_known ? tenant : NULL;
}

static Caller this_caller(void)
{
    Caller caller = {.role = GetUserId()};

    namestrcpy(&caller.setting, cloaca_tenant_setting);
    return caller;
}

static void know_tenant(Tenant *tenant)
{
    static SPIPlanPtr plan;
    Oid own = get_namespace_oid("cloaca", true);
    uint64 before;

    registry = OidIsValid(own) ? get_relname_relid("tenant", own) : InvalidOid;
    before = forgettings;
    SPI_connect();
    cloaca_prepare(&plan, "select cloaca.current_tenant()", 0, NULL);
    if (SPI_execute_plan(plan, NULL, NULL, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
        elog(ERROR, "could not find the tenant");
    namestrcpy(&tenant->tables.schema, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
    SPI_finish();

    tenant->schema = get_namespace_oid(NameStr(tenant->tables.schema), true);
    tenant->task = OidIsValid(tenant->schema) ? get_relname_relid("cloaca_task", tenant->schema) : InvalidOid;
    tenant->queue = OidIsValid(tenant->schema) ? get_relname_relid("cloaca_queue", tenant->schema) : InvalidOid;
    /* Should something have changed in the meantime, this call goes the SQL path and the next one asks again. */
    tenant->is_known = before == forgettings && OidIsValid(tenant->task) && OidIsValid(tenant->queue);
}

static bool open_tenant(Tenant *tenant, CloacaTables *tables, AclMode mode)
{
    Relation task;
    Relation queue;

    if (!is_permitted(tenant, mode))
        return false;
    task = try_relation_open(tenant->task, RowExclusiveLock);
    if (task == NULL)
        return false;
    queue = try_relation_open(tenant->queue, AccessShareLock);
    if (queue == NULL) {
        relation_close(task, NoLock);
        return false;
    }
    /* What other sessions changed is known now that the locks are held. */
    if (!tenant->is_known || !see_tables(tenant, task, queue)) {
        relation_close(queue, NoLock);
        relation_close(task, NoLock);
        return false;
    }
    *tables = tenant->tables;
    tables->task = task;
    tables->queue = queue;
    return true;
}

/* What SQL would ask for. Privileges on single columns are left to it. */
static bool is_permitted(Tenant *tenant, AclMode mode)
{
    Oid role = GetUserId();
    uint64 before = forgettings;

    if (!tenant->is_known)
        return false;
    if ((tenant->permitted & mode) == mode)
        return true;
    if (compat_schema_aclcheck(tenant->schema, role, ACL_USAGE) != ACLCHECK_OK ||
        pg_class_aclmask(tenant->task, role, mode, ACLMASK_ALL) != mode ||
        pg_class_aclcheck(tenant->queue, role, ACL_SELECT) != ACLCHECK_OK)
        return false;
    /* A grant that changed while we looked is looked at again the next time. */
    if (before == forgettings)
        tenant->permitted |= mode;
    return true;
}

/* Whether the tables are as this library knows them. They are open and locked, so that they stay so. */
static bool see_tables(Tenant *tenant, Relation task, Relation queue)
{
    CloacaTables *tables = &tenant->tables;
    uint64 before = forgettings;
    bool is_plain;

    if (tenant->is_seen)
        return tenant->is_plain;
    if (get_relname_relid("cloaca_task", tenant->schema) != RelationGetRelid(task) ||
        get_relname_relid("cloaca_queue", tenant->schema) != RelationGetRelid(queue)) {
        tenant->is_known = false;
        return false;
    }
    is_plain = !OidIsValid(get_extension_oid("citus", true)) &&
               cloaca_is_plain_table(task, task_columns, lengthof(task_columns)) &&
               cloaca_is_plain_table(queue, queue_columns, lengthof(queue_columns)) && see_task_indexes(task, tables) &&
               see_queue_index(queue, tables);
    tables->sequence = is_plain ? compat_identity_sequence(task, TASK_ID) : InvalidOid;
    tenant->is_plain = is_plain && OidIsValid(tables->sequence);
    /* What changed while we looked is looked at again the next time. */
    tenant->is_seen = before == forgettings;
    return tenant->is_plain;
}

/* All three of them, and no other. */
static bool see_task_indexes(Relation task, CloacaTables *tables)
{
    static const AttrNumber id[] = {TASK_ID};
    static const AttrNumber claim[] = {TASK_QUEUE, TASK_PRIORITY, TASK_RUN_AT, TASK_ID};
    static const AttrNumber key[] = {TASK_QUEUE, TASK_KEY};
    List *indexes = RelationGetIndexList(task);
    bool are_known = list_length(indexes) == 3;
    ListCell *cell;

    tables->id_index = tables->claim_index = tables->key_index = InvalidOid;
    foreach (cell, indexes) {
        Relation index = index_open(lfirst_oid(cell), AccessShareLock);
        bool has_predicate = !heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);

        if (cloaca_is_index_on(index, lengthof(id), id, true) && !has_predicate)
            tables->id_index = RelationGetRelid(index);
        else if (cloaca_is_index_on(index, lengthof(claim), claim, false) && !has_predicate)
            tables->claim_index = RelationGetRelid(index);
        else if (cloaca_is_index_on(index, lengthof(key), key, true) && has_predicate && is_not_null_key(index))
            tables->key_index = RelationGetRelid(index);
        else
            are_known = false;
        index_close(index, NoLock);
    }
    list_free(indexes);
    return are_known && OidIsValid(tables->id_index) && OidIsValid(tables->claim_index) && OidIsValid(tables->key_index);
}

static bool see_queue_index(Relation queue, CloacaTables *tables)
{
    static const AttrNumber name[] = {QUEUE_NAME};
    Relation index;
    bool is_known;

    tables->queue_index = compat_primary_key_index(queue);
    if (!OidIsValid(tables->queue_index))
        return false;
    index = index_open(tables->queue_index, AccessShareLock);
    is_known = cloaca_is_index_on(index, lengthof(name), name, true);
    index_close(index, NoLock);
    return is_known;
}

/* key is not null */
static bool is_not_null_key(Relation index)
{
    List *predicate = RelationGetIndexPredicate(index);
    NullTest *test = list_length(predicate) == 1 ? linitial(predicate) : NULL;

    return test && IsA(test, NullTest) && test->nulltesttype == IS_NOT_NULL && IsA(test->arg, Var) &&
           ((Var *) test->arg)->varattno == TASK_KEY;
}

static void remember(void)
{
    static bool is_registered = false;
    HASHCTL control = {.keysize = sizeof(Caller), .entrysize = sizeof(Tenant)};

    tenants = hash_create("cloaca tenants", 16, &control, HASH_ELEM | HASH_BLOBS);
    if (!is_registered) {
        CacheRegisterRelcacheCallback(forget_relation, (Datum) 0);
        /* A new version of the extension may want other tables. */
        CacheRegisterSyscacheCallback(PROCOID, forget_tenants, (Datum) 0);
        CacheRegisterSyscacheCallback(NAMESPACEOID, forget_tenants, (Datum) 0);
        CacheRegisterSyscacheCallback(AUTHOID, forget_tenants, (Datum) 0);
        CacheRegisterSyscacheCallback(AUTHMEMMEMROLE, forget_tenants, (Datum) 0);
        is_registered = true;
    }
}

/* Another look is needed at the tables that this one belongs to. May be called in the middle of anything. */
static void forget_relation(Datum argument, Oid relation)
{
    HASH_SEQ_STATUS scan;
    Tenant *tenant;

    forgettings++;
    if (tenants == NULL)
        return;
    if (!OidIsValid(relation) || relation == registry)
        forget_tenants((Datum) 0, 0, 0);
    hash_seq_init(&scan, tenants);
    while ((tenant = hash_seq_search(&scan)) != NULL) {
        if (tenant->task == relation || tenant->queue == relation)
            tenant->is_known = tenant->is_seen = false;
    }
}

static void forget_tenants(Datum argument, int cache, uint32 hash)
{
    HASH_SEQ_STATUS scan;
    Tenant *tenant;

    forgettings++;
    if (tenants == NULL)
        return;
    hash_seq_init(&scan, tenants);
    while ((tenant = hash_seq_search(&scan)) != NULL)
        tenant->is_known = tenant->is_seen = false;
}

static bool find_settings(const CloacaTables *tables, Datum queue, TupleTableSlot *slot)
{
    Relation index = index_open(tables->queue_index, AccessShareLock);
    IndexScanDesc scan = compat_index_beginscan(tables->queue, index, GetActiveSnapshot(), 1);
    ScanKeyData key;
    bool found;

    ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID, F_TEXTEQ, queue);
    index_rescan(scan, &key, 1, NULL, 0);
    found = index_getnext_slot(scan, ForwardScanDirection, slot);
    if (found)
        ExecMaterializeSlot(slot);
    index_endscan(scan);
    index_close(index, NoLock);
    return found;
}

static bool is_some_time(Datum interval)
{
    const Interval *length = DatumGetIntervalP(interval);

    return length->time != 0 || length->day != 0 || length->month != 0;
}
