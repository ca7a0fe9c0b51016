-- @helper estimate_queues
--
-- Counts the queues of a tenant that are too long for queue_stats to count, at most once a minute each, and forgets the estimates
-- of those that are short again.
create function cloaca.estimate_queues(tenant text, at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    execute format($query$
        with long as materialized (
            select name.queue from cloaca.queue_names(%1$L) as name (queue)
            cross join lateral cloaca.queue_counts(%1$L, name.queue, $1) c
            where not c.exact
        ), forgotten as (
            delete from %1$I.cloaca_queue_estimate e where e.queue not in (select l.queue from long l)
        )
        insert into %1$I.cloaca_queue_estimate as e (queue, ready, scheduled, running, dead, counted_at)
        select l.queue, t.due - t.running, t.scheduled, t.running, d.dead, $1
        from long l
        cross join lateral (
            select count(*) filter (where r.run_at <= $1) as due, count(*) filter (where r.run_at > $1) as scheduled,
                count(*) filter (where r.run_at <= $1 and (r.cancelled
                    or (r.lease_id is not null and (r.lease_until > $1 or r.attempt >= r.max_attempts)))) as running
            from %1$I.cloaca_task r where r.queue = l.queue) t
        cross join lateral (
            select count(*) as dead from %1$I.cloaca_dead_letter f where f.queue = l.queue and f.status = 'failed') d
        where not exists (
            select from %1$I.cloaca_queue_estimate k where k.queue = l.queue and k.counted_at > $1 - interval '60 seconds')
        on conflict (queue) do update set ready = excluded.ready, scheduled = excluded.scheduled, running = excluded.running,
            dead = excluded.dead, counted_at = excluded.counted_at
        $query$, tenant) using estimate_queues.at;
end
$$;
