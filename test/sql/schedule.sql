-- Schedules on PostgreSQL alone: what fails stops no other, history is trimmed, what is fired belongs to its tenant, and rights.
\set SHOW_CONTEXT never
set client_min_messages = warning;
create extension if not exists cloaca;
set timezone = 'UTC';
set datestyle = 'ISO';
set intervalstyle = 'postgres';
set cloaca.clock = '2026-01-01 00:00:00+00';
do $$ begin perform cloaca.create_tenant('sched_one', 'sched_one_user'), cloaca.create_tenant('sched_two', 'sched_two_user'); end $$;
create view history as select s.name, h.scheduled_at, h.fired_at, h.task is not null as has_task, h.execution is not null as has_execution, h.outcome, h.count, h.error
    from cloaca.list_schedules() s cross join lateral cloaca.schedule_history(s.name) h;

-- A workflow that is gone fails, and the others are fired. The next time it is tried again.
select cloaca.set_tenant('sched_one') \g /dev/null
select created from cloaca.define_workflow('flow', '{"tasks": [{"name": "a"}]}');
select next_at from cloaca.create_schedule('a good', '* * * * *', task => 'good');
select next_at from cloaca.create_schedule('b gone', '* * * * *', workflow => 'flow');
select next_at from cloaca.create_schedule('c good', '* * * * *', workflow => 'flow', payload => '{"x": 1}');
select next_at from cloaca.create_schedule('d zone', '* * * * *', task => 'zone', timezone => 'Europe/Berlin');
select next_at from cloaca.create_schedule('e good', '* * * * *', task => 'late', queue => 'late');
update sched_one.cloaca_schedule set workflow = 'gone' where name = 'b gone';
update sched_one.cloaca_schedule set timezone = 'Europe/Gone' where name = 'd zone';
set cloaca.clock = '2026-01-01 00:01:00+00';
select count(*) from cloaca.run_maintenance();
select * from history order by name;
select name, fired, skipped, failed, next_at from cloaca.schedule_stats();
select workflow, state from cloaca.list_executions();
select name, queue from cloaca.list_tasks();
-- One whose time zone is gone stops, until it is changed.
select next_at from cloaca.update_schedule('d zone', timezone => 'UTC');
set cloaca.clock = '2026-01-01 00:02:00+00';
select count(*) from cloaca.run_maintenance();
select name, outcome, error from history where scheduled_at = '2026-01-01 00:02:00+00' order by name;
select cloaca.delete_schedule('b gone') \g /dev/null

-- What cannot be stored fails; what only has a conflict is left for the next time.
alter table sched_one.cloaca_task add constraint no_late check (queue <> 'late') not valid;
set cloaca.clock = '2026-01-01 00:03:00+00';
select count(*) from cloaca.run_maintenance();
select name, outcome, split_part(error, ':', 1) as error from history where scheduled_at = '2026-01-01 00:03:00+00' order by name;
alter table sched_one.cloaca_task drop constraint no_late;
create function pg_temp.conflict() returns trigger language plpgsql as $$ begin raise serialization_failure; end $$;
create trigger conflict before insert on sched_one.cloaca_task for each row when (new.queue = 'late') execute function pg_temp.conflict();
set cloaca.clock = '2026-01-01 00:04:00+00';
select count(*) from cloaca.run_maintenance();
select name, outcome, error from history where scheduled_at = '2026-01-01 00:04:00+00' order by name;
drop trigger conflict on sched_one.cloaca_task;
select count(*) from cloaca.run_maintenance();
select name, outcome, error from history where scheduled_at = '2026-01-01 00:04:00+00' order by name;
select cloaca.next_maintenance() = cloaca.now() + interval '1 minute' as next_minute;

-- Another tenant's are its own, whoever runs the maintenance of both.
select cloaca.set_tenant('sched_two') \g /dev/null
select next_at from cloaca.create_schedule('a good', '* * * * *', task => 'two');
set cloaca.clock = '2026-01-01 00:05:00+00';
select cloaca.set_tenant('sched_one') \g /dev/null
call cloaca.maintain_tenants();
select current_setting('cloaca.tenant');
select count(*) from sched_two.cloaca_task where name = 'two';
select count(*) from sched_one.cloaca_task where name = 'two';
select count(*) from history where fired_at = '2026-01-01 00:05:00+00';

-- History keeps the newest thousand rows of each, and a schedule that fires a thousand times at once is cut off there.
select next_at from cloaca.create_schedule('many', '* * * * * *', task => 'many', queue => 'many', catch_up => 'run_all', max_catch_up => 1000);
set cloaca.clock = '2026-01-01 00:15:00+00';
select count(*) from cloaca.run_maintenance();
select count(*), min(scheduled_at), max(scheduled_at), sum(count) from cloaca.schedule_history('many', max => 10000);
set cloaca.clock = '2026-01-01 00:35:00+00';
select count(*) from cloaca.run_maintenance();
select count(*), min(scheduled_at), max(scheduled_at), max(scheduled_at) filter (where outcome = 'fired') as fired, max(count) as skipped
from cloaca.schedule_history('many', max => 10000);
select fired, skipped, failed, largest_delay from cloaca.schedule_stats('many');
select count(*) from sched_one.cloaca_task where queue = 'many';
select count(*) from cloaca.schedule_history('a good') where outcome = 'skipped';

-- max bounds how many are fired in a call, but for the late times of one schedule.
do $$ begin perform cloaca.delete_schedule(name) from cloaca.list_schedules(); perform cloaca.create_schedule('s' || n, '* * * * *', task => 's') from generate_series(1, 5) n; end $$;
set cloaca.clock = '2026-01-01 00:36:00+00';
select count(*) from cloaca.run_maintenance(max => 2);
select sum(fired) from cloaca.schedule_stats();
select count(*) from cloaca.run_maintenance(max => 2) one, cloaca.run_maintenance(max => 2) two;
select sum(fired) from cloaca.schedule_stats();
-- What fails counts, too.
do $$ begin perform cloaca.delete_schedule(name) from cloaca.list_schedules(); perform cloaca.create_schedule('s' || n, '* * * * *', workflow => 'flow') from generate_series(1, 5) n; end $$;
update sched_one.cloaca_schedule set workflow = 'gone';
set cloaca.clock = '2026-01-01 00:37:00+00';
select count(*) from cloaca.run_maintenance(max => 2);
select sum(failed) from cloaca.schedule_stats();
do $$ begin perform cloaca.delete_schedule(name) from cloaca.list_schedules(); end $$;

-- Whatever the tenant's role writes into its rows, firing them ends soon: it fires no more than anybody could ask for, and reads no more of a
-- text than it may have.
do $$ begin perform cloaca.create_schedule(name, '* * * * * *', task => 't', queue => 'hostile', catch_up => 'run_all')
    from unnest(array['a many', 'b newest', 'c skip', 'd cron', 'e zone', 'f task', 'g ever', 'h never', 'i odd']) name; end $$;
set session authorization sched_one_user;
update sched_one.cloaca_schedule set next_at = '0001-01-01 00:00:00+00', max_catch_up = 2000000000;
update sched_one.cloaca_schedule set catch_up = 'run_once' where name >= 'b' and name < 'c';
update sched_one.cloaca_schedule set catch_up = 'skip' where name >= 'c' and name < 'd';
update sched_one.cloaca_schedule set cron = repeat('*', 10000000) where name = 'd cron';
update sched_one.cloaca_schedule set timezone = repeat('Z', 10000000) where name = 'e zone';
update sched_one.cloaca_schedule set task = repeat('t', 10000000), max_catch_up = 1 where name = 'f task';
update sched_one.cloaca_schedule set next_at = '-infinity', max_catch_up = 1 where name = 'g ever';
update sched_one.cloaca_schedule set ends_at = '-infinity', max_catch_up = -1 where name = 'h never';
update sched_one.cloaca_schedule set catch_up = repeat('c', 10000000), cron = '* * * 29 2 */7' where name = 'i odd';
set statement_timeout = '120s';
select fired from cloaca.run_maintenance(max => 10000);
reset statement_timeout;
reset session authorization;
select s.name, t.fired, t.skipped, t.failed, left(h.error, 100) as error, length(h.error) as length
from cloaca.list_schedules() s, cloaca.schedule_stats(s.name) t, cloaca.schedule_history(s.name, max => 1) h order by s.name;
select name, next_at from cloaca.schedule_stats() order by name;
do $$ begin perform cloaca.delete_schedule(name) from cloaca.list_schedules(); end $$;

-- The tenant's login role has its own schedules, and no one else's.
set session authorization sched_one_user;
select count(*) from cloaca.list_schedules();
select next_at from cloaca.create_schedule('mine', '@hourly', task => 'mine');
set cloaca.clock = '2026-01-01 01:00:00+00';
select count(*) from cloaca.run_maintenance();
select outcome from cloaca.schedule_history('mine');
select count(*) from sched_two.cloaca_schedule;
set cloaca.tenant = 'sched_two';
select cloaca.delete_schedule('a good');
reset cloaca.tenant;
reset session authorization;
reset cloaca.clock;
call cloaca.drop_tenant_all('sched_one');
call cloaca.drop_tenant_all('sched_two');
drop view history;
