/*
 * definition.c - what is wrong with the definition of a workflow, or with a retry policy
 *
 * Names are looked up in a hash table, and each list is walked once or twice, so that ten thousand tasks are checked in
 * milliseconds.
 */
#include "common/definition.h"
#include "common/compare.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TASK_LIMIT 10000
/* A string in quotes, as a key of an object is. */
#define QUOTED(word) ((clo_span){"\"" word "\"", sizeof(word) + 1})
#define LITERAL(text) ((clo_span){text, sizeof(text) - 1})

typedef struct task {
    clo_span text;
    clo_span name; /* with its quotes; no text when it has none */
    size_t open;   /* dependencies that are left */
    size_t asked;  /* how often one task names it among its dependencies */
    size_t rank;   /* how many tasks the longest way to it has */
} task;

typedef struct checker {
    clo_arena arena;
    clo_buffer *problem;
    task *tasks;
    size_t count;
    size_t *slots; /* of tasks by the hash of the name: the number of the first of that name, from 1 */
    size_t slot_count;
    size_t *dependents; /* of all tasks, one after the other; ... */
    size_t *starts;     /* ... those of the n-th are from place n - 1 here to place n */
} checker;

static bool check_settings(checker *self, clo_span definition);
static bool read_tasks(checker *self, clo_span tasks);
static size_t find_task(const checker *self, clo_span name);
static bool check_task(checker *self, size_t number);
static bool check_numbers(checker *self, const task *one);
static bool check_dependencies(checker *self, const task *one);
static bool check_repeated(checker *self, const task *one, clo_span dependencies);
static bool check_trigger(checker *self, const task *one);
static bool check_condition(checker *self, const task *one, clo_span condition);
static bool is_condition(clo_span condition);
static bool is_context_test(clo_span test);
static bool check_circle(checker *self);
static bool collect_edges(checker *self);
static void take_free(checker *self);
static void write_circle(checker *self, size_t first);
static size_t open_dependency(const checker *self, size_t number);
static void write_number(clo_buffer *out, size_t number, bool first);
static bool is_retry_item(clo_span key, clo_span value);
static bool has_only(clo_span object, const char *const *known, size_t count, clo_span *unknown);
static bool is_one_of(clo_span element, const char *const *words, size_t count);
static bool is_name(clo_span element);
static bool is_number(clo_span element, clo_span least, clo_span most, bool whole);
static bool is_seconds(clo_span element, bool positive);
static bool is_text_list(clo_span element);
static bool only_member(clo_span object, clo_span *key, clo_span *value);
static bool refuse(checker *self, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Two strings of a sentence: %s gets the text that a JSON string stands for. */
static const char *text_of(checker *self, clo_span string);

#define IS_ONE_OF(element, ...)                                                                                                \
    is_one_of(element, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

void clo_definition_problem(clo_span definition, clo_buffer *problem)
{
    checker self = {.problem = problem};
    bool good = check_settings(&self, definition) && read_tasks(&self, clo_json_member(definition, QUOTED("tasks")));

    for (size_t i = 1; i <= self.count && good; i++) {
        good = check_task(&self, i);
    }
    if (good) {
        check_circle(&self);
    }
    clo_arena_free(&self.arena);
}

void clo_definition_edges(clo_span definition, clo_buffer *out)
{
    checker self = {.problem = out};
    clo_span key, name, element;
    const char *at;

    at = clo_json_member(definition, QUOTED("tasks")).text;
    while (at != NULL && clo_json_next(&at, &key, &element)) {
        self.count++;
    }
    clo_buffer_byte(out, '[');
    if (self.count > 0 && read_tasks(&self, clo_json_member(definition, QUOTED("tasks"))) && collect_edges(&self)) {
        take_free(&self);
        for (size_t i = 1; i <= self.count; i++) {
            size_t written = 0;

            at = clo_json_member(self.tasks[i - 1].text, QUOTED("dependencies")).text;
            clo_buffer_text(out, i > 1 ? ", {\"dependencies\": [" : "{\"dependencies\": [");
            while (at != NULL && clo_json_next(&at, &key, &name)) {
                write_number(out, self.slots[find_task(&self, name)], written++ == 0);
            }
            clo_buffer_text(out, "], \"dependents\": [");
            for (size_t place = self.starts[i - 1]; place < self.starts[i]; place++) {
                write_number(out, self.dependents[place], place == self.starts[i - 1]);
            }
            clo_buffer_text(out, "], \"rank\": ");
            write_number(out, self.tasks[i - 1].rank, true);
            clo_buffer_byte(out, '}');
        }
    }
    clo_buffer_byte(out, ']');
    clo_arena_free(&self.arena);
}

bool clo_is_retry(clo_span retry)
{
    const char *at = retry.text;
    clo_span key, value;

    if (*retry.text != '{') {
        return false;
    }
    while (clo_json_next(&at, &key, &value)) {
        if (!is_retry_item(key, value)) {
            return false;
        }
    }
    return true;
}

/* ------------------------------------------------------------------------------------------------------------- the workflow */

static bool check_settings(checker *self, clo_span definition)
{
    static const char *const known[] = {"tasks", "queue", "timeout", "retention"};
    clo_span tasks, key, element, unknown;
    const char *at;
    size_t count = 0;

    if (*definition.text != '{') {
        return refuse(self, "The definition must be an object.");
    }
    if (!has_only(definition, known, sizeof(known) / sizeof(known[0]), &unknown)) {
        return refuse(self, "The definition has an unknown key \"%s\".", text_of(self, unknown));
    }
    tasks = clo_json_member(definition, QUOTED("tasks"));
    at = tasks.text;
    while (at != NULL && *tasks.text == '[' && count <= TASK_LIMIT && clo_json_next(&at, &key, &element)) {
        count++;
    }
    if (count < 1 || count > TASK_LIMIT) {
        return refuse(self, "The tasks must be an array of 1 to 10000 tasks.");
    }
    self->count = count;
    if (!is_name(clo_json_member(definition, QUOTED("queue")))) {
        return refuse(self, "The queue must have 1 to 200 bytes and no control characters.");
    } else if (!is_seconds(clo_json_member(definition, QUOTED("timeout")), true)) {
        return refuse(self, "The timeout must be a number of seconds, more than 0 and at most 315576000.");
    } else if (!is_seconds(clo_json_member(definition, QUOTED("retention")), false)) {
        return refuse(self, "The retention must be a number of seconds from 0 to 315576000.");
    }
    return true;
}

static bool read_tasks(checker *self, clo_span tasks)
{
    const char *at = tasks.text;
    clo_span key, element;

    self->slot_count = 4096;
    while (self->slot_count < 2 * self->count) {
        self->slot_count *= 2;
    }
    self->tasks = clo_arena_allocate(&self->arena, self->count * sizeof(task));
    self->slots = clo_arena_allocate(&self->arena, self->slot_count * sizeof(size_t));
    if (self->tasks == NULL || self->slots == NULL) {
        self->problem->failed = true;
        return false;
    }
    memset(self->slots, 0, self->slot_count * sizeof(size_t));
    for (size_t i = 0; i < self->count && clo_json_next(&at, &key, &element); i++) {
        clo_span name = clo_json_member(element, QUOTED("name"));
        size_t slot;

        if (name.text != NULL && *name.text != '"') {
            name.text = NULL;
        }
        self->tasks[i] = (task){.text = element, .name = name};
        if (name.text != NULL) {
            slot = find_task(self, name);
            self->slots[slot] = self->slots[slot] != 0 ? self->slots[slot] : i + 1;
        }
    }
    return true;
}

/* The slot of the first task of that name, or the empty one where it belongs. */
static size_t find_task(const checker *self, clo_span name)
{
    const size_t last = self->slot_count - 1;
    size_t slot = clo_json_hash(name) & last;

    while (self->slots[slot] != 0 && !clo_json_equal(self->tasks[self->slots[slot] - 1].name, name)) {
        slot = (slot + 1) & last;
    }
    return slot;
}

/* ---------------------------------------------------------------------------------------------------------------- its tasks */

static bool check_task(checker *self, size_t number)
{
    static const char *const known[] = {"name",    "handler",      "queue", "priority", "dependencies",
                                        "trigger", "max_attempts", "retry", "timeout",  "input"};
    const task *one = &self->tasks[number - 1];
    clo_span unknown;
    size_t first;

    if (*one->text.text != '{') {
        return refuse(self, "Task %zu must be an object.", number);
    } else if (!has_only(one->text, known, sizeof(known) / sizeof(known[0]), &unknown)) {
        return refuse(self, "Task %zu has an unknown key \"%s\".", number, text_of(self, unknown));
    } else if (one->name.text == NULL || !is_name(one->name)) {
        return refuse(self, "Task %zu must have a name of 1 to 200 bytes and no control characters.", number);
    }
    first = self->slots[find_task(self, one->name)];
    if (first != number) {
        return refuse(self, "Task %zu has the name of task %zu, \"%s\".", number, first, text_of(self, one->name));
    }
    if (!is_name(clo_json_member(one->text, QUOTED("handler")))) {
        return refuse(self, "The handler of task \"%s\" must have 1 to 200 bytes and no control characters.",
                      text_of(self, one->name));
    } else if (!is_name(clo_json_member(one->text, QUOTED("queue")))) {
        return refuse(self, "The queue of task \"%s\" must have 1 to 200 bytes and no control characters.",
                      text_of(self, one->name));
    }
    return check_numbers(self, one) && check_dependencies(self, one) && check_trigger(self, one);
}

static bool check_numbers(checker *self, const task *one)
{
    const clo_span retry = clo_json_member(one->text, QUOTED("retry"));
    const clo_span input = clo_json_member(one->text, QUOTED("input"));

    if (!is_number(clo_json_member(one->text, QUOTED("priority")), LITERAL("-32768"), LITERAL("32767"), true)) {
        return refuse(self, "The priority of task \"%s\" must be an integer from -32768 to 32767.", text_of(self, one->name));
    } else if (!is_number(clo_json_member(one->text, QUOTED("max_attempts")), LITERAL("1"), LITERAL("1000000"), true)) {
        return refuse(self, "The max_attempts of task \"%s\" must be an integer from 1 to 1000000.", text_of(self, one->name));
    } else if (!is_seconds(clo_json_member(one->text, QUOTED("timeout")), true)) {
        return refuse(self, "The timeout of task \"%s\" must be a number of seconds, more than 0 and at most 315576000.",
                      text_of(self, one->name));
    } else if (retry.text != NULL && !clo_is_retry(retry)) {
        return refuse(self, "The retry policy of task \"%s\" is none; see enqueue.", text_of(self, one->name));
    } else if (input.text != NULL && *input.text != '{') {
        return refuse(self, "The input of task \"%s\" must be an object.", text_of(self, one->name));
    }
    return true;
}

static bool check_dependencies(checker *self, const task *one)
{
    const clo_span dependencies = clo_json_member(one->text, QUOTED("dependencies"));
    const char *at = dependencies.text;
    clo_span key, name;

    if (at == NULL) {
        return true;
    } else if (!is_text_list(dependencies)) {
        return refuse(self, "The dependencies of task \"%s\" must be an array of names.", text_of(self, one->name));
    }
    while (clo_json_next(&at, &key, &name)) {
        if (self->slots[find_task(self, name)] == 0) {
            return refuse(self, "Task \"%s\" depends on \"%s\", which is no task.", text_of(self, one->name),
                          text_of(self, name));
        }
    }
    return check_repeated(self, one, dependencies);
}

static bool check_repeated(checker *self, const task *one, clo_span dependencies)
{
    clo_span key, name, repeated = {NULL, 0};

    /* Up, a look, and down again. */
    for (int round = 0; round < 3; round++) {
        const char *at = dependencies.text;

        while (clo_json_next(&at, &key, &name)) {
            task *asked = &self->tasks[self->slots[find_task(self, name)] - 1];

            if (round == 1 && asked->asked > 1 && repeated.text == NULL) {
                repeated = name;
            }
            asked->asked = round == 0 ? asked->asked + 1 : (round == 1 ? asked->asked : 0);
        }
    }
    return repeated.text == NULL ||
           refuse(self, "Task \"%s\" depends on \"%s\" more than once.", text_of(self, one->name), text_of(self, repeated));
}

static bool check_trigger(checker *self, const task *one)
{
    const clo_span trigger = clo_json_member(one->text, QUOTED("trigger"));
    clo_span quantifier, conditions, key, condition;
    const char *at;

    if (trigger.text == NULL || IS_ONE_OF(trigger, "always")) {
        return true;
    }
    if (!only_member(trigger, &quantifier, &conditions) || !IS_ONE_OF(quantifier, "all", "any", "none") ||
        *conditions.text != '[') {
        return refuse(self,
                      "The trigger of task \"%s\" must be \"always\", or an object with one of all, any and none and a list of "
                      "conditions.",
                      text_of(self, one->name));
    }
    at = conditions.text;
    while (clo_json_next(&at, &key, &condition)) {
        if (!check_condition(self, one, condition)) {
            return false;
        }
    }
    return true;
}

static bool check_condition(checker *self, const task *one, clo_span condition)
{
    const clo_span dependencies = clo_json_member(one->text, QUOTED("dependencies"));
    clo_span kind, test;

    if (!is_condition(condition) || !only_member(condition, &kind, &test)) {
        return refuse(self,
                      "A condition of the trigger of task \"%s\" must have one of task_success, task_failed, task_skipped and "
                      "context_value, the last with key, operator and value.",
                      text_of(self, one->name));
    }
    if (*test.text == '"' && (dependencies.text == NULL || !clo_json_contains(dependencies, test))) {
        return refuse(self, "The trigger of task \"%s\" asks for \"%s\", which is none of its dependencies.",
                      text_of(self, one->name), text_of(self, test));
    }
    return true;
}

static bool is_condition(clo_span condition)
{
    clo_span kind, test;

    if (!only_member(condition, &kind, &test)) {
        return false;
    }
    return IS_ONE_OF(kind, "task_success", "task_failed", "task_skipped")
               ? *test.text == '"'
               : IS_ONE_OF(kind, "context_value") && is_context_test(test);
}

static bool is_context_test(clo_span test)
{
    static const char *const known[] = {"key", "operator", "value"};
    clo_span key, relation, value, unknown;

    if (*test.text != '{' || !has_only(test, known, sizeof(known) / sizeof(known[0]), &unknown)) {
        return false;
    }
    key = clo_json_member(test, QUOTED("key"));
    relation = clo_json_member(test, QUOTED("operator"));
    value = clo_json_member(test, QUOTED("value"));
    if (relation.text == NULL || !IS_ONE_OF(relation, "equals", "not_equals", "greater_than", "less_than", "contains",
                                            "not_contains", "exists", "not_exists")) {
        return false;
    }
    if ((value.text == NULL) != IS_ONE_OF(relation, "exists", "not_exists")) {
        return false;
    }
    return key.text != NULL && (*key.text == '"' || (is_text_list(key) && key.length > 2));
}

/* ------------------------------------------------------------------------------------------------------------------ circles */

/* Tasks without open dependencies are taken away, again and again; what is left goes in circles. */
static bool check_circle(checker *self)
{
    if (!collect_edges(self)) {
        return false;
    }
    take_free(self);
    for (size_t i = 1; i <= self->count; i++) {
        if (self->tasks[i - 1].open > 0) {
            write_circle(self, i);
            return false;
        }
    }
    return true;
}

/* The first round counts how many depend on each task, the second writes who they are, behind each other. */
static bool collect_edges(checker *self)
{
    const size_t size = (self->count + 2) * sizeof(size_t);
    clo_span key, name;

    self->starts = clo_arena_allocate(&self->arena, size);
    if (self->starts == NULL) {
        self->problem->failed = true;
        return false;
    }
    memset(self->starts, 0, size);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < self->count; i++) {
            const char *at = clo_json_member(self->tasks[i].text, QUOTED("dependencies")).text;

            while (at != NULL && clo_json_next(&at, &key, &name)) {
                const size_t number = self->slots[find_task(self, name)];

                if (round == 0) {
                    self->tasks[i].open++;
                    self->starts[number + 1]++;
                } else {
                    self->dependents[self->starts[number]++] = i + 1;
                }
            }
        }
        for (size_t i = 1; i < self->count + 2 && round == 0; i++) {
            self->starts[i] += self->starts[i - 1];
        }
        /* Each start moves to its end in the second round, which is the next one's start. */
        if (round == 0) {
            self->dependents = clo_arena_allocate(&self->arena, (self->starts[self->count + 1] + 1) * sizeof(size_t));
        }
        if (self->dependents == NULL) {
            self->problem->failed = true;
            return false;
        }
    }
    return true;
}

static void take_free(checker *self)
{
    size_t *free_tasks = clo_arena_allocate(&self->arena, self->count * sizeof(size_t));
    size_t known = 0;

    if (free_tasks == NULL) {
        self->problem->failed = true;
        return;
    }
    for (size_t i = 1; i <= self->count; i++) {
        if (self->tasks[i - 1].open == 0) {
            free_tasks[known++] = i;
        }
    }
    for (size_t taken = 0; taken < known; taken++) {
        const size_t number = free_tasks[taken];

        for (size_t place = self->starts[number - 1]; place < self->starts[number]; place++) {
            task *dependent = &self->tasks[self->dependents[place] - 1];

            if (dependent->rank <= self->tasks[number - 1].rank) {
                dependent->rank = self->tasks[number - 1].rank + 1;
            }
            if (--dependent->open == 0) {
                free_tasks[known++] = self->dependents[place];
            }
        }
    }
}

/* From the first task that is left, from one open dependency to the next, until one comes twice. `asked` marks the way. */
static void write_circle(checker *self, size_t first)
{
    clo_buffer *out = self->problem;
    size_t here = first;
    size_t last;

    while (self->tasks[here - 1].asked == 0) {
        self->tasks[here - 1].asked = 1;
        here = open_dependency(self, here);
    }
    last = here;
    clo_buffer_text(out, "The tasks depend on each other in a circle: ");
    do {
        clo_buffer_text(out, text_of(self, self->tasks[here - 1].name));
        clo_buffer_text(out, " -> ");
        here = open_dependency(self, here);
    } while (here != last);
    clo_buffer_text(out, text_of(self, self->tasks[last - 1].name));
    clo_buffer_byte(out, '.');
}

static size_t open_dependency(const checker *self, size_t number)
{
    const char *at = clo_json_member(self->tasks[number - 1].text, QUOTED("dependencies")).text;
    clo_span key, name;

    while (clo_json_next(&at, &key, &name)) {
        const size_t dependency = self->slots[find_task(self, name)];

        if (self->tasks[dependency - 1].open > 0) {
            return dependency;
        }
    }
    return number;
}

static void write_number(clo_buffer *out, size_t number, bool first)
{
    char text[24];

    snprintf(text, sizeof(text), "%s%zu", first ? "" : ", ", number);
    clo_buffer_text(out, text);
}

/* ------------------------------------------------------------------------------------------------------------------- values */

static bool is_retry_item(clo_span key, clo_span value)
{
    clo_span name, pattern;

    if (IS_ONE_OF(key, "strategy")) {
        return IS_ONE_OF(value, "fixed", "linear", "exponential");
    } else if (IS_ONE_OF(key, "initial", "max")) {
        return is_seconds(value, false);
    } else if (IS_ONE_OF(key, "jitter")) {
        return is_number(value, LITERAL("0"), LITERAL("1"), false);
    } else if (!IS_ONE_OF(key, "condition")) {
        return false;
    }
    return IS_ONE_OF(value, "all", "never", "transient") ||
           (only_member(value, &name, &pattern) && IS_ONE_OF(name, "pattern") && *pattern.text == '"' && pattern.length > 2);
}

/* Else `unknown` is the first of the other keys by its bytes. */
static bool has_only(clo_span object, const char *const *known, size_t count, clo_span *unknown)
{
    const char *at = object.text;
    clo_span key, value;

    *unknown = (clo_span){NULL, 0};
    while (clo_json_next(&at, &key, &value)) {
        int order = 0;

        if (is_one_of(key, known, count)) {
            continue;
        }
        if (unknown->text == NULL || (clo_json_compare(key, *unknown, &order) && order < 0)) {
            *unknown = key;
        }
    }
    return unknown->text == NULL;
}

/* Whether it is a string that stands for one of these words, which need no escapes. */
static bool is_one_of(clo_span element, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const size_t length = strlen(words[i]);

        if (element.length == length + 2 && *element.text == '"' && memcmp(element.text + 1, words[i], length) == 0) {
            return true;
        }
    }
    return false;
}

/* Left out, or a text of 1 to 200 bytes without control characters, which are escaped, or two bytes in UTF-8. */
static bool is_name(clo_span element)
{
    size_t bytes = 0;

    if (element.text == NULL) {
        return true;
    } else if (*element.text != '"') {
        return false;
    }
    for (size_t i = 1; i < element.length - 1; i++, bytes++) {
        const unsigned char byte = (unsigned char) element.text[i];

        if (byte == '\\' && element.text[i + 1] != '"' && element.text[i + 1] != '\\') {
            return false;
        }
        i += byte == '\\' ? 1 : 0;
        if (byte == 0x7f || (byte == 0xc2 && (unsigned char) element.text[i + 1] < 0xa0)) {
            return false;
        }
    }
    return bytes >= 1 && bytes <= 200;
}

/* Left out, or a number from one to the other. */
static bool is_number(clo_span element, clo_span least, clo_span most, bool whole)
{
    int low = 0;
    int high = 0;

    if (element.text == NULL) {
        return true;
    }
    if (!clo_json_compare(element, least, &low) || !clo_json_compare(element, most, &high) || low < 0 || high > 0) {
        return false;
    }
    if (whole) {
        const char *point = memchr(element.text, '.', element.length);
        const char *end = element.text + element.length;

        for (const char *digit = point; digit != NULL && digit < end; digit++) {
            whole = whole && (*digit == '0' || *digit == '.');
        }
        return whole;
    }
    return true;
}

static bool is_seconds(clo_span element, bool positive)
{
    int order = 0;

    /* Half a microsecond is rounded up. */
    return is_number(element, LITERAL("0"), LITERAL("315576000"), false) &&
           !(positive && element.text != NULL && clo_json_compare(element, LITERAL("0.0000005"), &order) && order < 0);
}

static bool is_text_list(clo_span element)
{
    const char *at = element.text;
    clo_span key, item;

    if (*element.text != '[') {
        return false;
    }
    while (clo_json_next(&at, &key, &item)) {
        if (*item.text != '"') {
            return false;
        }
    }
    return true;
}

/* Whether it is an object of one member. */
static bool only_member(clo_span object, clo_span *key, clo_span *value)
{
    const char *at = object.text;
    clo_span other_key, other_value;

    return *object.text == '{' && clo_json_next(&at, key, value) && !clo_json_next(&at, &other_key, &other_value);
}

static const char *text_of(checker *self, clo_span string)
{
    char *text = clo_arena_allocate(&self->arena, string.length);

    if (text == NULL) {
        self->problem->failed = true;
        return "";
    }
    text[clo_json_unquote(string, text)] = '\0';
    return text;
}

static bool refuse(checker *self, const char *format, ...)
{
    va_list arguments;
    char *text;
    int length;

    va_start(arguments, format);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    text = clo_arena_allocate(&self->arena, (size_t) length + 1);
    if (text == NULL) {
        self->problem->failed = true;
        return false;
    }
    va_start(arguments, format);
    vsnprintf(text, (size_t) length + 1, format, arguments);
    va_end(arguments);
    clo_buffer_append(self->problem, text, (size_t) length);
    return false;
}
