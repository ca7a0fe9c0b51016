-- @helper create_owner
--
-- Creates the role that owns a tenant's schema and cloaca's tables in it. Nobody can log in as it, and the tenant is no member of
-- it, so a tenant can neither drop nor alter those tables nor plant code on them.
create function cloaca.create_owner(schema_name text) returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    owner constant text := 'cloaca_owner_' || left(replace(gen_random_uuid()::text, '-', ''), 16);
begin
    execute format('create role %I nologin nosuperuser nocreatedb nocreaterole noreplication nobypassrls', owner);
    execute format('comment on role %I is %L', owner,
        format('owns the cloaca tenant "%s" of database "%s"', create_owner.schema_name, current_database()));
    perform cloaca.take_role(owner);
    return owner;
end
$$;
