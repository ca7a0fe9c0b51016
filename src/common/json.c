/*
 * json.c - strict JSON, brought into the one form that PostgreSQL's jsonb prints
 *
 * One pass over the text writes the canonical form as it reads. Members of an object are noted on a stack, and the object is
 * written again in order when they were not sorted; large documents therefore cost about their own size in memory.
 */
#include "common/json.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_LIMIT 1000
/* What a document of the library's own may be nested deeper, since others were put into it. */
#define DEPTH_MARGIN 100
/* What PostgreSQL's numeric holds, and about what its longest text is. */
#define DIGITS_BEFORE_POINT 131072
#define DIGITS_AFTER_POINT 16383
#define OUTPUT_LIMIT ((size_t) 512 << 20)
/* What all numbers together may grow by: a few bytes with an exponent stand for many digits. */
#define GROWTH_LIMIT ((size_t) 64 << 20)

typedef struct member {
    size_t key; /* where its key starts in the output, the quote included */
    size_t key_length;
    size_t end; /* where its value ends */
} member;

typedef struct parser {
    const char *start;
    const char *at;
    const char *end;
    clo_buffer *out;
    member *members; /* of all the objects that are open */
    size_t member_count;
    size_t member_capacity;
    int depth;
    int depth_limit;
    size_t growth; /* of numbers, so far */
    const char *reason;
} parser;

static bool parse_document(const char *text, size_t length, int depth_limit, clo_buffer *out, clo_json_error *error);
static bool parse_value(parser *in);
static bool parse_array(parser *in);
static bool parse_object(parser *in);
static bool parse_member(parser *in, bool first, const char *base);
static bool add_member(parser *in, size_t key, size_t key_length);
static bool sort_members(parser *in, size_t first, size_t start);
static int compare_members(const char *data, const member *left, const member *right);
static bool parse_string(parser *in);
static bool parse_escape(parser *in);
static bool parse_unicode(parser *in, unsigned *code);
static bool parse_number(parser *in);
static bool write_number(parser *in, bool negative, const char *digits, size_t count, size_t point, long exponent);
static bool parse_word(parser *in, const char *word);
static size_t character_length(const char *text, const char *end);
static void write_character(clo_buffer *out, unsigned code);
static void write_escaped(clo_buffer *out, unsigned char byte);
static void skip_space(parser *in);
static bool refuse(parser *in, const char *reason);

bool clo_json_canonical(const char *text, size_t length, clo_buffer *out, clo_json_error *error)
{
    return parse_document(text, length, DEPTH_LIMIT, out, error);
}

bool clo_json_rewrite(const char *text, size_t length, clo_buffer *out, clo_json_error *error)
{
    return parse_document(text, length, DEPTH_LIMIT + DEPTH_MARGIN, out, error);
}

bool clo_utf8_valid(const char *text, size_t length)
{
    const char *end = text + length;

    while (text < end) {
        const size_t size = *text == '\0' ? 0 : character_length(text, end);

        if (size == 0) {
            return false;
        }
        text += size;
    }
    return true;
}

void clo_utf8_mend(clo_buffer *out, const char *text, size_t length)
{
    const char *end = text + length;

    while (text < end) {
        const size_t size = *text == '\0' ? 0 : character_length(text, end);

        if (size == 0) {
            clo_buffer_text(out, "\xef\xbf\xbd");
        } else {
            clo_buffer_append(out, text, size);
        }
        text += size > 0 ? size : 1;
    }
}

void clo_json_string(clo_buffer *out, const char *text, size_t length)
{
    const char *end = text + length;

    clo_buffer_byte(out, '"');
    while (text < end) {
        const char *start = text;

        while (text < end && (unsigned char) *text >= 0x20 && *text != '"' && *text != '\\') {
            text++;
        }
        clo_buffer_append(out, start, (size_t) (text - start));
        if (text < end) {
            write_escaped(out, (unsigned char) *text++);
        }
    }
    clo_buffer_byte(out, '"');
}

bool clo_json_next(const char **at, clo_span *key, clo_span *element)
{
    const char *text = *at + 1;
    int depth = 0;

    if (*text == ']' || *text == '}' || **at == ']' || **at == '}') {
        return false;
    }
    if (*text == ' ') {
        text++;
    }
    for (const char *start = text;; text++) {
        if (*text == '"') {
            for (text++; *text != '"'; text++) {
                text += *text == '\\';
            }
        } else if (*text == '[' || *text == '{') {
            depth++;
        } else if (depth > 0 && (*text == ']' || *text == '}')) {
            depth--;
        } else if (depth == 0 && *text == ':') {
            key->text = start;
            key->length = (size_t) (text - start);
            start = text + 2;
        } else if (depth == 0 && (*text == ',' || *text == ']' || *text == '}')) {
            element->text = start;
            element->length = (size_t) (text - start);
            *at = text;
            return true;
        }
    }
}

size_t clo_json_unquote(clo_span string, char *text)
{
    static const char escapes[] = "b\bf\fn\nr\rt\t";
    const char *from = string.text + 1;
    const char *end = string.text + string.length - 1;
    char *to = text;

    while (from < end) {
        if (*from != '\\') {
            *to++ = *from++;
        } else if (from[1] == 'u') {
            /* Only control characters are written in this way. */
            const char digits[] = {from[4], from[5], '\0'};

            *to++ = (char) strtol(digits, NULL, 16);
            from += 6;
        } else {
            const char *escape = memchr(escapes, from[1], sizeof(escapes) - 1);

            *to++ = escape != NULL ? escape[1] : from[1];
            from += 2;
        }
    }
    return (size_t) (to - text);
}

int clo_json_compare_keys(clo_span left, clo_span right)
{
    size_t left_length = left.length - 2;
    size_t right_length = right.length - 2;
    char *text = NULL;
    int order;

    if (memchr(left.text, '\\', left.length) != NULL || memchr(right.text, '\\', right.length) != NULL) {
        text = malloc(left.length + right.length);
    }
    if (text != NULL) {
        left_length = clo_json_unquote(left, text);
        right_length = clo_json_unquote(right, text + left.length);
        order =
            left_length != right_length ? (left_length < right_length ? -1 : 1) : memcmp(text, text + left.length, left_length);
        free(text);
    } else {
        order = left_length != right_length ? (left_length < right_length ? -1 : 1)
                                            : memcmp(left.text + 1, right.text + 1, left_length);
    }
    return order;
}

bool clo_json_integer(clo_span element, int64_t *value)
{
    const bool negative = element.length > 0 && *element.text == '-';
    uint64_t number = 0;

    for (size_t i = negative ? 1 : 0; i < element.length; i++) {
        const unsigned digit = (unsigned) (element.text[i] - '0');

        if (digit > 9 || number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    if (element.length <= (negative ? 1 : 0) || number > (uint64_t) INT64_MAX + (negative ? 1 : 0)) {
        return false;
    }
    *value = negative ? (int64_t) (0 - number) : (int64_t) number;
    return true;
}

static bool parse_document(const char *text, size_t length, int depth_limit, clo_buffer *out, clo_json_error *error)
{
    parser in = {.start = text, .at = text, .end = text + length, .out = out, .depth_limit = depth_limit};
    bool good;

    skip_space(&in);
    good = parse_value(&in);
    if (good) {
        skip_space(&in);
        good = in.at == in.end || refuse(&in, "something follows the document");
    }
    if (out->failed) {
        in.reason = NULL;
        good = false;
    }
    free(in.members);
    if (!good && error != NULL) {
        error->reason = in.reason;
        error->position = (size_t) (in.at - text) + 1;
    }
    return good;
}

static bool parse_value(parser *in)
{
    bool good;

    if (in->at == in->end) {
        return refuse(in, "a value is missing");
    }
    if (in->out->length > OUTPUT_LIMIT) {
        return refuse(in, "the document is too large");
    }
    switch (*in->at) {
    case '{':
    case '[':
        if (++in->depth > in->depth_limit) {
            return refuse(in, "it is nested too deeply");
        }
        good = *in->at == '{' ? parse_object(in) : parse_array(in);
        in->depth--;
        return good;
    case '"':
        return parse_string(in);
    case 't':
        return parse_word(in, "true");
    case 'f':
        return parse_word(in, "false");
    case 'n':
        return parse_word(in, "null");
    default:
        return parse_number(in);
    }
}

static bool parse_array(parser *in)
{
    bool first = true;

    clo_buffer_byte(in->out, *in->at++);
    for (;; first = false) {
        skip_space(in);
        if (in->at < in->end && *in->at == ']' && first) {
            break;
        }
        if (!parse_value(in)) {
            return false;
        }
        skip_space(in);
        if (in->at < in->end && *in->at == ']') {
            break;
        }
        if (in->at == in->end || *in->at != ',') {
            return refuse(in, "an array is not closed");
        }
        in->at++;
        clo_buffer_text(in->out, ", ");
    }
    clo_buffer_byte(in->out, *in->at++);
    return true;
}

static bool parse_object(parser *in)
{
    const size_t members = in->member_count;
    const size_t start = in->out->length;
    bool first = true;

    clo_buffer_byte(in->out, *in->at++);
    for (;; first = false) {
        skip_space(in);
        if (in->at < in->end && *in->at == '}' && first) {
            break;
        }
        if (!parse_member(in, first, in->at)) {
            return false;
        }
        skip_space(in);
        if (in->at < in->end && *in->at == '}') {
            break;
        }
        if (in->at == in->end || *in->at != ',') {
            return refuse(in, "an object is not closed");
        }
        in->at++;
    }
    if (!sort_members(in, members, start + 1)) {
        return refuse(in, NULL);
    }
    in->member_count = members;
    clo_buffer_byte(in->out, *in->at++);
    return true;
}

static bool parse_member(parser *in, bool first, const char *base)
{
    size_t key, number;

    if (base == in->end || *base != '"') {
        return refuse(in, "a key in quotes is missing");
    }
    if (!first) {
        clo_buffer_text(in->out, ", ");
    }
    key = in->out->length;
    if (!parse_string(in)) {
        return false;
    }
    if (!add_member(in, key, in->out->length - key)) {
        return refuse(in, NULL);
    }
    number = in->member_count - 1;
    skip_space(in);
    if (in->at == in->end || *in->at != ':') {
        return refuse(in, "a colon is missing");
    }
    in->at++;
    clo_buffer_text(in->out, ": ");
    skip_space(in);
    if (!parse_value(in)) {
        return false;
    }
    in->members[number].end = in->out->length;
    return true;
}

static bool add_member(parser *in, size_t key, size_t key_length)
{
    if (in->member_count == in->member_capacity) {
        const size_t capacity = in->member_capacity > 0 ? in->member_capacity * 2 : 16;
        member *members = realloc(in->members, capacity * sizeof(member));

        if (members == NULL) {
            in->out->failed = true;
            return false;
        }
        in->members = members;
        in->member_capacity = capacity;
    }
    in->members[in->member_count] = (member){key, key_length, 0};
    in->member_count++;
    return true;
}

/* A merge sort: it leaves equal keys in their order, and needs no global to know where the keys are, as qsort would. */
static void merge_sort(const char *data, member *members, member *spare, size_t count)
{
    const size_t half = count / 2;
    size_t left = 0;
    size_t right = half;

    if (count < 2) {
        return;
    }
    merge_sort(data, members, spare, half);
    merge_sort(data, members + half, spare, count - half);
    memcpy(spare, members, count * sizeof(member));
    for (size_t i = 0; i < count; i++) {
        if (right == count || (left < half && compare_members(data, &spare[left], &spare[right]) <= 0)) {
            members[i] = spare[left++];
        } else {
            members[i] = spare[right++];
        }
    }
}

/* Writes the members from `first` on again in their order, if they are not in it; they start at `start` in the output. */
static bool sort_members(parser *in, size_t first, size_t start)
{
    const size_t count = in->member_count - first;
    member *members = count > 0 ? in->members + first : NULL;
    const size_t length = in->out->length - start;
    bool sorted = true;
    member *spare;
    char *copy;

    /* Without a member there may be no stack yet. */
    for (size_t i = 1; i < count && sorted && !in->out->failed; i++) {
        sorted = compare_members(in->out->data, &members[i - 1], &members[i]) < 0;
    }
    if (sorted || in->out->failed) {
        return !in->out->failed;
    }
    spare = malloc(count * sizeof(member));
    copy = malloc(length);
    if (spare == NULL || copy == NULL) {
        free(spare);
        free(copy);
        in->out->failed = true;
        return false;
    }
    merge_sort(in->out->data, members, spare, count);
    memcpy(copy, in->out->data + start, length);
    in->out->length = start;
    for (size_t i = 0; i < count; i++) {
        const member *kept = &members[i];

        /* Equal keys stand in the order of the text: the last one counts. */
        if (i + 1 < count && kept->key_length == kept[1].key_length &&
            memcmp(copy + (kept->key - start), copy + (kept[1].key - start), kept->key_length) == 0) {
            continue;
        }
        if (in->out->length > start) {
            clo_buffer_text(in->out, ", ");
        }
        clo_buffer_append(in->out, copy + (kept->key - start), kept->end - kept->key);
    }
    free(spare);
    free(copy);
    return true;
}

static int compare_members(const char *data, const member *left, const member *right)
{
    return clo_json_compare_keys((clo_span){data + left->key, left->key_length},
                                 (clo_span){data + right->key, right->key_length});
}

static bool parse_string(parser *in)
{
    clo_buffer_byte(in->out, *in->at++);
    for (;;) {
        const char *start = in->at;

        while (in->at < in->end && (unsigned char) *in->at >= 0x20 && (unsigned char) *in->at < 0x80 && *in->at != '"' &&
               *in->at != '\\') {
            in->at++;
        }
        clo_buffer_append(in->out, start, (size_t) (in->at - start));
        if (in->at == in->end) {
            return refuse(in, "a string is not closed");
        } else if (*in->at == '"') {
            clo_buffer_byte(in->out, *in->at++);
            return true;
        } else if (*in->at == '\\') {
            if (!parse_escape(in)) {
                return false;
            }
        } else if ((unsigned char) *in->at < 0x20) {
            return refuse(in, "a control character in a string is not escaped");
        } else {
            const size_t size = character_length(in->at, in->end);

            if (size == 0) {
                return refuse(in, "it is not valid UTF-8");
            }
            clo_buffer_append(in->out, in->at, size);
            in->at += size;
        }
    }
}

static bool parse_escape(parser *in)
{
    static const char names[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    const char *known;
    unsigned code;

    if (in->end - in->at < 2) {
        return refuse(in, "a string is not closed");
    }
    if (in->at[1] == 'u') {
        if (!parse_unicode(in, &code)) {
            return false;
        }
        write_character(in->out, code);
        return true;
    }
    known = memchr(names, in->at[1], sizeof(names) - 1);
    if (known == NULL) {
        return refuse(in, "an escape is unknown");
    }
    write_character(in->out, (unsigned char) meanings[known - names]);
    in->at += 2;
    return true;
}

/* \uXXXX, and a second one after the first half of a pair. */
static bool parse_unicode(parser *in, unsigned *code)
{
    unsigned value = 0;

    for (int i = 2; i < 6; i++) {
        const char digit = in->end - in->at > i ? in->at[i] : '\0';

        if (digit >= '0' && digit <= '9') {
            value = value * 16 + (unsigned) (digit - '0');
        } else if ((digit | 0x20) >= 'a' && (digit | 0x20) <= 'f') {
            value = value * 16 + (unsigned) ((digit | 0x20) - 'a' + 10);
        } else {
            return refuse(in, "\\u needs four hexadecimal digits");
        }
    }
    if (value == 0) {
        return refuse(in, "\\u0000 is not allowed");
    }
    if (value >= 0xdc00 && value <= 0xdfff) {
        return refuse(in, "half of a surrogate pair stands alone");
    }
    in->at += 6;
    if (value >= 0xd800 && value <= 0xdbff) {
        unsigned low = 0;
        char digits[5] = {0};
        char *end;

        if (in->end - in->at >= 6 && in->at[0] == '\\' && in->at[1] == 'u') {
            memcpy(digits, in->at + 2, 4);
            low = (unsigned) strtoul(digits, &end, 16);
            if (*end != '\0' || strspn(digits, "0123456789abcdefABCDEF") != 4) {
                low = 0;
            }
        }
        if (low < 0xdc00 || low > 0xdfff) {
            return refuse(in, "half of a surrogate pair stands alone");
        }
        value = 0x10000 + ((value - 0xd800) << 10) + (low - 0xdc00);
        in->at += 6;
    }
    *code = value;
    return true;
}

/* Reads a number and writes its digits out, as many as PostgreSQL's numeric keeps. */
static bool parse_number(parser *in)
{
    const char *start = in->at;
    const char *digits;
    size_t point, count;
    long exponent = 0;
    bool negative = *in->at == '-';

    in->at += negative;
    digits = in->at;
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9') {
        in->at++;
    }
    count = point = (size_t) (in->at - digits);
    if (count == 0 || (count > 1 && *digits == '0')) {
        in->at = start;
        return refuse(in, count == 0 ? "a value is missing" : "a number starts with 0");
    }
    if (in->at < in->end && *in->at == '.') {
        const char *fraction = ++in->at;

        while (in->at < in->end && *in->at >= '0' && *in->at <= '9') {
            in->at++;
        }
        if (in->at == fraction) {
            return refuse(in, "digits are missing in a number");
        }
        count += (size_t) (in->at - fraction);
    }
    if (in->at < in->end && (*in->at == 'e' || *in->at == 'E')) {
        const bool minus = ++in->at < in->end && *in->at == '-';
        const char *power;

        in->at += in->at < in->end && (*in->at == '-' || *in->at == '+');
        power = in->at;
        while (in->at < in->end && *in->at >= '0' && *in->at <= '9') {
            exponent = exponent < 1000000 ? exponent * 10 + (*in->at - '0') : exponent;
            in->at++;
        }
        if (in->at == power) {
            return refuse(in, "digits are missing in a number");
        }
        exponent = minus ? -exponent : exponent;
    }
    return write_number(in, negative, digits, count, point, exponent);
}

/* `count` digits, `point` of them before the point, which is skipped where it stands between them. */
static bool write_number(parser *in, bool negative, const char *digits, size_t count, size_t point, long exponent)
{
    const long whole = (long) point + exponent;
    const long after = (long) (count - point) - exponent;
    bool zero = true;
    long first = -1; /* the first digit that is not 0 */
    long start;

    for (size_t i = 0; i < count && zero; i++) {
        zero = digits[i + (i >= point)] == '0';
        first = zero ? first : (long) i;
    }
    if ((!zero && whole - first > DIGITS_BEFORE_POINT) || after > DIGITS_AFTER_POINT) {
        return refuse(in, "a number is out of range");
    }
    start = zero ? whole : (first < whole ? first : whole);
    if (whole + (after > 0 ? after : 0) - start > (long) count) {
        in->growth += (size_t) (whole + (after > 0 ? after : 0) - start) - count;
    }
    if (in->growth > GROWTH_LIMIT) {
        return refuse(in, "its numbers are too long when they are written out");
    }
    if (negative && !zero) {
        clo_buffer_byte(in->out, '-');
    }
    if (zero || whole <= first) {
        clo_buffer_byte(in->out, '0');
    }
    for (long i = start; i < whole || i < whole + after; i++) {
        if (i == whole) {
            clo_buffer_byte(in->out, '.');
        }
        clo_buffer_byte(in->out, i >= 0 && i < (long) count ? digits[i + (i >= (long) point)] : '0');
    }
    return true;
}

static bool parse_word(parser *in, const char *word)
{
    const size_t length = strlen(word);

    if ((size_t) (in->end - in->at) < length || memcmp(in->at, word, length) != 0) {
        return refuse(in, "a word other than true, false and null");
    }
    clo_buffer_append(in->out, word, length);
    in->at += length;
    return true;
}

/* The bytes of the UTF-8 character at `text`; 0 when there is no valid one: too long a form, a surrogate, beyond U+10FFFF. */
static size_t character_length(const char *text, const char *end)
{
    const unsigned char *byte = (const unsigned char *) text;
    const size_t left = (size_t) (end - text);
    size_t length;

    if (byte[0] < 0x80) {
        return 1;
    }
    length = byte[0] >= 0xf0 ? 4 : (byte[0] >= 0xe0 ? 3 : 2);
    if (byte[0] < 0xc2 || byte[0] > 0xf4 || left < length) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((byte[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    if ((byte[0] == 0xe0 && byte[1] < 0xa0) || (byte[0] == 0xed && byte[1] > 0x9f) || (byte[0] == 0xf0 && byte[1] < 0x90) ||
        (byte[0] == 0xf4 && byte[1] > 0x8f)) {
        return 0;
    }
    return length;
}

/* A character inside a string, escaped if it must be. */
static void write_character(clo_buffer *out, unsigned code)
{
    if (code < 0x80) {
        if (code < 0x20 || code == '"' || code == '\\') {
            write_escaped(out, (unsigned char) code);
        } else {
            clo_buffer_byte(out, (char) code);
        }
        return;
    }
    if (code < 0x800) {
        clo_buffer_byte(out, (char) (0xc0 | code >> 6));
    } else if (code < 0x10000) {
        clo_buffer_byte(out, (char) (0xe0 | code >> 12));
        clo_buffer_byte(out, (char) (0x80 | (code >> 6 & 0x3f)));
    } else {
        clo_buffer_byte(out, (char) (0xf0 | code >> 18));
        clo_buffer_byte(out, (char) (0x80 | (code >> 12 & 0x3f)));
        clo_buffer_byte(out, (char) (0x80 | (code >> 6 & 0x3f)));
    }
    clo_buffer_byte(out, (char) (0x80 | (code & 0x3f)));
}

static void write_escaped(clo_buffer *out, unsigned char byte)
{
    static const char hex[] = "0123456789abcdef";
    static const char bytes[] = "\"\\\b\f\n\r\t";
    static const char names[] = "\"\\bfnrt";
    const char *known = memchr(bytes, byte, sizeof(bytes) - 1);

    clo_buffer_byte(out, '\\');
    if (known != NULL) {
        clo_buffer_byte(out, names[known - bytes]);
        return;
    }
    clo_buffer_text(out, "u00");
    clo_buffer_byte(out, hex[byte >> 4]);
    clo_buffer_byte(out, hex[byte & 15]);
}

static void skip_space(parser *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r')) {
        in->at++;
    }
}

static bool refuse(parser *in, const char *reason)
{
    in->reason = reason;
    return false;
}
