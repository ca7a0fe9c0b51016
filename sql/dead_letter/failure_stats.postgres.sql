-- @function failure_stats(queue text = null) -> queue text, failed bigint, resolved bigint, oldest_failed_at timestamptz
--
-- How many dead letters each queue has.
--
-- queue: this queue alone, which need not have any; null for every queue that has
-- Returns: a row for each queue, ordered by name: failed and resolved dead letters, and since when the oldest failed one waits
-- Errors: unknown_tenant
-- Writes: nothing
create type cloaca.failure_count as (
    queue            text,
    failed           bigint,
    resolved         bigint,
    oldest_failed_at timestamptz
);

create function cloaca.failure_stats(queue text default null) returns setof cloaca.failure_count
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    return query execute format($query$
        select name.queue, count(d.id) filter (where d.status = 'failed'), count(d.id) filter (where d.status = 'resolved'),
            min(d.failed_at) filter (where d.status = 'failed')
        from (select $1 as queue where $1 is not null
              union all select distinct l.queue from %1$I.cloaca_dead_letter l where $1 is null) name
        left join %1$I.cloaca_dead_letter d on d.queue = name.queue
        group by name.queue order by name.queue collate "C"
        $query$, cloaca.current_tenant()) using failure_stats.queue;
end
$$;
