-- Workflows by psql: bad input, limits, privileges, and what one transaction does.
\set VERBOSITY default
\set SHOW_CONTEXT never
set client_min_messages = warning;
create extension if not exists cloaca;
do $$ begin
    perform cloaca.create_tenant('test_workflow', 'test_workflow_user'), cloaca.set_tenant('test_workflow');
    perform cloaca.create_tenant('flow_one', 'flow_one');
    perform cloaca.create_tenant('flow_two', 'flow_two');
end $$;
reset client_min_messages;

-- What a call ends with, in a line: a row of the answer, or the error.
create function try(call text) returns text language plpgsql as $$
declare
    answer text;
    detail text;
begin
    execute 'select r::text from ' || call || ' r limit 1' into answer;
    return coalesce(answer, 'nothing');
exception when others then
    get stacked diagnostics detail = pg_exception_detail;
    return sqlerrm || ': ' || detail;
end $$;
-- The same for a definition.
create function try_definition(definition text) returns text language sql as
$$ select regexp_replace(try(format('cloaca.define_workflow(%L, %L)', 'bad', definition)), '^\(\d+,\w+,t\)$', 'accepted') $$;
-- And for a part of the only task of one.
create function try_task(part text) returns text language sql as
$$ select try_definition(format('{"tasks": [{"name": "a", %s}]}', part)) $$;

-- Definitions that are none.
select d as definition, try_definition(d) as outcome from unnest(array[
    null, 'null', '[]', '1', '"a"', '{}', '{"tasks": null}', '{"tasks": []}', '{"tasks": {}}', '{"tasks": "a"}', '{"tasks": [null]}',
    '{"tasks": ["a"]}', '{"tasks": [{}]}', '{"tasks": [{"name": null}]}', '{"tasks": [{"name": 1}]}', '{"tasks": [{"name": ""}]}',
    '{"tasks": [{"name": "a\u0001"}]}', '{"tasks": [{"name": "a", "nmae": 1}]}', '{"tasks": [{"name": "a"}], "task": 1}',
    '{"tasks": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}', '{"tasks": [{"name": "a"}], "queue": 1}',
    '{"tasks": [{"name": "a"}], "queue": ""}', '{"tasks": [{"name": "a"}], "timeout": 0}', '{"tasks": [{"name": "a"}], "timeout": -1}',
    '{"tasks": [{"name": "a"}], "timeout": "1"}', '{"tasks": [{"name": "a"}], "timeout": 1e400}', '{"tasks": [{"name": "a"}], "timeout": null}',
    '{"tasks": [{"name": "a"}], "retention": -1}', '{"tasks": [{"name": "a"}], "retention": 315576001}']) as d;
select p as part, try_task(p) as outcome from unnest(array[
    '"handler": 1', '"handler": ""', '"queue": null', '"priority": 1.5', '"priority": 32768', '"priority": "1"', '"priority": 1.0', '"max_attempts": 0',
    '"max_attempts": 1e2', '"max_attempts": 1000001', '"timeout": 0', '"timeout": true', '"retry": null', '"retry": {"condition": 1}',
    '"retry": {"condition": {"pattern": ""}}', '"retry": {"condition": {"pattern": "*a%"}}', '"input": []', '"input": null', '"dependencies": "a"',
    '"dependencies": null', '"dependencies": [1]', '"dependencies": ["a"]', '"dependencies": ["A"]', '"trigger": null', '"trigger": "never"',
    '"trigger": {}', '"trigger": {"all": [], "any": []}', '"trigger": {"all": {}}', '"trigger": {"all": [null]}', '"trigger": {"all": [{}]}',
    '"trigger": {"all": [{"task_success": "a"}]}', '"trigger": {"all": [{"task_success": null}]}',
    '"trigger": {"any": [{"context_value": {"key": [], "operator": "exists"}}]}', '"trigger": {"any": [{"context_value": {"key": "k", "operator": "exists", "value": 1}}]}',
    '"trigger": {"any": [{"context_value": {"key": "k", "operator": "equals"}}]}', '"trigger": {"any": [{"context_value": {"key": "k", "operator": "is", "value": 1}}]}',
    '"trigger": {"any": [{"context_value": {"key": ["k", 1], "operator": "exists"}}]}', '"trigger": {"any": [{"context_value": {"key": ["k", "l"], "operator": "equals", "value": null}}]}']) as p;
select try_definition('{"tasks": [{"name": "a", "dependencies": ["c"]}, {"name": "b", "dependencies": ["a"]}, {"name": "c", "dependencies": ["b"]}]}');
select try_definition('{"tasks": [{"name": "a"}, {"name": "b", "dependencies": ["a", "a"]}]}');
select left(try_definition(jsonb_build_object('tasks', jsonb_agg(jsonb_build_object('name', 't' || n)))::text), 200) as outcome, max(n)
from generate_series(1, 10000) n;
select left(try_definition(jsonb_build_object('tasks', jsonb_agg(jsonb_build_object('name', 't' || n)))::text), 200) as outcome, max(n)
from generate_series(1, 10001) n;

-- Names: of 64, 200 and 201 bytes, with quotes, and none.
select length(name), octet_length(name), regexp_replace(try(format('cloaca.define_workflow(%L, %L)', name, jsonb_build_object('tasks', array[jsonb_build_object('name', 'a')]))), '^\(\d+,', '(') as outcome
from unnest(array[null, '', repeat('n', 64), repeat('n', 200), repeat('n', 201), repeat('ü', 100), repeat('ü', 101), 'it''s "quoted" \ %I $1', E'tab\t', ' ']) name;
select left(name, 30) as name, tasks from cloaca.list_workflows() where name <> 'bad';
select try('cloaca.list_workflows(max => 0)'), try('cloaca.list_workflows(max => null)'), try('cloaca.get_workflow(null)'),
    try('cloaca.get_workflow(''it''''s "quoted" \ %I $1'', ''x'')');

-- Starts.
select cloaca.define_workflow('flow', '{"tasks": [{"name": "a"}, {"name": "b''s \"b\"", "dependencies": ["a"]}]}') is not null as defined;
select c as call, try('cloaca.start_workflow(' || c || ')') as outcome from unnest(array[
    'null', '''none''', '''flow'', null', '''flow'', ''null''', '''flow'', ''[]''', '''flow'', ''1''', '''flow'', key => ''''', '''flow'', key => repeat(''k'', 501)',
    '''flow'', timeout => ''0''', '''flow'', timeout => ''-1 s''', '''flow'', timeout => ''10 years 1 day''', '''flow'', timeout => ''178000000 years''']) c;
select count(*) from test_workflow.cloaca_execution;
select execution as execution, created from cloaca.start_workflow('flow', '{"input": {"a": [1]}}', key => repeat('k', 500)) \gset
select created, execution = :execution as same from cloaca.start_workflow('flow', '{"other": 1}', key => repeat('k', 500), timeout => '1 day');

-- Calls on executions that are none, and with nulls.
select c as call, try(c) as outcome from unnest(array[
    'cloaca.get_execution(null)', 'cloaca.get_execution(0)', 'cloaca.get_execution(9223372036854775807)', 'cloaca.get_execution(-9223372036854775808)',
    'cloaca.pause_execution(null)', 'cloaca.pause_execution(-1)', 'cloaca.resume_execution(null)', 'cloaca.resume_execution(-1)', 'cloaca.cancel_execution(null)',
    'cloaca.cancel_execution(-1, ''x'')', 'cloaca.retry_execution(null)', 'cloaca.retry_execution(-1)', 'cloaca.execution_events(null)', 'cloaca.execution_events(-1)',
    'cloaca.list_execution_tasks(null)', 'cloaca.list_execution_tasks(-1)', 'cloaca.list_executions(state => ''done'')', 'cloaca.list_executions(max => 10001)',
    'cloaca.signal(null, ''s'')', 'cloaca.signal(-1, ''s'')', 'cloaca.signal(-1, null)', 'cloaca.signal(-1, '''')', 'cloaca.signal(-1, repeat(''s'', 201))',
    'cloaca.step(null, null, ''s'')', 'cloaca.step(1, 1, null)', 'cloaca.record_step(-1, 1, ''s'')', 'cloaca.record_step(-1, 1, repeat(''s'', 201))',
    'cloaca.await_signal(-1, 1, ''s'')', 'cloaca.await_signal(null, null, ''s'')', 'cloaca.await_signal(-1, 1, ''s'', ''-1 s'')', 'cloaca.await_signal(-1, 1, ''s'', ''11 years'')']) c;
select try(format('cloaca.list_execution_tasks(%s, ''done'')', :execution)), try(format('cloaca.list_execution_tasks(%s, max => 0)', :execution)),
    try(format('cloaca.execution_events(%s, max => null)', :execution)),
    regexp_replace(try(format('cloaca.retry_execution(%s)', :execution)), '\d+', 'N');

-- One transaction: what a completion makes ready is ready after its commit.
begin;
select name, payload from cloaca.claim() as c, cloaca.complete(c.task, c.lease_id, '{"input": {"a": [1, 2]}}');
select name from cloaca.claim();
commit;
select name, payload from cloaca.claim() as c;
-- Of a task of no execution.
select cloaca.define_workflow('two', '{"tasks": [{"name": "a", "queue": "two"}, {"name": "b", "queue": "two", "dependencies": ["a"]}, {"name": "c", "queue": "two", "dependencies": ["b"]}]}') is not null as defined;
select created from cloaca.enqueue('alone', queue => 'alone');
select try(format('cloaca.await_signal(%s, %s, ''s'')', task, lease_id)) ~ 'belongs to no execution' as refused from cloaca.claim('alone');
-- A procedure that commits, and a function that catches: what was taken back does not go on.
create procedure complete_all() language plpgsql as $$
begin
    for i in 1 .. 3 loop
        perform cloaca.complete(task, lease_id) from cloaca.claim('two');
        commit;
    end loop;
end $$;
select execution from cloaca.start_workflow('two') \gset
call complete_all();
select name, state from cloaca.list_execution_tasks(:execution);
select state from cloaca.get_execution(:execution);
select execution from cloaca.start_workflow('two') \gset
do $$
begin
    begin
        perform cloaca.complete(task, lease_id) from cloaca.claim('two');
        raise division_by_zero;
    exception when division_by_zero then
        null;
    end;
    perform cloaca.complete(task, lease_id) from cloaca.claim('two');
end $$;
select name, state, attempt from cloaca.list_execution_tasks(:execution);
select state from cloaca.cancel_execution(:execution, repeat('x', 10001));
select length(error), state from cloaca.get_execution(:execution);
-- A timeout that is over, and one that is not to be reached.
select cloaca.define_workflow('late', '{"tasks": [{"name": "a", "queue": "late", "timeout": 0.001}]}') is not null as defined;
select execution from cloaca.start_workflow('late', timeout => '1 hour') \gset
select task, lease_id, lease_until - now() < '1 second' as is_short from cloaca.claim('late', lease => '1 hour') \gset
select pg_sleep(0.01);
select c as call, replace(try(format('cloaca.' || c, :task, :lease_id)), ' ' || :task || ' ', ' N ') as outcome from unnest(array[
    'extend(%s, %s)', 'complete(%s, %s)', 'record_step(%s, %s, ''s'')', 'await_signal(%s, %s, ''s'')', 'defer_until(%s, %s, ''2100-01-01Z'')',
    'release(%s, %s)']) c;
select state, attempt from cloaca.get_task(:task);
-- A signal waits for whoever has a task in hand that waits for it, or has just let one wait, but not for longer than the caller wants.
select execution from cloaca.start_workflow('two') \gset
select task, lease_id from cloaca.claim('two') \gset
begin;
select outcome from cloaca.await_signal(:task, :lease_id, 's');
prepare transaction 'in hand';
set lock_timeout = '10ms';
select try(format('cloaca.signal(%s, ''s'')', :execution));
commit prepared 'in hand';
begin;
select count(*) from (select from test_workflow.cloaca_task where id = :task for update) as locked;
prepare transaction 'in hand';
select try(format('cloaca.signal(%s, ''s'')', :execution));
select try(format('cloaca.signal(%s, ''other'')', :execution)) ~ '^\d+$' as sent;
rollback prepared 'in hand';
select try(format('cloaca.signal(%s, ''s'')', :execution)) ~ '^\d+$' as sent;
reset lock_timeout;
select outcome from cloaca.claim('two') c, cloaca.await_signal(c.task, c.lease_id, 's');
select state from cloaca.cancel_execution(:execution);
-- What a task had recorded, and is longer than a page, in the retry of its execution: of one that begins at once, and of one that does not.
select cloaca.define_workflow('long', '{"tasks": [{"name": "a", "queue": "long"}, {"name": "b", "queue": "long", "dependencies": ["a"], "trigger": "always"}]}') is not null as defined;
select execution from cloaca.start_workflow('long') \gset
select name, task, lease_id from cloaca.claim('long') \gset
select created from cloaca.record_step(:task, :lease_id, 'long', (select to_jsonb(:'name' || string_agg(md5(i::text), '')) from generate_series(1, 5000) i));
select state from cloaca.fail(:task, :lease_id, 'e', final => true);
select name, task, lease_id from cloaca.claim('long') \gset
select created from cloaca.record_step(:task, :lease_id, 'long', (select to_jsonb(:'name' || string_agg(md5(i::text), '')) from generate_series(1, 5000) i));
select state from cloaca.fail(:task, :lease_id, 'e', final => true);
select * from cloaca.retry_execution(:execution);
select name, task, lease_id from cloaca.claim('long') \gset
select length(result::text), left(result::text, 10) from cloaca.step(:task, :lease_id, 'long');
select from cloaca.complete(:task, :lease_id);
select name, task, lease_id from cloaca.claim('long') \gset
select length(result::text), left(result::text, 10) from cloaca.step(:task, :lease_id, 'long');
select from cloaca.complete(:task, :lease_id);
select count(*), count(steps) as kept from test_workflow.cloaca_execution_task where execution = :execution;

-- Another tenant's execution is none, and its tables are not to be reached. A definer's function does the definer's work.
reset cloaca.tenant;
\set VERBOSITY terse
set session authorization flow_one;
select cloaca.define_workflow('mine', '{"tasks": [{"name": "a"}, {"name": "b", "dependencies": ["a"]}]}') is not null as defined;
select execution as mine from cloaca.start_workflow('mine') \gset
create function flow_one.work() returns text language sql security definer as
$$ select 'done ' || c.name from cloaca.claim() c, cloaca.complete(c.task, c.lease_id) $$;
grant execute on function flow_one.work() to flow_two;
reset session authorization;
grant usage on schema flow_one to flow_two;
set session authorization flow_two;
select regexp_replace(try(format('cloaca.%s(%s)', f, :mine)), '\d+', 'N') from unnest(array['get_execution', 'cancel_execution', 'retry_execution', 'list_execution_tasks']) f;
select try('cloaca.start_workflow(''mine'')');
select count(*) from cloaca.list_executions();
select try('flow_one.cloaca_execution'), try(format('cloaca.advance(''flow_one'', array[1], now())'));
begin;
select cloaca.advance_later('flow_one', array[1], now());
commit;
select flow_one.work(), flow_one.work();
select flow_one.work();
reset session authorization;
set session authorization flow_one;
select name, state from cloaca.list_execution_tasks(:mine);
select state from cloaca.get_execution(:mine);
reset session authorization;
call cloaca.drop_tenant_all('flow_one');
call cloaca.drop_tenant_all('flow_two');
call cloaca.drop_tenant_all('test_workflow');

drop procedure complete_all;
drop function try, try_definition, try_task;
