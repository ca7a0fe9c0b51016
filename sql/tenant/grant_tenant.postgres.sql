-- @function grant_tenant(schema_name text, role text) -> void
--
-- Lets another role use a tenant: call its functions, and read and write its rows. The role names the tenant with
-- set_tenant; the default tenant, cloaca_default, needs no naming, and is made if it does not exist.
--
-- schema_name: the tenant's schema
-- role: the role
-- Errors: unknown_tenant, invalid_argument
-- Writes: grants
create function cloaca.grant_tenant(schema_name text, role text) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant cloaca.tenant;
begin
    if grant_tenant.schema_name = 'cloaca_default' then
        perform cloaca.provision_default();
    end if;
    tenant := cloaca.find_tenant(grant_tenant.schema_name);
    if tenant.state <> 'active' then
        perform cloaca.raise_condition('unknown_tenant', format('Tenant "%s" is being dropped.', tenant.schema_name));
    end if;
    perform cloaca.check_grantee(grant_tenant.role);
    perform cloaca.grant_connect(grant_tenant.role);
    perform cloaca.grant_tables(tenant.schema_name, grant_tenant.role);
end
$$;
