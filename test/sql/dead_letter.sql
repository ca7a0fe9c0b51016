-- Dead letters: what they keep, retrying one or all of a queue, resolving.
\set SHOW_CONTEXT never
set client_min_messages = warning;
create extension if not exists cloaca;
do $$ begin perform cloaca.create_tenant('test_dead_letter', 'test_dead_letter_user'), cloaca.set_tenant('test_dead_letter'); end $$;
reset client_min_messages;
set timezone = 'UTC';
set cloaca.clock = '2026-04-01 00:00:00+00';

create function pg_temp.kill(queue text, key text default null) returns bigint language plpgsql as $$
declare
    id bigint := (cloaca.enqueue('n', queue => kill.queue, key => kill.key)).task;
begin
    perform cloaca.fail(task, lease_id, 'boom', final => true) from cloaca.claim(kill.queue, 'w');
    return id;
end
$$;
select pg_temp.kill('d') as one \gset
select pg_temp.kill('d', 'k') as two \gset
select pg_temp.kill('d', 'k') as three \gset
select task = :one as is_one, name, attempt, max_attempts, key, worker, error, errors, failed_at, status
from cloaca.list_dead_letters('d');
select state, error, finished_at from cloaca.get_task(:one);
select failed, resolved, oldest_failed_at from cloaca.failure_stats('d');

-- One goes back with all its attempts and its history.
select * from cloaca.retry_task(:one);
select state, attempt, error, errors from cloaca.get_task(:one);
select * from cloaca.retry_task(:one);

-- Of one key the oldest goes; the other stays while the key is taken.
select * from cloaca.retry_task(queue => 'd');
select state, task = :two as is_two from cloaca.list_tasks('d', 'dead') union all select state, task = :two from cloaca.list_tasks('d', 'ready') order by 1, 2;
do $$ begin perform cloaca.retry_task((select task from cloaca.list_dead_letters('d')));
exception when sqlstate 'ZC011' then raise notice '%', sqlerrm; end $$;

-- Resolved ones are no longer to be retried, and are deleted in batches once they are old enough.
select dead_letter as id from cloaca.list_dead_letters('d') \gset
select cloaca.mark_resolved(:id, 'sent by hand');
select status, resolution, resolved_at from cloaca.list_dead_letters('d', 'resolved');
select failed, resolved from cloaca.failure_stats('d');
select * from cloaca.retry_task(queue => 'd');
select * from cloaca.delete_resolved('d', '1 hour');
set cloaca.clock = '2026-04-01 01:00:00+00';
select * from cloaca.delete_resolved('d', '1 hour');
select count(*) from cloaca.list_dead_letters('d', null);

reset cloaca.tenant;
call cloaca.drop_tenant_all('test_dead_letter');
