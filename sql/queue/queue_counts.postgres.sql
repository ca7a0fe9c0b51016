-- @helper queue_counts
--
-- Counts one queue of a tenant, looking at a bounded number of rows however long the queue is: at 10,001 due, 10,001 scheduled
-- and 10,001 dead ones it stops, and the counts are no longer exact.
-- The rows that are due come in the order of claiming; a task scheduled for later is reached by a seek, never walked over.
create type cloaca.queue_count as (
    ready            bigint,
    scheduled        bigint,
    running          bigint,
    dead             bigint,
    oldest_ready_age interval,
    exact            boolean
);

create function cloaca.queue_counts(tenant text, queue text, at timestamptz) returns cloaca.queue_count
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    counts cloaca.queue_count;
begin
    execute format($query$
        with recursive level (priority) as (
            (select t.priority from %1$I.cloaca_task t where t.queue = $1 order by t.priority limit 1)
            union all
            select (select t.priority from %1$I.cloaca_task t
                    where t.queue = $1 and t.priority > level.priority order by t.priority limit 1)
            from level where level.priority is not null
        ), due as materialized (
            select t.is_running from level cross join lateral (
                select d.cancelled or (d.lease_id is not null and (d.lease_until > $2 or d.attempt >= d.max_attempts)) as is_running
                from %1$I.cloaca_task d
                where d.queue = $1 and d.priority = level.priority and d.run_at <= $2
                order by d.run_at, d.id limit 10001) t
            where level.priority is not null limit 10001
        ), oldest as (
            select min(t.run_at) as run_at from level cross join lateral (
                select d.run_at from %1$I.cloaca_task d
                where d.queue = $1 and d.priority = level.priority and d.run_at <= $2 and not d.cancelled
                    and (d.lease_id is null or (d.lease_until <= $2 and d.attempt < d.max_attempts))
                order by d.run_at, d.id limit 1) t
            where level.priority is not null
        ), counted as (
            select (select count(*) from due where not is_running) as ready,
                (select count(*) from due where is_running) as running,
                (select count(*) from (
                    select from level cross join lateral (
                        select from %1$I.cloaca_task d
                        where d.queue = $1 and d.priority = level.priority and d.run_at > $2
                        order by d.run_at limit 10001) t
                    where level.priority is not null limit 10001) later) as scheduled,
                (select count(*) from (
                    select from %1$I.cloaca_dead_letter d
                    where d.queue = $1 and d.status = 'failed' limit 10001) failed) as dead
        )
        select ready, scheduled, running, dead,
            $2 - oldest.run_at,
            greatest(ready + running, scheduled, dead) <= 10000
        from counted cross join oldest
        $query$, tenant) into counts using queue_counts.queue, queue_counts.at;
    return counts;
end
$$;
