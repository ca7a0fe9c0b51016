/*
 * password.c - passwords of tenants: generated or given, made into SCRAM verifiers, and handed to the role
 *
 * A password never becomes part of an SQL text: texts reach the server's log, pg_stat_statements and the contexts of errors.
 * The role gets its verifier by a parse node. Runs in the backend of the admin who calls create_tenant, adopt_tenant or
 * rotate_password, with the rights of the extension's owner. AlterRole takes a row lock on the role until the transaction ends.
 */
#include "extension.h"

#include "commands/user.h"
#include "libpq/crypt.h"
#include "nodes/makefuncs.h"
#include "parser/parse_node.h"

/* As in libpq/scram.h, which includes the headers of GSSAPI where the server was built with it; few machines have them. */
extern char *pg_be_scram_build_secret(const char *password);

static char *generate(void);
static AlterRoleStmt *alter_role_statement(const char *role, const char *verifier);

CloacaPassword cloaca_password(const char *argument)
{
    CloacaPassword password = {NULL, NULL};
    bool is_generated = argument == NULL || *argument == '\0';

    if (!is_generated && get_password_type(argument) == PASSWORD_TYPE_SCRAM_SHA_256) {
        password.verifier = pstrdup(argument);
        return password;
    }
    if (!is_generated && (!cloaca_allow_plain_password || get_password_type(argument) != PASSWORD_TYPE_PLAINTEXT))
        cloaca_raise(CLOACA_INVALID_ARGUMENT, "The password must be a SCRAM verifier, or null for a generated one.",
                     "The cloaca command and libcloaca turn a password into its verifier before they send it.");
    password.plain = is_generated ? generate() : pstrdup(argument);
    password.verifier = pg_be_scram_build_secret(password.plain);
    return password;
}

void cloaca_set_password(const char *role, const CloacaPassword *password)
{
    compat_alter_role(alter_role_statement(role, password->verifier));
}

void cloaca_wipe_password(CloacaPassword *password)
{
    if (password->plain)
        explicit_bzero(password->plain, strlen(password->plain));
    if (password->verifier)
        explicit_bzero(password->verifier, strlen(password->verifier));
}

/* Letters and digits from the server's strong randomness. Bytes of 248 and above are thrown away: 248 is 4 * 62, so that the
 * rest of a division by 62 is equally likely to be any character. */
static char *generate(void)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    char *password = palloc(CLOACA_GENERATED_LENGTH + 1);
    int length = 0;

    while (length < CLOACA_GENERATED_LENGTH) {
        uint8 byte;

        if (!pg_strong_random(&byte, 1))
            ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a password")));
        if (byte < 248)
            password[length++] = alphabet[byte % 62];
    }
    password[length] = '\0';
    return password;
}

/* alter role <role> password '<verifier>', as the parser would give it. */
static AlterRoleStmt *alter_role_statement(const char *role, const char *verifier)
{
    AlterRoleStmt *statement = makeNode(AlterRoleStmt);
    RoleSpec *spec = makeNode(RoleSpec);

    spec->roletype = ROLESPEC_CSTRING;
    spec->rolename = pstrdup(role);
    spec->location = -1;
    statement->role = spec;
    statement->action = +1;
    statement->options = list_make1(makeDefElem("password", (Node *) makeString(pstrdup(verifier)), -1));
    return statement;
}
