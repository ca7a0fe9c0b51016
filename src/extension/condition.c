/*
 * condition.c - raises the conditions of sql/conditions from C
 */
#include "extension.h"

#define CLOACA_ROW(name, text, sqlstate, kind, message) {sqlstate, message},
static const struct {
    const char *sqlstate;
    const char *message;
} conditions[] = {CLOACA_CONDITIONS(CLOACA_ROW)};

void cloaca_raise(CloacaCondition condition, const char *detail, const char *hint)
{
    const char *state = conditions[condition].sqlstate;

    ereport(ERROR, (errcode(MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4])),
                    errmsg_internal("%s", conditions[condition].message), detail ? errdetail_internal("%s", detail) : 0,
                    hint ? errhint("%s", hint) : 0));
}
