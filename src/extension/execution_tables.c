/*
 * execution_tables.c - the tables of a tenant's executions, for the direct path
 *
 * Whether they are what this library knows is looked at once for some tenants, and again whenever any table changes. What
 * indexes they have besides does not matter, unless an entry calls functions, whose search path SQL knows. Privileges are
 * checked at every call.
 *
 * Runs in the backend of the caller, with its rights. Locks, until the transaction ends: ROW EXCLUSIVE on what the SQL
 * statements that it stands in for write, ACCESS SHARE on cloaca_workflow_task.
 */
#include "execution.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static const CloacaColumn execution_columns[] = {
    {"id", INT8OID, true},
    {"workflow", INT8OID, true},
    {"created_at", TIMESTAMPTZOID, true},
    {"started_at", TIMESTAMPTZOID, false},
    {"finished_at", TIMESTAMPTZOID, false},
    {"deadline", TIMESTAMPTZOID, false},
    {"expires_at", TIMESTAMPTZOID, false},
    {"timeout", INTERVALOID, false},
    {"remaining", INT4OID, true},
    {"state", TEXTOID, true},
    {"name", TEXTOID, true},
    {"key", TEXTOID, false},
    {"error", TEXTOID, false},
    {"input", JSONBOID, true},
    {"context", JSONBOID, false},
    {"result", JSONBOID, false},
};

static const CloacaColumn node_columns[] = {
    {"task", INT8OID, true},
    {"execution", INT8OID, true},
    {"n", INT4OID, true},
    {"remaining", INT4OID, true},
    {"attempt", INT4OID, true},
    {"started_at", TIMESTAMPTZOID, false},
    {"finished_at", TIMESTAMPTZOID, false},
    {"held_run_at", TIMESTAMPTZOID, false},
    {"state", TEXTOID, true},
    {"worker", TEXTOID, false},
    {"awaits", TEXTOID, false},
    {"error", TEXTOID, false},
    {"output", JSONBOID, false},
    {"changes", JSONBOID, false},
    {"steps", JSONBOID, false},
};

static const CloacaColumn plan_columns[] = {
    {"workflow", INT8OID, true},
    {"n", INT4OID, true},
    {"rank", INT4OID, true},
    {"priority", INT2OID, true},
    {"max_attempts", INT4OID, true},
    {"name", TEXTOID, true},
    {"handler", TEXTOID, true},
    {"queue", TEXTOID, true},
    {"dependencies", INT4ARRAYOID, true},
    {"dependents", INT4ARRAYOID, true},
    {"timeout", INTERVALOID, false},
    {"retry", JSONBOID, false},
    {"trigger", JSONBOID, false},
    {"input", JSONBOID, false},
};

static const CloacaColumn event_columns[] = {
    {"id", INT8OID, true},        {"execution", INT8OID, true}, {"task", INT8OID, false},
    {"at", TIMESTAMPTZOID, true}, {"attempt", INT4OID, false},  {"state", TEXTOID, true},
    {"worker", TEXTOID, false},   {"name", TEXTOID, false},     {"detail", TEXTOID, false},
};

/* One of the tables, and where what is known of it is kept. */
typedef struct Table {
    const char *name;
    AclMode mode; /* what is done with it */
    const CloacaColumn *columns;
    int count;
    AttrNumber keys[2][2]; /* the columns of the indexes by which its rows are found, ended by 0 */
} Table;

enum { EXECUTION, NODE, PLAN, EVENT, TABLES };

static const Table tables[TABLES] = {
    [EXECUTION] =
        {"cloaca_execution", ACL_SELECT | ACL_UPDATE, execution_columns, lengthof(execution_columns), {{EXECUTION_ID}}},
    [NODE] = {"cloaca_execution_task",
              ACL_SELECT | ACL_UPDATE,
              node_columns,
              lengthof(node_columns),
              {{NODE_TASK}, {NODE_EXECUTION, NODE_N}}},
    [PLAN] = {"cloaca_workflow_task", ACL_SELECT, plan_columns, lengthof(plan_columns), {{PLAN_WORKFLOW, PLAN_N}}},
    [EVENT] = {"cloaca_execution_event", ACL_INSERT, event_columns, lengthof(event_columns), {{0}}},
};

/* What is known of a tenant. */
typedef struct Known {
    Oid schema;
    uint64 forgettings;
    bool is_plain;
    Oid table[TABLES];
    Oid key[TABLES][2];
    Oid event_sequence;
} Known;

#define KNOWN_TENANTS 256

static Known known_tenants[KNOWN_TENANTS]; /* each at the place of its schema */

static bool open_all(Relation *opened, const Known *known, Oid schema);
static void close_all(Relation *opened, int count);
static bool are_plain(Relation *opened, Known *known, Oid schema);
static bool is_known(const Known *known, Oid schema);
static bool see_keys(Relation relation, const Table *table, Oid *keys);
static Oid find_key(Relation relation, const AttrNumber *columns);
static bool calls_functions(Relation relation);

bool cloaca_open_executions(const CloacaTables *others, CloacaExecutions *executions)
{
    Oid schema = RelationGetNamespace(others->task);
    Known *known = &known_tenants[schema % KNOWN_TENANTS];
    Relation opened[TABLES];

    if (!open_all(opened, known, schema))
        return false;
    if (!are_plain(opened, known, schema)) {
        close_all(opened, TABLES);
        return false;
    }
    *executions = (CloacaExecutions){.execution = opened[EXECUTION],
                                     .node = opened[NODE],
                                     .plan = opened[PLAN],
                                     .event = opened[EVENT],
                                     .execution_id = known->key[EXECUTION][0],
                                     .node_task = known->key[NODE][0],
                                     .node_place = known->key[NODE][1],
                                     .plan_place = known->key[PLAN][0],
                                     .event_sequence = known->event_sequence,
                                     .execution_row = table_slot_create(opened[EXECUTION], NULL),
                                     .node_row = table_slot_create(opened[NODE], NULL),
                                     .plan_row = table_slot_create(opened[PLAN], NULL)};
    return true;
}

void cloaca_close_executions(CloacaExecutions *executions)
{
    ExecDropSingleTupleTableSlot(executions->execution_row);
    ExecDropSingleTupleTableSlot(executions->node_row);
    ExecDropSingleTupleTableSlot(executions->plan_row);
    table_close(executions->execution, NoLock);
    table_close(executions->node, NoLock);
    table_close(executions->plan, NoLock);
    table_close(executions->event, NoLock);
}

/* All of them, or none; with the privileges that SQL would ask for. */
static bool open_all(Relation *opened, const Known *known, Oid schema)
{
    for (int i = 0; i < TABLES; i++) {
        Oid oid = is_known(known, schema) ? known->table[i] : get_relname_relid(tables[i].name, schema);

        opened[i] = NULL;
        if (OidIsValid(oid) && pg_class_aclmask(oid, GetUserId(), tables[i].mode, ACLMASK_ALL) == tables[i].mode)
            opened[i] = try_relation_open(oid, tables[i].mode == ACL_SELECT ? AccessShareLock : RowExclusiveLock);
        if (opened[i] == NULL) {
            close_all(opened, i);
            return false;
        }
    }
    return true;
}

static void close_all(Relation *opened, int count)
{
    for (int i = 0; i < count; i++)
        relation_close(opened[i], NoLock);
}

static bool are_plain(Relation *opened, Known *known, Oid schema)
{
    uint64 before = cloaca_forgettings();
    bool are_plain = true;

    if (is_known(known, schema))
        return known->is_plain;
    known->schema = InvalidOid;
    for (int i = 0; i < TABLES; i++) {
        /* It was given another name meanwhile. */
        if (get_relname_relid(tables[i].name, schema) != RelationGetRelid(opened[i]))
            return false;
        are_plain = are_plain && cloaca_is_plain_table(opened[i], tables[i].columns, tables[i].count) &&
                    see_keys(opened[i], &tables[i], known->key[i]) && !calls_functions(opened[i]);
        known->table[i] = RelationGetRelid(opened[i]);
    }
    known->event_sequence = are_plain ? compat_identity_sequence(opened[EVENT], EVENT_ID) : InvalidOid;
    known->is_plain = are_plain && OidIsValid(known->event_sequence);
    known->schema = schema;
    /* What changed while we looked is looked at again the next time. */
    known->forgettings = before;
    return known->is_plain;
}

static bool is_known(const Known *known, Oid schema)
{
    return known->schema == schema && known->forgettings == cloaca_forgettings();
}

static bool see_keys(Relation relation, const Table *table, Oid *keys)
{
    for (int i = 0; i < 2 && table->keys[i][0] != 0; i++) {
        keys[i] = find_key(relation, table->keys[i]);
        if (!OidIsValid(keys[i]))
            return false;
    }
    return true;
}

/* The unique index on these columns. */
static Oid find_key(Relation relation, const AttrNumber *columns)
{
    List *indexes = RelationGetIndexList(relation);
    Oid found = InvalidOid;
    ListCell *cell;

    foreach (cell, indexes) {
        Relation index = index_open(lfirst_oid(cell), AccessShareLock);

        if (cloaca_is_index_on(index, columns[1] == 0 ? 1 : 2, columns, true) &&
            heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
            found = RelationGetRelid(index);
        index_close(index, NoLock);
    }
    list_free(indexes);
    return found;
}

static bool calls_functions(Relation relation)
{
    List *indexes = RelationGetIndexList(relation);
    bool calls = false;
    ListCell *cell;

    foreach (cell, indexes) {
        Relation index = index_open(lfirst_oid(cell), AccessShareLock);

        calls = calls || cloaca_has_calls(index);
        index_close(index, NoLock);
    }
    list_free(indexes);
    return calls;
}
