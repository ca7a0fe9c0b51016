/*
 * document.c - JSON documents merged from left to right
 *
 * Objects are merged deeply, arrays one after the other without repeating elements, of anything else the last one counts. A
 * value of another kind replaces what came before it, so that of several values the last ones of one kind are what is merged.
 * Each document is read once, however many there are.
 */
#include "execution.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

PG_FUNCTION_INFO_V1(cloaca_merge);

/* A member of an object, or an element of an array. */
typedef struct Part {
    JsonbValue key; /* members */
    JsonbValue value;
    int place;     /* among all items */
    bool is_first; /* of the first array */
    bool is_kept;
} Part;

typedef struct Parts {
    Part *items;
    int count;
    int limit;
} Parts;

static JsonbValue string_of(Datum value);
static JsonbValue value_of(Jsonb *document);
static JsonbValue *push_merged(JsonbParseState **state, JsonbIteratorToken token, JsonbValue *values, int count);
static int kind_of(const JsonbValue *value);
static JsonbValue *push_object(JsonbParseState **state, JsonbValue *values, int count);
static JsonbValue *push_array(JsonbParseState **state, JsonbValue *values, int count);
static Parts read_items(JsonbValue *values, int count);
static int compare_members(const void *one, const void *other);
static int compare_elements(const void *one, const void *other);
static int compare_places(const void *one, const void *other);
static int compare_values(const JsonbValue *one, const JsonbValue *other);
static int compare_strings(const JsonbValue *one, const JsonbValue *other);

/* merge(documents) */
Datum cloaca_merge(PG_FUNCTION_ARGS)
{
    Datum *documents;
    bool *nulls;
    int count;
    Datum merged;

    if (PG_ARGISNULL(0))
        PG_RETURN_NULL();
    deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), JSONBOID, -1, false, TYPALIGN_INT, &documents, &nulls, &count);
    for (int i = 0; i < count; i++) {
        if (nulls[i])
            documents[i] = (Datum) 0;
    }
    merged = cloaca_merge_documents(documents, count);
    if (merged == (Datum) 0)
        PG_RETURN_NULL();
    PG_RETURN_DATUM(merged);
}

Datum cloaca_merge_documents(const Datum *documents, int count)
{
    JsonbParseState *state = NULL;
    JsonbValue *values = palloc(Max(1, count) * sizeof(JsonbValue));
    Datum last = (Datum) 0;
    int given = 0;

    for (int i = 0; i < count; i++) {
        if (documents[i] != (Datum) 0) {
            last = documents[i];
            values[given++] = value_of(DatumGetJsonbP(last));
        }
    }
    if (given <= 1)
        return last;
    return JsonbPGetDatum(JsonbValueToJsonb(push_merged(&state, WJB_VALUE, values, given)));
}

Datum cloaca_member(Datum name, Datum document)
{
    JsonbParseState *state = NULL;
    JsonbValue key = string_of(name);
    JsonbValue value = value_of(DatumGetJsonbP(document));

    pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
    pushJsonbValue(&state, WJB_KEY, &key);
    pushJsonbValue(&state, WJB_VALUE, &value);
    return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

Datum cloaca_texts_object(const Datum *names, const Datum *texts, int count)
{
    JsonbParseState *state = NULL;

    pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
    for (int i = 0; i < count; i++) {
        JsonbValue key = string_of(names[i]);
        JsonbValue value = string_of(texts[i]);

        pushJsonbValue(&state, WJB_KEY, &key);
        pushJsonbValue(&state, WJB_VALUE, &value);
    }
    return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

static JsonbValue string_of(Datum value)
{
    const text *string = DatumGetTextPP(value);

    return (JsonbValue){.type = jbvString, .val.string = {(int) VARSIZE_ANY_EXHDR(string), VARDATA_ANY(string)}};
}

static JsonbValue value_of(Jsonb *document)
{
    JsonbValue value;

    if (!JB_ROOT_IS_SCALAR(document) || !JsonbExtractScalar(&document->root, &value)) {
        value.type = jbvBinary;
        value.val.binary.data = &document->root;
        value.val.binary.len = (int) VARSIZE(document) - VARHDRSZ;
    }
    return value;
}

/* Merges the last of the values that are of one kind, and adds that as a member's value, an element, or (without a state) as
 * the whole document. */
static JsonbValue *push_merged(JsonbParseState **state, JsonbIteratorToken token, JsonbValue *values, int count)
{
    int kind = kind_of(&values[count - 1]);
    int first = count - 1;

    check_stack_depth();
    while (first > 0 && kind != 0 && kind_of(&values[first - 1]) == kind)
        first--;
    if (kind == 0 || (first == count - 1 && *state))
        return *state ? pushJsonbValue(state, token, &values[count - 1]) : &values[count - 1];
    return kind == 'o' ? push_object(state, values + first, count - first) : push_array(state, values + first, count - first);
}

/* 'o' for an object, 'a' for an array, 0 for anything else. */
static int kind_of(const JsonbValue *value)
{
    if (value->type != jbvBinary)
        return 0;
    return JsonContainerIsObject(value->val.binary.data) ? 'o' : 'a';
}

static JsonbValue *push_object(JsonbParseState **state, JsonbValue *values, int count)
{
    Parts members = read_items(values, count);
    JsonbValue *same = palloc(Max(1, count) * sizeof(JsonbValue));

    pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
    qsort(members.items, members.count, sizeof(Part), compare_members);
    for (int i = 0; i < members.count;) {
        int n = 0;

        pushJsonbValue(state, WJB_KEY, &members.items[i].key);
        do
            same[n++] = members.items[i++].value;
        while (i < members.count && compare_strings(&members.items[i - 1].key, &members.items[i].key) == 0);
        push_merged(state, WJB_VALUE, same, n);
    }
    return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

static JsonbValue *push_array(JsonbParseState **state, JsonbValue *values, int count)
{
    Parts elements = read_items(values, count);

    qsort(elements.items, elements.count, sizeof(Part), compare_elements);
    for (int i = 0; i < elements.count; i++) {
        Part *item = &elements.items[i];

        item->is_kept = item->is_first || i == 0 || compare_values(&item[-1].value, &item->value) != 0;
    }
    qsort(elements.items, elements.count, sizeof(Part), compare_places);
    pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
    for (int i = 0; i < elements.count; i++) {
        if (elements.items[i].is_kept)
            pushJsonbValue(state, WJB_ELEM, &elements.items[i].value);
    }
    return pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/* The members or elements of containers of one kind. */
static Parts read_items(JsonbValue *values, int count)
{
    Parts items = {.limit = 16};

    items.items = palloc(items.limit * sizeof(Part));
    for (int i = 0; i < count; i++) {
        JsonbIterator *iterator = JsonbIteratorInit(values[i].val.binary.data);
        JsonbIteratorToken token;
        JsonbValue value;
        JsonbValue key = {.type = jbvNull};

        while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE) {
            if (token == WJB_KEY)
                key = value;
            /* The beginning of the container itself is passed over; whatever is within it comes as one value. */
            if (token != WJB_VALUE && token != WJB_ELEM)
                continue;
            if (items.count == items.limit) {
                items.limit *= 2;
                items.items = repalloc_huge(items.items, items.limit * sizeof(Part));
            }
            items.items[items.count] = (Part){.key = key, .value = value, .place = items.count, .is_first = i == 0};
            items.count++;
        }
    }
    return items;
}

static int compare_members(const void *one, const void *other)
{
    const Part *a = one;
    const Part *b = other;
    int order = compare_strings(&a->key, &b->key);

    return order ? order : a->place - b->place;
}

static int compare_elements(const void *one, const void *other)
{
    const Part *a = one;
    const Part *b = other;
    int order = compare_values(&a->value, &b->value);

    return order ? order : a->place - b->place;
}

static int compare_places(const void *one, const void *other)
{
    return ((const Part *) one)->place - ((const Part *) other)->place;
}

/* Some order in which equal values, and only these, are equal. */
static int compare_values(const JsonbValue *one, const JsonbValue *other)
{
    if (one->type != other->type)
        return one->type < other->type ? -1 : 1;
    switch (one->type) {
    case jbvString:
        return compare_strings(one, other);
    case jbvNumeric:
        return DatumGetInt32(
            DirectFunctionCall2(numeric_cmp, NumericGetDatum(one->val.numeric), NumericGetDatum(other->val.numeric)));
    case jbvBool:
        return (int) one->val.boolean - (int) other->val.boolean;
    case jbvBinary:
        return compareJsonbContainers(one->val.binary.data, other->val.binary.data);
    default:
        return 0;
    }
}

static int compare_strings(const JsonbValue *one, const JsonbValue *other)
{
    if (one->val.string.len != other->val.string.len)
        return one->val.string.len - other->val.string.len;
    return memcmp(one->val.string.val, other->val.string.val, one->val.string.len);
}
