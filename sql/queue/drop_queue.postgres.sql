-- @function drop_queue(queue text, force boolean = false) -> dropped bigint
--
-- Deletes a queue: its settings, its tasks, its dead letters, its history and its finished keys. A worker that still runs one of
-- the tasks gets lease_lost at its next call.
--
-- queue: its name
-- force: also when there are live tasks or unresolved dead letters, which are deleted (false)
-- Returns: how many live tasks and dead letters were deleted
-- Errors: invalid_name, unknown_queue, queue_not_empty
-- Writes: cloaca_queue, cloaca_queue_estimate, cloaca_task, cloaca_task_history, cloaca_dead_letter, cloaca_finished_key
create function cloaca.drop_queue(queue text, force boolean default false) returns table (dropped bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    is_known boolean;
    has_tasks boolean;
    gone record;
begin
    perform cloaca.check_name(drop_queue.queue, 'queue name');
    execute format($query$
        select exists (select from %1$I.cloaca_task where queue = $1)
            or exists (select from %1$I.cloaca_dead_letter where queue = $1 and status = 'failed'),
            exists (select from %1$I.cloaca_queue where queue = $1)
            or exists (select from %1$I.cloaca_dead_letter where queue = $1)
            or exists (select from %1$I.cloaca_task_history where queue = $1)
        $query$, tenant) into has_tasks, is_known using drop_queue.queue;
    if not (has_tasks or is_known) then
        perform cloaca.raise_condition('unknown_queue', format('Queue "%s" does not exist.', drop_queue.queue));
    elsif has_tasks and not coalesce(force, false) then
        perform cloaca.raise_condition('queue_not_empty', format('Queue "%s" still has tasks.', drop_queue.queue),
            'Drop it with force => true to delete them.');
    end if;

    execute format($query$
        with settings as (delete from %1$I.cloaca_queue where queue = $1),
        estimate as (delete from %1$I.cloaca_queue_estimate where queue = $1),
        history as (delete from %1$I.cloaca_task_history where queue = $1),
        finished as (delete from %1$I.cloaca_finished_key where queue = $1),
        dead as (delete from %1$I.cloaca_dead_letter where queue = $1 returning status),
        live as (delete from %1$I.cloaca_task where queue = $1 returning 1)
        select (select count(*) from live) + (select count(*) from dead) as dropped,
            exists (select from live) or exists (select from dead where status = 'failed') as had_tasks
        $query$, tenant) into gone using drop_queue.queue;
    if gone.had_tasks and not coalesce(force, false) then
        -- Enqueued between the look and the deletion, which this takes back.
        perform cloaca.raise_condition('queue_not_empty', format('Queue "%s" still has tasks.', drop_queue.queue),
            'Drop it with force => true to delete them.');
    end if;
    return query select gone.dropped;
end
$$;
