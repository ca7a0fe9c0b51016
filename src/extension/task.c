/*
 * task.c - one row of cloaca_task: found by its id, changed, deleted, entered into the indexes
 *
 * What SQL's executor would do for these few statements, by the table access interface, on tables that tables.c has looked at.
 * Runs in the backend of the caller. Whoever waits here waits for a transaction that has changed the row, as SQL would.
 */
#include "extension.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "nodes/makefuncs.h"
#include "storage/bufmgr.h"
#include "storage/bufpage.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Where a task is that this session claimed. It may have moved since, or another may have its place; whoever looks there looks
 * whether it is the one. */
typedef struct Place {
    int64 lease_id;
    Oid table;
    ItemPointerData root;
    Buffer buffer; /* where its page was, or InvalidBuffer */
} Place;

#define PLACES 4096

static Place *places;

static bool recall_place(CloacaRows *rows, int64 lease_id, ItemPointer place);
static bool is_in_table(CloacaRows *rows, const Place *place);
static bool find_row(CloacaRows *rows, int64 task);
static bool is_held(TupleTableSlot *slot, int64 task, int64 lease_id);
static bool is_locked_by_us(TupleTableSlot *slot);
static void index_one(Oid oid, Relation task, Datum *values, const bool *nulls, ItemPointer tid, bool is_unique, bool fresh);

void cloaca_begin_lookup(CloacaRows *rows, const CloacaTables *tables)
{
    cloaca_look();
    *rows = (CloacaRows){.tables = tables, .buffer = InvalidBuffer, .slot = table_slot_create(tables->task, NULL)};
}

bool cloaca_lookup_held(CloacaRows *rows, int64 task, int64 lease_id)
{
    ItemPointerData place;

    if (recall_place(rows, lease_id, &place) &&
        cloaca_fetch_task(rows->tables, &place, GetActiveSnapshot(), &rows->buffer, rows->slot, NULL) &&
        is_held(rows->slot, task, lease_id))
        return true;
    return find_row(rows, task) && is_held(rows->slot, task, lease_id);
}

void cloaca_end_lookup(CloacaRows *rows)
{
    ExecDropSingleTupleTableSlot(rows->slot);
    if (BufferIsValid(rows->buffer))
        ReleaseBuffer(rows->buffer);
    if (rows->scan) {
        index_endscan(rows->scan);
        index_close(rows->index, NoLock);
    }
    PopActiveSnapshot();
}

TimestampTz cloaca_task_end(const Datum *values, const bool *nulls, TimestampTz claimed_at)
{
    TimestampTz end = nulls[TASK_DEADLINE - 1] ? DT_NOEND : DatumGetTimestampTz(values[TASK_DEADLINE - 1]);

    if (!nulls[TASK_TIMEOUT - 1]) {
        Datum timeout = DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(claimed_at), values[TASK_TIMEOUT - 1]);

        end = Min(end, DatumGetTimestampTz(timeout));
    }
    return end;
}

/* As an index scan does it, but for the pruning: that is for those who need the room. */
bool cloaca_fetch_task(const CloacaTables *tables, ItemPointer tid, Snapshot snapshot, Buffer *buffer, TupleTableSlot *slot,
                       bool *all_dead)
{
    BufferHeapTupleTableSlot *place = (BufferHeapTupleTableSlot *) slot;
    ItemPointerData found = *tid;
    bool is_found;

    ExecClearTuple(slot);
    *buffer = ReleaseAndReadBuffer(*buffer, tables->task, ItemPointerGetBlockNumber(tid));
    LockBuffer(*buffer, BUFFER_LOCK_SHARE);
    is_found = heap_hot_search_buffer(&found, tables->task, *buffer, snapshot, &place->base.tupdata, all_dead, true);
    LockBuffer(*buffer, BUFFER_LOCK_UNLOCK);
    if (is_found) {
        place->base.tupdata.t_self = found;
        slot->tts_tableOid = RelationGetRelid(tables->task);
        ExecStoreBufferHeapTuple(&place->base.tupdata, slot, *buffer);
    }
    return is_found;
}

/* A guess without a lock, as the server's own. */
bool cloaca_has_room(Buffer buffer, Size room)
{
    Page page = BufferGetPage(buffer);

    return !PageIsFull(page) && PageGetHeapFreeSpace(page) >= room;
}

void cloaca_prune(const CloacaTables *tables, Buffer buffer)
{
    heap_page_prune_opt(tables->task, buffer);
}

TM_Result cloaca_update_task(const CloacaTables *tables, TupleTableSlot *slot, Datum *values, bool *nulls, bool wait,
                             ItemPointer root)
{
    Relation task = tables->task;
    HeapTuple tuple = heap_form_tuple(RelationGetDescr(task), values, nulls);
    TupleTableSlot *replacement = MakeSingleTupleTableSlot(RelationGetDescr(task), &TTSOpsHeapTuple);
    LockTupleMode lock_mode;
    CompatUpdateIndexes indexes = COMPAT_NO_INDEXES;
    TM_FailureData failure;
    TM_Result result;

    CheckCmdReplicaIdentity(task, CMD_UPDATE);
    ExecStoreHeapTuple(tuple, replacement, true);
    replacement->tts_tableOid = RelationGetRelid(task);
    result = table_tuple_update(task, &slot->tts_tid, replacement, GetCurrentCommandId(true), GetActiveSnapshot(),
                                InvalidSnapshot, wait || is_locked_by_us(slot), &failure, &lock_mode, &indexes);
    /* No indexed column changes, so without room on the page, and only then, all indexes need an entry. */
    if (result == TM_Ok && indexes != COMPAT_NO_INDEXES) {
        cloaca_index_task(tables, values, nulls, &replacement->tts_tid, false);
        *root = replacement->tts_tid;
    }
    ExecDropSingleTupleTableSlot(replacement);
    return result;
}

TM_Result cloaca_delete_task(const CloacaTables *tables, TupleTableSlot *slot)
{
    TM_FailureData failure;

    CheckCmdReplicaIdentity(tables->task, CMD_DELETE);
    return table_tuple_delete(tables->task, &slot->tts_tid, GetCurrentCommandId(true), GetActiveSnapshot(), InvalidSnapshot,
                              true, &failure, false);
}

void cloaca_insert_task(const CloacaTables *tables, const Datum *values, const bool *nulls)
{
    TupleTableSlot *slot = table_slot_create(tables->task, NULL);

    ExecClearTuple(slot);
    memcpy(slot->tts_values, values, TASK_COLUMNS * sizeof(Datum));
    memcpy(slot->tts_isnull, nulls, TASK_COLUMNS * sizeof(bool));
    ExecStoreVirtualTuple(slot);
    table_tuple_insert(tables->task, slot, GetCurrentCommandId(true), 0, NULL);
    cloaca_index_task(tables, slot->tts_values, slot->tts_isnull, &slot->tts_tid, true);
    ExecDropSingleTupleTableSlot(slot);
}

void cloaca_index_task(const CloacaTables *tables, Datum *values, const bool *nulls, ItemPointer tid, bool fresh)
{
    static const bool none[] = {false, false, false, false};
    Datum claim[] = {values[TASK_QUEUE - 1], values[TASK_PRIORITY - 1], values[TASK_RUN_AT - 1], values[TASK_ID - 1]};

    index_one(tables->id_index, tables->task, &values[TASK_ID - 1], none, tid, true, fresh);
    index_one(tables->claim_index, tables->task, claim, none, tid, false, fresh);
    if (!nulls[TASK_KEY - 1]) {
        Datum key[] = {values[TASK_QUEUE - 1], values[TASK_KEY - 1]};

        index_one(tables->key_index, tables->task, key, none, tid, true, fresh);
    }
}

void cloaca_remember_place(const CloacaTables *tables, int64 lease_id, ItemPointer root, Buffer buffer)
{
    bool is_there = BufferIsValid(buffer) && BufferGetBlockNumber(buffer) == ItemPointerGetBlockNumber(root);

    if (places == NULL)
        places = MemoryContextAllocZero(TopMemoryContext, PLACES * sizeof(Place));
    places[lease_id % PLACES] = (Place){lease_id, RelationGetRelid(tables->task), *root, is_there ? buffer : InvalidBuffer};
}

static bool recall_place(CloacaRows *rows, int64 lease_id, ItemPointer place)
{
    const Place *known = places && lease_id >= 0 ? &places[lease_id % PLACES] : NULL;

    if (known == NULL || known->lease_id != lease_id || known->table != RelationGetRelid(rows->tables->task) ||
        !is_in_table(rows, known))
        return false;
    *place = known->root;
    return true;
}

/* The table may be shorter by now. It is not where the page is still in its buffer, which then is pinned for the next one. */
static bool is_in_table(CloacaRows *rows, const Place *place)
{
    BlockNumber block = ItemPointerGetBlockNumber(&place->root);

    if (BufferIsValid(rows->buffer) && BufferGetBlockNumber(rows->buffer) == block)
        return true;
    if (BufferIsValid(place->buffer) && compat_read_recent_buffer(rows->tables->task, block, place->buffer)) {
        ExecClearTuple(rows->slot);
        if (BufferIsValid(rows->buffer))
            ReleaseBuffer(rows->buffer);
        rows->buffer = place->buffer;
        return true;
    }
    if (rows->blocks == 0)
        rows->blocks = RelationGetNumberOfBlocks(rows->tables->task);
    return block < rows->blocks;
}

/* By the id, through the index. */
static bool find_row(CloacaRows *rows, int64 task)
{
    ScanKeyData key;
    ItemPointer found;

    if (rows->scan == NULL) {
        rows->index = index_open(rows->tables->id_index, AccessShareLock);
        rows->scan = compat_index_beginscan(rows->tables->task, rows->index, GetActiveSnapshot(), 1);
    }
    ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, INT8OID, InvalidOid, F_INT8EQ, Int64GetDatum(task));
    index_rescan(rows->scan, &key, 1, NULL, 0);
    /* After an update that was not HOT there may be several entries, all but one of them for versions that nobody sees. */
    while ((found = index_getnext_tid(rows->scan, ForwardScanDirection)) != NULL) {
        if (cloaca_fetch_task(rows->tables, found, GetActiveSnapshot(), &rows->buffer, rows->slot, NULL))
            return true;
    }
    return false;
}

static bool is_held(TupleTableSlot *slot, int64 task, int64 lease_id)
{
    slot_getsomeattrs(slot, TASK_LEASE_ID);
    return DatumGetInt64(slot->tts_values[TASK_ID - 1]) == task && !slot->tts_isnull[TASK_LEASE_ID - 1] &&
           DatumGetInt64(slot->tts_values[TASK_LEASE_ID - 1]) == lease_id &&
           !DatumGetBool(slot->tts_values[TASK_CANCELLED - 1]);
}

/* A row that this transaction alone has locked counts as being modified for those who do not wait; there is nobody to wait for.
 */
static bool is_locked_by_us(TupleTableSlot *slot)
{
    HeapTupleHeader header = ExecFetchSlotHeapTuple(slot, false, NULL)->t_data;

    return HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask) && !(header->t_infomask & (HEAP_XMAX_IS_MULTI | HEAP_XMAX_INVALID)) &&
           TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmax(header));
}

/* B-trees need no more of the IndexInfo than that it is there: the values are computed already. */
static void index_one(Oid oid, Relation task, Datum *values, const bool *nulls, ItemPointer tid, bool is_unique, bool fresh)
{
    Relation index = index_open(oid, RowExclusiveLock);
    IndexInfo *info = makeNode(IndexInfo);

    index_insert(index, values, (bool *) nulls, tid, task, is_unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, !fresh, info);
    pfree(info);
    index_close(index, NoLock);
}
