-- @function queue_stats(queue text = null) -> queue text, ready bigint, scheduled bigint, running bigint, dead bigint, oldest_ready_age interval, exact boolean, counted_at timestamptz
--
-- How many tasks a queue has, by state: in milliseconds at any backlog. Counts are exact while at most 10,000 tasks
-- are due (ready or running), 10,000 scheduled and 10,000 dead. Beyond that they are what run_maintenance counted last, or,
-- before it ever did, lower bounds.
--
-- queue: its name; null for every queue
-- Returns: a row for each queue, ordered by name: ready (claimable now), scheduled (for later), running (under a lease), dead
--     (dead letters that are not resolved), the age of the longest ready task, whether the counts are exact, and when they were
--     made (null for lower bounds)
-- Errors: invalid_name, unknown_queue
-- Writes: nothing
create type cloaca.queue_statistics as (
    queue            text,
    ready            bigint,
    scheduled        bigint,
    running          bigint,
    dead             bigint,
    oldest_ready_age interval,
    exact            boolean,
    counted_at       timestamptz
);

create function cloaca.queue_stats(queue text default null) returns setof cloaca.queue_statistics
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    at timestamptz := cloaca.now();
    is_known boolean;
begin
    if queue_stats.queue is not null then
        perform cloaca.check_name(queue_stats.queue, 'queue name');
        execute format($query$
            select exists (select from %1$I.cloaca_queue where queue = $1)
                or exists (select from %1$I.cloaca_task where queue = $1)
                or exists (select from %1$I.cloaca_dead_letter where queue = $1)
            $query$, tenant) into is_known using queue_stats.queue;
        if not is_known then
            perform cloaca.raise_condition('unknown_queue', format('Queue "%s" does not exist.', queue_stats.queue));
        end if;
    end if;

    return query execute format($query$
        select name.queue, coalesce(e.ready, c.ready), coalesce(e.scheduled, c.scheduled), coalesce(e.running, c.running),
            coalesce(e.dead, c.dead), c.oldest_ready_age, c.exact, case when c.exact then $2 else e.counted_at end
        from (select $1 as queue where $1 is not null
              union all select l.queue from cloaca.list_queues() l where $1 is null) name
        cross join lateral cloaca.queue_counts(%1$L, name.queue, $2) c
        left join %1$I.cloaca_queue_estimate e on e.queue = name.queue and not c.exact
        order by name.queue collate "C"
        $query$, tenant) using queue_stats.queue, at;
end
$$;
