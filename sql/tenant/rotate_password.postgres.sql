-- @function rotate_password(schema_name text, password text = null) -> username text, password text, schema_name text, connection_string text
--
-- Gives a tenant's role a new password. Sessions that are open stay open.
--
-- schema_name: the tenant's schema
-- password: null or empty for a generated one, or a SCRAM verifier, or plain text, as in create_tenant
-- Returns: the credentials, as create_tenant does
-- Errors: unknown_tenant, invalid_argument, not_supported
-- Writes: the tenant's role
create function cloaca.rotate_password(schema_name text, password text default null) returns cloaca.tenant_credentials
language c volatile security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'cloaca_rotate_password';
