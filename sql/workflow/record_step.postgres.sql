-- @function record_step(task bigint, lease_id bigint, name text, result jsonb = null) -> result jsonb, created boolean
--
-- Records that a step of a task is done, in the caller's transaction, so that another attempt of the task skips it. The first record of
-- a step stays. Steps go with the task.
--
-- task: the task's id
-- lease_id: the lease, as claim returned it
-- name: the step, 1 to 200 bytes
-- result: what the step came to, a JSON document of at most 64 MiB, or null
-- Returns: what is recorded, and whether this call did so
-- Errors: invalid_name, invalid_argument, lease_lost, cancelled
-- Writes: cloaca_task
create type cloaca.step_record as (
    result  jsonb,
    created boolean
);

create function cloaca.record_step(task bigint, lease_id bigint, name text, result jsonb default null)
returns setof cloaca.step_record
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    held cloaca.held_task;
    known jsonb;
begin
    perform cloaca.check_name(record_step.name, 'step name');
    perform cloaca.check_result(record_step.result);
    held := cloaca.held_task(tenant, record_step.task, record_step.lease_id);
    known := held.steps -> ('step:' || record_step.name);
    if known is not null then
        return query select known -> 'result', false;
        return;
    end if;
    perform cloaca.set_step(tenant, record_step.task, 'step:' || record_step.name,
        case when record_step.result is null then '{}' else jsonb_build_object('result', record_step.result) end);
    return query select record_step.result, true;
end
$$;
