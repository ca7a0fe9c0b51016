/*
 * module.c - the library as a whole: magic block and settings
 *
 * Runs once a process: at its first call of a function of ours, or at the start of the server with shared_preload_libraries.
 */
#include "extension.h"

#include "utils/guc.h"

PG_MODULE_MAGIC;

bool cloaca_allow_plain_password = false;

/* Read by the SQL functions through current_setting, which work the same without the library. */
static char *tenant;
static char *clock_setting;
static char *random_setting;
static char *public_host;

extern PGDLLEXPORT void _PG_init(void);
static bool check_random(char **value, void **extra, GucSource source);
static bool check_public_host(char **value, void **extra, GucSource source);

void _PG_init(void)
{
    DefineCustomStringVariable("cloaca.tenant", "The schema of the tenant that the session's calls mean.",
                               "Empty for the tenant of the role. See cloaca.set_tenant.", &tenant, "", PGC_USERSET, 0, NULL,
                               NULL, NULL);
    DefineCustomStringVariable("cloaca.clock", "The time that cloaca works with, for tests.", "Empty for the server's clock.",
                               &clock_setting, "", PGC_USERSET, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
    DefineCustomStringVariable("cloaca.random", "The random number that cloaca works with, for tests.",
                               "From 0 to less than 1; empty for a new one each time.", &random_setting, "", PGC_USERSET,
                               GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE, check_random, NULL, NULL);
    DefineCustomStringVariable("cloaca.public_host", "The host, or host:port, that tenants connect to.",
                               "Empty for the server's own. It appears in the connection_string of cloaca.create_tenant.",
                               &public_host, "", PGC_SUSET, 0, check_public_host, NULL, NULL);
    DefineCustomBoolVariable("cloaca.allow_plain_password", "Lets the admin functions take a password in plain text.",
                             "What a statement says may reach the server's log.", &cloaca_allow_plain_password, false,
                             PGC_SUSET, 0, NULL, NULL, NULL);
    MarkGUCPrefixReserved("cloaca");
}

/* A number from 0 to less than 1, or nothing. */
static bool check_random(char **value, void **extra, GucSource source)
{
    char *end;
    double number = strtod(*value, &end);

    return **value == '\0' || (*end == '\0' && number >= 0 && number < 1);
}

/* Only what a host and a port are made of: it goes into a URL as it is. */
static bool check_public_host(char **value, void **extra, GucSource source)
{
    return strspn(*value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:[]-") == strlen(*value);
}
