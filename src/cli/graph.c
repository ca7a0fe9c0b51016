/*
 * graph.c - a workflow as a tree for a terminal, and as Graphviz dot
 *
 * A graph is no tree: a task with several dependencies is drawn in full below the first of them that is drawn, and below the
 * others by its name alone. Names and errors come from others: what would drive the terminal is escaped.
 */
#define _GNU_SOURCE
#include "graph.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Deeper levels are not indented further, nor those beyond half of the screen: a chain of a thousand would run off any. */
#define DEEPEST 40
#define INDENT 3

/* How a state is shown. */
struct look {
    const char *state;
    const char *sign;
    const char *plain_sign;
    const char *colour; /* of the terminal */
    const char *fill;   /* of a box */
};

/* What is drawn, and where. */
struct drawing {
    struct graph *graph;
    const struct style *style;
    struct buffer *out;
    struct buffer prefix;
    size_t lines;
};

/* A name and the place of its node. */
struct entry {
    const char *name;
    size_t at;
};

static const struct look looks[] = {
    {"completed", "✓", "+", "32", "palegreen"}, {"failed", "✗", "!", "31", "lightcoral"},
    {"running", "●", "*", "33", "khaki"},       {"ready", "○", "o", "36", "lightcyan"},
    {"skipped", "–", "-", "90", "gray90"},      {"cancelled", "⊘", "x", "35", "plum"},
    {"waiting", "·", ".", "90", "white"},       {"paused", "=", "=", "33", "white"},
    {"pending", "○", "o", "36", "white"},       {NULL, "•", "o", NULL, "white"},
};

static const struct look *look_of(const char *state);
static int by_name(const void *one, const void *other);
static void join(struct graph *graph, size_t at, const struct entry *entries);
static char *copy_or_null(const char *text);
static void draw(struct drawing *drawing, size_t at, size_t depth, bool last);
static size_t indented(const struct style *style, size_t depth);
static void draw_line(struct drawing *drawing, const struct node *node, size_t depth, bool last, bool again);
static void append_remark(struct buffer *out, const struct node *node, bool again);
static void append_label(struct buffer *out, const char *text);

void graph_add_tasks(struct graph *graph, const cloaca_result *tasks)
{
    size_t rows = cloaca_result_rows(tasks);

    graph->nodes = reallocate(graph->nodes, (graph->count + rows) * sizeof *graph->nodes);
    for (size_t row = 0; row < rows; row++) {
        const char *attempt = cloaca_result_get(tasks, row, "attempt");

        graph->nodes[graph->count++] = (struct node){
            .name = copy_text(cloaca_result_get(tasks, row, "name")),
            .state = copy_or_null(cloaca_result_get(tasks, row, "state")),
            .worker = copy_or_null(cloaca_result_get(tasks, row, "worker")),
            .awaits = copy_or_null(cloaca_result_get(tasks, row, "awaits")),
            .error = copy_or_null(cloaca_result_get(tasks, row, "error")),
            .needs = copy_or_null(cloaca_result_get(tasks, row, "dependencies")),
            .attempt = attempt != NULL ? (int) strtol(attempt, NULL, 10) : 0,
        };
    }
}

void graph_add_definition(struct graph *graph, const char *definition)
{
    json_t *document = json_loads(definition, 0, NULL);
    json_t *tasks = json_object_get(document, "tasks");
    json_t *task;
    size_t i;

    graph->nodes = reallocate(graph->nodes, (graph->count + json_array_size(tasks)) * sizeof *graph->nodes);
    json_array_foreach(tasks, i, task)
    {
        const char *name = json_string_value(json_object_get(task, "name"));
        json_t *dependencies = json_object_get(task, "dependencies");

        graph->nodes[graph->count++] = (struct node){
            .name = copy_text(name != NULL ? name : ""),
            .needs = dependencies != NULL ? json_dumps(dependencies, JSON_COMPACT) : NULL,
        };
    }
    json_decref(document);
}

void graph_join(struct graph *graph)
{
    struct entry *entries = allocate(graph->count * sizeof *entries);

    for (size_t i = 0; i < graph->count; i++)
        entries[i] = (struct entry){graph->nodes[i].name, i};
    qsort(entries, graph->count, sizeof *entries, by_name);
    for (size_t i = 0; i < graph->count; i++)
        join(graph, i, entries);
    free(entries);
}

void graph_free(struct graph *graph)
{
    for (size_t i = 0; i < graph->count; i++) {
        struct node *node = &graph->nodes[i];

        free(node->name);
        free(node->state);
        free(node->worker);
        free(node->awaits);
        free(node->error);
        free(node->needs);
        free(node->dependencies);
        free(node->dependents);
    }
    free(graph->nodes);
    memset(graph, 0, sizeof *graph);
}

void graph_tree(struct graph *graph, const struct style *style, struct buffer *out)
{
    struct drawing drawing = {.graph = graph, .style = style, .out = out};
    size_t roots = 0;

    for (size_t i = 0; i < graph->count; i++) {
        graph->nodes[i].shown = false;
        roots += graph->nodes[i].dependency_count == 0 ? 1 : 0;
    }
    for (size_t i = 0; i < graph->count; i++)
        if (graph->nodes[i].dependency_count == 0)
            draw(&drawing, i, 0, --roots == 0);
    if (style->rows > 0 && drawing.lines > style->rows)
        buffer_format(out, "%s %zu more\n", style->unicode ? "…" : "...", drawing.lines - style->rows);
    buffer_free(&drawing.prefix);
}

/* Boxes have names of our own, so that those of tasks may be anything. */
void graph_dot(const struct graph *graph, const char *title, struct buffer *out)
{
    buffer_text(out, "digraph workflow {\n    label=\"");
    append_label(out, title);
    buffer_text(
        out,
        "\";\n    rankdir=LR;\n    node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"sans-serif\"];\n");
    for (size_t i = 0; i < graph->count; i++) {
        const struct node *node = &graph->nodes[i];

        buffer_format(out, "    n%zu [label=\"", i + 1);
        append_label(out, node->name);
        if (node->state != NULL)
            buffer_format(out, "\\n%s", node->state);
        buffer_format(out, "\", fillcolor=%s];\n", look_of(node->state)->fill);
    }
    for (size_t i = 0; i < graph->count; i++)
        for (size_t d = 0; d < graph->nodes[i].dependency_count; d++)
            buffer_format(out, "    n%zu -> n%zu;\n", graph->nodes[i].dependencies[d] + 1, i + 1);
    buffer_text(out, "}\n");
}

void append_coloured(struct buffer *out, const struct style *style, const char *state, const char *text)
{
    const char *colour = style->colours ? look_of(state)->colour : NULL;

    if (colour != NULL)
        buffer_format(out, "\x1b[%sm%s\x1b[0m", colour, text);
    else
        buffer_text(out, text);
}

int append_cut(struct buffer *out, const char *text, int width)
{
    struct buffer clean = {0};
    int full = 0;
    int used = 0;

    buffer_printable(&clean, text, strlen(text));
    for (size_t at = 0, size; at < clean.length; at += size) {
        size = utf8_character(clean.data + at, clean.length - at);
        full += utf8_width(clean.data + at, size);
    }
    for (size_t at = 0, size; at < clean.length; at += size) {
        int next;

        size = utf8_character(clean.data + at, clean.length - at);
        next = utf8_width(clean.data + at, size);
        if (width >= 0 && full > width && used + next > width)
            break;
        buffer_append(out, clean.data + at, size);
        used += next;
    }
    buffer_free(&clean);
    return used;
}

void append_fitted(struct buffer *out, const char *text, int width)
{
    size_t length = strlen(text);
    int used = 0;

    for (size_t at = 0, size; at < length; at += size) {
        bool is_colour = text[at] == '\x1b';

        size = is_colour ? strcspn(text + at, "m") + 1 : utf8_character(text + at, length - at);
        if (text[at] == '\n')
            used = 0;
        else if (!is_colour)
            used += utf8_width(text + at, size);
        if (width < 0 || used <= width || is_colour)
            buffer_append(out, text + at, size);
    }
}

static const struct look *look_of(const char *state)
{
    const struct look *look = looks;

    while (look->state != NULL && (state == NULL || strcmp(look->state, state) != 0))
        look++;
    return look;
}

/* ------------------------------------------------------------------------------------------------------------------ joining */

static int by_name(const void *one, const void *other)
{
    return strcmp(((const struct entry *) one)->name, ((const struct entry *) other)->name);
}

static void join(struct graph *graph, size_t at, const struct entry *entries)
{
    struct node *node = &graph->nodes[at];
    json_t *names = node->needs != NULL ? json_loads(node->needs, 0, NULL) : NULL;
    json_t *name;
    size_t i;

    node->dependencies = allocate(json_array_size(names) * sizeof(size_t));
    json_array_foreach(names, i, name)
    {
        const struct entry wanted = {json_string_value(name), 0};
        const struct entry *found =
            wanted.name != NULL ? bsearch(&wanted, entries, graph->count, sizeof *entries, by_name) : NULL;

        if (found != NULL) {
            struct node *before = &graph->nodes[found->at];

            node->dependencies[node->dependency_count++] = found->at;
            /* Room is doubled whenever the number is a power of two. */
            if ((before->dependent_count & (before->dependent_count - 1)) == 0)
                before->dependents = reallocate(before->dependents, (before->dependent_count * 2 + 1) * sizeof(size_t));
            before->dependents[before->dependent_count++] = at;
        }
    }
    json_decref(names);
}

static char *copy_or_null(const char *text)
{
    return text != NULL ? copy_text(text) : NULL;
}

/* ------------------------------------------------------------------------------------------------------------------ drawing */

static void draw(struct drawing *drawing, size_t at, size_t depth, bool last)
{
    struct node *node = &drawing->graph->nodes[at];
    size_t length = drawing->prefix.length;

    draw_line(drawing, node, depth, last, node->shown);
    if (node->shown)
        return;
    node->shown = true;
    if (indented(drawing->style, depth + 1) > depth)
        buffer_text(&drawing->prefix, last ? "   " : drawing->style->unicode ? "│  " : "|  ");
    for (size_t i = 0; i < node->dependent_count; i++)
        draw(drawing, node->dependents[i], depth + 1, i + 1 == node->dependent_count);
    drawing->prefix.length = length;
}

/* How many levels a line of this depth is indented by. */
static size_t indented(const struct style *style, size_t depth)
{
    size_t room = style->width > 0 ? (size_t) style->width / 2 / INDENT : DEEPEST;
    size_t deepest = room < DEEPEST ? room : DEEPEST;

    return depth < deepest ? depth : deepest;
}

static void draw_line(struct drawing *drawing, const struct node *node, size_t depth, bool last, bool again)
{
    const struct style *style = drawing->style;
    const char *branch = style->unicode ? (last ? "└─ " : "├─ ") : last ? "`- " : "|- ";
    const struct look *look = look_of(node->state);
    const char *sign = style->unicode ? look->sign : look->plain_sign;
    int left = style->width > 0 ? style->width - INDENT * (int) indented(style, depth) - 6 : -1;
    struct buffer part = {0};

    drawing->lines++;
    if (style->rows > 0 && drawing->lines > style->rows)
        return;
    if (style->width > 0 && left < 0)
        left = 0;
    buffer_append(drawing->out, buffer_value(&drawing->prefix), drawing->prefix.length);
    buffer_text(drawing->out, branch);
    buffer_format(&part, "%s ", sign);
    left -= append_cut(&part, node->name, left);
    append_coloured(drawing->out, style, node->state, buffer_value(&part));
    buffer_free(&part);
    append_remark(&part, node, again);
    if (style->width == 0)
        left = -1;
    append_cut(drawing->out, buffer_value(&part), left);
    buffer_text(drawing->out, "\n");
    buffer_free(&part);
}

/* What there is to say of it besides its name. */
static void append_remark(struct buffer *out, const struct node *node, bool again)
{
    if (again) {
        buffer_text(out, " (above)");
        return;
    }
    if (node->state == NULL)
        return;
    buffer_format(out, "  %s", node->state);
    if (strcmp(node->state, "running") == 0 && node->worker != NULL)
        buffer_format(out, " on %s", node->worker);
    if (node->awaits != NULL)
        buffer_format(out, ", awaits %s", node->awaits);
    if (node->attempt > 1)
        buffer_format(out, ", attempt %d", node->attempt);
    if (node->error != NULL && strcmp(node->state, "completed") != 0)
        buffer_format(out, ": %s", node->error);
}

/* Quotes, backslashes and the entities of HTML mean something in a label. Line breaks and the like cannot be in a name. */
static void append_label(struct buffer *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            buffer_text(out, "\\");
        buffer_append(out, text, 1);
        if (*text == '&')
            buffer_text(out, "amp;");
    }
}
