-- @helper task_ranks
--
-- Of each task of a definition how many tasks the longest way to it has, 0 where it depends on nothing, and null where it is in a
-- circle or behind one. Tasks without open dependencies are taken away, again and again.
create function cloaca.task_ranks(tasks jsonb, places jsonb) returns integer[]
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
    longest integer[] := array_fill(0, array[count]);
    ranks integer[] := array_fill(null::integer, array[count]);
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

    free := array(select u.n::integer from unnest(open) with ordinality as u (open, n) where u.open = 0 order by u.n);
    while taken < cardinality(free) loop
        taken := taken + 1;
        ranks[free[taken]] := longest[free[taken]];
        for place in starts[free[taken]] .. starts[free[taken] + 1] - 1 loop
            here := dependents[place];
            longest[here] := greatest(longest[here], longest[free[taken]] + 1);
            open[here] := open[here] - 1;
            if open[here] = 0 then
                free[cardinality(free) + 1] := here;
            end if;
        end loop;
    end loop;
    return ranks;
end
$$;
