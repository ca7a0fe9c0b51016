/*
 * compat.h - one spelling for what differs between PostgreSQL 14 and 18
 */
#ifndef CLOACA_COMPAT_H
#define CLOACA_COMPAT_H

#if PG_VERSION_NUM < 140000 || PG_VERSION_NUM >= 190000
#error "cloaca is made for PostgreSQL 14 to 18"
#endif

#ifndef USE_FLOAT8_BYVAL
#error "cloaca is made for 64-bit servers"
#endif

/* 15 gave AlterRole a ParseState, for error positions, and the reservation of setting names its present name. */
#if PG_VERSION_NUM >= 150000
#define compat_alter_role(statement) AlterRole(make_parsestate(NULL), statement)
#else
#define compat_alter_role(statement) AlterRole(statement)
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* 16 replaced the functions that check privileges on one kind of object each by one for all kinds, and says of an update not
 * whether but which indexes need an entry. */
#if PG_VERSION_NUM >= 160000
#define compat_schema_aclcheck(schema, role, mode) object_aclcheck(NamespaceRelationId, schema, role, mode)
typedef TU_UpdateIndexes CompatUpdateIndexes;
#define COMPAT_NO_INDEXES TU_None
#define compat_insert_index_tuples(target, row, state, is_update, indexes)                                                     \
    ExecInsertIndexTuples(target, row, state, is_update, false, NULL, NIL, (indexes) == TU_Summarizing)
#else
#define compat_schema_aclcheck(schema, role, mode) pg_namespace_aclcheck(schema, role, mode)
typedef bool CompatUpdateIndexes;
#define COMPAT_NO_INDEXES false
#define compat_insert_index_tuples(target, row, state, is_update, indexes)                                                     \
    ((void) (indexes), ExecInsertIndexTuples(target, row, state, is_update, false, NULL, NIL))
#endif

/* 16 calls a relation's file a locator. */
#if PG_VERSION_NUM >= 160000
#define compat_read_recent_buffer(relation, block, buffer) ReadRecentBuffer((relation)->rd_locator, MAIN_FORKNUM, block, buffer)
#else
#define compat_read_recent_buffer(relation, block, buffer) ReadRecentBuffer((relation)->rd_node, MAIN_FORKNUM, block, buffer)
#endif

/* 16 lets a descent of a B-tree know the table, 17 takes away its snapshot. */
#if PG_VERSION_NUM >= 170000
#define compat_bt_search(index, table, key, leaf) _bt_search(index, table, key, leaf, BT_READ)
#elif PG_VERSION_NUM >= 160000
#define compat_bt_search(index, table, key, leaf) _bt_search(index, table, key, leaf, BT_READ, NULL)
#else
#define compat_bt_search(index, table, key, leaf) _bt_search(index, key, leaf, BT_READ, NULL)
#endif

/* 17 lets an identity sequence be asked for by its relation. */
#if PG_VERSION_NUM >= 170000
#define compat_identity_sequence(relation, column) getIdentitySequence(relation, column, true)
#else
#define compat_identity_sequence(relation, column) getIdentitySequence(RelationGetRelid(relation), column, true)
#endif

/* 18 counts the searches of an index scan, and asks whether a primary key may be deferrable. */
#if PG_VERSION_NUM >= 180000
#define compat_primary_key_index(relation) RelationGetPrimaryKeyIndex(relation, false)
#define compat_index_beginscan(table, index, snapshot, keys) index_beginscan(table, index, snapshot, NULL, keys, 0)
#else
#define compat_primary_key_index(relation) RelationGetPrimaryKeyIndex(relation)
#define compat_index_beginscan(table, index, snapshot, keys) index_beginscan(table, index, snapshot, keys, 0)
#endif

#endif
