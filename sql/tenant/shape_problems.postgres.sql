-- @helper shape_problems
--
-- In what the tables of cloaca in a schema differ from those of a new tenant; no rows when they do not.
create function cloaca.shape_problems(schema_name text) returns setof text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    expected record;
begin
    select e.tables, e.lines into expected from cloaca.expected_shape() e;
    return query
        with actual (line) as materialized (
            select s.line from cloaca.table_shape(shape_problems.schema_name, expected.tables) s (line))
        (select 'missing: ' || l.line from (
            select e.line from unnest(expected.lines) e (line) except all select a.line from actual a) l
        union all
        select 'unexpected: ' || l.line from (
            select a.line from actual a except all select e.line from unnest(expected.lines) e (line)) l)
        order by 1;
end
$$;
