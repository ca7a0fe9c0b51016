-- @helper query
--
-- Executes a statement on a tenant's tables, in whose text %1$I stands for the schema and $1 for the arguments, an array of text. The
-- library plans each but once a session, as what finds all its rows by keys: sequential scans, hash and merge joins are switched off
-- then. The columns are named and typed by the caller.
create function cloaca.query(statement text, tenant text, variadic arguments text[]) returns setof record
language c volatile
as 'MODULE_PATHNAME', 'cloaca_query';
