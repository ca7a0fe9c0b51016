-- Queues: settings and their defaults, names, stats, dropping.
\set SHOW_CONTEXT never
set client_min_messages = warning;
create extension if not exists cloaca;
do $$ begin perform cloaca.create_tenant('test_queue', 'test_queue_user'), cloaca.set_tenant('test_queue'); end $$;
reset client_min_messages;
set timezone = 'UTC';
set cloaca.clock = '2026-02-01 00:00:00+00';

select * from cloaca.set_queue('q');
select * from cloaca.set_queue('q', lease => '2 minutes', max_attempts => 7, retry => '{"strategy": "fixed"}', retention => '1 month');
select * from cloaca.set_queue('q', paused => true);
select * from cloaca.set_queue('q', retention => '0', paused => false);
select max_attempts from cloaca.enqueue('n', queue => 'q') e, cloaca.get_task(e.task);
select lease_until from cloaca.claim('q');
select lease_until from cloaca.enqueue('n', queue => 'q'), cloaca.claim('q', lease => '1 day');

-- Quotes are data, control characters are not.
select queue from cloaca.set_queue($$it's a "queue"; --$$);
select created from cloaca.enqueue('n', queue => $$it's a "queue"; --$$);
select count(*) from cloaca.claim($$it's a "queue"; --$$);
select cloaca.set_queue(E'two\nlines');
select cloaca.set_queue('');
select cloaca.set_queue(null);
select queue = repeat('q', 200) as kept from cloaca.set_queue(repeat('q', 200));
select cloaca.set_queue(repeat('q', 201));
select cloaca.set_queue(repeat('ü', 101));

select created from cloaca.enqueue('n', queue => 'a queue without settings');
select queue, paused, lease, max_attempts from cloaca.list_queues() where queue in ('q', 'a queue without settings');
select queue, ready, scheduled, running, dead, oldest_ready_age, exact, counted_at from cloaca.queue_stats('a queue without settings');
select cloaca.queue_stats('never heard of');
select cloaca.drop_queue('never heard of');
select cloaca.drop_queue('q');
select * from cloaca.drop_queue('q', true);
select cloaca.drop_queue('q', true);
select * from cloaca.drop_queue(repeat('q', 200));

-- Bad settings change nothing.
select cloaca.set_queue('bad', lease => '0');
select cloaca.set_queue('bad', lease => '-1 second');
select cloaca.set_queue('bad', lease => '11 years');
select cloaca.set_queue('bad', max_attempts => 0);
select cloaca.set_queue('bad', retention => '-1 second');
select cloaca.set_queue('bad', key_retention => '178000000 years');
select cloaca.set_queue('bad', retry => '[]');
select cloaca.set_queue('bad', retry => '{"strategy": "sometimes"}');
select cloaca.set_queue('bad', retry => '{"initial": -1}');
select cloaca.set_queue('bad', retry => '{"jitter": "much"}');
select cloaca.set_queue('bad', retry => '{"color": 1}');
select count(*) from cloaca.list_queues() where queue = 'bad';

reset cloaca.tenant;
call cloaca.drop_tenant_all('test_queue');
