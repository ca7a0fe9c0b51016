-- @helper check_tenant_names
--
-- Refuses names that a tenant cannot have. The default tenant is the only one with a reserved schema, and without a username.
create function cloaca.check_tenant_names(schema_name text, username text) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if username is not null or schema_name is distinct from 'cloaca_default' then
        perform cloaca.check_identifier(schema_name, 'schema name');
        perform cloaca.check_identifier(username, 'username');
    end if;
end
$$;
