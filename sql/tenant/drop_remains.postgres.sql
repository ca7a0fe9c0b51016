-- @helper drop_remains
--
-- The end of a tenant whose objects are gone: schema, default privileges, grants, both roles and the registry's row.
--
-- Errors: tenant_in_use
create function cloaca.drop_remains(tenant cloaca.tenant) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    role text;
    reason text;
begin
    perform cloaca.lock_connect();
    execute format('drop schema if exists %I cascade', tenant.schema_name);
    for role in select r.rolname from pg_roles r where r.rolname in (tenant.username, tenant.owner) loop
        execute format('drop owned by %I', role);
        execute format('drop role %I', role);
    end loop;
    delete from cloaca.tenant t where t.schema_name = tenant.schema_name;
exception
    when dependent_objects_still_exist then
        get stacked diagnostics reason = pg_exception_detail;
        perform cloaca.raise_condition('tenant_in_use',
            format('Role "%s" is still needed: %s.', role, replace(reason, E'\n', ', ')));
end
$$;
