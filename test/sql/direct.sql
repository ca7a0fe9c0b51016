-- Which calls the direct path serves, and which it leaves to SQL because the tables, the caller or the transaction are not as it wants
-- them; and that a session which has remembered a tenant notices every change. The same in every mode: the path is chosen here.
\set SHOW_CONTEXT never
set client_min_messages = error; -- publications warn of wal_level
create extension if not exists cloaca;
set cloaca.direct = on;

-- Every function that has two paths, on a task of its own, and the path that it took.
create function pg_temp.path(call text) returns text language plpgsql as $$
declare
    before bigint := cloaca.direct_calls();
begin
    execute call;
    return case cloaca.direct_calls() - before when 0 then 'sql' else 'direct' end;
exception when others then
    return case cloaca.direct_calls() - before when 0 then 'sql ' else 'direct ' end || sqlstate;
end
$$;
create function pg_temp.paths() returns text language sql as $$
    select case when min(path) = max(path) then 'all ' || min(path) else string_agg(name || ' ' || path, ', ' order by n) end
    from (values
        (1, 'enqueue', $q$select from cloaca.enqueue('n', '{"a": 1}', 'q', 1)$q$),
        (2, 'enqueue_many', $q$select from cloaca.enqueue_many('n', array_fill('{}'::jsonb, array[9]), 'q')$q$),
        (3, 'claim', $q$select 1 / count(*) from cloaca.claim('q', 'w', 10)$q$),
        (4, 'extend', $q$select 1 / count(*) from (select e.* from cloaca.list_tasks('q') l, cloaca.extend(l.task, pg_temp.lease_of(l.task)) e) x$q$),
        (5, 'extend_many', $q$select 1 / count(*) from cloaca.extend_many(pg_temp.held(), pg_temp.leases()) where outcome = 'extended'$q$),
        (6, 'complete', $q$select cloaca.complete(task, pg_temp.lease_of(task)) from cloaca.list_tasks('q', max => 1)$q$),
        (7, 'complete_many', $q$select 1 / count(*) from cloaca.complete_many(pg_temp.held(), pg_temp.leases()) where outcome = 'completed'$q$)
    ) as f (n, name, call), lateral (select pg_temp.path(call) as path) p
$$;
create function pg_temp.lease_of(task bigint) returns bigint language plpgsql as $$
declare
    found bigint;
begin
    execute format('select lease_id from %I.cloaca_task where id = $1', cloaca.current_tenant()) into found using task;
    return found;
end
$$;
create function pg_temp.held() returns bigint[] language sql as $$ select array_agg(task order by task) from cloaca.list_tasks('q') $$;
create function pg_temp.leases() returns bigint[] language sql as $$ select array_agg(pg_temp.lease_of(task) order by task) from cloaca.list_tasks('q') $$;

do $$ begin perform cloaca.create_tenant('test_direct', 'test_direct_user'), cloaca.set_tenant('test_direct'); end $$;
select pg_temp.paths();
set cloaca.direct = off;
select pg_temp.paths();
set cloaca.direct = on;

-- Each change is made in the middle of a session that takes the direct path, and taken back. What only SQL knows how to treat is left to
-- it; where SQL refuses, so does the call.
create temp table situation (n integer generated always as identity, name text, paths text, effect text, after text);
create procedure pg_temp.try_with(name text, change text, effect text default null) language plpgsql as $$
declare
    paths text;
    seen text;
begin
    set local search_path = test_direct, pg_catalog, pg_temp;
    execute change;
    paths := pg_temp.paths();
    if effect is not null then
        execute effect into seen;
    end if;
    rollback;
    insert into situation (name, paths, effect, after) values (name, paths, seen, pg_temp.paths());
    commit;
end
$$;
call pg_temp.try_with('nothing', 'select');
call pg_temp.try_with('trigger', $$create function f() returns trigger language plpgsql as 'begin new.name := ''changed''; return new; end';
    create trigger t before insert on cloaca_task for each row execute function f()$$,
    $$select name from cloaca.enqueue('n', queue => 'e'), cloaca.claim('e') limit 1$$);
call pg_temp.try_with('statement trigger', $$create table fired (n integer);
    create function f() returns trigger language plpgsql as 'begin insert into test_direct.fired values (1); return null; end';
    create trigger t after delete on cloaca_task for each statement execute function f()$$,
    'select count(*) from fired');
call pg_temp.try_with('trigger on settings', $$create function f() returns trigger language plpgsql as 'begin return new; end';
    create trigger t before update on cloaca_queue for each row execute function f()$$);
call pg_temp.try_with('rule', 'create rule r as on update to cloaca_task do also select 1');
call pg_temp.try_with('row security', 'alter table cloaca_task enable row level security');
call pg_temp.try_with('row security of settings', 'alter table cloaca_queue enable row level security');
call pg_temp.try_with('one more index', 'create index more on cloaca_task (name)');
call pg_temp.try_with('one index less', 'drop index cloaca_task_claim');
call pg_temp.try_with('another order', 'drop index cloaca_task_claim; create index on cloaca_task (queue, priority, run_at desc, id)');
call pg_temp.try_with('another collation', 'drop index cloaca_task_claim;
    create index on cloaca_task (queue collate "default", priority, run_at, id)');
call pg_temp.try_with('another condition', 'drop index cloaca_task_key; create unique index on cloaca_task (queue, key) where key is not null and id > 0');
call pg_temp.try_with('expression', 'drop index cloaca_task_claim; create index on cloaca_task (queue, priority, run_at, (id + 0))');
call pg_temp.try_with('another primary key', 'alter table cloaca_queue drop constraint cloaca_queue_pkey; alter table cloaca_queue add primary key (queue, created_at)');
call pg_temp.try_with('unique constraint', 'alter table cloaca_task add unique (id, name)');
call pg_temp.try_with('exclusion constraint', 'alter table cloaca_task add exclude (id with =)');
call pg_temp.try_with('deferrable constraint', 'alter table cloaca_task drop constraint cloaca_task_pkey; alter table cloaca_task add primary key (id) deferrable');
call pg_temp.try_with('check constraint', 'alter table cloaca_task add check (priority < 100)',
    $$select pg_temp.path('select cloaca.enqueue(''n'', priority => 100)')$$);
call pg_temp.try_with('foreign key', 'create table other (task bigint references cloaca_task on delete cascade)');
call pg_temp.try_with('one more column', 'alter table cloaca_task add more integer default 7',
    $$select string_agg(distinct more::text, ',') from (select cloaca.enqueue('n')) e, cloaca_task$$);
call pg_temp.try_with('a column that was dropped', 'alter table cloaca_task add more integer; alter table cloaca_task drop more');
call pg_temp.try_with('another type', 'alter table cloaca_task alter attempt type bigint');
call pg_temp.try_with('another name', 'alter table cloaca_task rename execution to run');
call pg_temp.try_with('not null', 'alter table cloaca_task alter execution set not null', $$select pg_temp.path('select cloaca.enqueue(''n'')')$$);
call pg_temp.try_with('null', 'alter table cloaca_queue alter lease drop not null; insert into cloaca_queue (queue, lease, created_at) values (''q'', null, now())');
call pg_temp.try_with('generated column', 'alter table cloaca_queue add more integer generated always as (max_attempts + 1) stored');
call pg_temp.try_with('default', $$alter table cloaca_task alter execution set default 7$$,
    $$select execution from cloaca.enqueue('n', queue => 'd'), cloaca.claim('d')$$);
call pg_temp.try_with('no identity', 'alter table cloaca_task alter id drop identity; create sequence s start 1000;
    alter table cloaca_task alter id set default nextval(''s'')');
call pg_temp.try_with('inheritance', 'create table child () inherits (cloaca_task)');
call pg_temp.try_with('unlogged', 'alter table cloaca_task set unlogged');
call pg_temp.try_with('view', 'alter table cloaca_task rename to was; create view cloaca_task as select * from was');
call pg_temp.try_with('foreign table', $$create foreign data wrapper test_direct_wrapper; create server test_direct_server foreign data wrapper test_direct_wrapper;
    alter table cloaca_task rename to was; create foreign table cloaca_task (id bigint) server test_direct_server$$);
call pg_temp.try_with('partitions', $$alter table cloaca_task rename to was; alter index cloaca_task_key rename to was_key;
    create table cloaca_task (like was including defaults including identity) partition by list (queue);
    create table part partition of cloaca_task default; create unique index on cloaca_task (queue, key) where key is not null$$);
call pg_temp.try_with('publication', 'create publication test_direct_publication for table cloaca_task');
call pg_temp.try_with('no replica identity', 'alter table cloaca_task replica identity nothing;
    create publication test_direct_publication for table cloaca_task');
call pg_temp.try_with('truncate', 'truncate cloaca_task, cloaca_queue');
call pg_temp.try_with('cluster', 'cluster cloaca_task using cloaca_task_claim');
call pg_temp.try_with('no table', 'drop table cloaca_task');
-- Committed, and of the owner alone.
alter table test_direct.cloaca_task rename to was;
create view test_direct.cloaca_task as select * from test_direct.was;
select pg_temp.paths();
drop view test_direct.cloaca_task;
alter table test_direct.was rename to cloaca_task;
select pg_temp.paths();
create function test_direct.f() returns trigger language plpgsql as 'begin return null; end';
create trigger t before insert on test_direct.cloaca_task for each row execute function test_direct.f();
select pg_temp.path($$select cloaca.enqueue('n', queue => 'e')$$), count(*) from cloaca.list_tasks('e');
drop trigger t on test_direct.cloaca_task;
drop function test_direct.f();
select pg_temp.paths();
table situation;

-- Rights: what SQL would be allowed, no more and no less, and what it says when it is not. Columns' own grants are for SQL to look at.
do $$ begin perform cloaca.enqueue('n', queue => 'r') from generate_series(1, 2); perform cloaca.claim('r', lease => '1 day'); end $$;
create temp table rights (n integer generated always as identity, name text, call text, path text);
create procedure pg_temp.try_rights(name text, change text, call text) language plpgsql as $$
declare
    path text;
begin
    set local search_path = test_direct, pg_catalog, pg_temp;
    execute change;
    set local role test_direct_user;
    path := pg_temp.path(call);
    rollback;
    insert into rights (name, call, path) values (name, call, path);
    commit;
end
$$;
call pg_temp.try_rights('all of them', 'select', $$select 1 / count(*) from cloaca.claim('r')$$);
call pg_temp.try_rights('no update', 'revoke update on cloaca_task from test_direct_user', $$select 1 / count(*) from cloaca.claim('r')$$);
call pg_temp.try_rights('no update, and nothing to claim', 'revoke update on cloaca_task from test_direct_user', $$select from cloaca.claim('none')$$);
call pg_temp.try_rights('no select', 'revoke select on cloaca_task from test_direct_user', $$select 1 / count(*) from cloaca.claim('r')$$);
call pg_temp.try_rights('some columns', $$revoke update on cloaca_task from test_direct_user; grant update
    (lease_id, lease_until, claimed_at, attempt, worker, errors) on cloaca_task to test_direct_user$$, $$select 1 / count(*) from cloaca.claim('r')$$);
call pg_temp.try_rights('too few columns', $$revoke update on cloaca_task from test_direct_user; grant update
    (lease_id, lease_until) on cloaca_task to test_direct_user$$, $$select 1 / count(*) from cloaca.claim('r')$$);
call pg_temp.try_rights('no settings', 'revoke select on cloaca_queue from test_direct_user', $$select 1 / count(*) from cloaca.claim('r')$$);
call pg_temp.try_rights('no insert', 'revoke insert on cloaca_task from test_direct_user', $$select cloaca.enqueue('n')$$);
call pg_temp.try_rights('no insert', 'revoke insert on cloaca_task from test_direct_user', $$select cloaca.enqueue_many('n', array['1']::jsonb[])$$);
call pg_temp.try_rights('insert alone', 'revoke select, update, delete on cloaca_task from test_direct_user', $$select cloaca.enqueue('n')$$);
call pg_temp.try_rights('no sequence', $$revoke all on sequence cloaca_task_id_seq from test_direct_user$$, $$select cloaca.enqueue('n')$$);
call pg_temp.try_rights('no delete', 'revoke delete on cloaca_task from test_direct_user', $$select cloaca.complete(1, 1)$$);
call pg_temp.try_rights('no delete', 'revoke delete on cloaca_task from test_direct_user', $$select cloaca.complete_many('{1}', '{1}')$$);
call pg_temp.try_rights('delete alone', 'revoke select on cloaca_task from test_direct_user', $$select cloaca.complete(1, 1)$$);
call pg_temp.try_rights('no update', 'revoke update on cloaca_task from test_direct_user', $$select cloaca.extend(1, 1)$$);
call pg_temp.try_rights('no schema', 'revoke usage on schema test_direct from test_direct_user', $$select cloaca.claim('r')$$);
call pg_temp.try_rights('another role', 'revoke update on cloaca_task from test_direct_user; grant update on cloaca_task to public', $$select 1 / count(*) from cloaca.claim('r')$$);
call pg_temp.try_rights('row security', $$alter table cloaca_task enable row level security;
    create policy p on cloaca_task using (lease_id is not null)$$, $$select 1 / count(*) from cloaca.claim('r')$$);
table rights;

-- Transactions.
begin isolation level repeatable read;
select pg_temp.paths();
rollback;
begin isolation level serializable;
select pg_temp.paths();
rollback;
begin read only;
select pg_temp.path($$select cloaca.enqueue('n')$$), pg_temp.path($$select cloaca.claim('q')$$), pg_temp.path($$select cloaca.complete(1, 1)$$);
rollback;

-- What a subtransaction claimed, enqueued, completed or failed, and took back.
create function pg_temp.claimed(queue text, max integer default 1) returns text language plpgsql as $$
declare
    before bigint := cloaca.direct_calls();
    names text;
begin
    select coalesce(string_agg(c.name, ' '), 'none') into names from cloaca.claim(claimed.queue, max => claimed.max) c;
    return names || case cloaca.direct_calls() - before when 1 then ', direct' else ', sql' end;
end
$$;
do $$ begin perform cloaca.enqueue(n, queue => 's') from unnest(array['a', 'b', 'c', 'd']) n; end $$;
begin;
select pg_temp.claimed('s');
savepoint one;
select pg_temp.claimed('s');
savepoint two;
select pg_temp.claimed('s');
rollback to two;
select pg_temp.claimed('s');
select created from cloaca.enqueue('first', queue => 's', priority => -1);
rollback to one;
select pg_temp.claimed('s', 3);
rollback;
select pg_temp.claimed('s', 9);
begin;
select cloaca.release(task, pg_temp.lease_of(task)) from cloaca.list_tasks('s');
savepoint one;
select pg_temp.claimed('s', 2);
do $$ begin perform pg_temp.claimed('s'); raise division_by_zero; exception when division_by_zero then null; end $$;
select pg_temp.claimed('s');
rollback to one;
select pg_temp.claimed('s', 9);
commit;
select pg_temp.claimed('s');
begin;
select count(cloaca.complete(task, pg_temp.lease_of(task))) from cloaca.list_tasks('s');
select count(*) from cloaca.list_tasks('s');
rollback;
select name, state from cloaca.list_tasks('s');
select outcome from cloaca.complete_many(array(select task from cloaca.list_tasks('s')), array(select pg_temp.lease_of(task) from cloaca.list_tasks('s')));

-- A task that this transaction has locked or changed itself.
do $$ begin perform cloaca.enqueue(n, queue => 'own') from unnest(array['a', 'b']) n; end $$;
begin;
select name from test_direct.cloaca_task where queue = 'own' for update;
select pg_temp.claimed('own', 2);
select f.state from cloaca.list_tasks('own') l, cloaca.fail(l.task, pg_temp.lease_of(l.task), 'x', retry_in => '0') f;
select pg_temp.claimed('own', 2);
select name from test_direct.cloaca_task where queue = 'own' for key share;
select count(*) from cloaca.list_tasks('own') l, cloaca.extend(l.task, pg_temp.lease_of(l.task));
select count(cloaca.complete(task, pg_temp.lease_of(task))) from cloaca.list_tasks('own');
commit;
select count(*) from cloaca.list_tasks('own');

-- In the middle of other statements: cursors that are not read to their end, functions that see what others of the statement did.
do $$ begin perform cloaca.enqueue_many('n', array(select to_jsonb(n) from generate_series(1, 20) n), 'c'); end $$;
begin;
declare tasks cursor for select payload from cloaca.claim('c', max => 3);
fetch 1 from tasks;
declare later cursor for select payload from cloaca.claim('c', max => 3);
fetch 2 from later;
fetch 1 from tasks;
close tasks;
declare kept no scroll cursor with hold for select payload from cloaca.claim('c', max => 2);
commit;
fetch all from kept;
close kept;
select (cloaca.claim('c', max => 2)).payload;
select payload from (select (cloaca.claim('c', max => 4)).payload) c limit 1;
select a.payload as a, b.payload as b from cloaca.claim('c') a cross join lateral cloaca.claim('c') b;
select payload from cloaca.claim('c', max => 0) union all select payload from cloaca.claim('c', max => 1);
with claimed as (select * from cloaca.claim('c')), completed as (select cloaca.complete(task, lease_id) from claimed)
select claimed.payload, (select count(*) from completed) from claimed;
prepare claim(text) as select payload from cloaca.claim($1);
execute claim('c');
execute claim('c');
deallocate claim;
select count(*) from cloaca.enqueue('n', queue => 'seen') e, cloaca.claim('seen') c, cloaca.complete(c.task, c.lease_id);

-- Who calls, and what the tables are, may be another thing at every call of a session.
do $$ begin perform cloaca.set_tenant(null), cloaca.create_tenant('test_one', 'test_one_user'), cloaca.create_tenant('test_two', 'test_two_user'); end $$;
create function test_one.enqueue() returns text language plpgsql security definer as $$ begin return pg_temp.path('select cloaca.enqueue(''definer'')'); end $$;
alter function test_one.enqueue() owner to test_one_user;
grant usage on schema test_one to test_two_user;
grant execute on function test_one.enqueue() to test_two_user;
create function pg_temp.look(out one text, out two text) language sql as $$
    select (select string_agg(name, ' ' order by id) from test_one.cloaca_task), (select string_agg(name, ' ' order by id) from test_two.cloaca_task)
$$;
set role test_one_user;
select pg_temp.path($$select cloaca.enqueue('one')$$);
set role test_two_user;
select pg_temp.path($$select cloaca.enqueue('two')$$), test_one.enqueue(), pg_temp.path($$select cloaca.enqueue('two')$$);
set cloaca.tenant = 'test_one';
select pg_temp.path($$select cloaca.enqueue('two')$$), pg_temp.path($$select cloaca.claim()$$);
set cloaca.tenant = 'none';
select pg_temp.path($$select cloaca.enqueue('two')$$);
reset cloaca.tenant;
reset role;
select * from pg_temp.look();
set session authorization test_one_user;
select name, pg_temp.path($$select cloaca.enqueue('again')$$) from cloaca.claim();
reset session authorization;
select * from pg_temp.look();
-- The tables of test_two for its role, then for it as a member of another role.
grant test_one_user to test_two_user;
set role test_two_user;
set cloaca.tenant = 'test_one';
select pg_temp.path($$select cloaca.enqueue('member')$$);
reset role;
revoke test_one_user from test_two_user;
set role test_two_user;
select pg_temp.path($$select cloaca.enqueue('member')$$);
reset role;
reset cloaca.tenant;
select * from pg_temp.look();

-- Tables of the same names that come earlier in the search path.
create temp table cloaca_task (like test_one.cloaca_task including all);
create temp table cloaca_queue (like test_one.cloaca_queue including all);
insert into cloaca_queue (queue, paused, created_at) values ('default', true, 'epoch');
set role test_one_user;
set search_path = pg_temp, test_two, test_one;
select pg_temp.path($$select cloaca.enqueue('shadow')$$), pg_temp.path($$select 1 / count(*) from cloaca.claim()$$);
reset search_path;
reset role;
select count(*) from cloaca_task;
drop table cloaca_task, cloaca_queue;

-- The schema is another one of the same name, is renamed, is gone; the extension goes and comes back.
do $$ begin perform cloaca.set_tenant('test_two'); end $$;
select pg_temp.path($$select cloaca.enqueue('two')$$);
call cloaca.drop_tenant_all('test_two');
select pg_temp.path($$select cloaca.enqueue('two')$$);
do $$ begin perform cloaca.create_tenant('test_two', 'test_two_user'); end $$;
select pg_temp.paths();
truncate test_two.cloaca_task, test_two.cloaca_queue, test_two.cloaca_task_history;
select pg_temp.paths();
cluster test_two.cloaca_task using cloaca_task_claim;
reindex table test_two.cloaca_task;
select pg_temp.paths();
alter schema test_two rename to test_three;
select pg_temp.path($$select cloaca.enqueue('two')$$);
alter schema test_three rename to test_two;
select pg_temp.path($$select cloaca.enqueue('two')$$);
begin;
drop schema test_two cascade;
select pg_temp.path($$select cloaca.enqueue('two')$$);
rollback;
select pg_temp.path($$select cloaca.enqueue('two')$$);
begin;
update cloaca.tenant set state = 'dropping' where schema_name = 'test_two';
select pg_temp.path($$select cloaca.enqueue('two')$$);
rollback;
begin;
update cloaca.tenant set table_version = 0 where schema_name = 'test_two';
select pg_temp.path($$select cloaca.enqueue('two')$$);
rollback;
select pg_temp.path($$select cloaca.enqueue('two')$$);
begin;
drop extension cloaca;
create extension cloaca;
create temp table adopted on commit drop as select from cloaca.adopt_tenant('test_two', 'test_two_user');
select pg_temp.paths();
rollback;
select pg_temp.paths();

-- Many calls of a session leave nothing behind in its memory: in one transaction, and in as many.
create procedure pg_temp.cycle(times integer, commits boolean) language plpgsql as $$
begin
    for i in 1 .. times loop
        perform cloaca.enqueue('n', queue => 'cycle');
        perform cloaca.complete(c.task, e.lease_id) from cloaca.claim('cycle') c, lateral (select c.lease_id from cloaca.extend(c.task, c.lease_id)) e;
        perform cloaca.enqueue('n', queue => 'cycle', key => 'k');
        perform cloaca.complete_many(array_agg(task), array_agg(lease_id)) from cloaca.claim('cycle', max => 3);
        if commits then
            commit;
        end if;
    end loop;
end
$$;
create function pg_temp.memory() returns bigint language sql as $$ select sum(total_bytes) from pg_backend_memory_contexts $$;
call pg_temp.cycle(1000, true);
call pg_temp.cycle(200, false);
select pg_temp.memory() as before \gset
call pg_temp.cycle(4500, true);
select pg_temp.memory() - :before < 200000 as "as much as before";
call pg_temp.cycle(500, false);
select pg_temp.memory() - :before < 200000 as "as much as before";

reset cloaca.tenant;
call cloaca.drop_tenant_all('test_direct');
call cloaca.drop_tenant_all('test_one');
call cloaca.drop_tenant_all('test_two');
