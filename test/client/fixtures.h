/*
 * fixtures.h - the databases that tests of the library run on, made before a group of tests and dropped after it
 *
 * One test program has one at a time. Include after test.h.
 */
#ifndef CLOACA_FIXTURES_H
#define CLOACA_FIXTURES_H

#include "cloaca.h"

#include <libpq-fe.h>

/* Where the files of a group are, test.db first of all, and the URL of its database. */
extern char folder[64];
extern char url[200];

/* Set-ups and tear-down for cmocka: a folder with a SQLite file, or a database on the server of PGHOST. */
int make_folder(void **state);
int drop_folder(void **state);
int use_server(void **state);

/* A connection to the group's database, which gets its tables when they are missing. */
cloaca *open_here(void);

/* Runs SQL beside the library; an error fails the test. */
void run_on_server(PGconn *server, const char *sql);

#endif
