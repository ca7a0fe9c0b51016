-- Bad input: a clear error with its own SQLSTATE, and nothing is changed.
\set SHOW_CONTEXT never
set client_min_messages = warning;
create extension if not exists cloaca;
do $$ begin perform cloaca.create_tenant('test_arguments', 'test_arguments_user'), cloaca.set_tenant('test_arguments'); end $$;
reset client_min_messages;
set timezone = 'UTC';
set cloaca.clock = '2026-02-01 00:00:00+00';
create function pg_temp.try(statement text) returns text language plpgsql as $$
declare
    message text;
    detail text;
begin
    execute statement;
    return 'ok';
exception when others then
    get stacked diagnostics message = message_text, detail = pg_exception_detail;
    return sqlstate || ' ' || message || coalesce(': ' || nullif(detail, ''), '');
end
$$;
select call, pg_temp.try('select cloaca.' || call) as outcome from (values
    ($$enqueue(null, queue => 'bad')$$),
    ($$enqueue('', queue => 'bad')$$),
    ($$enqueue(repeat('n', 201), queue => 'bad')$$),
    ($$enqueue(E'a\tb', queue => 'bad')$$),
    ($$enqueue('n', queue => null)$$),
    ($$enqueue('n', null, queue => 'bad')$$),
    ($$enqueue('n', 'nonsense', queue => 'bad')$$),
    ($$enqueue('n', '"\u0000"', queue => 'bad')$$),
    ($$enqueue('n', queue => 'bad', priority => null)$$),
    ($$enqueue('n', queue => 'bad', priority => 32768)$$),
    ($$enqueue('n', queue => 'bad', priority => -32769)$$),
    ($$enqueue('n', queue => 'bad', run_at => 'infinity')$$),
    ($$enqueue('n', queue => 'bad', run_at => '-infinity')$$),
    ($$enqueue('n', queue => 'bad', run_at => '0001-01-01 00:00:00+00 BC')$$),
    ($$enqueue('n', queue => 'bad', run_at => '10000-01-01 00:00:00+00')$$),
    ($$enqueue('n', queue => 'bad', delay => '-1 microsecond')$$),
    ($$enqueue('n', queue => 'bad', delay => '87660 hours 1 microsecond')$$),
    ($$enqueue('n', queue => 'bad', delay => make_interval(secs => 1e300))$$),
    ($$enqueue('n', queue => 'bad', delay => '178000000 years')$$),
    ($$enqueue('n', queue => 'bad', run_at => '2027-01-01', delay => '1 s')$$),
    ($$enqueue('n', queue => 'bad', key => '')$$),
    ($$enqueue('n', queue => 'bad', key => repeat('k', 501))$$),
    ($$enqueue('n', queue => 'bad', max_attempts => 0)$$),
    ($$enqueue('n', queue => 'bad', max_attempts => 1000001)$$),
    ($$enqueue('n', queue => 'bad', retry => '"fixed"')$$),
    ($$enqueue('n', queue => 'bad', retry => '{"max": 315576001}')$$),
    ($$enqueue_many('n', null, queue => 'bad')$$),
    ($$enqueue_many('n', array['1', null]::jsonb[], queue => 'bad')$$),
    ($$enqueue_many('n', array['1']::jsonb[], queue => 'bad', keys => '{}')$$),
    ($$enqueue_many('n', array['1']::jsonb[], queue => 'bad', keys => array[''])$$),
    ($$enqueue_many('n', array_fill(jsonb '1', array[2, 2]), queue => 'bad')$$),
    ($$enqueue_many('n', array['1', '2']::jsonb[], queue => 'bad', keys => '{{a,b}}')$$),
    ($$complete_many('{{1,2},{3,4}}', '{1,2,3,4}')$$),
    ($$claim('bad', max => 0)$$),
    ($$claim('bad', max => -1)$$),
    ($$claim('bad', max => 1000000)$$),
    ($$claim('bad', max => null)$$),
    ($$claim('bad', worker => '')$$),
    ($$claim('bad', lease => '0')$$),
    ($$claim('bad', lease => '-1 day')$$),
    ($$claim(null)$$),
    ($$extend(1, 1, '-1 s')$$),
    ($$extend_many(null, null)$$),
    ($$extend_many('{1}', '{}')$$),
    ($$complete(9223372036854775807, 1)$$),
    ($$complete_many('{1}', null)$$),
    ($$complete_many('{1}', '{1}', '{}')$$),
    ($$fail(1, 1, null)$$),
    ($$fail(1, 1, 'x', retry_in => '-1 s')$$),
    ($$defer_until(1, 1, null)$$),
    ($$defer_until(1, 1, 'infinity')$$),
    ($$cancel_task(null)$$),
    ($$cancel_task(-9223372036854775808)$$),
    ($$retry_task()$$),
    ($$retry_task(1, 'bad')$$),
    ($$retry_task(9223372036854775807)$$),
    ($$retry_task(queue => 'bad', max => 0)$$),
    ($$get_task(null)$$),
    ($$get_task(-9223372036854775808)$$),
    ($$list_tasks(state => 'asleep')$$),
    ($$list_tasks(max => 0)$$),
    ($$list_dead_letters(status => 'lost')$$),
    ($$mark_resolved(null)$$),
    ($$mark_resolved(0)$$),
    ($$delete_resolved(older_than => '-1 s')$$),
    ($$run_maintenance(0)$$),
    ($$run_maintenance(null)$$)) as bad (call);
select count(*) from cloaca.list_tasks('bad');

-- What is merely large works.
select outcome, count(*) from cloaca.complete_many(array(select generate_series(1, 1000000) + 1000000000::bigint),
    array(select generate_series(1, 1000000)::bigint)) group by outcome;
select pg_temp.try($$select cloaca.enqueue('n', to_jsonb(repeat('x', 70000000)), queue => 'bad')$$);
-- Little in jsonb, and no text that any client could be sent.
select pg_temp.try($$select cloaca.enqueue('n', (select jsonb_agg(1e131071::numeric) from generate_series(1, 1000)), queue => 'bad')$$);
select count(*) from cloaca.list_tasks('bad');
select created, length(payload #>> '{}') from cloaca.enqueue('n', to_jsonb(repeat('x', 20000000)), queue => 'large') e,
    cloaca.claim('large');
select pg_temp.try(format($$select cloaca.fail(%s, %s, repeat('x', 20000))$$, task, lease_id))
from cloaca.enqueue('n', queue => 'long error', max_attempts => 1), cloaca.claim('long error') c (id, lease_id);
select length(error) from cloaca.list_dead_letters('long error');

reset cloaca.tenant;
call cloaca.drop_tenant_all('test_arguments');
