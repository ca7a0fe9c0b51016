-- @helper tenant_login
--
-- How a tenant that is in use logs in: its credentials, without a password.
--
-- Errors: unknown_tenant, not_supported, insufficient_privilege
create function cloaca.tenant_login(schema_name text) returns cloaca.tenant_credentials
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant constant cloaca.tenant := cloaca.find_tenant(tenant_login.schema_name);
begin
    if tenant.state <> 'active' then
        perform cloaca.raise_condition('unknown_tenant', format('Tenant "%s" is being dropped.', tenant.schema_name));
    elsif tenant.username is null then
        perform cloaca.raise_condition('not_supported', format('Tenant "%s" has no role to log in as.', tenant.schema_name));
    elsif not exists (select from pg_roles where rolname = tenant.username) then
        perform cloaca.raise_condition('unknown_tenant', format('Role "%s" of the tenant does not exist.', tenant.username),
            'cloaca.adopt_tenant makes the roles of a restored tenant.');
    end if;
    perform cloaca.check_role(tenant.username);
    return row (tenant.username, null::text, tenant.schema_name, cloaca.connection_url(tenant.username));
end
$$;
