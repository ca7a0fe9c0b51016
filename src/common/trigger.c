/*
 * trigger.c - the rules by which tasks of workflows run or are skipped, and failed tasks are tried again
 */
#include "common/trigger.h"
#include "common/compare.h"

#include <stdlib.h>
#include <string.h>

/* A string in quotes, as a key of an object is. */
#define QUOTED(word) ((clo_span){"\"" word "\"", sizeof(word) + 1})

static bool all_completed(clo_span states);
static bool holds(clo_span condition, clo_span states, clo_span context);
static bool holds_context(clo_span test, clo_span context);
static clo_span find_value(clo_span key, clo_span context);
static bool is_text(clo_span element, const char *text);
static bool has_pattern(const char *error, size_t length, const char *pattern, size_t pattern_length);
static bool has_text(const char *error, size_t length, const char *text, size_t text_length, size_t *end);
static unsigned char lower(char byte);

bool clo_trigger_fires(clo_span trigger, clo_span states, clo_span context)
{
    const char *at = trigger.text;
    clo_span quantifier, conditions, key, condition;
    bool any = false;
    bool all = true;

    if (trigger.text == NULL) {
        return all_completed(states);
    } else if (*at != '{' || !clo_json_next(&at, &quantifier, &conditions) || *conditions.text != '[') {
        return is_text(trigger, "always");
    }
    at = conditions.text;
    while (clo_json_next(&at, &key, &condition)) {
        const bool good = holds(condition, states, context);

        any = any || good;
        all = all && good;
    }
    return is_text(quantifier, "all") ? all : (is_text(quantifier, "any") ? any : !any);
}

bool clo_retry_matches(clo_span condition, const char *error, size_t length)
{
    static const char *const transient[] = {"timeout",  "timed out",   "connection", "network",
                                            "temporar", "unavailable", "try again"};
    bool matches = false;
    clo_span pattern;
    char *text;

    if (is_text(condition, "never")) {
        return false;
    }
    if (is_text(condition, "transient")) {
        for (size_t i = 0; i < sizeof(transient) / sizeof(transient[0]) && !matches; i++) {
            matches = has_pattern(error, length, transient[i], strlen(transient[i]));
        }
        return matches;
    }
    pattern = condition.text != NULL ? clo_json_member(condition, QUOTED("pattern")) : condition;
    if (pattern.text == NULL || *pattern.text != '"') {
        return true;
    }
    text = malloc(pattern.length);
    matches = text != NULL && has_pattern(error, length, text, clo_json_unquote(pattern, text));
    free(text);
    return matches;
}

static bool all_completed(clo_span states)
{
    const char *at = states.text;
    clo_span key, state;

    while (clo_json_next(&at, &key, &state)) {
        if (!is_text(state, "completed")) {
            return false;
        }
    }
    return true;
}

static bool holds(clo_span condition, clo_span states, clo_span context)
{
    const char *at = condition.text;
    clo_span kind, test, state;

    if (*at != '{' || !clo_json_next(&at, &kind, &test)) {
        return false;
    }
    if (is_text(kind, "context_value")) {
        return holds_context(test, context);
    }
    state = clo_json_member(states, test);
    if (state.text == NULL) {
        return false;
    } else if (is_text(kind, "task_success")) {
        return is_text(state, "completed");
    } else if (is_text(kind, "task_skipped")) {
        return is_text(state, "skipped");
    }
    return is_text(state, "failed") || is_text(state, "cancelled");
}

static bool holds_context(clo_span test, clo_span context)
{
    const clo_span relation = clo_json_member(test, QUOTED("operator"));
    const clo_span expected = clo_json_member(test, QUOTED("value"));
    const clo_span actual = find_value(clo_json_member(test, QUOTED("key")), context);
    const bool both = actual.text != NULL && expected.text != NULL;
    int order = 0;

    if (relation.text == NULL) {
        return false;
    } else if (is_text(relation, "exists")) {
        return actual.text != NULL;
    } else if (is_text(relation, "not_exists")) {
        return actual.text == NULL;
    } else if (is_text(relation, "equals")) {
        return both && clo_json_equal(actual, expected);
    } else if (is_text(relation, "not_equals")) {
        return !both || !clo_json_equal(actual, expected);
    } else if (is_text(relation, "greater_than")) {
        return both && clo_json_compare(actual, expected, &order) && order > 0;
    } else if (is_text(relation, "less_than")) {
        return both && clo_json_compare(actual, expected, &order) && order < 0;
    }
    return (both && clo_json_contains(actual, expected)) == is_text(relation, "contains");
}

/* What is at a key, or at several, each in the object before it. */
static clo_span find_value(clo_span key, clo_span context)
{
    const char *at = key.text;
    clo_span none, step;

    if (key.text == NULL || *at == '"') {
        return key.text == NULL ? key : clo_json_member(context, key);
    }
    while (context.text != NULL && clo_json_next(&at, &none, &step)) {
        context = clo_json_member(context, step);
    }
    return context;
}

/* Whether it is a string that stands for this text, which needs no escapes. */
static bool is_text(clo_span element, const char *text)
{
    const size_t length = strlen(text);

    return element.text != NULL && element.length == length + 2 && *element.text == '"' &&
           memcmp(element.text + 1, text, length) == 0;
}

/* Whether the parts of the pattern between the asterisks are in the error, one after the other. */
static bool has_pattern(const char *error, size_t length, const char *pattern, size_t pattern_length)
{
    const char *end = pattern + pattern_length;

    for (;;) {
        const char *star = memchr(pattern, '*', (size_t) (end - pattern));
        const size_t part = (size_t) ((star != NULL ? star : end) - pattern);
        size_t after = 0;

        if (!has_text(error, length, pattern, part, &after)) {
            return false;
        }
        if (star == NULL) {
            return true;
        }
        error += after;
        length -= after;
        pattern = star + 1;
    }
}

/* Capital letters of ASCII count as small ones. */
static bool has_text(const char *error, size_t length, const char *text, size_t text_length, size_t *end)
{
    for (size_t i = 0; i + text_length <= length; i++) {
        size_t same = 0;

        while (same < text_length && lower(error[i + same]) == lower(text[same])) {
            same++;
        }
        if (same == text_length) {
            *end = i + text_length;
            return true;
        }
    }
    return false;
}

static unsigned char lower(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (unsigned char) (byte | 0x20) : (unsigned char) byte;
}
