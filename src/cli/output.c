/*
 * output.c - answers as a table for people or as JSON for programs, and the progress line
 *
 * JSON is built from the values as the library gives them, so that numbers in a payload keep every digit. A table escapes
 * control characters (a payload must not drive the reader's terminal) and is cut to the width of the terminal.
 */
#define _GNU_SOURCE
#include "cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define GAP 2
#define NARROWEST 6

static bool progress_shown = false;
static int output_problem; /* of the first write that failed, if it is known */

static void table_reserve(struct table *table, size_t columns);
static struct table chosen_columns(const struct table *table, const char *columns);
static void print_grid(const struct table *table);
static void print_list(const struct table *table);
static void print_cell(const char *text, int width, bool right, bool last);
static void cell_text(const struct table *table, size_t row, size_t column, struct buffer *cell);
static int text_width(const char *text);
static void fit_widths(int *widths, size_t columns, int screen);
static bool is_number(cloaca_type type);
static void print_json_row(const struct table *table, size_t row);
static void print_json_value(cloaca_type type, const char *value);

void table_add_result(struct table *table, const cloaca_result *result)
{
    size_t columns = cloaca_result_columns(result);

    table_reserve(table, columns);
    for (size_t column = 0; column < columns; column++) {
        table->names[column] = cloaca_result_name(result, column);
        table->types[column] = cloaca_result_type(result, column);
    }
    table->columns = columns;
    for (size_t row = 0; row < cloaca_result_rows(result); row++, table->rows++) {
        if ((table->rows + 1) * columns > table->capacity) {
            table->capacity = (table->rows + 64) * 2 * columns;
            table->values = reallocate(table->values, table->capacity * sizeof *table->values);
        }
        for (size_t column = 0; column < columns; column++)
            table->values[table->rows * columns + column] = cloaca_result_value(result, row, column);
    }
}

/* Builds a table of one row, a number at a time. */
void table_add_number(struct table *table, const char *name, const char *number)
{
    size_t column = table->columns++;

    table_reserve(table, table->columns);
    table->values = reallocate(table->values, table->columns * sizeof *table->values);
    table->names[column] = name;
    table->types[column] = CLOACA_TYPE_BIGINT;
    table->values[column] = number;
    table->rows = 1;
}

void table_free(struct table *table)
{
    free(table->names);
    free(table->types);
    free(table->values);
    memset(table, 0, sizeof *table);
}

void print_table(const struct invocation *invocation, const struct table *table, enum shape shape)
{
    struct table chosen;
    bool first = true;

    if (invocation->json) {
        if (shape == SHAPE_NOTHING || (shape == SHAPE_ROW && table->rows == 0)) {
            puts("null");
        } else if (shape == SHAPE_ROW) {
            print_json_row(table, 0);
            puts("");
        } else {
            print_json_rows(table, &first);
            puts(first ? "[]" : "\n]");
        }
        return;
    }
    if (shape == SHAPE_NOTHING || table->columns == 0)
        return;
    chosen = chosen_columns(table, invocation->command->columns);
    if (shape == SHAPE_ROW)
        print_list(&chosen);
    else
        print_grid(&chosen);
    table_free(&chosen);
}

void print_result(const struct invocation *invocation, const cloaca_result *result, enum shape shape)
{
    struct table table = {0};

    table_add_result(&table, result);
    print_table(invocation, &table, shape);
    table_free(&table);
}

void print_json_rows(const struct table *table, bool *first)
{
    for (size_t row = 0; row < table->rows; row++) {
        fputs(*first ? "[\n" : ",\n", stdout);
        print_json_row(table, row);
        *first = false;
    }
}

void print_json_line(const struct table *table, size_t row)
{
    print_json_row(table, row);
    puts("");
}

void show_progress(const char *format, ...)
{
    va_list values;

    if (!isatty(STDERR_FILENO))
        return;
    fputs("\r\x1b[K", stderr);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fflush(stderr);
    progress_shown = true;
}

void clear_progress(void)
{
    if (progress_shown)
        fputs("\r\x1b[K", stderr);
    progress_shown = false;
}

bool flush_output(void)
{
    if (fflush(stdout) != 0 && output_problem == 0)
        output_problem = errno;
    return ferror(stdout) == 0;
}

/* A full disk or a closed pipe must not pass for success. */
bool end_output(void)
{
    if (flush_output())
        return true;
    fprintf(stderr, "cloaca: cannot write the output%s%s\n", output_problem != 0 ? ": " : "",
            output_problem != 0 ? strerror(output_problem) : "");
    return false;
}

static void table_reserve(struct table *table, size_t columns)
{
    table->names = reallocate(table->names, columns * sizeof *table->names);
    table->types = reallocate(table->types, columns * sizeof *table->types);
}

/* A copy with only the columns that people want to see first, or all. */
static struct table chosen_columns(const struct table *table, const char *columns)
{
    struct table chosen = {.rows = table->rows};
    size_t *from = allocate(table->columns * sizeof *from);

    table_reserve(&chosen, table->columns);
    for (size_t column = 0; column < table->columns; column++) {
        if (columns != NULL && !has_word(columns, table->names[column]))
            continue;
        chosen.names[chosen.columns] = table->names[column];
        chosen.types[chosen.columns] = table->types[column];
        from[chosen.columns++] = column;
    }
    chosen.values = allocate(chosen.rows * chosen.columns * sizeof *chosen.values);
    for (size_t row = 0; row < chosen.rows; row++)
        for (size_t column = 0; column < chosen.columns; column++)
            chosen.values[row * chosen.columns + column] = table->values[row * table->columns + from[column]];
    free(from);
    return chosen;
}

static void print_grid(const struct table *table)
{
    int *widths = allocate(table->columns * sizeof *widths);
    struct buffer cell = {0};

    for (size_t column = 0; column < table->columns; column++)
        widths[column] = (int) strlen(table->names[column]);
    for (size_t row = 0; row < table->rows; row++)
        for (size_t column = 0; column < table->columns; column++) {
            int width;

            cell_text(table, row, column, &cell);
            width = text_width(buffer_value(&cell));
            widths[column] = width > widths[column] ? width : widths[column];
        }
    fit_widths(widths, table->columns, screen_width());
    for (size_t column = 0; column < table->columns; column++)
        print_cell(table->names[column], widths[column], is_number(table->types[column]), column + 1 == table->columns);
    for (size_t row = 0; row < table->rows; row++)
        for (size_t column = 0; column < table->columns; column++) {
            cell_text(table, row, column, &cell);
            print_cell(buffer_value(&cell), widths[column], is_number(table->types[column]), column + 1 == table->columns);
        }
    buffer_free(&cell);
    free(widths);
}

/* One row, a line for each column. */
static void print_list(const struct table *table)
{
    struct buffer cell = {0};
    int width = 0;

    for (size_t column = 0; column < table->columns; column++)
        width = (int) strlen(table->names[column]) > width ? (int) strlen(table->names[column]) : width;
    for (size_t column = 0; column < table->columns && table->rows > 0; column++) {
        cell_text(table, 0, column, &cell);
        printf("%-*s%s%s\n", buffer_value(&cell)[0] != '\0' ? width + GAP : 0, table->names[column], "", buffer_value(&cell));
    }
    buffer_free(&cell);
}

/* Pads or cuts the text to the width in columns of the terminal. */
static void print_cell(const char *text, int width, bool right, bool last)
{
    size_t length = strlen(text);
    int full = text_width(text);
    int used = 0;

    if (right && full < width)
        printf("%*s", width - full, "");
    for (size_t at = 0; at < length;) {
        size_t size = utf8_character(text + at, length - at);
        int next = utf8_width(text + at, size);

        if (full > width && used + next > width - 1) {
            fputs("…", stdout);
            used++;
            break;
        }
        fwrite(text + at, 1, size, stdout);
        used += next;
        at += size;
    }
    if (last)
        puts("");
    else
        printf("%*s", (right && full < width ? 0 : width - used) + GAP, "");
}

/* The value as one printable line. */
static void cell_text(const struct table *table, size_t row, size_t column, struct buffer *cell)
{
    const char *value = table->values[row * table->columns + column];
    size_t length = value != NULL ? strlen(value) : 0;

    cell->length = 0;
    buffer_text(cell, "");
    if (table->types[column] == CLOACA_TYPE_TIMESTAMPTZ && length == strlen("2026-01-01T00:00:00.000000Z")) {
        buffer_format(cell, "%.10s %.8sZ", value, value + 11);
        return;
    }
    buffer_printable(cell, value != NULL ? value : "", length);
}

static int text_width(const char *text)
{
    size_t length = strlen(text);
    int width = 0;

    for (size_t at = 0; at < length;) {
        size_t size = utf8_character(text + at, length - at);

        width += utf8_width(text + at, size);
        at += size;
    }
    return width;
}

/* Takes from the widest column until the row fits the screen. */
static void fit_widths(int *widths, size_t columns, int screen)
{
    for (;;) {
        size_t widest = 0;
        int total = -GAP;

        for (size_t column = 0; column < columns; column++) {
            total += widths[column] + GAP;
            widest = widths[column] > widths[widest] ? column : widest;
        }
        if (screen == 0 || total <= screen || widths[widest] <= NARROWEST)
            return;
        widths[widest]--;
    }
}

int screen_width(void)
{
    struct winsize size = {0};

    if (!isatty(STDOUT_FILENO))
        return 0;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

static bool is_number(cloaca_type type)
{
    return type == CLOACA_TYPE_SMALLINT || type == CLOACA_TYPE_INTEGER || type == CLOACA_TYPE_BIGINT;
}

static void print_json_row(const struct table *table, size_t row)
{
    fputs("{", stdout);
    for (size_t column = 0; column < table->columns; column++) {
        printf("%s\"%s\": ", column > 0 ? ", " : "", table->names[column]);
        print_json_value(table->types[column], table->values[row * table->columns + column]);
    }
    fputs("}", stdout);
}

static void print_json_value(cloaca_type type, const char *value)
{
    struct buffer quoted = {0};

    if (value == NULL) {
        fputs("null", stdout);
    } else if (type == CLOACA_TYPE_TEXT || type == CLOACA_TYPE_TIMESTAMPTZ || type == CLOACA_TYPE_INTERVAL) {
        buffer_json(&quoted, value, strlen(value));
        fputs(buffer_value(&quoted), stdout);
        buffer_free(&quoted);
    } else {
        fputs(value, stdout);
    }
}
