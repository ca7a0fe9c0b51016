-- @function await_signal(task bigint, lease_id bigint, name text, timeout interval = null) -> outcome text, payload jsonb
--
-- Receives a signal that was sent to the task's execution, or waits for it without a worker: then the task is given back, and is claimable
-- again when the signal is there or the time is over; its worker then asks anew. The attempt does not count. What was received is
-- recorded with the task's steps: another attempt gets the same. Each signal is received by one task, once.
--
-- task: the task's id, of an execution
-- lease_id: the lease, as claim returned it
-- name: the signal, 1 to 200 bytes
-- timeout: how long to wait from the first time on, 0 to 10 years; null for as long as it takes
-- Returns: received with the signal's payload, timed_out, or waiting: the lease is given up, and the worker is to do something else
-- Errors: invalid_name, invalid_argument (also for a task of no execution), lease_lost, cancelled
-- Writes: cloaca_task, cloaca_pending_signal, cloaca_execution_task, cloaca_execution_event
create function cloaca.await_signal(task bigint, lease_id bigint, name text, timeout interval default null)
returns table (outcome text, payload jsonb)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    at timestamptz := cloaca.now();
    step constant text := 'signal:' || await_signal.name;
    wait bigint;
    held cloaca.held_task;
    signal record;
    until timestamptz;
begin
    perform cloaca.check_name(await_signal.name, 'signal name');
    wait := cloaca.microseconds(await_signal.timeout, 'timeout');
    held := cloaca.held_task(tenant, await_signal.task, await_signal.lease_id);
    if held.execution is null then
        perform cloaca.raise_condition('invalid_argument', format('Task %s belongs to no execution.', await_signal.task));
    elsif held.steps -> step ? 'outcome' then
        return query select held.steps -> step ->> 'outcome', held.steps -> step -> 'payload';
        return;
    end if;

    -- After the task's own row, which somebody who completes it may have until he has ended the execution.
    perform cloaca.touch_execution(tenant, held.execution);
    execute format($query$
        delete from %1$I.cloaca_pending_signal s where s.id = (
            select f.id from %1$I.cloaca_pending_signal f where f.execution = $1 and f.name = $2 order by f.id limit 1)
        returning s.id, s.payload
        $query$, tenant) into signal using held.execution, await_signal.name;
    until := case when held.steps ? step then 'epoch'::timestamptz + (held.steps -> step ->> 'until')::bigint * interval '1 microsecond'
        else at + wait * interval '1 microsecond' end;
    if signal.id is not null or until <= at then
        execute format('update %I.cloaca_execution_task n set awaits = null where n.task = $1 and n.awaits is not null', tenant)
            using await_signal.task;
    end if;
    if signal.id is not null then
        perform cloaca.set_step(tenant, await_signal.task, step, jsonb_build_object('outcome', 'received')
            || case when signal.payload is null then '{}' else jsonb_build_object('payload', signal.payload) end);
        return query select 'received', signal.payload;
    elsif until <= at then
        perform cloaca.set_step(tenant, await_signal.task, step, '{"outcome": "timed_out"}');
        return query select 'timed_out', null::jsonb;
    else
        perform cloaca.set_step(tenant, await_signal.task, step,
            jsonb_build_object('until', (extract(epoch from until) * 1000000)::bigint));
        perform cloaca.add_event(tenant, held.execution, await_signal.task, 'awaiting', held.attempt, held.worker, await_signal.name, at);
        perform cloaca.park_task(tenant, held, await_signal.task, coalesce(until, 'infinity'), await_signal.name);
        return query select 'waiting', null::jsonb;
    end if;
end
$$;
