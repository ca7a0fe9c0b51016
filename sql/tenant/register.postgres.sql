-- @helper register
--
-- Gives a tenant's login role what it may do in the schema, and enters the tenant in the registry: the last step of making and
-- of adopting a tenant.
--
-- Returns: the credentials, still without a password
create function cloaca.register(schema_name text, owner text, username text) returns cloaca.tenant_credentials
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if register.username is not null then
        execute format('alter role %I set search_path to %I', register.username, register.schema_name);
        execute format('alter default privileges for role %I revoke execute on functions from public', register.username);
        execute format('grant create on schema %I to %I', register.schema_name, register.username);
        perform cloaca.grant_connect(register.username);
        perform cloaca.grant_tables(register.schema_name, register.username);
    end if;
    insert into cloaca.tenant (schema_name, username, owner, table_version, created_at)
    values (register.schema_name, register.username, register.owner, cloaca.table_version(), cloaca.now());
    return row (register.username, null::text, register.schema_name, cloaca.connection_url(register.username));
end
$$;
