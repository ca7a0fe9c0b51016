-- run_maintenance: expired leases, history, finished keys and estimates.
\set SHOW_CONTEXT never
set client_min_messages = warning;
create extension if not exists cloaca;
do $$ begin perform cloaca.create_tenant('test_maintenance', 'test_maintenance_user'), cloaca.set_tenant('test_maintenance'); end $$;
reset client_min_messages;
set timezone = 'UTC';
set cloaca.clock = '2026-03-01 00:00:00+00';
select dead >= 0 as ran from cloaca.run_maintenance();

-- Expired: one with attempts left is ready again, one without is dead, a cancelled one leaves.
select count(*) from cloaca.set_queue('m', lease => '10 seconds', retention => '1 hour', key_retention => '1 minute');
select task as again from cloaca.enqueue('again', queue => 'm') \gset
select task as dead from cloaca.enqueue('dead', queue => 'm', max_attempts => 1) \gset
select task as gone from cloaca.enqueue('gone', queue => 'm') \gset
select count(*) from cloaca.claim('m', 'w', 3);
select * from cloaca.cancel_task(:gone);
select * from cloaca.run_maintenance();
set cloaca.clock = '2026-03-01 00:00:10+00';
select * from cloaca.run_maintenance();
select name, state, attempt, worker, error, errors from cloaca.list_tasks('m');
select * from cloaca.run_maintenance();

-- History and finished keys are kept as long as the queue says, and trimmed in batches.
select count(*) from cloaca.enqueue_many('n', array_fill('{}'::jsonb, array[5]), queue => 'm', keys => array['a', 'b', 'c', 'd', 'e'],
    priority => -1);
select count(cloaca.complete(task, lease_id)) from cloaca.claim('m', max => 5);
set cloaca.clock = '2026-03-01 00:01:09.999999+00';
select * from cloaca.run_maintenance();
set cloaca.clock = '2026-03-01 00:01:10+00';
select * from cloaca.run_maintenance(2);
select * from cloaca.run_maintenance();
set cloaca.clock = '2026-03-01 01:00:10+00';
select * from cloaca.run_maintenance(4);
select * from cloaca.run_maintenance();
select name, state from cloaca.list_tasks('m');

-- Of all tenants that the caller may use, each in a transaction of its own.
select task as dead from cloaca.enqueue('all', queue => 'm', max_attempts => 1) \gset
select count(*) from cloaca.claim('m', max => 2);
set cloaca.clock = '2026-03-01 01:00:30+00';
begin;
call cloaca.maintain_tenants();
rollback;
call cloaca.maintain_tenants(0);
call cloaca.maintain_tenants();
select name, state from cloaca.list_tasks('m');

-- A long queue is counted here, not by queue_stats.
select count(*) from cloaca.enqueue_many('n', array_fill('{}'::jsonb, array[10000]), queue => 'long');
select ready, scheduled, running, dead, exact, counted_at from cloaca.queue_stats('long');
select count(*) from cloaca.enqueue_many('n', array_fill('{}'::jsonb, array[5000]), queue => 'long');
select ready, scheduled, running, dead, exact, counted_at from cloaca.queue_stats('long');
select trimmed from cloaca.run_maintenance();
select ready, scheduled, running, dead, exact, counted_at from cloaca.queue_stats('long');
select count(*) from cloaca.claim('long', max => 6000);
select ready, running, exact, counted_at from cloaca.queue_stats('long');
set cloaca.clock = '2026-03-01 01:01:30+00';
select expired from cloaca.run_maintenance(10000);
select ready, running, exact, counted_at from cloaca.queue_stats('long');
select * from cloaca.drop_queue('long', true);
select * from cloaca.queue_stats('long');

-- An execution that cannot go on from a task whose lease ended fails with the error, and nothing else is kept from its turn. Here documents
-- are nested too deeply for the stack that there is by then: merging them raises.
set cloaca.clock = '2026-04-01 00:00:00+00';
select count(*) from cloaca.set_queue('deep', lease => '10 seconds');
select created from cloaca.define_workflow('deep', '{"queue": "deep", "tasks": [{"name": "a"}, {"name": "b", "max_attempts": 1},
    {"name": "c", "dependencies": ["a", "b"], "trigger": "always"}, {"name": "d"}]}');
select (repeat('{"a":', 5000) || '1' || repeat('}', 5000))::jsonb as nested \gset
select execution as deep from cloaca.start_workflow('deep', :'nested') \gset
select execution as flat from cloaca.start_workflow('deep') \gset
select task as other from cloaca.enqueue('other', queue => 'deep') \gset
select count(cloaca.complete(task, lease_id, case when execution = :deep then :'nested'::jsonb end))
from cloaca.claim('deep', 'w', 9) where name = 'a';
set cloaca.clock = '2026-04-01 00:00:10+00';
set max_stack_depth = '500kB';
select expired, dead from cloaca.run_maintenance();
reset max_stack_depth;
select e.execution = :deep as deep, e.state, e.error, e.tasks from cloaca.list_executions('deep') l, cloaca.get_execution(l.execution) e;
select name, state from cloaca.list_tasks('deep') order by task;
select count(*) from cloaca.list_dead_letters('deep');

-- What is no fault of the execution's is raised, and changes nothing.
create function pg_temp.conflict() returns trigger language plpgsql as $$ begin raise serialization_failure using message = 'conflict'; end $$;
select execution as again from cloaca.start_workflow('deep') \gset
select count(cloaca.complete(task, lease_id)) from cloaca.claim('deep', 'w', 9) where name = 'a';
create trigger conflict before insert on test_maintenance.cloaca_task for each row execute function pg_temp.conflict();
set cloaca.clock = '2026-04-01 00:00:20+00';
select dead from cloaca.run_maintenance();
select state, tasks from cloaca.get_execution(:again);
drop trigger conflict on test_maintenance.cloaca_task;
select dead from cloaca.run_maintenance();
select state, tasks from cloaca.get_execution(:again);

reset cloaca.tenant;
call cloaca.drop_tenant_all('test_maintenance');
