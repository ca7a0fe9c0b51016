/*
 * tenant.c - create_tenant, adopt_tenant and rotate_password: the parts that handle a password
 *
 * All three do the same: an SQL helper of the extension makes or finds the tenant and answers with its credentials but for the
 * password; then the role gets the password here, out of sight of any statement. They are SECURITY DEFINER and revoked from
 * PUBLIC: the backend of an admin runs them with the rights of the extension's owner, in the admin's transaction. Locks are
 * those of the helpers (the catalogue, the registry's row of the tenant), until the transaction ends.
 */
#include "extension.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/acl.h"
#include "utils/builtins.h"

/* The columns of cloaca.tenant_credentials. */
enum { USERNAME, PASSWORD, SCHEMA_NAME, CONNECTION_STRING, CREDENTIAL_COUNT };

PG_FUNCTION_INFO_V1(cloaca_create_tenant);
PG_FUNCTION_INFO_V1(cloaca_adopt_tenant);
PG_FUNCTION_INFO_V1(cloaca_rotate_password);

static const char *text_argument(FunctionCallInfo fcinfo, int number);
static Datum with_password(FunctionCallInfo fcinfo, CloacaPassword *password, const char *sql, int count, Oid *types,
                           const int *arguments);
static void call_helper(FunctionCallInfo fcinfo, const char *sql, int count, Oid *types, const int *arguments,
                        char **credentials);
static char *with_user_password(const char *url, const char *password);
static void append_encoded(StringInfo url, const char *password);
static Datum form_credentials(FunctionCallInfo fcinfo, char **credentials);

/* create_tenant(schema_name, username, password, connection_limit, settings) */
Datum cloaca_create_tenant(PG_FUNCTION_ARGS)
{
    CloacaPassword password = cloaca_password(text_argument(fcinfo, 2));
    Oid types[] = {TEXTOID, TEXTOID, INT4OID, JSONBOID};
    const int arguments[] = {0, 1, 3, 4};

    return with_password(fcinfo, &password, "select * from cloaca.provision($1, $2, $3, $4)", lengthof(arguments), types,
                         arguments);
}

/* adopt_tenant(schema_name, username, password): a role that is there keeps its password unless one is given. */
Datum cloaca_adopt_tenant(PG_FUNCTION_ARGS)
{
    const char *username = text_argument(fcinfo, 1);
    const char *argument = text_argument(fcinfo, 2);
    bool keeps_password =
        (argument == NULL || *argument == '\0') && (username == NULL || OidIsValid(get_role_oid(username, true)));
    CloacaPassword password = {NULL, NULL};
    Oid types[] = {TEXTOID, TEXTOID};
    const int arguments[] = {0, 1};

    if (!keeps_password)
        password = cloaca_password(argument);
    return with_password(fcinfo, &password, "select * from cloaca.adopt($1, $2)", lengthof(arguments), types, arguments);
}

/* rotate_password(schema_name, password) */
Datum cloaca_rotate_password(PG_FUNCTION_ARGS)
{
    CloacaPassword password = cloaca_password(text_argument(fcinfo, 1));
    Oid types[] = {TEXTOID};
    const int arguments[] = {0};

    return with_password(fcinfo, &password, "select * from cloaca.tenant_login($1)", lengthof(arguments), types, arguments);
}

/* Runs the helper, gives its role the password, and answers with the credentials. The password is wiped whatever happens. */
static Datum with_password(FunctionCallInfo fcinfo, CloacaPassword *password, const char *sql, int count, Oid *types,
                           const int *arguments)
{
    char *credentials[CREDENTIAL_COUNT];
    Datum result;

    PG_TRY();
    {
        call_helper(fcinfo, sql, count, types, arguments, credentials);
        if (password->verifier)
            cloaca_set_password(credentials[USERNAME], password);
        if (password->plain) {
            credentials[PASSWORD] = password->plain;
            credentials[CONNECTION_STRING] = with_user_password(credentials[CONNECTION_STRING], password->plain);
        }
        result = form_credentials(fcinfo, credentials);
        if (password->plain)
            explicit_bzero(credentials[CONNECTION_STRING], strlen(credentials[CONNECTION_STRING]));
    }
    PG_FINALLY();
    {
        cloaca_wipe_password(password);
    }
    PG_END_TRY();
    return result;
}

/* Calls an SQL helper with some of our own arguments, and copies the row of credentials that it answers with. */
static void call_helper(FunctionCallInfo fcinfo, const char *sql, int count, Oid *types, const int *arguments,
                        char **credentials)
{
    MemoryContext caller = CurrentMemoryContext;
    Datum values[4];
    char nulls[4];

    Assert(count <= (int) lengthof(values));
    for (int i = 0; i < count; i++) {
        nulls[i] = PG_ARGISNULL(arguments[i]) ? 'n' : ' ';
        values[i] = PG_ARGISNULL(arguments[i]) ? (Datum) 0 : PG_GETARG_DATUM(arguments[i]);
    }
    SPI_connect();
    if (SPI_execute_with_args(sql, count, types, values, nulls, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
        elog(ERROR, "unexpected answer of: %s", sql);
    for (int i = 0; i < CREDENTIAL_COUNT; i++) {
        char *value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1);

        credentials[i] = value ? MemoryContextStrdup(caller, value) : NULL;
    }
    SPI_finish();
}

/* The URL with the password after the user, before the first @ (one in a name is encoded). */
static char *with_user_password(const char *url, const char *password)
{
    const char *at = strchr(url, '@');
    StringInfoData result;

    initStringInfo(&result);
    /* Large enough at once: a buffer that grows leaves copies behind. */
    enlargeStringInfo(&result, (int) (strlen(url) + 4 * strlen(password) * 3 + 2));
    appendBinaryStringInfo(&result, url, (int) (at - url));
    appendStringInfoChar(&result, ':');
    append_encoded(&result, password);
    appendStringInfoString(&result, at);
    return result.data;
}

/* Every byte of the password in UTF-8 but letters and digits as %XX. */
static void append_encoded(StringInfo url, const char *password)
{
    char *utf8 = pg_server_to_any(password, (int) strlen(password), PG_UTF8);

    for (const char *byte = utf8; *byte != '\0'; byte++) {
        if ((*byte >= 'A' && *byte <= 'Z') || (*byte >= 'a' && *byte <= 'z') || (*byte >= '0' && *byte <= '9'))
            appendStringInfoChar(url, *byte);
        else
            appendStringInfo(url, "%%%02X", (unsigned char) *byte);
    }
    if (utf8 != password)
        explicit_bzero(utf8, strlen(utf8));
}

static Datum form_credentials(FunctionCallInfo fcinfo, char **credentials)
{
    TupleDesc descriptor;
    Datum values[CREDENTIAL_COUNT];
    bool nulls[CREDENTIAL_COUNT];

    if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "the result is no row");
    for (int i = 0; i < CREDENTIAL_COUNT; i++) {
        nulls[i] = credentials[i] == NULL;
        values[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(credentials[i]);
    }
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls));
}

static const char *text_argument(FunctionCallInfo fcinfo, int number)
{
    return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}
