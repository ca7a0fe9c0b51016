-- @helper table_upgrade
--
-- The statements that bring the tables of a tenant from a version to the next, %1$I standing for its schema; null when there is no
-- such step. The build fills in the files sql/upgrade/tables--<version>--<next>.sql.
create function cloaca.table_upgrade(version integer) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
    select u.statements from (values (null::integer, null::text)@TABLE_UPGRADES@) u (version, statements)
    where u.version = table_upgrade.version
$$;
