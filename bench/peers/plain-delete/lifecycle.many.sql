-- step begin
begin
-- step claim
delete from plain.task t where t.id = any (array(select id from plain.task where queue = $queue and run_at <= now() and not cancelled
    order by priority, run_at, id limit $batch for update skip locked))
returning t.id as task, t.attempt, t.name, t.payload, t.priority, t.run_at, t.max_attempts, t.execution
-- step complete
commit
