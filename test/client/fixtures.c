/*
 * fixtures.c - makes and drops the databases that tests of the library run on
 *
 * The folder's name is random and the database's is the program's, so that several programs can run at a time.
 */
#define _GNU_SOURCE /* asprintf, mkdtemp, program_invocation_short_name */
#include "fixtures.h"
#include "test.h"

#include <errno.h>

char folder[64];
char url[200];

int make_folder(void **state)
{
    (void) state;
    snprintf(folder, sizeof(folder), "/tmp/cloaca-test-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    /* Whoever has the file locked may be stopped for long. */
    snprintf(url, sizeof(url), "sqlite:///%s/test.db?_busy_timeout=120000", folder);
    return 0;
}

int drop_folder(void **state)
{
    char *command;
    int status = asprintf(&command, "rm -rf %s", folder);

    (void) state;
    if (status > 0) {
        status = system(command); // NOLINT(bugprone-command-processor,cert-env33-c): the name is ours
        free(command);
    }
    return status;
}

/* A database of its own, whatever an earlier run left, made from the template that nobody is ever connected to. */
int use_server(void **state)
{
    const char *name = program_invocation_short_name;
    PGconn *server = PQconnectdb("client_encoding=UTF8");
    char sql[200];

    (void) state;
    snprintf(sql, sizeof(sql), "drop database if exists \"%s\" with (force)", name);
    run_on_server(server, sql);
    snprintf(sql, sizeof(sql), "create database \"%s\" template template0", name);
    run_on_server(server, sql);
    PQfinish(server);
    snprintf(url, sizeof(url), "postgresql:///%s?client_encoding=UTF8", name);
    return 0;
}

cloaca *open_here(void)
{
    cloaca *connection;
    cloaca_error error;

    assert_ok(cloaca_open(url, &connection, &error));
    assert_ok(cloaca_init(connection, &error));
    return connection;
}

void run_on_server(PGconn *server, const char *sql)
{
    PGresult *result = PQexec(server, sql);

    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(server));
    }
    PQclear(result);
}
