/*
 * arena.c - an arena and a growing buffer
 */
#define _DEFAULT_SOURCE /* explicit_bzero */
#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE ((size_t) 4000)
#define ALIGNMENT _Alignof(max_align_t)

struct clo_chunk {
    clo_chunk *next;
    size_t size;
    size_t used;
    _Alignas(max_align_t) char data[];
};

void *clo_arena_allocate(clo_arena *arena, size_t size)
{
    clo_chunk *chunk = arena->chunks;
    void *memory;

    if (size > SIZE_MAX / 2) {
        return NULL;
    }
    size = (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    if (chunk == NULL || chunk->size - chunk->used < size) {
        const size_t chunk_size = size > CHUNK_SIZE ? size : CHUNK_SIZE;

        chunk = malloc(sizeof(clo_chunk) + chunk_size);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->size = chunk_size;
        chunk->used = 0;
        chunk->next = arena->chunks;
        arena->chunks = chunk;
    }
    memory = chunk->data + chunk->used;
    chunk->used += size;
    return memory;
}

char *clo_arena_copy(clo_arena *arena, const char *text, size_t length)
{
    char *copy = clo_arena_allocate(arena, length + 1);

    if (copy != NULL) {
        if (length > 0) {
            memcpy(copy, text, length);
        }
        copy[length] = '\0';
    }
    return copy;
}

static void free_chunks(clo_arena *arena, clo_chunk *chunk)
{
    while (chunk != NULL) {
        clo_chunk *next = chunk->next;

        if (arena->secret) {
            explicit_bzero(chunk->data, chunk->used);
        }
        free(chunk);
        chunk = next;
    }
}

void clo_arena_reset(clo_arena *arena)
{
    clo_chunk *kept = arena->chunks;

    if (kept == NULL) {
        return;
    }
    if (kept->size > CHUNK_SIZE || arena->secret) {
        clo_arena_free(arena);
        return;
    }
    free_chunks(arena, kept->next);
    kept->next = NULL;
    kept->used = 0;
}

void clo_arena_free(clo_arena *arena)
{
    free_chunks(arena, arena->chunks);
    arena->chunks = NULL;
    arena->secret = false;
}

static bool reserve(clo_buffer *buffer, size_t length)
{
    size_t capacity = buffer->capacity > 0 ? buffer->capacity : 256;
    char *data;

    if (buffer->failed) {
        return false;
    }
    if (length <= buffer->capacity - buffer->length) {
        return true;
    }
    while (capacity - buffer->length < length) {
        if (capacity > SIZE_MAX / 4) {
            buffer->failed = true;
            return false;
        }
        capacity *= 2;
    }
    data = realloc(buffer->data, capacity);
    if (data == NULL) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void clo_buffer_append(clo_buffer *buffer, const char *data, size_t length)
{
    if (length > 0 && reserve(buffer, length)) {
        memcpy(buffer->data + buffer->length, data, length);
        buffer->length += length;
    }
}

void clo_buffer_text(clo_buffer *buffer, const char *text)
{
    clo_buffer_append(buffer, text, strlen(text));
}

void clo_buffer_byte(clo_buffer *buffer, char byte)
{
    if (reserve(buffer, 1)) {
        buffer->data[buffer->length++] = byte;
    }
}

bool clo_buffer_finish(clo_buffer *buffer)
{
    if (!reserve(buffer, 1)) {
        return false;
    }
    buffer->data[buffer->length] = '\0';
    return true;
}

void clo_buffer_free(clo_buffer *buffer)
{
    free(buffer->data);
    memset(buffer, 0, sizeof(*buffer));
}
