-- @function tenant_status(schema_name text) -> schema_name text, username text, owner text, state text, table_version integer, sessions bigint, tables bigint, bytes bigint, created_at timestamptz, problems text[]
--
-- How a tenant is: its row of list_tenants, what it uses, and in what it is no longer as it was made (a role or a grant that is
-- missing or is too much, a table that was changed).
--
-- schema_name: the tenant's schema
-- Returns: one row: besides the columns of list_tenants how many sessions its role has, how many tables its schema has and how
--     many bytes they take with their indexes, and the problems, a sentence each, none when all is well
-- Errors: unknown_tenant, tenant_in_use
-- Writes: nothing
create type cloaca.tenant_info as (
    schema_name   text,
    username      text,
    owner         text,
    state         text,
    table_version integer,
    sessions      bigint,
    tables        bigint,
    bytes         bigint,
    created_at    timestamptz,
    problems      text[]
);

create function cloaca.tenant_status(schema_name text) returns cloaca.tenant_info
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
    tenant cloaca.tenant;
    info cloaca.tenant_info;
begin
    select * into tenant from cloaca.tenant t where t.schema_name = tenant_status.schema_name;
    if not found then
        perform cloaca.raise_condition('unknown_tenant', format('Schema "%s" is no tenant.', tenant_status.schema_name));
    end if;
    select tenant.schema_name, tenant.username, tenant.owner, tenant.state, tenant.table_version,
        (select count(*) from pg_stat_activity a where a.usename = tenant.username),
        count(c.oid), coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint, tenant.created_at,
        array(select p.problem from cloaca.tenant_problems(tenant) p (problem) order by p.problem)
    into info
    from pg_class c
    where c.relnamespace = to_regnamespace(quote_ident(tenant.schema_name)) and c.relkind in ('r', 'm');
    return info;
exception
    -- A tenant can lock its tables for as long as it likes.
    when lock_not_available then
        perform cloaca.raise_condition('tenant_in_use',
            format('Another session holds a lock on a table of "%s".', tenant_status.schema_name));
end
$$;
