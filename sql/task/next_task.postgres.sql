-- @helper next_task
--
-- Whether a claim on one of the queues would get a task at that time, and if none would, when one may become claimable: the earliest
-- run_at to come, or end of a lease. It seeks by queue and priority, so that tasks scheduled for later cost nothing. Leases have no
-- index: their ends are looked for among the first 100 tasks of each priority alone, and a later one may be missed.
create function cloaca.next_task(tenant text, queues text[], at timestamptz) returns table (ready boolean, due timestamptz)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    levels constant text := format($query$
        with recursive wanted (queue) as (
            select distinct w.queue collate "C" from unnest($1) as w (queue)
            where not exists (select from %1$I.cloaca_queue q where q.queue = w.queue and q.paused)
        ), level (queue, priority) as (
            select w.queue, (select t.priority from %1$I.cloaca_task t where t.queue = w.queue order by t.priority limit 1)
            from wanted w
            union all
            select l.queue, (select t.priority from %1$I.cloaca_task t
                where t.queue = l.queue and t.priority > l.priority order by t.priority limit 1)
            from level l where l.priority is not null
        )
        $query$, tenant);
begin
    execute levels || format($query$
        select exists (select from level l where l.priority is not null and exists (
            select from %1$I.cloaca_task t
            where t.queue = l.queue and t.priority = l.priority and t.run_at <= $2 and not t.cancelled
                and (t.deadline is null or t.deadline > $2)
                and (t.lease_id is null or (t.lease_until <= $2 and t.attempt < t.max_attempts))))
        $query$, tenant) into ready using queues, at;
    if not ready then
        execute levels || format($query$
            select min(least(
                (select t.run_at from %1$I.cloaca_task t
                where t.queue = l.queue and t.priority = l.priority and t.run_at > $2 order by t.run_at limit 1),
                (select min(f.lease_until) filter (where f.lease_until > $2 and f.attempt < f.max_attempts and not f.cancelled)
                from (select t.lease_until, t.attempt, t.max_attempts, t.cancelled from %1$I.cloaca_task t
                    where t.queue = l.queue and t.priority = l.priority and t.run_at <= $2
                    order by t.run_at, t.id limit 100) f)))
            from level l where l.priority is not null
            $query$, tenant) into due using queues, at;
    end if;
    return next;
end
$$;
