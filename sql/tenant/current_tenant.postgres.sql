-- @function current_tenant() -> current_tenant text
--
-- The schema of the tenant that calls of this session mean: the one that cloaca.tenant (set_tenant) names, else the tenant whose
-- role is current, else the default tenant. The default tenant is made here when the extension's owner first needs it.
--
-- Returns: the schema's name
-- Errors: unknown_tenant, insufficient_privilege, tenant_outdated
-- Writes: nothing; at the very first call the default tenant
create function cloaca.current_tenant() returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    named constant text := nullif(current_setting('cloaca.tenant', true), '');
    found_name text;
    version integer;
begin
    if named is null then
        select schema_name, table_version into found_name, version from cloaca.usable_tenant where username = current_user::text;
        if not found then
            select schema_name, table_version into found_name, version
            from cloaca.usable_tenant where schema_name = 'cloaca_default';
        end if;
        if not found and pg_has_role((select nspowner from pg_namespace where nspname = 'cloaca'), 'usage') then
            perform cloaca.provision_default();
            found_name := 'cloaca_default';
            version := cloaca.table_version();
        end if;
        if found_name is null then
            perform cloaca.raise_condition('unknown_tenant', format('Role "%s" has no tenant.', current_user),
                format('Ask an admin for cloaca.grant_tenant(''cloaca_default'', %L), or name a tenant with cloaca.set_tenant.',
                    current_user));
        end if;
    else
        select schema_name, table_version into found_name, version from cloaca.usable_tenant where schema_name = named;
        if not found and not has_schema_privilege(to_regnamespace(quote_ident(named)), 'usage') then
            perform cloaca.raise_condition('insufficient_privilege', format('Permission denied for schema "%s".', named));
        elsif not found then
            perform cloaca.raise_condition('unknown_tenant', format('Schema "%s" is no tenant.', named));
        end if;
    end if;
    if version <> cloaca.table_version() then
        perform cloaca.raise_condition('tenant_outdated',
            format('The tables of "%s" have version %s, the functions need %s.', found_name, version, cloaca.table_version()),
            'Ask an admin for cloaca.migrate_tenants().');
    end if;
    return found_name;
end
$$;
