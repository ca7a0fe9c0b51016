-- @helper end_tasks
--
-- Live tasks of executions have ended: their states, outputs and errors go to the execution's own rows, and what waits for them goes on
-- when the transaction commits. The caller has locked the executions and deleted the live tasks. Tasks that a cancelled execution has
-- ended already are left as they are. The steps of those that did not complete are kept.
create type cloaca.ended_task as (
    task       bigint,
    state      text,
    output     jsonb,
    error      text,
    attempt    integer,
    worker     text,
    claimed_at timestamptz,
    steps      jsonb
);

create function cloaca.end_tasks(tenant text, ends cloaca.ended_task[], at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    ended bigint[];
begin
    select q.tasks into ended from cloaca.query($query$
        with ended as (
            update %1$I.cloaca_execution_task n
            set state = d.state, output = d.output, error = d.error, attempt = d.attempt, worker = d.worker,
                started_at = d.claimed_at, finished_at = $1[2]::timestamptz, awaits = null, held_run_at = null, steps = d.steps,
                changes = case when d.output is null then n.changes else cloaca.merge(array[n.changes,
                    case when jsonb_typeof(d.output) = 'object' then d.output else jsonb_build_object((
                        select w.name from %1$I.cloaca_execution e
                        cross join lateral (
                            select w.name from %1$I.cloaca_workflow_task w where w.workflow = e.workflow and w.n = n.n offset 0) w
                        where e.id = n.execution), d.output) end]) end
            from unnest($1[1]::cloaca.ended_task[]) as d
            where n.task = any (array[d.task]) and n.state = 'ready'
            returning n.execution, n.task, n.attempt, n.state, n.worker, n.error
        ), kept as (
            update %1$I.cloaca_execution_task n set steps = d.steps
            from unnest($1[1]::cloaca.ended_task[]) as d
            where n.task = any (array[d.task]) and n.state = 'cancelled' and d.steps is not null
        ), told as (
            insert into %1$I.cloaca_execution_event (execution, task, at, attempt, state, worker, detail)
            select d.execution, d.task, $1[2]::timestamptz, d.attempt, d.state, d.worker, d.error from ended d order by d.task
        )
        select array_agg(d.task order by d.task) from ended d
        $query$, tenant, ends::text, at::text) as q (tasks bigint[]);
    if ended is not null then
        perform cloaca.advance_later(tenant, ended, at);
    end if;
end
$$;
