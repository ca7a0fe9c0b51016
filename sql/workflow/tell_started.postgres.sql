-- @helper tell_started
--
-- Tells executions that tasks of theirs were claimed. The first claim of an execution has it run; of several at once one does so,
-- and none waits.
create function cloaca.tell_started(tenant text, executions bigint[], tasks bigint[], attempts integer[], worker text,
    at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    perform from cloaca.query($query$
        with begun as (
            update %1$I.cloaca_execution e set state = 'running', started_at = $1[5]::timestamptz
            where e.id = any (array(
                select p.id from %1$I.cloaca_execution p where p.id = any ($1[1]::bigint[]) and p.state = 'pending'
                order by p.id for no key update skip locked))
            returning e.id
        )
        insert into %1$I.cloaca_execution_event (execution, task, at, attempt, state, worker)
        select s.execution, s.task, $1[5]::timestamptz, s.attempt, 'running', s.worker
        from (
            select b.id as execution, null::bigint as task, null::integer as attempt, null::text as worker from begun b
            union all
            select t.execution, t.task, t.attempt, $1[4]
            from unnest($1[1]::bigint[], $1[2]::bigint[], $1[3]::integer[]) as t (execution, task, attempt)
        ) s
        order by s.execution, s.task nulls first
        returning 1
        $query$, tenant, executions::text, tasks::text, attempts::text, worker, at::text) as q (told integer);
end
$$;
