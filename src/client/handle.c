/*
 * handle.c - the end of a connection, whichever backend made it
 */
#include "backend.h"

#include <stdlib.h>

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
