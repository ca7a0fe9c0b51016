/*
 * enqueue.c - one task from the command line or stdin, or many from the lines of stdin
 *
 * In bulk every record of stdin is a payload. Records go to enqueue_many in batches, each its own transaction, or all in one
 * with
 * --atomic. A wrong record is named by its number before anything of its batch is written; with keys the run can be repeated.
 */
#define _GNU_SOURCE
#include "cli.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH_BYTES (8 * 1024 * 1024)
#define RAW_HINT "With --raw any text is a payload."

/* What a bulk run has read and written so far. */
struct bulk {
    const struct invocation *invocation;
    cloaca *connection;
    const char *key_field; /* --keys-from */
    char separator;
    size_t batch; /* records at most */
    off_t size;   /* bytes of stdin when it is a file, else 0 */
    off_t bytes;
    int64_t started;
    long long line; /* the record of stdin that is being read, from 1 */
    long long records;
    long long created;
    struct buffer payloads;
    struct buffer keys;
    size_t pending;
};

static int enqueue_one(const struct invocation *invocation);
static int enqueue_bulk(const struct invocation *invocation);
static int read_records(struct bulk *bulk);
static bool add_record(struct bulk *bulk, const char *record, size_t length);
static bool add_payload(const struct invocation *invocation, const char *text, size_t length, struct buffer *payload,
                        const char **problem);
static bool add_key(struct bulk *bulk, const char *record, size_t length);
static int write_batch(struct bulk *bulk);
static void bulk_progress(const struct bulk *bulk);
static void print_summary(const struct bulk *bulk);
static bool stdin_is_unread_file(void);
static bool read_all(FILE *file, struct buffer *text);

int run_enqueue(const struct invocation *invocation)
{
    bool bulk = option_flag(invocation, "bulk");

    if (bulk && option_text(invocation, "PAYLOAD") != NULL)
        usage_error(invocation->command, "--bulk reads the payloads from stdin");
    if (bulk && option_text(invocation, "key") != NULL)
        usage_error(invocation->command, "--key is for one task: use --keys-from");
    if (!bulk && (option_flag(invocation, "null") || option_flag(invocation, "atomic") ||
                  option_text(invocation, "keys-from") != NULL || option_text(invocation, "batch") != NULL))
        usage_error(invocation->command, "--null, --keys-from, --batch and --atomic need --bulk");
    return bulk ? enqueue_bulk(invocation) : enqueue_one(invocation);
}

/*
 * The payload is the operand, stdin when that is "-", or {} without one. A file at stdin that nobody has read from is refused
 * then: `cloaca enqueue NAME <file` means its content, while the rest of a file that a loop reads line by line is not ours.
 */
static int enqueue_one(const struct invocation *invocation)
{
    const char *operand = option_text(invocation, "PAYLOAD");
    const char *problem = NULL;
    struct buffer text = {0};
    struct buffer members = {0};
    struct buffer arguments = {0};
    cloaca_result *result = NULL;
    cloaca_error error = {0};
    cloaca *connection = NULL;
    int status = STATUS_ERROR;

    if (operand == NULL && stdin_is_unread_file())
        usage_error(invocation->command, "stdin is a file, which is read only when the payload is -");
    append_arguments(invocation, NULL, &members);
    if (operand != NULL && strcmp(operand, "-") == 0) {
        if (!read_all(stdin, &text)) {
            complain("", "cannot read stdin: %s", strerror(errno));
            goto done;
        }
    } else if (operand != NULL) {
        buffer_text(&text, operand);
    }
    if (operand != NULL) {
        append_member(&members, "payload");
        if (!add_payload(invocation, buffer_value(&text), text.length, &members, &problem)) {
            complain(RAW_HINT, "the payload is not JSON: %s", problem);
            goto done;
        }
    }
    buffer_format(&arguments, "{%s}", buffer_value(&members));
    status = open_connection(invocation, &connection);
    if (status == STATUS_OK && cloaca_call(connection, "enqueue", buffer_value(&arguments), &result, &error) != CLOACA_OK)
        status = report(invocation, &error);
    if (status == STATUS_OK)
        print_result(invocation, result, SHAPE_ROW);
done:
    cloaca_result_free(result);
    cloaca_close(connection);
    buffer_free(&arguments);
    buffer_free(&members);
    buffer_free(&text);
    return status;
}

static int enqueue_bulk(const struct invocation *invocation)
{
    struct bulk bulk = {
        .invocation = invocation,
        .key_field = option_text(invocation, "keys-from"),
        .separator = option_flag(invocation, "null") ? '\0' : '\n',
        .batch = (size_t) option_integer(invocation, "batch", 1, 10000, 1000),
        .started = monotonic_now(),
    };
    bool atomic = option_flag(invocation, "atomic");
    cloaca_error error = {0};
    struct stat input;
    int status;

    if (bulk.key_field != NULL && option_flag(invocation, "raw"))
        usage_error(invocation->command, "--keys-from needs JSON payloads, not --raw");
    if (fstat(STDIN_FILENO, &input) == 0 && S_ISREG(input.st_mode))
        bulk.size = input.st_size;
    status = open_connection(invocation, &bulk.connection);
    if (status == STATUS_OK && atomic && cloaca_begin(bulk.connection, &error) != CLOACA_OK)
        status = report(invocation, &error);
    if (status == STATUS_OK) {
        status = read_records(&bulk);
        if (status == STATUS_OK && atomic && cloaca_commit(bulk.connection, &error) != CLOACA_OK)
            status = report(invocation, &error);
        clear_progress();
        if (status == STATUS_OK)
            print_summary(&bulk);
        else if (atomic)
            fprintf(stderr, "cloaca: nothing was enqueued\n");
        else
            fprintf(stderr, "cloaca: %lld tasks were enqueued before that\n", bulk.created);
    }
    cloaca_close(bulk.connection);
    buffer_free(&bulk.payloads);
    buffer_free(&bulk.keys);
    return status;
}

static int read_records(struct bulk *bulk)
{
    char *record = NULL;
    size_t capacity = 0;
    ssize_t length;
    int status = STATUS_OK;

    errno = 0;
    while (status == STATUS_OK && (length = getdelim(&record, &capacity, bulk->separator, stdin)) >= 0) {
        bulk->bytes += length;
        bulk->line++;
        if (length > 0 && record[length - 1] == bulk->separator)
            record[--length] = '\0';
        if (length == 0 && !option_flag(bulk->invocation, "raw"))
            continue;
        if (!add_record(bulk, record, (size_t) length))
            status = STATUS_ERROR;
        if (status == STATUS_OK && (bulk->pending >= bulk->batch || bulk->payloads.length >= BATCH_BYTES))
            status = write_batch(bulk);
    }
    if (status == STATUS_OK && ferror(stdin)) {
        status = complain("", "cannot read stdin: %s", strerror(errno));
    }
    if (status == STATUS_OK && bulk->pending > 0)
        status = write_batch(bulk);
    free(record);
    return status;
}

static bool add_record(struct bulk *bulk, const char *record, size_t length)
{
    const char *problem = NULL;

    buffer_text(&bulk->payloads, bulk->pending > 0 ? ", " : "");
    if (!add_payload(bulk->invocation, record, length, &bulk->payloads, &problem)) {
        complain(RAW_HINT, "record %lld of stdin is not JSON: %s", bulk->line, problem);
        return false;
    }
    if (bulk->key_field != NULL && !add_key(bulk, record, length))
        return false;
    bulk->pending++;
    bulk->records++;
    return true;
}

/* Appends the payload as JSON: the text itself, or with --raw the text as a JSON string. */
static bool add_payload(const struct invocation *invocation, const char *text, size_t length, struct buffer *payload,
                        const char **problem)
{
    if (!option_flag(invocation, "raw")) {
        if (!json_check(text, length, problem))
            return false;
        buffer_append(payload, text, length);
        return true;
    }
    *problem = "it is not UTF-8, or has a NUL";
    if (!utf8_valid(text, length) || memchr(text, '\0', length) != NULL)
        return false;
    buffer_json(payload, text, length);
    return true;
}

/* The key is a text or number in the payload; none when the field is missing or null. */
static bool add_key(struct bulk *bulk, const char *record, size_t length)
{
    json_t *payload = json_loadb(record, length, JSON_DECODE_ANY, NULL);
    json_t *field;
    bool ok = true;

    /* It is JSON: only a whole number beyond 64 bits, somewhere, can be refused. */
    if (payload == NULL)
        payload = json_loadb(record, length, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    field = json_object_get(payload, bulk->key_field);
    buffer_text(&bulk->keys, bulk->pending > 0 ? ", " : "");
    if (json_is_string(field)) {
        buffer_json(&bulk->keys, json_string_value(field), json_string_length(field));
    } else if (json_is_integer(field)) {
        buffer_format(&bulk->keys, "\"%" JSON_INTEGER_FORMAT "\"", json_integer_value(field));
    } else if (field == NULL || json_is_null(field)) {
        buffer_text(&bulk->keys, "null");
    } else {
        complain("", "record %lld of stdin: the key \"%s\" is neither a text nor a whole number", bulk->line, bulk->key_field);
        ok = false;
    }
    json_decref(payload);
    return ok;
}

static int write_batch(struct bulk *bulk)
{
    struct buffer members = {0};
    struct buffer arguments = {0};
    cloaca_result *result = NULL;
    cloaca_error error = {0};
    int status = STATUS_OK;

    append_arguments(bulk->invocation, NULL, &members);
    append_member(&members, "payloads");
    buffer_format(&members, "[%s]", buffer_value(&bulk->payloads));
    if (bulk->key_field != NULL) {
        append_member(&members, "keys");
        buffer_format(&members, "[%s]", buffer_value(&bulk->keys));
    }
    buffer_format(&arguments, "{%s}", buffer_value(&members));
    if (cloaca_call(bulk->connection, "enqueue_many", buffer_value(&arguments), &result, &error) != CLOACA_OK)
        status = report(bulk->invocation, &error);
    for (size_t row = 0; row < (status == STATUS_OK ? cloaca_result_rows(result) : 0); row++)
        bulk->created += cloaca_result_get(result, row, "created")[0] == 't' ? 1 : 0;
    bulk->pending = bulk->payloads.length = bulk->keys.length = 0;
    cloaca_result_free(result);
    buffer_free(&arguments);
    buffer_free(&members);
    bulk_progress(bulk);
    return status;
}

static void bulk_progress(const struct bulk *bulk)
{
    static const char full[] = "########################################";
    double seconds = (double) (monotonic_now() - bulk->started) / 1e6;
    double rate = seconds > 0 ? (double) bulk->records / seconds : 0;
    double part = bulk->size > 0 ? (double) bulk->bytes / (double) bulk->size : 0;
    int width = (int) sizeof full - 1;
    int done = (int) (part * width);

    done = done > width ? width : done;
    if (bulk->size > 0)
        show_progress("[%.*s%*s] %3.0f %%  %lld tasks  %.0f/s", done, full, width - done, "", part * 100, bulk->records, rate);
    else
        show_progress("%lld tasks  %.0f/s", bulk->records, rate);
}

static void print_summary(const struct bulk *bulk)
{
    struct table table = {0};
    char numbers[3][32];

    snprintf(numbers[0], sizeof numbers[0], "%lld", bulk->records);
    snprintf(numbers[1], sizeof numbers[1], "%lld", bulk->created);
    snprintf(numbers[2], sizeof numbers[2], "%lld", bulk->records - bulk->created);
    table_add_number(&table, "records", numbers[0]);
    table_add_number(&table, "created", numbers[1]);
    table_add_number(&table, "existing", numbers[2]);
    print_table(bulk->invocation, &table, SHAPE_ROW);
    table_free(&table);
}

static bool stdin_is_unread_file(void)
{
    struct stat input;

    return fstat(STDIN_FILENO, &input) == 0 && S_ISREG(input.st_mode) && input.st_size > 0 &&
           lseek(STDIN_FILENO, 0, SEEK_CUR) == 0;
}

static bool read_all(FILE *file, struct buffer *text)
{
    char block[65536];
    size_t length;

    while ((length = fread(block, 1, sizeof block, file)) > 0)
        buffer_append(text, block, length);
    return ferror(file) == 0;
}
