-- @helper expected_shape
--
-- The shape of a new tenant's tables on this server: makes them in a schema of its own, looks, and rolls that back.
create function cloaca.expected_shape(out tables text[], out lines text[])
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    scratch constant text := 'cloaca_shape_' || replace(gen_random_uuid()::text, '-', '');
begin
    execute format('create schema %I', scratch) || ' ' || cloaca.tenant_tables();
    tables := array(select c.relname::text from pg_class c where c.relnamespace = to_regnamespace(scratch) and c.relkind = 'r');
    lines := array(select l.line from cloaca.table_shape(scratch) l (line));
    raise exception using errcode = 'ZC000';
exception
    when sqlstate 'ZC000' then
        return;
end
$$;
