/*
 * layout.c - whether a table and its indexes are as this library knows them
 *
 * Runs in the backend of the caller, who has opened and locked them.
 */
#include "extension.h"

#include "access/heapam.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static bool has_calls(Node *node, void *context);

bool cloaca_is_plain_table(Relation relation, const CloacaColumn *columns, int count)
{
    TupleDesc descriptor = RelationGetDescr(relation);
    const FormData_pg_class *form = relation->rd_rel;

    if (form->relkind != RELKIND_RELATION || form->relpersistence != RELPERSISTENCE_PERMANENT ||
        relation->rd_tableam != GetHeapamTableAmRoutine() || relation->rd_rules || relation->trigdesc || form->relrowsecurity ||
        form->relhassubclass || form->relispartition || descriptor->natts != count)
        return false;
    if (descriptor->constr && (descriptor->constr->num_check > 0 || descriptor->constr->has_generated_stored))
        return false;
    for (int i = 0; i < count; i++) {
        const FormData_pg_attribute *attribute = TupleDescAttr(descriptor, i);

        if (attribute->attisdropped || attribute->atttypid != columns[i].type || attribute->atthasmissing ||
            attribute->attnotnull != columns[i].is_not_null || (attribute->atthasdef && !attribute->attnotnull) ||
            attribute->attgenerated != '\0' || attribute->atttypmod != -1 ||
            strcmp(NameStr(attribute->attname), columns[i].name) != 0)
            return false;
    }
    return true;
}

bool cloaca_is_index_on(Relation index, int count, const AttrNumber *columns, bool is_unique)
{
    const FormData_pg_index *form = index->rd_index;

    if (index->rd_rel->relam != BTREE_AM_OID || form->indnatts != count || form->indnkeyatts != count ||
        form->indisunique != is_unique || !form->indisvalid || !form->indisready || !form->indimmediate ||
        !heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL))
        return false;
    for (int i = 0; i < count; i++) {
        Oid type = index->rd_opcintype[i];
        Oid family = get_opclass_family(GetDefaultOpClass(type, BTREE_AM_OID));

        if (form->indkey.values[i] != columns[i] || index->rd_indoption[i] != 0 || index->rd_opfamily[i] != family ||
            (type == TEXTOID && index->rd_indcollation[i] != C_COLLATION_OID))
            return false;
    }
    return true;
}

bool cloaca_has_calls(Relation index)
{
    return RelationGetIndexExpressions(index) != NIL || has_calls((Node *) RelationGetIndexPredicate(index), NULL);
}

/* Anything but columns, constants and whether something is null. */
static bool has_calls(Node *node, void *context)
{
    if (node == NULL)
        return false;
    if (!IsA(node, List) && !IsA(node, BoolExpr) && !IsA(node, NullTest) && !IsA(node, Var) && !IsA(node, Const))
        return true;
    return expression_tree_walker(node, has_calls, context);
}
