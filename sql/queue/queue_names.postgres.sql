-- @helper queue_names
--
-- Every queue of a tenant that has settings, live tasks or dead letters. The names come from the indexes by one seek a name,
-- however many tasks there are.
create function cloaca.queue_names(tenant text) returns setof text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query execute format($query$
        with recursive live (queue) as (
            (select t.queue from %1$I.cloaca_task t order by t.queue limit 1)
            union all
            select (select t.queue from %1$I.cloaca_task t where t.queue > live.queue order by t.queue limit 1)
            from live where live.queue is not null
        ), dead (queue) as (
            (select d.queue from %1$I.cloaca_dead_letter d order by d.queue limit 1)
            union all
            select (select d.queue from %1$I.cloaca_dead_letter d where d.queue > dead.queue order by d.queue limit 1)
            from dead where dead.queue is not null
        )
        select queue from %1$I.cloaca_queue
        union select queue from live where queue is not null
        union select queue from dead where queue is not null
        $query$, tenant);
end
$$;
