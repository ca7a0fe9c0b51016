-- @helper maintain_tenant
--
-- The periodic work on one tenant, a batch of it. One maintainer a tenant at a time: the lock on the estimates says who; it
-- blocks nobody else. Locks are taken or left (nowait, skip locked), never waited for; a lock that is not to be had raises
-- lock_not_available, and the caller goes on with the next tenant. The lock_timeout is for what nobody locks who calls functions only.
create type cloaca.maintenance_counts as (
    expired   bigint,
    dead      bigint,
    cancelled bigint,
    trimmed   bigint,
    keys      bigint,
    fired     bigint,
    timed_out bigint,
    removed   bigint
);

create function cloaca.maintain_tenant(tenant text, max integer, at timestamptz) returns cloaca.maintenance_counts
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set lock_timeout = '1s'
as $$
#variable_conflict use_column
declare
    counts cloaca.maintenance_counts;
    first_lease timestamptz;
    ended bigint := 0;
    kept bigint;
    gone record;
begin
    execute format('lock table %I.cloaca_queue_estimate in share row exclusive mode nowait', tenant);
    execute format('lock table %1$I.cloaca_task, %1$I.cloaca_task_history, %1$I.cloaca_dead_letter, %1$I.cloaca_finished_key,
        %1$I.cloaca_schedule, %1$I.cloaca_firing, %1$I.cloaca_execution, %1$I.cloaca_execution_task, %1$I.cloaca_execution_event,
        %1$I.cloaca_pending_signal in row exclusive mode nowait', tenant);
    execute format('lock table %1$I.cloaca_queue, %1$I.cloaca_workflow, %1$I.cloaca_workflow_task in access share mode nowait', tenant);

    counts.trimmed := cloaca.trim_history(tenant, max, at);
    execute format($query$
        with gone as (
            delete from %1$I.cloaca_finished_key where (queue, key) in (
                select f.queue, f.key from %1$I.cloaca_finished_key f
                where f.until <= $1 order by f.until limit $2 for update skip locked)
            returning 1
        )
        select count(*) from gone
        $query$, tenant) into counts.keys using at, max;
    counts.fired := cloaca.fire_due(tenant, max, at);

    -- Leases that ended: the cancelled leave, the exhausted become dead letters, the others are ready again. What depends on those
    -- that leave is locked from there on, so this comes late; but before the time-outs, so that executions go on from them first.
    if cloaca.looks_at_leases() then
        execute format($query$
            select min(t.lease_until) filter (where t.lease_until > $1), count(*) filter (where t.lease_until <= $1)
            from %I.cloaca_task t where t.lease_id is not null
            $query$, tenant) into first_lease, ended using at;
        perform cloaca.note_leases(case when ended > 0 then at else first_lease end);
    end if;
    execute format($query$
        with ended as materialized (
            select t.id, t.execution from %1$I.cloaca_task t
            where $3 and t.lease_until <= $1 order by t.id limit $2
        ), execution as materialized (
            select e.id from %1$I.cloaca_execution e
            where e.id = any (array(select n.execution from ended n)) order by e.id for key share skip locked
        ), held as materialized (
            select t.id, t.lease_id, t.cancelled, t.attempt >= t.max_attempts as is_exhausted from %1$I.cloaca_task t
            where t.id = any (array(select n.id from ended n)) and t.lease_until <= $1
                and (t.execution is null or t.execution = any (array(select e.id from execution e)))
            order by t.id for update skip locked
        )
        select array_agg(id) filter (where cancelled) as cancelled, array_agg(lease_id) filter (where cancelled) as leases,
            array_agg(id) filter (where is_exhausted and not cancelled) as dead,
            array_agg(id) filter (where not is_exhausted and not cancelled) as expired
        from held
        $query$, tenant) into gone using at, max, ended > 0;
    kept := cloaca.end_leases(tenant, gone.cancelled, gone.leases, gone.dead, at);
    execute format($query$
        with expired as materialized (
            select t.id, t.execution, t.attempt, t.worker,
                cloaca.lease_error(t.lease_until, cloaca.task_end(t.claimed_at, t.timeout, t.deadline)) as error
            from %1$I.cloaca_task t where t.id = any ($1)
        ), freed as (
            update %1$I.cloaca_task t set lease_id = null, lease_until = null, worker = null,
                errors = cloaca.add_error(t.errors, x.attempt, x.worker, x.error, $2)
            from expired x where t.id = x.id and t.id = any ($1)
            returning t.id, t.queue, t.priority, t.run_at
        ), told as (
            insert into %1$I.cloaca_execution_event (execution, task, at, attempt, state, worker, detail)
            select x.execution, x.id, $2, x.attempt, 'retrying', x.worker, x.error from expired x where x.execution is not null
            order by x.id
        )
        select cloaca.note_ready(%1$L, queue, priority, min(run_at), min(id), count(*))
        from freed where run_at < 'infinity' group by queue, priority
        $query$, tenant) using gone.expired, at;
    counts.cancelled := coalesce(cardinality(gone.cancelled), 0);
    counts.dead := coalesce(cardinality(gone.dead), 0);
    counts.expired := coalesce(cardinality(gone.expired), 0);
    if ended > 0 and kept = 0 and ended = counts.cancelled + counts.dead + counts.expired then
        perform cloaca.note_leases(first_lease);
    end if;
    counts.timed_out := cloaca.end_late_executions(tenant, max, at);
    counts.removed := cloaca.remove_executions(tenant, max, at);
    perform cloaca.estimate_queues(tenant, at);
    return counts;
end
$$;
