/*
 * transaction.c - refuse_transaction: what a procedure that commits asks first
 */
#include "extension.h"

#include "access/xact.h"

PG_FUNCTION_INFO_V1(cloaca_refuse_transaction);

Datum cloaca_refuse_transaction(PG_FUNCTION_ARGS)
{
    if (IsTransactionBlock())
        cloaca_raise(CLOACA_IN_TRANSACTION, "The procedure commits as it goes.", "Call it outside of BEGIN and COMMIT.");
    PG_RETURN_VOID();
}
