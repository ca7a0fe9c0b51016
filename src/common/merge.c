/*
 * merge.c - documents merged from left to right
 *
 * The merged document is a tree of which only those parts are built that more than one document has; the rest are spans of
 * their texts. Members are kept in their canonical order, and the elements of an array have a hash table, so that a thousand
 * small documents do not copy, or search, a growing one a thousand times. Recursion goes as deep as the documents, which json.c
 * bounds.
 */
#include "common/merge.h"
#include "common/compare.h"

#include <stdlib.h>
#include <string.h>

typedef struct member member;

/* A span of text, or the members of an object, or the elements of an array. */
typedef struct node {
    clo_span text; /* as long as there is nothing else */
    member **members;
    clo_span *elements;
    size_t *slots; /* of elements, by hash: their number, from 1; twice as many as there is room for elements */
    size_t count;
    size_t capacity;
    char kind; /* the first byte of the text */
} node;

struct member {
    clo_span key;
    node value;
};

struct clo_merge {
    clo_arena arena;
    node root;
    bool any;
};

static bool merge_into(clo_merge *merge, node *into, clo_span document);
static bool open_node(clo_merge *merge, node *into);
static bool merge_members(clo_merge *merge, node *into, clo_span object, bool sorted);
static size_t find_member(const node *object, clo_span key, bool *found);
static bool insert_member(clo_merge *merge, node *object, size_t place, clo_span key, clo_span value);
static bool merge_elements(clo_merge *merge, node *into, clo_span array, bool all);
static bool add_element(clo_merge *merge, node *array, clo_span element, bool always);
static bool grow_array(clo_merge *merge, node *array);
static size_t find_slot(const node *array, clo_span element);
static void write_node(const node *from, clo_buffer *out);

clo_merge *clo_merge_new(void)
{
    return calloc(1, sizeof(clo_merge));
}

bool clo_merge_add(clo_merge *merge, const char *document, size_t length)
{
    const char *copy = clo_arena_copy(&merge->arena, document, length);

    if (copy == NULL) {
        return false;
    }
    if (!merge->any) {
        merge->any = true;
        merge->root = (node){.text = {copy, length}, .kind = *copy};
        return true;
    }
    return merge_into(merge, &merge->root, (clo_span){copy, length});
}

bool clo_merge_empty(const clo_merge *merge)
{
    return !merge->any;
}

void clo_merge_write(const clo_merge *merge, clo_buffer *out)
{
    write_node(&merge->root, out);
}

void clo_merge_free(clo_merge *merge)
{
    if (merge != NULL) {
        clo_arena_free(&merge->arena);
        free(merge);
    }
}

static bool merge_into(clo_merge *merge, node *into, clo_span document)
{
    const char kind = *document.text;

    if (kind != into->kind || (kind != '{' && kind != '[')) {
        *into = (node){.text = document, .kind = kind};
        return true;
    }
    if (into->text.text != NULL && !open_node(merge, into)) {
        return false;
    }
    return kind == '{' ? merge_members(merge, into, document, false) : merge_elements(merge, into, document, false);
}

/* Takes the text of an object or array apart. */
static bool open_node(clo_merge *merge, node *into)
{
    const clo_span text = into->text;

    into->text = (clo_span){NULL, 0};
    return into->kind == '{' ? merge_members(merge, into, text, true) : merge_elements(merge, into, text, true);
}

/* `sorted`: all members come after those that are there. */
static bool merge_members(clo_merge *merge, node *into, clo_span object, bool sorted)
{
    const char *at = object.text;
    clo_span key, element;

    while (clo_json_next(&at, &key, &element)) {
        bool found = false;
        const size_t place = sorted ? into->count : find_member(into, key, &found);

        if (found ? !merge_into(merge, &into->members[place]->value, element)
                  : !insert_member(merge, into, place, key, element)) {
            return false;
        }
    }
    return true;
}

/* Where the key is, or where it belongs. */
static size_t find_member(const node *object, clo_span key, bool *found)
{
    size_t low = 0;
    size_t high = object->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = clo_json_compare_keys(object->members[middle]->key, key);

        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool insert_member(clo_merge *merge, node *object, size_t place, clo_span key, clo_span value)
{
    member *added = clo_arena_allocate(&merge->arena, sizeof(member));

    if (object->count == object->capacity && added != NULL) {
        const size_t capacity = object->capacity > 0 ? object->capacity * 2 : 8;
        member **members = clo_arena_allocate(&merge->arena, capacity * sizeof(member *));

        if (members == NULL) {
            return false;
        }
        if (object->count > 0) {
            memcpy(members, object->members, object->count * sizeof(member *));
        }
        object->members = members;
        object->capacity = capacity;
    }
    if (added == NULL) {
        return false;
    }
    memmove(object->members + place + 1, object->members + place, (object->count - place) * sizeof(member *));
    *added = (member){.key = key, .value = {.text = value, .kind = *value.text}};
    object->members[place] = added;
    object->count++;
    return true;
}

/* `all`: also those that are there twice, as in the first of several arrays. */
static bool merge_elements(clo_merge *merge, node *into, clo_span array, bool all)
{
    const char *at = array.text;
    clo_span key, element;

    while (clo_json_next(&at, &key, &element)) {
        if (!add_element(merge, into, element, all)) {
            return false;
        }
    }
    return true;
}

static bool add_element(clo_merge *merge, node *array, clo_span element, bool always)
{
    size_t slot;

    if (array->count == array->capacity && !grow_array(merge, array)) {
        return false;
    }
    slot = find_slot(array, element);
    if (array->slots[slot] != 0 && !always) {
        return true;
    }
    array->elements[array->count++] = element;
    if (array->slots[slot] == 0) {
        array->slots[slot] = array->count;
    }
    return true;
}

static bool grow_array(clo_merge *merge, node *array)
{
    const size_t capacity = array->capacity > 0 ? array->capacity * 2 : 8;
    clo_span *elements = clo_arena_allocate(&merge->arena, capacity * sizeof(clo_span));
    size_t *slots = clo_arena_allocate(&merge->arena, 2 * capacity * sizeof(size_t));

    if (elements == NULL || slots == NULL) {
        return false;
    }
    memset(slots, 0, 2 * capacity * sizeof(size_t));
    if (array->count > 0) {
        memcpy(elements, array->elements, array->count * sizeof(clo_span));
    }
    array->elements = elements;
    array->slots = slots;
    array->capacity = capacity;
    for (size_t i = 0; i < array->count; i++) {
        const size_t slot = find_slot(array, elements[i]);

        if (slots[slot] == 0) {
            slots[slot] = i + 1;
        }
    }
    return true;
}

/* The slot of an equal element, or the empty one where it belongs. */
static size_t find_slot(const node *array, clo_span element)
{
    const size_t last = 2 * array->capacity - 1;
    size_t slot = clo_json_hash(element) & last;

    while (array->slots[slot] != 0 && !clo_json_equal(array->elements[array->slots[slot] - 1], element)) {
        slot = (slot + 1) & last;
    }
    return slot;
}

static void write_node(const node *from, clo_buffer *out)
{
    if (from->text.text != NULL) {
        clo_buffer_append(out, from->text.text, from->text.length);
        return;
    }
    clo_buffer_byte(out, from->kind);
    for (size_t i = 0; i < from->count; i++) {
        if (i > 0) {
            clo_buffer_text(out, ", ");
        }
        if (from->kind == '{') {
            clo_buffer_append(out, from->members[i]->key.text, from->members[i]->key.length);
            clo_buffer_text(out, ": ");
            write_node(&from->members[i]->value, out);
        } else {
            clo_buffer_append(out, from->elements[i].text, from->elements[i].length);
        }
    }
    clo_buffer_byte(out, from->kind == '{' ? '}' : ']');
}
