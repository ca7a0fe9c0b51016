-- @helper provision
--
-- Makes a tenant but for its password: owner role, login role, schema, tables, grants, default privileges and registry row, all
-- of them or none. Without a username it is the default tenant, which has no login role.
--
-- Returns: the credentials, still without a password
-- Errors: invalid_name, invalid_argument, name_taken
create function cloaca.provision(schema_name text, username text, connection_limit integer default null,
    settings jsonb default null) returns cloaca.tenant_credentials
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    owner text;
begin
    perform cloaca.check_tenant_names(provision.schema_name, provision.username);
    perform cloaca.check_settings(provision.connection_limit, provision.settings);
    if to_regnamespace(quote_ident(provision.schema_name)) is not null
        or exists (select from cloaca.tenant t where t.schema_name = provision.schema_name) then
        perform cloaca.raise_condition('name_taken', format('Schema "%s" exists.', provision.schema_name));
    elsif exists (select from pg_roles r where r.rolname = provision.username) then
        perform cloaca.raise_condition('name_taken', format('Role "%s" exists.', provision.username));
    end if;

    owner := cloaca.create_owner(provision.schema_name);
    if provision.username is not null then
        perform cloaca.create_login(provision.username, provision.connection_limit, provision.settings);
    end if;
    execute format('create schema %I authorization %I', provision.schema_name, owner) || ' ' || cloaca.tenant_tables();
    return cloaca.register(provision.schema_name, owner, provision.username);
exception
    -- Someone else made one of them since it was looked up above.
    when duplicate_object or duplicate_schema or unique_violation then
        perform cloaca.raise_condition('name_taken',
            format('Schema "%s" or its role was created by someone else just now.', provision.schema_name));
end
$$;
