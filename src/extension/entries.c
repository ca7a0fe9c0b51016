/*
 * entries.c - reads the index (queue, priority, run_at, id) of cloaca_task
 *
 * An index scan of the server looks at all entries of a page before it returns the first, and copies them; a claim of one task
 * wants one of them, and only to know which priorities there are it would read another page. This reads as many as are wanted:
 * it descends the B-tree, copies keys and places under a share lock on the leaf, lets go of it, and goes on from the last key
 * when more are wanted. That is safe with a snapshot: an entry that is removed meanwhile, and a row that is put in its row's
 * place, are not visible under it.
 *
 * Entries whose rows nobody can see any more are marked as dead, as index scans do it, when the page has not changed since.
 *
 * Runs in the backend of the caller, in whose call alone the state lives. Locks: one leaf at a time.
 */
#include "extension.h"

#include "access/nbtree.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#define MOST_PAGES 32

/* How the reading of a page ended. */
typedef enum Reading { PAGE_ENDED, QUEUE_ENDED, ENOUGH_READ } Reading;

static void position(CloacaEntries *entries, int32 priority, CloacaKey from, const CloacaEntry *after);
static Buffer descend(CloacaEntries *entries, OffsetNumber *offset);
static void read_from(CloacaEntries *entries, Buffer leaf, OffsetNumber offset);
static Reading read_page(CloacaEntries *entries, Page page, OffsetNumber offset, bool any);
static bool add_tuple(CloacaEntries *entries, IndexTuple tuple, OffsetNumber offset);
static bool is_of_queue(const CloacaEntries *entries, const char *data);
static void mark_dead(CloacaEntries *entries);

void cloaca_begin_entries(CloacaEntries *entries, Relation table, Relation index, Datum queue)
{
    Datum values[] = {queue, Int16GetDatum(0), TimestampTzGetDatum(0), Int64GetDatum(0)};
    bool nulls[] = {false, false, false, false};

    entries->table = table;
    entries->index = index;
    entries->pattern = index_form_tuple(RelationGetDescr(index), values, nulls);
    entries->key = _bt_mkscankey(index, entries->pattern);
    entries->queue_size = VARSIZE_ANY((char *) entries->pattern + IndexInfoFindDataOffset(entries->pattern->t_info));
    entries->count = entries->next = entries->dead_count = 0;
    entries->limit = 0;
    entries->all = NULL;
}

bool cloaca_seek_entry(CloacaEntries *entries, int32 priority, CloacaKey from, int want, bool any)
{
    OffsetNumber offset = InvalidOffsetNumber;
    Buffer leaf;

    mark_dead(entries);
    position(entries, priority, from, NULL);
    entries->want = Min(want, CLOACA_MOST_ENTRIES);
    entries->any = any;
    pgstat_count_index_scan(entries->index);
    leaf = descend(entries, &offset);
    read_from(entries, leaf, offset);
    return cloaca_next_entry(entries);
}

bool cloaca_next_entry(CloacaEntries *entries)
{
    CHECK_FOR_INTERRUPTS();
    if (entries->next == entries->count) {
        OffsetNumber offset = InvalidOffsetNumber;
        Buffer leaf;

        if (entries->at_end)
            return false;
        mark_dead(entries);
        position(entries, 0, CLOACA_FIRST_KEY, &entries->entry);
        leaf = descend(entries, &offset);
        read_from(entries, leaf, offset);
        if (entries->count == 0)
            return false;
    }
    entries->entry = entries->all[entries->next++];
    return true;
}

void cloaca_entry_is_dead(CloacaEntries *entries)
{
    if (!entries->entry.is_shared)
        entries->dead[entries->dead_count++] = entries->entry.offset;
}

void cloaca_end_entries(CloacaEntries *entries)
{
    mark_dead(entries);
}

/* To the first entry at or behind a key, or behind an entry that was read. */
static void position(CloacaEntries *entries, int32 priority, CloacaKey from, const CloacaEntry *after)
{
    BTScanInsert key = entries->key;

    key->scankeys[1].sk_argument = Int16GetDatum(after ? after->priority : priority);
    key->scankeys[2].sk_argument = TimestampTzGetDatum(after ? after->key.run_at : from.run_at);
    key->scankeys[3].sk_argument = Int64GetDatum(after ? after->key.id : from.id);
    key->scantid = after ? &entries->last_tid : NULL;
    key->nextkey = after != NULL;
}

/* The leaf, locked, and the first place in it that is not before the key. */
static Buffer descend(CloacaEntries *entries, OffsetNumber *offset)
{
    Buffer leaf;
    Page page;
    OffsetNumber low;
    OffsetNumber high;

    _bt_freestack(compat_bt_search(entries->index, entries->table, entries->key, &leaf));
    if (!BufferIsValid(leaf))
        return leaf;
    page = BufferGetPage(leaf);
    low = P_FIRSTDATAKEY((BTPageOpaque) PageGetSpecialPointer(page));
    high = PageGetMaxOffsetNumber(page) + 1;
    while (low < high) {
        OffsetNumber middle = low + (high - low) / 2;
        int32 order = _bt_compare(entries->index, entries->key, page, middle);

        if (order > 0 || (order == 0 && entries->key->nextkey))
            low = middle + 1;
        else
            high = middle;
    }
    *offset = low;
    return leaf;
}

/* Copies what is wanted from one page on; pages without any such entry are passed, but not more at once than the caller can
 * wait for: then any entry will do. */
static void read_from(CloacaEntries *entries, Buffer leaf, OffsetNumber offset)
{
    int pages = 0;

    entries->count = entries->next = 0;
    entries->at_end = true;
    if (entries->all == NULL)
        entries->all = palloc(sizeof(CloacaEntry) * (entries->limit = CLOACA_MOST_ENTRIES));
    while (BufferIsValid(leaf)) {
        Page page = BufferGetPage(leaf);
        BTPageOpaque opaque = (BTPageOpaque) PageGetSpecialPointer(page);
        Reading reading;

        if (!P_IGNORE(opaque)) {
            entries->block = BufferGetBlockNumber(leaf);
            entries->lsn = BufferGetLSNAtomic(leaf);
            reading = read_page(entries, page, offset, entries->any || ++pages > MOST_PAGES);
            entries->at_end = reading == QUEUE_ENDED || (reading == PAGE_ENDED && P_RIGHTMOST(opaque));
            if (entries->count > 0 || entries->at_end)
                break;
        }
        if (P_RIGHTMOST(opaque))
            break;
        leaf = _bt_relandgetbuf(entries->index, leaf, opaque->btpo_next, BT_READ);
        page = BufferGetPage(leaf);
        offset = P_FIRSTDATAKEY((BTPageOpaque) PageGetSpecialPointer(page));
    }
    if (BufferIsValid(leaf))
        _bt_relbuf(entries->index, leaf);
}

static Reading read_page(CloacaEntries *entries, Page page, OffsetNumber offset, bool any)
{
    OffsetNumber last = PageGetMaxOffsetNumber(page);

    for (; offset <= last; offset++) {
        ItemId item = PageGetItemId(page, offset);

        if (ItemIdIsDead(item) && !any)
            continue;
        if (entries->count >= (any ? 1 : entries->want))
            return ENOUGH_READ;
        if (!add_tuple(entries, (IndexTuple) PageGetItem(page, item), offset))
            return QUEUE_ENDED;
    }
    return PAGE_ENDED;
}

/* False when it is another queue's. No column is null and only the first is of varying length, so the others are quickly found.
 */
static bool add_tuple(CloacaEntries *entries, IndexTuple tuple, OffsetNumber offset)
{
    const char *data = (const char *) tuple + IndexInfoFindDataOffset(tuple->t_info);
    bool is_posting = BTreeTupleIsPosting(tuple);
    int places = is_posting ? BTreeTupleGetNPosting(tuple) : 1;
    CloacaEntry entry = {.offset = offset, .is_shared = is_posting};
    Size at;

    if (!is_of_queue(entries, data))
        return false;
    at = att_align_nominal(VARSIZE_ANY(data), TYPALIGN_SHORT);
    memcpy(&entry.priority, data + at, sizeof(entry.priority));
    at = att_align_nominal(at + sizeof(entry.priority), TYPALIGN_DOUBLE);
    memcpy(&entry.key, data + at, sizeof(entry.key));

    if (entries->count + places > entries->limit)
        entries->all = repalloc(entries->all, sizeof(CloacaEntry) * (entries->limit = entries->count + places));
    for (int i = 0; i < places; i++) {
        entry.tid = is_posting ? *BTreeTupleGetPostingN(tuple, i) : tuple->t_tid;
        entries->all[entries->count++] = entry;
    }
    entries->last_tid = entry.tid;
    return true;
}

/* The same bytes, mostly; a long name may be compressed in one entry and not in another. */
static bool is_of_queue(const CloacaEntries *entries, const char *data)
{
    const char *queue = (const char *) entries->pattern + IndexInfoFindDataOffset(entries->pattern->t_info);

    if (VARSIZE_ANY(data) == entries->queue_size && memcmp(queue, data, entries->queue_size) == 0)
        return true;
    return (VARATT_IS_COMPRESSED(data) || VARATT_IS_COMPRESSED(queue)) &&
           DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, PointerGetDatum(queue), PointerGetDatum(data)));
}

/* Tells others that the entries are dead, if they are where they were. */
static void mark_dead(CloacaEntries *entries)
{
    Buffer leaf;

    if (entries->dead_count == 0)
        return;
    if (!RelationNeedsWAL(entries->index)) {
        entries->dead_count = 0;
        return;
    }
    leaf = _bt_getbuf(entries->index, entries->block, BT_READ);
    if (BufferGetLSNAtomic(leaf) == entries->lsn) {
        Page page = BufferGetPage(leaf);

        for (int i = 0; i < entries->dead_count; i++)
            ItemIdMarkDead(PageGetItemId(page, entries->dead[i]));
        ((BTPageOpaque) PageGetSpecialPointer(page))->btpo_flags |= BTP_HAS_GARBAGE;
        MarkBufferDirtyHint(leaf, true);
    }
    _bt_relbuf(entries->index, leaf);
    entries->dead_count = 0;
}
