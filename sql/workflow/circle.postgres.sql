-- @helper circle
--
-- Names a circle of tasks that depend on each other; null when there is none. Tasks without open dependencies are taken away, again
-- and again; from what is left, the first task leads from one open dependency to the next until one comes twice.
create function cloaca.circle(tasks jsonb, places jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    count constant integer := jsonb_array_length(tasks);
    open integer[];       -- of each task: how many dependencies are open
    dependents integer[]; -- of all tasks, one after the other, ...
    starts integer[];     -- ... and where each one's begin
    free integer[];
    taken integer := 0;
    here integer;
    way integer[] := '{}';
begin
    with edge as (
        select i.n::integer as dependent, (places ->> d.name)::integer as dependency
        from jsonb_array_elements(tasks) with ordinality as i (task, n)
        cross join jsonb_array_elements_text(coalesce(i.task -> 'dependencies', '[]')) as d (name)
    ), asked as (
        select n, count(e.dependent)::integer as open from generate_series(1, count) n left join edge e on e.dependent = n group by n
    ), given as (
        select n, count(e.dependency)::integer as given from generate_series(1, count) n left join edge e on e.dependency = n group by n
    )
    select (select array_agg(a.open order by a.n) from asked a),
        (select array_agg(e.dependent order by e.dependency, e.dependent) from edge e),
        (select array_agg(s.start order by s.n) from (
            select g.n, (1 + sum(g.given) over (order by g.n) - g.given)::integer as start from given g) s)
    into open, dependents, starts;
    starts := starts || (coalesce(cardinality(dependents), 0) + 1);

    free := array(select u.n from unnest(open) with ordinality as u (open, n) where u.open = 0 order by u.n);
    while taken < coalesce(cardinality(free), 0) loop
        taken := taken + 1;
        for place in starts[free[taken]] .. starts[free[taken] + 1] - 1 loop
            here := dependents[place];
            open[here] := open[here] - 1;
            if open[here] = 0 then
                free[cardinality(free) + 1] := here;
            end if;
        end loop;
    end loop;
    if taken = count then
        return null;
    end if;

    select min(u.n) into here from unnest(open) with ordinality as u (open, n) where u.open > 0;
    while not here = any (way) loop
        way := way || here;
        select (places ->> d.name)::integer into here
        from jsonb_array_elements_text(tasks -> (here - 1) -> 'dependencies') with ordinality as d (name, n)
        where open[(places ->> d.name)::integer] > 0 order by d.n limit 1;
    end loop;
    way := way[array_position(way, here):] || here;
    return format('The tasks depend on each other in a circle: %s.', (
        select string_agg(tasks -> (w.n - 1) ->> 'name', ' -> ' order by w.place) from unnest(way) with ordinality as w (n, place)));
end
$$;
