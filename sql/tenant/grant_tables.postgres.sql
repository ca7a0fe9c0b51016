-- @helper grant_tables
--
-- Lets a role use a tenant: everything it may do with rows, nothing that could change the tables or plant code on them (no
-- TRIGGER, no TRUNCATE, no REFERENCES). cloaca's tables are those that belong to the owner of the schema.
create function cloaca.grant_tables(schema_name text, role text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    relation record;
begin
    execute format('grant usage on schema %I to %I', grant_tables.schema_name, grant_tables.role);
    for relation in
        select c.relname, c.relkind from pg_class c join pg_namespace n on n.oid = c.relnamespace and n.nspowner = c.relowner
        where n.nspname = grant_tables.schema_name and c.relkind in ('r', 'p', 'S')
    loop
        execute format(case relation.relkind when 'S' then 'grant usage on sequence %I.%I to %I'
            else 'grant select, insert, update, delete on table %I.%I to %I' end,
            grant_tables.schema_name, relation.relname, grant_tables.role);
    end loop;
end
$$;
