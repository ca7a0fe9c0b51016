/*
 * workflow.c - `cloaca workflow`: definitions from files, starts that wait, and executions as they go on
 *
 * A watch asks for what is new while it waits for the end, which the database tells at once. On a terminal it draws the same
 * screen over and over, else it writes a line for each event.
 */
#define _GNU_SOURCE
#include "graph.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PAGE 1000
#define LOOK_EVERY INT64_C(250000)
#define WAIT_LIMIT INT64_C(3600000000)

/* A watched execution. */
struct watch {
    const struct invocation *invocation;
    cloaca *connection;
    int64_t execution;
    struct style style;
    int64_t last_event;
    bool ended;
    struct buffer drawn; /* what is on the screen */
};

static int read_definition(const struct invocation *invocation, const char *file, struct buffer *text);
static void workflow_name(const struct invocation *invocation, const char *file, struct buffer *name);
static void tell_started(const struct invocation *invocation, const cloaca_result *result);
static int wait_for_end(const struct invocation *invocation, cloaca *connection, int64_t execution, int64_t timeout,
                        bool *ended, int *status);
static int print_execution(const struct invocation *invocation, cloaca *connection, int64_t execution);
static int watch_execution(struct watch *watch);
static int look(struct watch *watch);
static int print_events(struct watch *watch, size_t *count);
static void print_event(const struct watch *watch, const cloaca_result *events, size_t row);
static int draw_screen(struct watch *watch);
static int put_screen(struct watch *watch, const struct buffer *out);
static void append_summary(const cloaca_result *execution, const struct style *style, struct buffer *out);
static void append_bar(const cloaca_result *execution, const struct style *style, struct buffer *out);
static size_t count_lines(const struct buffer *text);
static int load_graph(const struct invocation *invocation, cloaca *connection, const char *what, struct graph *graph,
                      struct buffer *title);
static int load_execution(const struct invocation *invocation, cloaca *connection, int64_t execution, struct graph *graph);
static cloaca_status load_definition(cloaca *connection, const char *name, struct graph *graph, cloaca_error *error);
static void print_nodes(const struct graph *graph);
static struct style style_of_terminal(void);
static bool locale_is_utf8(void);
static int64_t execution_of(const struct invocation *invocation);

/* cloaca workflow define FILE|- [--name NAME] */
int run_workflow_define(const struct invocation *invocation)
{
    const char *file = option_text(invocation, "FILE");
    struct buffer definition = {0};
    struct buffer name = {0};
    struct buffer arguments = {0};
    cloaca_result *result = NULL;
    cloaca_error error = {0};
    cloaca *connection = NULL;
    int status;

    workflow_name(invocation, file, &name);
    status = read_definition(invocation, file, &definition);
    if (status == STATUS_OK)
        status = open_connection(invocation, &connection);
    if (status == STATUS_OK) {
        buffer_text(&arguments, "{\"name\": ");
        buffer_json(&arguments, buffer_value(&name), name.length);
        buffer_format(&arguments, ", \"definition\": %s}", buffer_value(&definition));
        if (cloaca_call(connection, "define_workflow", buffer_value(&arguments), &result, &error) != CLOACA_OK)
            status = report(invocation, &error);
    }
    if (status == STATUS_OK)
        print_result(invocation, result, SHAPE_ROW);
    cloaca_result_free(result);
    cloaca_close(connection);
    buffer_free(&definition);
    buffer_free(&arguments);
    buffer_free(&name);
    return status;
}

/* cloaca workflow start NAME [--context JSON] [--key KEY] [--wait] */
int run_workflow_start(const struct invocation *invocation)
{
    struct buffer members = {0};
    struct buffer arguments = {0};
    cloaca_result *result = NULL;
    cloaca_error error = {0};
    cloaca *connection;
    int64_t execution = 0;
    bool ended = false;
    int outcome = STATUS_OK;
    int status = open_connection(invocation, &connection);

    append_arguments(invocation, NULL, &members);
    buffer_format(&arguments, "{%s}", buffer_value(&members));
    if (status == STATUS_OK &&
        cloaca_call(connection, "start_workflow", buffer_value(&arguments), &result, &error) != CLOACA_OK)
        status = report(invocation, &error);
    if (status == STATUS_OK && option_flag(invocation, "wait")) {
        tell_started(invocation, result);
        execution = strtoll(cloaca_result_get(result, 0, "execution"), NULL, 10);
        while (status == STATUS_OK && !ended)
            status = wait_for_end(invocation, connection, execution, WAIT_LIMIT, &ended, &outcome);
        if (status == STATUS_OK)
            status = print_execution(invocation, connection, execution);
    } else if (status == STATUS_OK) {
        print_result(invocation, result, SHAPE_ROW);
    }
    cloaca_result_free(result);
    cloaca_close(connection);
    buffer_free(&members);
    buffer_free(&arguments);
    return status != STATUS_OK ? status : outcome;
}

/* cloaca workflow status EXECUTION [--watch] */
int run_workflow_status(const struct invocation *invocation)
{
    struct watch watch = {.invocation = invocation, .execution = execution_of(invocation), .style = style_of_terminal()};
    int status = open_connection(invocation, &watch.connection);

    if (status == STATUS_OK && option_flag(invocation, "watch"))
        status = watch_execution(&watch);
    else if (status == STATUS_OK && invocation->json)
        status = print_execution(invocation, watch.connection, watch.execution);
    else if (status == STATUS_OK)
        status = draw_screen(&watch);
    cloaca_close(watch.connection);
    buffer_free(&watch.drawn);
    return status;
}

/* cloaca workflow graph WORKFLOW|EXECUTION [--dot] */
int run_workflow_graph(const struct invocation *invocation)
{
    const char *what = option_text(invocation, "WORKFLOW");
    struct style style = style_of_terminal();
    struct graph graph = {0};
    struct buffer title = {0};
    struct buffer out = {0};
    cloaca *connection;
    int status;

    if (what[0] == '\0')
        usage_error(invocation->command, "WORKFLOW must not be empty");
    status = open_connection(invocation, &connection);
    if (status == STATUS_OK)
        status = load_graph(invocation, connection, what, &graph, &title);
    if (status == STATUS_OK && option_flag(invocation, "dot"))
        graph_dot(&graph, buffer_value(&title), &out);
    else if (status == STATUS_OK && invocation->json)
        print_nodes(&graph);
    else if (status == STATUS_OK)
        graph_tree(&graph, &style, &out);
    fputs(buffer_value(&out), stdout);
    graph_free(&graph);
    buffer_free(&title);
    buffer_free(&out);
    cloaca_close(connection);
    return status;
}

/* -------------------------------------------------------------------------------------------------------------- definitions */

static int read_definition(const struct invocation *invocation, const char *file, struct buffer *text)
{
    bool standard = strcmp(file, "-") == 0;
    FILE *stream = standard ? stdin : fopen(file, "re");
    const char *problem = NULL;
    char block[65536];
    size_t length;
    int status = STATUS_OK;

    (void) invocation;
    if (stream == NULL)
        return complain("", "cannot read %s: %s", file, strerror(errno));
    while ((length = fread(block, 1, sizeof block, stream)) > 0)
        buffer_append(text, block, length);
    if (ferror(stream))
        status = complain("", "cannot read %s: %s", standard ? "stdin" : file, strerror(errno));
    else if (!json_check(buffer_value(text), text->length, &problem))
        status = complain("A definition is such as {\"tasks\": [{\"name\": \"fetch\"}]}.", "%s is not JSON: %s",
                          standard ? "stdin" : file, problem);
    if (!standard)
        fclose(stream);
    return status;
}

/* --name, or the name of the file without its folder and ending. */
static void workflow_name(const struct invocation *invocation, const char *file, struct buffer *name)
{
    const char *given = option_text(invocation, "name");
    const char *base = strrchr(file, '/') != NULL ? strrchr(file, '/') + 1 : file;
    const char *dot = strrchr(base, '.');

    if (given == NULL && strcmp(file, "-") == 0)
        usage_error(invocation->command, "a definition from stdin needs --name");
    if (given != NULL)
        buffer_text(name, given);
    else
        buffer_append(name, base, dot != NULL && dot > base ? (size_t) (dot - base) : strlen(base));
}

/* --------------------------------------------------------------------------------------------------------------- executions */

/* At once, for whoever loses the database or us while we wait. */
static void tell_started(const struct invocation *invocation, const cloaca_result *result)
{
    const char *execution = cloaca_result_get(result, 0, "execution");
    const char *created = cloaca_result_get(result, 0, "created");

    if (option_flag(invocation, "json"))
        fprintf(stderr, "{\"execution\": %s, \"created\": %s}\n", execution, created);
    else
        fprintf(stderr, "cloaca: execution %s %s\n", execution,
                strcmp(created, "true") == 0 ? "has started" : "has the key already");
}

/* Waits until the end or the timeout. *status is that of the command when it has ended. */
static int wait_for_end(const struct invocation *invocation, cloaca *connection, int64_t execution, int64_t timeout,
                        bool *ended, int *status)
{
    cloaca_error error = {0};
    char *state = NULL;

    if (cloaca_wait_for_execution(connection, execution, timeout, &state, &error) != CLOACA_OK &&
        error.status != CLOACA_TIMEOUT)
        return report(invocation, &error);
    *ended = state != NULL;
    if (state != NULL)
        *status = strcmp(state, "completed") == 0 ? STATUS_OK : STATUS_ERROR;
    cloaca_free(state);
    return STATUS_OK;
}

static int print_execution(const struct invocation *invocation, cloaca *connection, int64_t execution)
{
    cloaca_result *result = NULL;
    cloaca_error error = {0};

    if (cloaca_get_execution(connection, execution, &result, &error) != CLOACA_OK)
        return report(invocation, &error);
    print_result(invocation, result, SHAPE_ROW);
    cloaca_result_free(result);
    return STATUS_OK;
}

static int watch_execution(struct watch *watch)
{
    int outcome = STATUS_OK;
    int64_t begun = monotonic_now();
    int status = look(watch);

    while (status == STATUS_OK && !watch->ended) {
        /* Of a large execution a look takes long: it is to take no more than a fifth of the time. */
        int64_t pause = 4 * (monotonic_now() - begun);

        status = wait_for_end(watch->invocation, watch->connection, watch->execution, pause > LOOK_EVERY ? pause : LOOK_EVERY,
                              &watch->ended, &outcome);
        begun = monotonic_now();
        if (status == STATUS_OK)
            status = look(watch);
    }
    return status != STATUS_OK ? status : outcome;
}

static int look(struct watch *watch)
{
    size_t count;

    return isatty(STDOUT_FILENO) && !watch->invocation->json ? draw_screen(watch) : print_events(watch, &count);
}

/* ------------------------------------------------------------------------------------------------------------ a line a change
 */

/* Everything that is new, page by page. */
static int print_events(struct watch *watch, size_t *count)
{
    do {
        cloaca_result *events = NULL;
        cloaca_error error = {0};

        if (cloaca_execution_events(watch->connection, watch->execution, watch->last_event, PAGE, &events, &error) != CLOACA_OK)
            return report(watch->invocation, &error);
        *count = cloaca_result_rows(events);
        for (size_t row = 0; row < *count; row++)
            print_event(watch, events, row);
        if (*count > 0)
            watch->last_event = strtoll(cloaca_result_get(events, *count - 1, "event"), NULL, 10);
        cloaca_result_free(events);
    } while (*count == PAGE);
    return flush_output() ? STATUS_OK : STATUS_ERROR;
}

static void print_event(const struct watch *watch, const cloaca_result *events, size_t row)
{
    static const char *const columns[] = {"name", "state", "worker", "detail"};
    const char *at = cloaca_result_get(events, row, "at");
    const char *attempt = cloaca_result_get(events, row, "attempt");
    struct buffer line = {0};

    if (watch->invocation->json) {
        struct table table = {0};

        table_add_result(&table, events);
        print_json_line(&table, row);
        table_free(&table);
        return;
    }
    buffer_format(&line, "%.10s %.12s ", at, at + strlen("2026-01-01T"));
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        const char *value = cloaca_result_get(events, row, columns[i]);

        if (value == NULL && i > 0)
            continue;
        buffer_text(&line, i == 3 ? ": " : " ");
        append_cut(&line, value != NULL ? value : "execution", -1);
        if (i == 1 && attempt != NULL && strtol(attempt, NULL, 10) > 1)
            buffer_format(&line, " (attempt %s)", attempt);
    }
    puts(buffer_value(&line));
    buffer_free(&line);
}

/* ------------------------------------------------------------------------------------------------------------------ a screen
 */

/* The execution and its tasks; in the place of what a watch drew before. */
static int draw_screen(struct watch *watch)
{
    cloaca_result *execution = NULL;
    struct graph graph = {0};
    struct buffer out = {0};
    cloaca_error error = {0};
    int status;

    if (cloaca_get_execution(watch->connection, watch->execution, &execution, &error) != CLOACA_OK)
        return report(watch->invocation, &error);
    status = load_execution(watch->invocation, watch->connection, watch->execution, &graph);
    if (status == STATUS_OK) {
        struct style style = watch->style;

        append_summary(execution, &style, &out);
        /* What stays on the screen is shown whole. */
        if (!option_flag(watch->invocation, "watch") || watch->ended)
            style.rows = 0;
        graph_tree(&graph, &style, &out);
        status = put_screen(watch, &out);
    }
    buffer_free(&out);
    graph_free(&graph);
    cloaca_result_free(execution);
    return status;
}

/* Only when something changed. A line that the terminal broke in two would stay on the screen. */
static int put_screen(struct watch *watch, const struct buffer *out)
{
    size_t lines = count_lines(&watch->drawn);
    struct buffer fitted = {0};

    append_fitted(&fitted, buffer_value(out), watch->style.width - 1);
    if (watch->drawn.length > 0 && strcmp(buffer_value(&fitted), buffer_value(&watch->drawn)) == 0) {
        buffer_free(&fitted);
        return STATUS_OK;
    }
    if (lines > 0)
        printf("\x1b[%zuA\x1b[J", lines);
    fputs(buffer_value(&fitted), stdout);
    buffer_free(&watch->drawn);
    watch->drawn = fitted;
    return flush_output() ? STATUS_OK : STATUS_ERROR;
}

static void append_summary(const cloaca_result *execution, const struct style *style, struct buffer *out)
{
    const char *state = cloaca_result_get(execution, 0, "state");
    const char *error = cloaca_result_get(execution, 0, "error");
    const char *started = cloaca_result_get(execution, 0, "created_at");
    const char *finished = cloaca_result_get(execution, 0, "finished_at");

    append_cut(out, cloaca_result_get(execution, 0, "workflow"), style->width > 0 ? style->width / 2 : -1);
    buffer_format(out, " %s  ", cloaca_result_get(execution, 0, "execution"));
    append_coloured(out, style, state, state);
    append_bar(execution, style, out);
    buffer_text(out, "\n");
    buffer_format(out, "since %.10s %.8sZ", started, started + strlen("2026-01-01T"));
    if (finished != NULL)
        buffer_format(out, ", until %.10s %.8sZ", finished, finished + strlen("2026-01-01T"));
    buffer_text(out, "\n");
    if (error != NULL) {
        append_cut(out, error, -1);
        buffer_text(out, "\n");
    }
}

/* How many tasks have ended, and of those how many otherwise than completed. */
static void append_bar(const cloaca_result *execution, const struct style *style, struct buffer *out)
{
    static const char *const ends[] = {"completed", "skipped", "failed", "cancelled"};
    const char *text = cloaca_result_get(execution, 0, "tasks");
    json_t *counts = text != NULL ? json_loads(text, 0, NULL) : NULL;
    long long total = json_integer_value(json_object_get(counts, "total"));
    long long ended = 0;

    for (size_t i = 0; i < 4; i++)
        ended += json_integer_value(json_object_get(counts, ends[i]));
    if (style->width >= 60 && total > 0) {
        buffer_text(out, "  ");
        for (long long i = 1; i <= 20; i++)
            buffer_text(out, ended * 20 >= i * total ? (style->unicode ? "█" : "#") : style->unicode ? "░" : "-");
    }
    buffer_format(out, "  %lld of %lld", ended, total);
    for (size_t i = 1; i < 4; i++) {
        long long count = json_integer_value(json_object_get(counts, ends[i]));

        if (count > 0)
            buffer_format(out, ", %lld %s", count, ends[i]);
    }
    json_decref(counts);
}

static size_t count_lines(const struct buffer *text)
{
    size_t lines = 0;

    for (size_t i = 0; i < text->length; i++)
        lines += text->data[i] == '\n' ? 1 : 0;
    return lines;
}

/* ------------------------------------------------------------------------------------------------------------------ loading */

/* A number is an execution when there is one of it, and else a name as any other. */
static int load_graph(const struct invocation *invocation, cloaca *connection, const char *what, struct graph *graph,
                      struct buffer *title)
{
    bool is_number = what[0] != '0' && what[strspn(what, "0123456789")] == '\0' && strlen(what) < 19;
    cloaca_error no_execution = {0};
    cloaca_error no_workflow = {0};
    cloaca_result *execution = NULL;

    if (is_number && cloaca_get_execution(connection, strtoll(what, NULL, 10), &execution, &no_execution) == CLOACA_OK) {
        buffer_text(title, cloaca_result_get(execution, 0, "workflow"));
        buffer_text(title, " ");
        buffer_text(title, what);
        cloaca_result_free(execution);
        return load_execution(invocation, connection, strtoll(what, NULL, 10), graph);
    }
    if (is_number && no_execution.status != CLOACA_UNKNOWN_EXECUTION)
        return report(invocation, &no_execution);
    buffer_text(title, what);
    if (load_definition(connection, what, graph, &no_workflow) == CLOACA_OK)
        return STATUS_OK;
    return report(invocation, is_number && no_workflow.status == CLOACA_UNKNOWN_WORKFLOW ? &no_execution : &no_workflow);
}

static int load_execution(const struct invocation *invocation, cloaca *connection, int64_t execution, struct graph *graph)
{
    size_t rows = PAGE;

    while (rows == PAGE) {
        cloaca_result *tasks = NULL;
        cloaca_error error = {0};

        if (cloaca_list_execution_tasks(connection, execution, NULL, (int32_t) graph->count, PAGE, &tasks, &error) != CLOACA_OK)
            return report(invocation, &error);
        rows = cloaca_result_rows(tasks);
        graph_add_tasks(graph, tasks);
        cloaca_result_free(tasks);
    }
    graph_join(graph);
    return STATUS_OK;
}

static cloaca_status load_definition(cloaca *connection, const char *name, struct graph *graph, cloaca_error *error)
{
    struct buffer arguments = {0};
    cloaca_result *workflow = NULL;
    cloaca_status status;

    buffer_text(&arguments, "{\"name\": ");
    buffer_json(&arguments, name, strlen(name));
    buffer_text(&arguments, "}");
    status = cloaca_call(connection, "get_workflow", buffer_value(&arguments), &workflow, error);
    buffer_free(&arguments);
    if (status == CLOACA_OK) {
        graph_add_definition(graph, cloaca_result_get(workflow, 0, "definition"));
        graph_join(graph);
    }
    cloaca_result_free(workflow);
    return status;
}

static void print_nodes(const struct graph *graph)
{
    struct buffer out = {0};

    for (size_t i = 0; i < graph->count; i++) {
        const struct node *node = &graph->nodes[i];

        buffer_text(&out, i == 0 ? "[\n{\"name\": " : ",\n{\"name\": ");
        buffer_json(&out, node->name, strlen(node->name));
        buffer_text(&out, ", \"state\": ");
        if (node->state != NULL)
            buffer_json(&out, node->state, strlen(node->state));
        else
            buffer_text(&out, "null");
        buffer_format(&out, ", \"dependencies\": %s}", node->needs != NULL ? node->needs : "[]");
    }
    buffer_text(&out, graph->count == 0 ? "[]\n" : "\n]\n");
    fputs(buffer_value(&out), stdout);
    buffer_free(&out);
}

/* ----------------------------------------------------------------------------------------------------------------- the screen
 */

static struct style style_of_terminal(void)
{
    const char *no_colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    bool is_terminal = isatty(STDOUT_FILENO);
    struct style style = {.unicode = locale_is_utf8(), .width = screen_width()};
    struct winsize size = {0};

    style.colours =
        is_terminal && (no_colour == NULL || no_colour[0] == '\0') && (terminal == NULL || strcmp(terminal, "dumb") != 0);
    /* Room for the lines above, the one that counts the rest, and the cursor. */
    if (is_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0)
        style.rows = size.ws_row > 8 ? size.ws_row - 6 : 2;
    return style;
}

/* What the user said; the program's own locale is a UTF-8 one in any case. */
static bool locale_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);

        if (value != NULL && value[0] != '\0')
            return strcasestr(value, "utf-8") != NULL || strcasestr(value, "utf8") != NULL;
    }
    return false;
}

static int64_t execution_of(const struct invocation *invocation)
{
    return strtoll(option_text(invocation, "EXECUTION"), NULL, 10);
}
