-- @function create_tenant(schema_name text, username text, password text = null, connection_limit integer = null, settings jsonb = null) -> username text, password text, schema_name text, connection_string text
--
-- The same without the library: the password must come as a SCRAM verifier.
create function cloaca.create_tenant(schema_name text, username text, password text default null,
    connection_limit integer default null, settings jsonb default null) returns cloaca.tenant_credentials
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    credentials cloaca.tenant_credentials;
begin
    perform cloaca.check_verifier(create_tenant.password);
    credentials := cloaca.provision(create_tenant.schema_name, create_tenant.username, create_tenant.connection_limit,
        create_tenant.settings);
    perform cloaca.set_verifier(credentials.username, create_tenant.password);
    return credentials;
end
$$;
