-- @helper find_tenant
--
-- The registry's row of a tenant, locked until the transaction ends, so that two calls about one tenant take turns.
--
-- Errors: unknown_tenant
create function cloaca.find_tenant(schema_name text) returns cloaca.tenant
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant cloaca.tenant;
begin
    select * into tenant from cloaca.tenant t where t.schema_name = find_tenant.schema_name for update;
    if not found then
        perform cloaca.raise_condition('unknown_tenant', format('Schema "%s" is no tenant.', find_tenant.schema_name));
    end if;
    return tenant;
end
$$;
