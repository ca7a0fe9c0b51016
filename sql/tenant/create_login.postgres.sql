-- @helper create_login
--
-- Creates the role that a tenant logs in as, without a password, with a connection limit and settings of its own, which have been
-- checked.
--
-- Errors: invalid_argument
create function cloaca.create_login(username text, connection_limit integer, settings jsonb) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    execute format('create role %I login nosuperuser nocreatedb nocreaterole noreplication nobypassrls connection limit %s',
        create_login.username, coalesce(create_login.connection_limit, -1));
    perform cloaca.take_role(create_login.username);
    perform cloaca.apply_settings(create_login.username, create_login.settings);
end
$$;
