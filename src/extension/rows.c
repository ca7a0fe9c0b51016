/*
 * rows.c - one row of a table: found by its key, changed, inserted
 *
 * What SQL's executor would do for these few statements, by the table access interface, into whatever indexes the table has.
 * Runs in the backend of the caller, with the locks that it has taken. Whoever waits here waits for a transaction that has
 * changed the row, as SQL would.
 */
#include "execution.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static bool find(Relation table, Oid index, ScanKeyData *keys, int count, TupleTableSlot *row);
static void enter(Relation table, TupleTableSlot *row, bool is_update, CompatUpdateIndexes indexes);

bool cloaca_find_by_id(Relation table, Oid index, int64 id, TupleTableSlot *row)
{
    ScanKeyData key;

    ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
    return find(table, index, &key, 1, row);
}

bool cloaca_find_by_place(Relation table, Oid index, int64 id, int32 n, TupleTableSlot *row)
{
    ScanKeyData keys[2];

    ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
    ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(n));
    return find(table, index, keys, 2, row);
}

bool cloaca_change_row(Relation table, TupleTableSlot *row, const CloacaChange *changes, int count)
{
    TupleDesc type = RelationGetDescr(table);
    Datum values[MaxHeapAttributeNumber];
    bool nulls[MaxHeapAttributeNumber];
    TupleTableSlot *replacement = MakeSingleTupleTableSlot(type, &TTSOpsHeapTuple);
    CompatUpdateIndexes indexes = COMPAT_NO_INDEXES;
    LockTupleMode lock_mode;
    TM_FailureData failure;
    TM_Result result;

    CheckCmdReplicaIdentity(table, CMD_UPDATE);
    slot_getallattrs(row);
    memcpy(values, row->tts_values, type->natts * sizeof(Datum));
    memcpy(nulls, row->tts_isnull, type->natts * sizeof(bool));
    for (int i = 0; i < count; i++) {
        values[changes[i].column - 1] = changes[i].value;
        nulls[changes[i].column - 1] = changes[i].is_null;
    }
    ExecStoreHeapTuple(heap_form_tuple(type, values, nulls), replacement, true);
    replacement->tts_tableOid = RelationGetRelid(table);
    result = table_tuple_update(table, &row->tts_tid, replacement, GetCurrentCommandId(true), GetActiveSnapshot(),
                                InvalidSnapshot, true, &failure, &lock_mode, &indexes);
    if (result == TM_Ok && indexes != COMPAT_NO_INDEXES)
        enter(table, replacement, true, indexes);
    ExecDropSingleTupleTableSlot(replacement);
    if (result != TM_Ok && result != TM_Updated && result != TM_Deleted)
        elog(ERROR, "could not change a row of %s: %d", RelationGetRelationName(table), result);
    return result == TM_Ok;
}

void cloaca_insert_row(Relation table, Datum *values, bool *nulls)
{
    TupleTableSlot *row = MakeSingleTupleTableSlot(RelationGetDescr(table), &TTSOpsHeapTuple);

    ExecStoreHeapTuple(heap_form_tuple(RelationGetDescr(table), values, nulls), row, true);
    row->tts_tableOid = RelationGetRelid(table);
    table_tuple_insert(table, row, GetCurrentCommandId(true), 0, NULL);
    enter(table, row, false, COMPAT_NO_INDEXES);
    ExecDropSingleTupleTableSlot(row);
}

bool cloaca_is_text(Datum value, const char *other)
{
    const text *one = DatumGetTextPP(value);

    return VARSIZE_ANY_EXHDR(one) == strlen(other) && memcmp(VARDATA_ANY(one), other, strlen(other)) == 0;
}

static bool find(Relation table, Oid oid, ScanKeyData *keys, int count, TupleTableSlot *row)
{
    Relation index = index_open(oid, AccessShareLock);
    IndexScanDesc scan = compat_index_beginscan(table, index, GetActiveSnapshot(), count);
    bool is_found;

    /* The pin of the page that it was at would keep that from being pruned. */
    ExecClearTuple(row);
    index_rescan(scan, keys, count, NULL, 0);
    is_found = index_getnext_slot(scan, ForwardScanDirection, row);
    index_endscan(scan);
    index_close(index, NoLock);
    return is_found;
}

/* Enters a new row, or a new version of one, into the indexes. */
static void enter(Relation table, TupleTableSlot *row, bool is_update, CompatUpdateIndexes indexes)
{
    EState *state = CreateExecutorState();
    ResultRelInfo *target = makeNode(ResultRelInfo);

    InitResultRelInfo(target, table, 0, NULL, 0);
    ExecOpenIndices(target, false);
    compat_insert_index_tuples(target, row, state, is_update, indexes);
    ExecCloseIndices(target);
    pfree(target);
    FreeExecutorState(state);
}
