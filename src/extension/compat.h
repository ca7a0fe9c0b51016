/*
 * compat.h - one spelling for what differs between PostgreSQL 14 and 18
 */
#ifndef CLOACA_COMPAT_H
#define CLOACA_COMPAT_H

#if PG_VERSION_NUM < 140000 || PG_VERSION_NUM >= 190000
#error "cloaca is made for PostgreSQL 14 to 18"
#endif

/* 15 gave AlterRole a ParseState, for error positions, and the reservation of setting names its present name. */
#if PG_VERSION_NUM >= 150000
#define compat_alter_role(statement) AlterRole(make_parsestate(NULL), statement)
#else
#define compat_alter_role(statement) AlterRole(statement)
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

#endif
