-- @function list_tenants() -> schema_name text, username text, owner text, state text, table_version integer, created_at timestamptz
--
-- The tenants of this database.
--
-- Returns: a row for each tenant, ordered by name: its schema, the role it logs in as (null for the default tenant), the role that
--     owns the schema, active or dropping, the version of its tables, and when it was made
-- Errors: none
-- Writes: nothing
create function cloaca.list_tenants() returns table (schema_name text, username text, owner text, state text,
    table_version integer, created_at timestamptz)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select t.schema_name, t.username, t.owner, t.state, t.table_version, t.created_at
    from cloaca.tenant t order by t.schema_name collate "C"
$$;
