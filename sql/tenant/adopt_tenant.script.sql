-- @function adopt_tenant(schema_name text, username text, password text = null) -> username text, password text, schema_name text, connection_string text
--
-- The same without the library: the password must come as a SCRAM verifier, unless the role exists.
create function cloaca.adopt_tenant(schema_name text, username text, password text default null)
returns cloaca.tenant_credentials
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '10s'
as $$
#variable_conflict use_column
declare
    credentials cloaca.tenant_credentials;
    keeps_password constant boolean := coalesce(adopt_tenant.password, '') = ''
        and exists (select from pg_roles where rolname = adopt_tenant.username);
begin
    if not keeps_password then
        perform cloaca.check_verifier(adopt_tenant.password);
    end if;
    credentials := cloaca.adopt(adopt_tenant.schema_name, adopt_tenant.username);
    if not keeps_password then
        perform cloaca.set_verifier(credentials.username, adopt_tenant.password);
    end if;
    return credentials;
end
$$;
