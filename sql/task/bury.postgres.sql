-- @helper bury
--
-- Makes dead letters of live tasks, whose rows the caller has locked, after their executions. Without an error it is what their leases
-- ended of.
create function cloaca.bury(tenant text, tasks bigint[], error text, at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    ends cloaca.ended_task[];
begin
    execute format($query$
        with gone as (
            delete from %1$I.cloaca_task t where t.id = any ($1)
            returning t.*, coalesce($2, cloaca.lease_error(t.lease_until,
                cloaca.task_end(t.claimed_at, t.timeout, t.deadline))) as error
        ), buried as (
            insert into %1$I.cloaca_dead_letter (task, queue, failed_at, priority, attempt, max_attempts, lease_id, claimed_at,
                enqueued_at, execution, deadline, timeout, name, worker, key, payload, retry, error, errors, steps)
            select id, queue, $3, priority, attempt, max_attempts, lease_id, claimed_at,
                enqueued_at, execution, deadline, timeout, name, worker, key, payload, retry, error,
                cloaca.add_error(errors, attempt, worker, error, $3), steps
            from gone order by id
        )
        select array_agg((id, 'failed', null, error, attempt, worker, claimed_at, steps)::cloaca.ended_task order by id)
        from gone where execution is not null
        $query$, tenant) into ends using bury.tasks, bury.error, bury.at;
    if ends is not null then
        perform cloaca.end_tasks(tenant, ends, bury.at);
    end if;
end
$$;
