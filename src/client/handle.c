/*
 * handle.c - the end of a connection, whichever backend made it, and of the patience with one
 */
#define _DEFAULT_SOURCE /* clock_gettime */
#include "backend.h"

#include <stdlib.h>
#include <time.h>

/* Whoever waits looks that often whether the guard was aborted. */
#define LOOK_EVERY 50

void cloaca_close(cloaca *connection)
{
    if (connection == NULL) {
        return;
    }
    clo_wait_end(connection);
    if (connection->began && connection->borrowed) {
        connection->backend->rollback(connection, NULL);
    }
    connection->backend->close(connection);
    clo_arena_free(&connection->scratch);
    free(connection);
}

int clo_guard_left(const clo_guard *guard)
{
    struct timespec now;
    int64_t left;

    if (guard == NULL || (guard->limit == 0 && !atomic_load(&guard->aborted))) {
        return LOOK_EVERY;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    left = atomic_load(&guard->aborted) ? 0 : guard->limit - ((int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000);
    return left <= 0 ? 0 : left < LOOK_EVERY * 1000 ? (int) (left / 1000) + 1 : LOOK_EVERY;
}
