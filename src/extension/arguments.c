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

int64 *cloaca_bigints(ArrayType *array, int *count)
{
    *count = ARR_NDIM(array) == 0 ? 0 : ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
    if (ARR_NDIM(array) > 1 || ARR_ELEMTYPE(array) != INT8OID || array_contains_nulls(array))
        return NULL;
    return (int64 *) ARR_DATA_PTR(array);
}
