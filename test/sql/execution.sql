-- Executions whose tasks end, and that are cancelled and run again, in one transaction: no dependency is counted twice, and none is lost
-- when a savepoint takes the second part back.
set client_min_messages = warning;
create extension if not exists cloaca;
select created from cloaca.define_workflow('once', '{"queue": "once", "tasks": [{"name": "a"}, {"name": "b"}, {"name": "c", "dependencies": ["a", "b"]}]}');
select execution from cloaca.start_workflow('once') \gset
create view tasks as
    select l.name, l.state, n.remaining from cloaca_default.cloaca_execution_task n
    cross join lateral cloaca.list_execution_tasks(n.execution) l where l.task = n.task order by n.task;

select task, lease_id from cloaca.claim('once') \gset
begin;
select cloaca.complete(:task, :lease_id);
savepoint before;
select cloaca.cancel_execution(:execution);
select * from cloaca.retry_execution(:execution);
select * from tasks;
rollback to before;
commit;
select * from tasks;

select task, lease_id from cloaca.claim('once') \gset
begin;
select cloaca.complete(:task, :lease_id);
select cloaca.cancel_execution(:execution);
select * from cloaca.retry_execution(:execution);
commit;
select * from tasks;

-- The same while another dependency is open.
select cloaca.cancel_execution(:execution);
select execution from cloaca.start_workflow('once') \gset
delete from cloaca_default.cloaca_execution_task where execution <> :execution;
select task, lease_id from cloaca.claim('once') \gset
begin;
select cloaca.complete(:task, :lease_id);
select cloaca.cancel_execution(:execution);
select * from cloaca.retry_execution(:execution);
commit;
select * from tasks;
select cloaca.cancel_execution(:execution);
drop view tasks;
delete from cloaca_default.cloaca_execution_event;
delete from cloaca_default.cloaca_execution_task;
delete from cloaca_default.cloaca_execution;
delete from cloaca_default.cloaca_workflow_task;
delete from cloaca_default.cloaca_workflow;
