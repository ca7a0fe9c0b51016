-- @function create_tenant(schema_name text, username text, password text = null, connection_limit integer = null, settings jsonb = null) -> username text, password text, schema_name text, connection_string text
--
-- Makes a tenant in one transaction, whole or not at all: a schema with cloaca's tables, a role that owns it, which nobody can log
-- in as, and a role for the tenant that can do everything with its data and own what else it creates there.
--
-- schema_name: the tenant's schema, of letters, digits and underscores, at most 63 bytes; case counts
-- username: the role that the tenant logs in as, likewise
-- password: null or empty for a generated one of 32 letters and digits; a SCRAM verifier; or a password in plain text where the
--     setting cloaca.allow_plain_password is on, since what a statement says may reach the server's log
-- connection_limit: how many sessions the tenant may have at once, 1 to 262,143; null for no limit of its own
-- settings: an object of settings for the tenant's sessions: default_transaction_isolation, hash_mem_multiplier,
--     idle_in_transaction_session_timeout, idle_session_timeout, lock_timeout, maintenance_work_mem,
--     max_parallel_workers_per_gather, statement_timeout, temp_buffers, temp_file_limit, timezone, transaction_timeout, work_mem
-- Returns: the credentials; the password is null when a verifier was given. The connection_string works as it is, and leads into the
--     tenant's own schema
-- Errors: invalid_name, name_taken, invalid_argument, not_supported
-- Writes: roles, the schema and its tables, the registry
create function cloaca.create_tenant(schema_name text, username text, password text default null,
    connection_limit integer default null, settings jsonb default null) returns cloaca.tenant_credentials
language c volatile security definer
set search_path = pg_catalog, pg_temp
as 'MODULE_PATHNAME', 'cloaca_create_tenant';
