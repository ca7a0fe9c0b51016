-- @function signal(execution bigint, name text, payload jsonb = null) -> signal bigint
--
-- Sends a signal to an execution, in the caller's transaction. The tasks that await it are claimable at once, and the first that asks
-- receives it; it is kept until one does. Signals of one name are received in the order in which they were sent.
--
-- execution: the execution
-- name: the signal, 1 to 200 bytes
-- payload: what it carries, a JSON document of at most 64 MiB, or null
-- Returns: the signal's id
-- Errors: invalid_name, invalid_argument, unknown_execution, execution_finished
-- Writes: cloaca_pending_signal, cloaca_execution_event, cloaca_execution_task, cloaca_task
create function cloaca.signal(execution bigint, name text, payload jsonb default null) returns table (signal bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    at timestamptz := cloaca.now();
    state text;
    sent bigint;
    due timestamptz;
    woken record;
begin
    perform cloaca.check_name(signal.name, 'signal name');
    if signal.payload is not null then
        perform cloaca.check_size(signal.payload, 'payload');
    end if;
    state := cloaca.meet_waiting(tenant, signal.execution, signal.name);
    if state is null then
        perform cloaca.refuse_execution(signal.execution);
    end if;
    perform cloaca.refuse_finished(signal.execution, state);

    execute format($query$
        with told as (
            insert into %1$I.cloaca_execution_event (execution, at, state, name) values ($1, $2, 'signalled', $3)
        )
        insert into %1$I.cloaca_pending_signal (execution, sent_at, name, payload) values ($1, $2, $3, $4) returning id
        $query$, tenant) into sent using signal.execution, at, signal.name, signal.payload;
    for woken in select * from cloaca.waiting_tasks(tenant, signal.execution, signal.name, 'nowait') loop
        due := cloaca.hold_task(tenant, signal.execution, woken.task, at, null);
        execute format('update %I.cloaca_task t set run_at = $2 where t.id = $1', tenant) using woken.task, due;
        if due < 'infinity' then
            perform cloaca.note_ready(tenant, woken.queue, woken.priority, due, woken.task, 1);
        end if;
    end loop;
    return query select sent;
end
$$;
