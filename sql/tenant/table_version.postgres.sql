-- @helper table_version
--
-- The version of the tables that these functions work on. A table change in sql/upgrade raises it.
create function cloaca.table_version() returns integer
language sql immutable
return 1;
