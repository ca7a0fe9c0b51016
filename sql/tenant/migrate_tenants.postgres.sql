-- @function migrate_tenants(max integer = 1000) -> schema_name text, table_version integer
--
-- Brings the tables of tenants to the version that the functions need, after an update of the extension. Until then the functions
-- raise tenant_outdated for such a tenant. A tenant that another migration has in hand is left to it; one whose
-- tables are locked for more than ten seconds stays as it was, with a warning.
--
-- max: how many tenants at most, 1 to 10,000
-- Returns: a row for each tenant that was moved, with its new version; none when nothing is left to do
-- Errors: invalid_argument
-- Writes: the tables of tenants, the registry
create function cloaca.migrate_tenants(max integer default 1000) returns table (schema_name text, table_version integer)
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
    tenant cloaca.tenant;
begin
    perform cloaca.check_max(migrate_tenants.max);
    for tenant in
        select t.* from cloaca.tenant t
        where t.table_version < cloaca.table_version() and t.state = 'active'
        order by t.schema_name collate "C" limit migrate_tenants.max for update skip locked
    loop
        begin
            for version in tenant.table_version .. cloaca.table_version() - 1 loop
                execute format(cloaca.table_upgrade(version), tenant.schema_name);
            end loop;
            update cloaca.tenant t set table_version = cloaca.table_version() where t.schema_name = tenant.schema_name;
            if tenant.username is not null then
                perform cloaca.grant_tables(tenant.schema_name, tenant.username);
            end if;
        exception
            when lock_not_available then
                raise warning 'Tenant "%" is not migrated: another session holds a lock on its tables.', tenant.schema_name;
                continue;
        end;
        schema_name := tenant.schema_name;
        table_version := cloaca.table_version();
        return next;
    end loop;
end
$$;
