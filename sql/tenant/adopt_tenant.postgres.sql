-- @function adopt_tenant(schema_name text, username text, password text = null) -> username text, password text, schema_name text, connection_string text
--
-- Makes a tenant of a schema that is there already: one that was restored from a dump, which carries no roles, or one that was left
-- when the extension was dropped. The tables of cloaca in it must be as create_tenant makes them; then they get a new owner, and
-- whatever else is in the schema belongs to the tenant's role. Roles that still exist are used again when they fit.
--
-- schema_name: the schema
-- username: the role that the tenant logs in as; created unless it is there and already was this schema's
-- password: as in create_tenant; null leaves the password of a role that exists as it is
-- Returns: the credentials, as create_tenant does
-- Errors: invalid_name, name_taken, unknown_tenant, tenant_in_use, invalid_argument, not_supported
-- Writes: roles, owners and grants of the schema and what is in it, the registry
create function cloaca.adopt_tenant(schema_name text, username text, password text default null)
returns cloaca.tenant_credentials
language c volatile security definer
set search_path = pg_catalog, pg_temp
set lock_timeout = '10s'
as 'MODULE_PATHNAME', 'cloaca_adopt_tenant';
