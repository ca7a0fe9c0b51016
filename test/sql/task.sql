-- The life of tasks as psql sees it: the caller's transaction, leases, retries, cancellation, repetition.
\set SHOW_CONTEXT never
set client_min_messages = warning;
create extension if not exists cloaca;
do $$ begin perform cloaca.create_tenant('test_task', 'test_task_user'), cloaca.set_tenant('test_task'); end $$;
reset client_min_messages;
set timezone = 'UTC';
set cloaca.clock = '2026-01-01 00:00:00+00';
set cloaca.random = '0.5';

-- At once after create extension, in the caller's transaction.
select created from cloaca.enqueue('greet', '{"to": "world"}', queue => 'life');
begin;
select created from cloaca.enqueue('greet', queue => 'life');
rollback;
select name, payload, attempt, max_attempts, priority, run_at, lease_until, lease_id > 0 as has_lease
from cloaca.claim('life', 'w1', 10);

-- Order: priority, then run_at, then the order of enqueueing. A later task is not in the way.
select count(*) from cloaca.enqueue_many('n', array['1', '2', '3']::jsonb[], queue => 'order');
select created from cloaca.enqueue('n', '"urgent"', queue => 'order', priority => -5);
select created from cloaca.enqueue('n', '"early"', queue => 'order', run_at => '2025-12-31');
select created from cloaca.enqueue('n', '"later"', queue => 'order', priority => -9, delay => '1 hour');
select payload from cloaca.claim('order', max => 2);
select payload from cloaca.claim('order', max => 10);
select payload from cloaca.claim('order', max => 10);

-- Every call needs the lease of the last claim.
select task as id, lease_id as lease from cloaca.enqueue('n', queue => 'lease') cross join lateral cloaca.claim('lease', 'w1') c (task2, lease_id) \gset
select cloaca.complete(:id, :lease + 1);
select * from cloaca.fail(:id, 0, 'x');
select * from cloaca.extend(null, null);
select cloaca.release(:id, null);
select cloaca.defer_until(:id, 7, '2026-02-01');
select * from cloaca.extend(:id, :lease, '90 seconds');
set cloaca.clock = '2026-01-01 00:02:00+00';
select attempt, lease_id as second from cloaca.claim('lease', 'w2') \gset
\echo :attempt
select cloaca.complete(:id, :lease);
select worker, attempt, error, errors from cloaca.get_task(:id);
select cloaca.release(:id, :second);
select state, attempt, worker from cloaca.get_task(:id);
select lease_id as third from cloaca.claim('lease', 'w3') \gset
select cloaca.complete(:id, :third, '{"ok": true}');
select cloaca.complete(:id, :third);
select * from cloaca.get_task(:id);

-- History is kept where the queue says so, and makes a repeated complete harmless.
select retention, key_retention from cloaca.set_queue('kept', retention => '1 day', key_retention => '1 hour');
select task as id from cloaca.enqueue('n', queue => 'kept', key => 'k') \gset
select created, task = :id as same from cloaca.enqueue('n', queue => 'kept', key => 'k');
select lease_id as lease from cloaca.claim('kept', 'w') \gset
select cloaca.complete(:id, :lease, '[1, 2]');
select cloaca.complete(:id, :lease, '[3]');
select state, result, worker, attempt, finished_at from cloaca.get_task(:id);
select created, task = :id as same from cloaca.enqueue('n', queue => 'kept', key => 'k');
set cloaca.clock = '2026-01-01 02:00:00+00';
select created, task = :id as same from cloaca.enqueue('n', queue => 'kept', key => 'k');

-- The three strategies, without jitter's luck: 0.5 is its middle.
create function pg_temp.delays(retry jsonb) returns interval[] language plpgsql as $$
declare
    id bigint;
    started constant timestamptz := current_setting('cloaca.clock');
    at timestamptz := started;
    delays interval[];
begin
    id := (cloaca.enqueue('n', queue => 'delays', max_attempts => 6, retry => retry)).task;
    for n in 1..6 loop
        select delays || (f.run_at - at), coalesce(f.run_at, started) into delays, at
        from cloaca.claim('delays') c, cloaca.fail(c.task, c.lease_id, 'no') f;
        perform set_config('cloaca.clock', at::text, false);
    end loop;
    return delays;
end
$$;
select pg_temp.delays('{"strategy": "fixed", "initial": 5}');
select pg_temp.delays('{"strategy": "linear", "initial": 5, "max": 18}');
select pg_temp.delays('{"strategy": "exponential", "initial": 0.5}');
select pg_temp.delays(null);
set cloaca.random = '0.999999';
select pg_temp.delays('{"initial": 30, "max": 40, "jitter": 0.5}');
set cloaca.random = '0';
select pg_temp.delays('{"initial": 30, "max": 40, "jitter": 1}');
set cloaca.random = '0.5';
select attempt, error, jsonb_array_length(errors) from cloaca.list_dead_letters('delays', max => 1);

-- Cancelling.
select task as id from cloaca.enqueue('n', queue => 'cancel') \gset
select * from cloaca.cancel_task(:id);
select * from cloaca.cancel_task(:id);
select task as id from cloaca.enqueue('n', queue => 'cancel') \gset
select lease_id as lease from cloaca.claim('cancel') \gset
select * from cloaca.cancel_task(:id);
select state from cloaca.get_task(:id);
select cloaca.complete(:id, :lease);
select * from cloaca.extend(:id, :lease);
select * from cloaca.fail(:id, :lease, 'x');
select * from cloaca.extend_many(array[:id, :id, null], array[:lease, 1, null]);
select cloaca.release(:id, :lease);

-- Many at once: each has its own outcome.
select count(*) from cloaca.enqueue_many('n', array_fill('{}'::jsonb, array[3]), queue => 'many');
select array_agg(task) as ids, array_agg(lease_id) as leases from cloaca.claim('many', max => 3) \gset
select outcome from cloaca.extend_many(:'ids', :'leases', '1 minute');
select outcome from cloaca.complete_many(:'ids'::bigint[] || 99::bigint, :'leases'::bigint[] || 99::bigint);
select outcome from cloaca.complete_many(:'ids', :'leases');
select count(*) from cloaca.complete_many('{}', '{}');

-- A paused queue gives nothing, and goes on where it was.
select created from cloaca.enqueue('n', queue => 'paused');
select paused from cloaca.set_queue('paused', paused => true);
select count(*) from cloaca.claim('paused');
select paused from cloaca.set_queue('paused', paused => false);
select count(*) from cloaca.claim('paused');

-- A task may be enqueued and finished along with the user's own rows.
create temp table orders (id integer primary key, task bigint);
begin;
insert into orders select 1, task from cloaca.enqueue('ship', queue => 'orders');
savepoint s;
insert into orders select 2, task from cloaca.enqueue('ship', queue => 'orders');
rollback to s;
commit;
select count(*), (select count(*) from orders) as orders from cloaca.list_tasks('orders');
begin;
select cloaca.complete(task, lease_id) from cloaca.claim('orders');
select count(*) from cloaca.list_tasks('orders');
rollback;
select state, attempt from cloaca.list_tasks('orders');

reset cloaca.tenant;
call cloaca.drop_tenant_all('test_task');
