-- @helper circle
--
-- Names a circle of tasks that depend on each other; null when there is none. From the first task without a rank, one dependency without
-- a rank leads to the next, until a task comes twice.
create function cloaca.circle(tasks jsonb, places jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    ranks constant integer[] := cloaca.task_ranks(tasks, places);
    here integer := array_position(ranks, null);
    way integer[] := '{}';
begin
    if here is null then
        return null;
    end if;
    while not here = any (way) loop
        way := way || here;
        select (places ->> d.name)::integer into here
        from jsonb_array_elements_text(tasks -> (here - 1) -> 'dependencies') with ordinality as d (name, n)
        where ranks[(places ->> d.name)::integer] is null order by d.n limit 1;
    end loop;
    way := way[array_position(way, here):] || here;
    return format('The tasks depend on each other in a circle: %s.', (
        select string_agg(tasks -> (w.n - 1) ->> 'name', ' -> ' order by w.place) from unnest(way) with ordinality as w (n, place)));
end
$$;
