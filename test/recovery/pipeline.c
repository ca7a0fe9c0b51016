/*
 * pipeline.c - sends statements in one pipeline, for the recovery tests
 *
 *   pipeline URL STATEMENT...
 *
 * All statements go out before the first answer is read, with one synchronisation point behind the last: one transaction,
 * unless they say otherwise. Status 1, and a message, when one of them fails.
 */
#include <libpq-fe.h>
#include <stdio.h>

static int read_results(PGconn *connection);

int main(int count, char **arguments)
{
    PGconn *connection = count > 2 ? PQconnectdb(arguments[1]) : NULL;
    int status = 1;

    if (connection == NULL || PQstatus(connection) != CONNECTION_OK || !PQenterPipelineMode(connection)) {
        fprintf(stderr, "pipeline: %s\n", connection ? PQerrorMessage(connection) : "a URL and statements, please");
    } else {
        int sent = 1;

        for (int i = 2; i < count; i++)
            sent = sent && PQsendQueryParams(connection, arguments[i], 0, NULL, NULL, NULL, NULL, 0);
        if (sent && PQpipelineSync(connection))
            status = read_results(connection);
        else
            fprintf(stderr, "pipeline: %s\n", PQerrorMessage(connection));
    }
    PQfinish(connection);
    return status;
}

/* Up to the synchronisation point; a NULL stands between one statement's results and the next one's. */
static int read_results(PGconn *connection)
{
    int status = 0;

    for (;;) {
        PGresult *result = PQgetResult(connection);
        ExecStatusType type = PQresultStatus(result);

        if (result && (type == PGRES_FATAL_ERROR || type == PGRES_PIPELINE_ABORTED)) {
            fprintf(stderr, "pipeline: %s\n", PQresultErrorMessage(result));
            status = 1;
        }
        PQclear(result);
        if (type == PGRES_PIPELINE_SYNC)
            return status;
        if (PQstatus(connection) == CONNECTION_BAD)
            return 1;
    }
}
