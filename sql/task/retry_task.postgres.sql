-- @function retry_task(task bigint = null, queue text = null, max integer = null) -> retried bigint
--
-- Puts dead letters back into their queue, to be tried anew with all their attempts: one, or those of a queue, the oldest first.
-- A dead letter stays when another live task of its queue has its key by now. Those of executions stay, too: retry_execution is for
-- them.
--
-- task: the task's id; or null with queue
-- queue: the queue; or null with task
-- max: how many of the queue at most, 1 to 10,000; null for all
-- Returns: how many were put back
-- Errors: invalid_argument, invalid_name, unknown_task, duplicate_key (for one task)
-- Writes: cloaca_dead_letter, cloaca_task
create function cloaca.retry_task(task bigint default null, queue text default null, max integer default null)
returns table (retried bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    letter record;
    holder bigint;
    moved bigint;
begin
    if (retry_task.task is null) = (retry_task.queue is null) then
        perform cloaca.raise_condition('invalid_argument', 'Give either task or queue.');
    elsif retry_task.max is not null then
        perform cloaca.check_max(retry_task.max);
    end if;

    if retry_task.task is not null then
        -- The lock waits for another retry of the same task, which then is a dead letter no more.
        execute format($query$
            select d.id, d.queue, d.key, d.execution from %I.cloaca_dead_letter d where d.task = $1 and d.status = 'failed' for update
            $query$, tenant) into letter using retry_task.task;
        if letter.id is null then
            perform cloaca.raise_condition('unknown_task', format('Task %s is no dead letter.', retry_task.task));
        elsif letter.execution is not null then
            perform cloaca.raise_condition('invalid_argument',
                format('Task %s belongs to execution %s.', retry_task.task, letter.execution), 'Use retry_execution.');
        end if;
    else
        perform cloaca.check_name(retry_task.queue, 'queue name');
    end if;

    -- Of several dead letters with one key the oldest goes. A live task may take the key at this very moment: then the unique
    -- index decides, and the dead letter stays.
    loop
        execute format($query$
            with letter as materialized (
                select d.* from %1$I.cloaca_dead_letter d
                where d.status = 'failed' and (d.task = $1 or d.queue = $2) and d.execution is null
                    and not exists (select from %1$I.cloaca_task t where t.queue = d.queue and t.key = d.key)
                    and ($1 is not null or not exists (select from %1$I.cloaca_dead_letter e
                        where e.queue = d.queue and e.key = d.key and e.status = 'failed' and e.execution is null and e.id < d.id))
                order by d.id limit $3 for update of d
            ), live as (
                insert into %1$I.cloaca_task (id, queue, priority, run_at, max_attempts, enqueued_at, execution, name, key, payload,
                    retry, errors, steps)
                select l.task, l.queue, l.priority, $4, l.max_attempts, l.enqueued_at, l.execution, l.name, l.key, l.payload,
                    l.retry, l.errors, l.steps
                from letter l order by l.key nulls first, l.id
                on conflict (queue, key) where key is not null do nothing
                returning id, queue, priority, run_at
            ), gone as (
                delete from %1$I.cloaca_dead_letter d where d.task in (select id from live)
            ), noted as (
                select count(*) as tasks, cloaca.note_ready(%1$L, queue, priority, min(run_at), min(id), count(*))
                from live group by queue, priority
            )
            select coalesce(sum(tasks), 0) from noted
            $query$, tenant) into moved using retry_task.task, retry_task.queue, retry_task.max, cloaca.now();
        exit when moved > 0 or retry_task.task is null;
        -- Whoever had the key may have gone by now: then once more.
        holder := cloaca.key_holder(tenant, letter.queue, letter.key, null, 'infinity');
        if holder is not null then
            perform cloaca.raise_condition('duplicate_key',
                format('The key of task %s is in use by task %s.', retry_task.task, holder));
        end if;
    end loop;
    return query select moved;
end
$$;
