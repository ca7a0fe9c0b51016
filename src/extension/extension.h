/*
 * extension.h - what the parts of the server library share
 *
 * The library is loaded by the first call of one of its functions, or by shared_preload_libraries; both work. Everything runs
 * in the backend of the session that calls it. Functions here hold no lock of their own.
 */
#ifndef CLOACA_EXTENSION_H
#define CLOACA_EXTENSION_H

#include "postgres.h"

#include "fmgr.h"

#include "compat.h"
#include "conditions.h"

/* The conditions of sql/conditions: CLOACA_INVALID_ARGUMENT and so on. */
#define CLOACA_ENUMERATOR(name, text, sqlstate, kind, message) CLOACA_##name,
typedef enum CloacaCondition { CLOACA_CONDITIONS(CLOACA_ENUMERATOR) CLOACA_CONDITION_COUNT } CloacaCondition;

/* condition.c: raises it, with a detail and a hint (full sentences, or NULL), as cloaca.raise_condition does. */
extern _Noreturn void cloaca_raise(CloacaCondition condition, const char *detail, const char *hint);

/* module.c: the setting cloaca.allow_plain_password. */
extern bool cloaca_allow_plain_password;

/* password.c */
#define CLOACA_GENERATED_LENGTH 32

typedef struct CloacaPassword {
    char *plain;    /* what the caller is told; NULL when it gave a verifier */
    char *verifier; /* what the role gets: a SCRAM verifier */
} CloacaPassword;

/* The password that an argument (NULL or empty: a generated one) means. Raises when plain text is not allowed. */
extern CloacaPassword cloaca_password(const char *argument);
/* Gives it to a role. */
extern void cloaca_set_password(const char *role, const CloacaPassword *password);
/* Overwrites it in memory. */
extern void cloaca_wipe_password(CloacaPassword *password);

#endif
