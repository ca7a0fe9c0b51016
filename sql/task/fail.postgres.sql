-- @function fail(task bigint, lease_id bigint, error text, final boolean = false, retry_in interval = null) -> state text, run_at timestamptz
--
-- Ends an attempt as failed. The task is tried again after the delay of its retry policy, until it has had max_attempts; then,
-- or at once when final or when the policy's condition is against it, it becomes a dead letter.
--
-- task: the task's id
-- lease_id: the lease, as claim returned it
-- error: what went wrong; its first 10,000 characters are kept
-- final: no further attempt (false)
-- retry_in: wait this long, 0 to 10 years, instead of what the policy says
-- Returns: the state that the task is in now (scheduled, ready or dead), and when it runs again (null when dead)
-- Errors: invalid_argument, lease_lost, cancelled
-- Writes: cloaca_task, cloaca_dead_letter
create function cloaca.fail(task bigint, lease_id bigint, error text, final boolean default false, retry_in interval default null)
returns table (state text, run_at timestamptz)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    at timestamptz := cloaca.now();
    wait bigint;
    due timestamptz;
    held record;
    ready record;
    policy jsonb;
begin
    if error is null then
        perform cloaca.raise_condition('invalid_argument', 'The error must not be null.');
    end if;
    wait := cloaca.microseconds(retry_in, 'retry_in');
    perform cloaca.lock_executions(tenant, array[fail.task]);
    execute format($query$
        select t.queue, t.attempt, t.max_attempts, t.retry, t.execution, t.worker from %I.cloaca_task t
        where t.id = $1 and t.lease_id = $2 and not t.cancelled for update
        $query$, tenant) into held using fail.task, fail.lease_id;
    if held.queue is null then
        perform cloaca.refuse_lease(tenant, fail.task, fail.lease_id);
    end if;
    policy := (cloaca.queue_settings(tenant, held.queue)).retry || coalesce(held.retry, '{}');
    if final or held.attempt >= held.max_attempts or not cloaca.is_retried(policy -> 'condition', error) then
        perform cloaca.bury(tenant, array[fail.task], left(error, 10000), at);
        return query select 'dead', null::timestamptz;
        return;
    end if;

    wait := coalesce(wait, cloaca.backoff(policy, held.attempt));
    due := at + wait * interval '1 microsecond';
    if held.execution is not null then
        due := cloaca.hold_task(tenant, held.execution, fail.task, due, null);
    end if;
    execute format($query$
        update %I.cloaca_task t set lease_id = null, lease_until = null, worker = null,
            run_at = $3, errors = cloaca.add_error(t.errors, t.attempt, t.worker, $4, $2)
        where t.id = $1
        returning t.id, t.queue, t.priority, t.run_at
        $query$, tenant) into ready using fail.task, at, due, left(error, 10000);
    if held.execution is not null then
        perform cloaca.add_event(tenant, held.execution, fail.task, 'retrying', held.attempt, held.worker, left(error, 10000), at);
    end if;
    perform cloaca.note_ready(tenant, ready.queue, ready.priority, ready.run_at, ready.id, 1);
    return query select case when ready.run_at > at then 'scheduled' else 'ready' end, ready.run_at;
end
$$;
