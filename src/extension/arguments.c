/*
 * arguments.c - whether arguments are as the SQL path wants them
 *
 * Nothing here raises: a call with an argument that is refused here goes the SQL path, whose checks (sql/core/check_*) say what
 * is wrong with it. So these may be stricter than those, but never laxer.
 */
#include "extension.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#define LONGEST_SECONDS INT64CONST(315576000)

static int64 *bigints(ArrayType *array, int *count);
static int by_place(const void *one, const void *other);

/* As check_name: 1 to `bytes` bytes, no control characters. Those from U+0080 to U+009F start with byte C2 in UTF-8. */
bool cloaca_is_name(const text *name, int bytes)
{
    const unsigned char *data = (const unsigned char *) VARDATA_ANY(name);
    int length = VARSIZE_ANY_EXHDR(name);

    if (length < 1 || length > bytes)
        return false;
    for (int i = 0; i < length; i++) {
        if (data[i] < 0x20 || data[i] == 0x7f || data[i] == 0xc2)
            return false;
    }
    return true;
}

/* As check_time: between the years 1 and 9999. */
bool cloaca_is_time(TimestampTz time)
{
    const int64 first = -INT64CONST(63082281600) * USECS_PER_SEC; /* 0001-01-01, counted from 2000 */
    const int64 end = INT64CONST(252455616000) * USECS_PER_SEC;   /* 10000-01-01 */

    return time >= first && time < end;
}

/* As microseconds(): a month counts 30 days and a year 365.25, and the sum is from 0 (or more) to ten years. */
bool cloaca_is_length(const Interval *length, bool positive, int64 *microseconds)
{
    int64 seconds;

    if (length->month < -1200 || length->month > 1200 || length->day < -36525 || length->day > 36525 ||
        length->time > LONGEST_SECONDS * USECS_PER_SEC || length->time < -LONGEST_SECONDS * USECS_PER_SEC)
        return false;
    seconds = (int64) (length->month / MONTHS_PER_YEAR) * 31557600 + (int64) (length->month % MONTHS_PER_YEAR) * 2592000 +
              (int64) length->day * SECS_PER_DAY;
    *microseconds = seconds * USECS_PER_SEC + length->time;
    return *microseconds >= (positive ? 1 : 0) && *microseconds <= LONGEST_SECONDS * USECS_PER_SEC;
}

CloacaPair *cloaca_read_pairs(FunctionCallInfo fcinfo, int *count)
{
    int64 *tasks;
    int64 *lease_ids;
    int lease_count;
    CloacaPair *pairs;

    if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
        return NULL;
    tasks = bigints(PG_GETARG_ARRAYTYPE_P(0), count);
    lease_ids = bigints(PG_GETARG_ARRAYTYPE_P(1), &lease_count);
    if (tasks == NULL || lease_ids == NULL || *count != lease_count)
        return NULL;
    pairs = palloc0(Max(1, *count) * sizeof(CloacaPair));
    for (int i = 0; i < *count; i++)
        pairs[i] = (CloacaPair){.task = tasks[i], .lease_id = lease_ids[i], .place = i};
    return pairs;
}

int cloaca_compare_ids(const void *one, const void *other)
{
    int64 a = *(const int64 *) one;
    int64 b = *(const int64 *) other;

    return a < b ? -1 : a > b;
}

int cloaca_compare_pairs(const void *one, const void *other)
{
    const CloacaPair *a = one;
    const CloacaPair *b = other;

    if (a->task != b->task)
        return a->task < b->task ? -1 : 1;
    return a->lease_id < b->lease_id ? -1 : a->lease_id > b->lease_id;
}

void cloaca_sort_pairs(CloacaPair *pairs, int count)
{
    qsort(pairs, count, sizeof(CloacaPair), cloaca_compare_pairs);
}

void cloaca_restore_pairs(CloacaPair *pairs, int count)
{
    qsort(pairs, count, sizeof(CloacaPair), by_place);
}

/* The elements of an array without nulls, of one dimension at most. */
static int64 *bigints(ArrayType *array, int *count)
{
    *count = ARR_NDIM(array) == 0 ? 0 : ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
    if (ARR_NDIM(array) > 1 || ARR_ELEMTYPE(array) != INT8OID || array_contains_nulls(array))
        return NULL;
    return (int64 *) ARR_DATA_PTR(array);
}

static int by_place(const void *one, const void *other)
{
    return ((const CloacaPair *) one)->place - ((const CloacaPair *) other)->place;
}
