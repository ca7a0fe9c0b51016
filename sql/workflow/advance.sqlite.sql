-- @part advance
--
-- Goes on from tasks of executions in cloaca_settling, wave by wave: what depends on those that have ended is counted down, the lowest
-- rank first, and what has nothing left to wait for becomes a live task, by its trigger rule and with the context that it would see, or
-- is skipped, and so has ended, too. Executions whose last task has ended end: failed when one of their tasks failed or was cancelled, else completed.

-- @while
select 1 from main.cloaca_settling where phase in ('ended', 'waiting', 'free') limit 1;

insert into main.cloaca_settling (task, execution, workflow, n, phase, rank, ended)
select d.task, s.execution, s.workflow, d.n, 'waiting', v.rank, count(*)
from main.cloaca_settling s
    cross join main.cloaca_workflow_task w on w.workflow = s.workflow and w.n = s.n
    cross join json_each(w.dependents) x
    cross join main.cloaca_execution_task d on d.execution = s.execution and d.n = x.value
    cross join main.cloaca_workflow_task v on v.workflow = s.workflow and v.n = d.n
where s.phase = 'ended' and d.state = 'waiting'
group by d.task
on conflict (task) do update set ended = ended + excluded.ended;

delete from main.cloaca_settling
where phase = 'ended' and (
    select w.dependents from main.cloaca_workflow_task w
    where w.workflow = cloaca_settling.workflow and w.n = cloaca_settling.n) <> '[]';

update main.cloaca_settling set phase = 'counted' where phase = 'ended';

update main.cloaca_settling set phase = 'turn'
where phase = 'waiting' and rank = (select min(s.rank) from main.cloaca_settling s where s.phase = 'waiting');

update main.cloaca_execution_task set remaining = remaining
    - (select s.ended from main.cloaca_settling s where s.task = cloaca_execution_task.task)
where task in (select task from main.cloaca_settling where phase = 'turn');

update main.cloaca_settling set phase = 'free'
where phase = 'turn' and (select n.remaining from main.cloaca_execution_task n where n.task = cloaca_settling.task) = 0;

delete from main.cloaca_settling where phase = 'turn';

-- The context is needed by a rule, or by the task itself.
update main.cloaca_settling set
    changes = (
        select cloaca_merge_all(changes) from (
            select d.changes from main.cloaca_workflow_task w
                cross join json_each(w.dependencies) x
                cross join main.cloaca_execution_task d on d.execution = cloaca_settling.execution and d.n = x.value
            where w.workflow = cloaca_settling.workflow and w.n = cloaca_settling.n
            order by x.key)),
    fires = (
        select case when w.trigger is null then not exists (
            select 1 from json_each(w.dependencies) x
                cross join main.cloaca_execution_task d on d.execution = cloaca_settling.execution and d.n = x.value
            where d.state <> 'completed') end
        from main.cloaca_workflow_task w
        where w.workflow = cloaca_settling.workflow and w.n = cloaca_settling.n)
where phase = 'free';

update main.cloaca_settling set context = (
    select cloaca_merge(e.input, cloaca_settling.changes, w.input)
    from main.cloaca_execution e cross join main.cloaca_workflow_task w on w.workflow = e.workflow and w.n = cloaca_settling.n
    where e.id = cloaca_settling.execution)
where phase = 'free' and fires is not 0;

update main.cloaca_settling set fires = (
    select cloaca_fires(w.trigger, (
        select json_group_object(b.name, d.state) from json_each(w.dependencies) x
            cross join main.cloaca_workflow_task b on b.workflow = w.workflow and b.n = x.value
            cross join main.cloaca_execution_task d on d.execution = cloaca_settling.execution and d.n = x.value), cloaca_settling.context)
    from main.cloaca_workflow_task w where w.workflow = cloaca_settling.workflow and w.n = cloaca_settling.n)
where phase = 'free' and fires is null;

insert into main.cloaca_task (id, queue, priority, run_at, max_attempts, enqueued_at, execution, deadline, timeout, name, payload, retry,
    steps)
select s.task, w.queue, w.priority, case e.state when 'paused' then 9223372036854775807 else :now end, w.max_attempts, :now,
    s.execution, e.deadline, w.timeout, w.handler, s.context, w.retry, n.steps
from main.cloaca_settling s
    cross join main.cloaca_execution e on e.id = s.execution
    cross join main.cloaca_workflow_task w on w.workflow = s.workflow and w.n = s.n
    cross join main.cloaca_execution_task n on n.task = s.task
where s.phase = 'free' and s.fires
order by s.task;

update main.cloaca_execution_task set steps = null, (state, changes, held_run_at, finished_at) = (
    select case when s.fires then 'ready' else 'skipped' end, s.changes, case when s.fires and e.state = 'paused' then :now end,
        case when not s.fires then :now end
    from main.cloaca_settling s cross join main.cloaca_execution e on e.id = s.execution
    where s.task = cloaca_execution_task.task)
where task in (select task from main.cloaca_settling where phase = 'free');

insert into main.cloaca_execution_event (execution, task, at, state)
select execution, task, :now, case when fires then 'ready' else 'skipped' end
from main.cloaca_settling where phase = 'free' order by task;

delete from main.cloaca_settling where phase = 'free' and fires;

update main.cloaca_settling set phase = 'ended' where phase = 'free';
-- @end

-- @if
select 1 from main.cloaca_settling limit 1;

update main.cloaca_execution set remaining = remaining
    - (select count(*) from main.cloaca_settling s where s.execution = cloaca_execution.id)
where id in (select execution from main.cloaca_settling) and finished_at is null;

delete from main.cloaca_settling where not exists (
    select 1 from main.cloaca_execution e where e.id = cloaca_settling.execution and e.remaining = 0 and e.finished_at is null);

update main.cloaca_execution set
    error = (
        select coalesce(n.error, 'Task "' || w.name || '" was cancelled.') from main.cloaca_execution_task n
            cross join main.cloaca_workflow_task w on w.workflow = cloaca_execution.workflow and w.n = n.n
        where n.execution = cloaca_execution.id and n.state in ('failed', 'cancelled')
        order by n.state = 'cancelled', n.finished_at, n.n limit 1),
    context = cloaca_merge(input, (
        select cloaca_merge_all(changes) from (
            select n.changes from main.cloaca_workflow_task w
                cross join main.cloaca_execution_task n on n.execution = cloaca_execution.id and n.n = w.n
            where w.workflow = cloaca_execution.workflow and w.dependents = '[]'
            order by w.n))),
    result = (
        select '{' || coalesce(group_concat(json_quote(w.name) || ': ' || coalesce(n.output, 'null'), ', '), '') || '}'
        from main.cloaca_workflow_task w
            cross join main.cloaca_execution_task n on n.execution = cloaca_execution.id and n.n = w.n
        where w.workflow = cloaca_execution.workflow and w.dependents = '[]' and n.state = 'completed'),
    finished_at = :now, started_at = coalesce(started_at, :now),
    expires_at = :now + (select w.retention from main.cloaca_workflow w where w.id = cloaca_execution.workflow)
where id in (select execution from main.cloaca_settling);

update main.cloaca_execution set state = case when error is null then 'completed' else 'failed' end
where id in (select execution from main.cloaca_settling);

insert into main.cloaca_execution_event (execution, at, state, detail)
select id, :now, state, error from main.cloaca_execution where id in (select execution from main.cloaca_settling) order by id;

delete from main.cloaca_settling;
-- @end
