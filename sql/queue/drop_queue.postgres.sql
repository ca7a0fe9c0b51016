-- @function drop_queue(queue text, force boolean = false) -> dropped bigint
--
-- Deletes a queue: its settings, its tasks, its dead letters, its history and its finished keys. A worker that still runs one of
-- the tasks gets lease_lost at its next call. Tasks of executions end as cancelled, and these go on.
--
-- queue: its name
-- force: also when there are live tasks or unresolved dead letters, which are deleted (false)
-- Returns: how many live tasks and dead letters were deleted
-- Errors: invalid_name, unknown_queue, queue_not_empty
-- Writes: cloaca_queue, cloaca_queue_estimate, cloaca_task, cloaca_task_history, cloaca_dead_letter, cloaca_finished_key,
--     cloaca_execution_task, cloaca_execution_event
create function cloaca.drop_queue(queue text, force boolean default false) returns table (dropped bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    is_known boolean;
    has_tasks boolean;
    executions bigint[];
    live record;
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

    -- Rows are locked in the order of their ids, as everywhere. The live ones go first, in a statement of their own: a task that is
    -- finishing meanwhile is then seen where it went.
    execute format($query$
        select array_agg(e.id) from (
            select e.id from %1$I.cloaca_execution e where e.id = any (array(
                select t.execution from %1$I.cloaca_task t where t.queue = $1 and t.execution is not null))
            order by e.id for key share) e
        $query$, tenant) into executions using drop_queue.queue;
    execute format($query$
        with gone as (
            delete from %1$I.cloaca_task where id = any (array(
                select t.id from %1$I.cloaca_task t
                where t.queue = $1 and (t.execution is null or t.execution = any ($2)) order by t.id for update))
            returning id, execution, attempt, worker, claimed_at, steps
        )
        select count(*) as tasks,
            array_agg((id, 'cancelled', null, null, attempt, worker, claimed_at, steps)::cloaca.ended_task order by id)
            filter (where execution is not null) as ends
        from gone
        $query$, tenant) into live using drop_queue.queue, executions;
    if live.ends is not null then
        perform cloaca.end_tasks(tenant, live.ends, cloaca.now());
    end if;
    execute format($query$
        with settings as (delete from %1$I.cloaca_queue where queue = $1 returning paused),
        estimate as (delete from %1$I.cloaca_queue_estimate where queue = $1),
        history as (delete from %1$I.cloaca_task_history where queue = $1),
        finished as (delete from %1$I.cloaca_finished_key where queue = $1),
        dead as (
            delete from %1$I.cloaca_dead_letter where id = any (array(
                select d.id from %1$I.cloaca_dead_letter d where d.queue = $1 order by d.id for update))
            returning status
        )
        select $2 + count(*) as dropped, $2 > 0 or count(*) filter (where status = 'failed') > 0 as had_tasks,
            exists (select from settings where paused) as was_paused
        from dead
        $query$, tenant) into gone using drop_queue.queue, live.tasks;
    if gone.had_tasks and not coalesce(force, false) then
        -- Enqueued between the look and the deletion, which this takes back.
        perform cloaca.raise_condition('queue_not_empty', format('Queue "%s" still has tasks.', drop_queue.queue),
            'Drop it with force => true to delete them.');
    end if;
    if gone.was_paused then
        perform cloaca.note_resumed(tenant, drop_queue.queue);
    end if;
    return query select gone.dropped;
end
$$;
