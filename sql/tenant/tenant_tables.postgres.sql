-- @helper tenant_tables
--
-- The tables and indexes of a tenant, as elements of one `create schema`, so that all of them are made by and for the owner role
-- at once. The build fills in what the tables.postgres.sql of every noun say.
create function cloaca.tenant_tables() returns text
language sql immutable
return $tables$@TENANT_TABLES@$tables$;
