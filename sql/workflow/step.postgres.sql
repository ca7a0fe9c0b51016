-- @function step(task bigint, lease_id bigint, name text) -> result jsonb
--
-- What a step of a task came to, if that was recorded, in this attempt or in an earlier one.
--
-- task: the task's id
-- lease_id: the lease, as claim returned it
-- name: the step, 1 to 200 bytes
-- Returns: a row with the step's result, null when it had none; no row when the step is still to be done
-- Errors: invalid_name, lease_lost, cancelled
-- Writes: nothing
create function cloaca.step(task bigint, lease_id bigint, name text) returns table (result jsonb)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    held record;
begin
    perform cloaca.check_name(step.name, 'step name');
    execute format($query$
        select t.id, t.steps -> ('step:' || $3) as step from %I.cloaca_task t
        where t.id = $1 and t.lease_id = $2 and not t.cancelled
        $query$, tenant) into held using step.task, step.lease_id, step.name;
    if held.id is null then
        perform cloaca.refuse_lease(tenant, step.task, step.lease_id);
    elsif held.step is not null then
        return query select held.step -> 'result';
    end if;
end
$$;
