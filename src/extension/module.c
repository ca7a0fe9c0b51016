/*
 * module.c - the library as a whole: magic block and settings
 *
 * Runs once a process: at its first call of a function of ours, or at the start of the server with shared_preload_libraries.
 */
#include "extension.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "worker.h"

PG_MODULE_MAGIC;

bool cloaca_allow_plain_password = false;
bool cloaca_direct = true;
bool cloaca_asynchronous_claims = true;
bool cloaca_bind_leases = false;
int cloaca_repair_interval = 1000;
int cloaca_poll_interval = 100;
bool cloaca_background_worker = true;
int cloaca_max_workers = 4;
int cloaca_maintenance_interval = 60;

/* Read by the SQL functions through current_setting, which work the same without the library. */
char *cloaca_tenant_setting;
static char *clock_setting;
static char *random_setting;
static char *public_host;

extern PGDLLEXPORT void _PG_init(void);
static void define_engine_settings(void);
static void define_worker_settings(void);
static bool check_random(char **value, void **extra, GucSource source);
static bool check_public_host(char **value, void **extra, GucSource source);

void _PG_init(void)
{
    DefineCustomStringVariable("cloaca.tenant", "The schema of the tenant that the session's calls mean.",
                               "Empty for the tenant of the role. See cloaca.set_tenant.", &cloaca_tenant_setting, "",
                               PGC_USERSET, 0, NULL, NULL, NULL);
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
    define_engine_settings();
    define_worker_settings();
    MarkGUCPrefixReserved("cloaca");
    cloaca_register_callbacks();
    cloaca_request_shared_memory();
    cloaca_register_launcher();
}

TimestampTz cloaca_now(void)
{
    if (clock_setting == NULL || *clock_setting == '\0')
        return GetCurrentTimestamp();
    return DatumGetTimestampTz(
        DirectFunctionCall3(timestamptz_in, CStringGetDatum(clock_setting), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

static void define_engine_settings(void)
{
    DefineCustomBoolVariable("cloaca.direct", "Lets tasks be read and written without going through SQL, where that can be.",
                             NULL, &cloaca_direct, true, PGC_USERSET, 0, NULL, NULL, NULL);
    DefineCustomBoolVariable("cloaca.asynchronous_claims",
                             "Lets a transaction that wrote nothing but claims commit without waiting for the disk.",
                             "After a crash of the server such a claim may be lost; the task is claimable again then.",
                             &cloaca_asynchronous_claims, true, PGC_USERSET, 0, NULL, NULL, NULL);
    DefineCustomBoolVariable("cloaca.bind_leases", "Ends the leases of this session's claims when the session ends.",
                             "Only for clients that are connected directly: behind a pooler the session outlives the worker.",
                             &cloaca_bind_leases, false, PGC_USERSET, 0, NULL, NULL, NULL);
    DefineCustomIntVariable("cloaca.repair_interval", "How long a claimable task may be hidden by an outdated hint.", NULL,
                            &cloaca_repair_interval, 1000, 10, 3600 * 1000, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
    DefineCustomIntVariable("cloaca.poll_interval", "How often wait_for_task looks where nobody can wake it.",
                            "That is without shared_preload_libraries = 'cloaca'.", &cloaca_poll_interval, 100, 1, 60 * 1000,
                            PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
}

static void define_worker_settings(void)
{
    DefineCustomBoolVariable("cloaca.background_worker", "Lets a background worker in each database do the maintenance.",
                             "With shared_preload_libraries = 'cloaca'.", &cloaca_background_worker, true, PGC_SIGHUP, 0, NULL,
                             NULL, NULL);
    DefineCustomIntVariable("cloaca.max_workers", "How many background workers there are at most at the same time.",
                            "When more databases have the extension, workers take turns.", &cloaca_max_workers, 4, 1, 1024,
                            PGC_SIGHUP, 0, NULL, NULL, NULL);
    DefineCustomIntVariable("cloaca.maintenance_interval",
                            "How often the background worker looks at tenants that nothing is known to be due for.", NULL,
                            &cloaca_maintenance_interval, 60, 1, 24 * 3600, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
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
