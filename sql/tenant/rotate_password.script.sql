-- @function rotate_password(schema_name text, password text = null) -> username text, password text, schema_name text, connection_string text
--
-- The same without the library: the password must come as a SCRAM verifier.
create function cloaca.rotate_password(schema_name text, password text default null) returns cloaca.tenant_credentials
language plpgsql volatile security definer
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    credentials cloaca.tenant_credentials;
begin
    perform cloaca.check_verifier(rotate_password.password);
    credentials := cloaca.tenant_login(rotate_password.schema_name);
    perform cloaca.set_verifier(credentials.username, rotate_password.password);
    return credentials;
end
$$;
