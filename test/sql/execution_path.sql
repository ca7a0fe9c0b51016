-- How executions go on: by the tables directly where they are as the library knows them, else by cloaca.tell_started, lock_execution,
-- end_tasks and advance. Which of these were called says the path; that both leave the same behind is asserted by running everything
-- twice, with cloaca.direct on and off. The same in every mode: the path is chosen here.
\set SHOW_CONTEXT never
set client_min_messages = warning;
create extension if not exists cloaca;
set track_functions = 'all';
set test.later = 'select';
do $$ begin perform cloaca.create_tenant('test_path', 'test_path_user'), cloaca.create_tenant('test_other', 'test_other_user'),
    cloaca.set_tenant('test_path'); end $$;

-- Workflows. A task's static input says what it gives: {"give": result}, {"fail": error}, or nothing.
create function pg_temp.define(name text, tasks jsonb) returns void language sql as $$
    select cloaca.define_workflow(name, jsonb_build_object('tasks', tasks))
$$;
create function pg_temp.task(name text, dependencies text[] default '{}', input jsonb default null, trigger jsonb default null)
returns jsonb language sql as $$
    select jsonb_strip_nulls(jsonb_build_object('name', name, 'dependencies', to_jsonb(dependencies), 'trigger', trigger))
        || case when input is null then '{}' else jsonb_build_object('input', input) end
$$;
create function pg_temp.define_plain() returns void language sql as $$
    select pg_temp.define('plain', jsonb_build_array(pg_temp.task('a', '{}', '{"give": {"x": 1}}'), pg_temp.task('b', '{}', '{"give": 2}'),
        pg_temp.task('c', '{a,b}', '{"give": {"y": 3}}'), pg_temp.task('d', '{c}'), pg_temp.task('e', '{c}', '{"give": "text"}')))
$$;
do $$ begin perform pg_temp.define_plain(), cloaca.set_tenant('test_other'), pg_temp.define_plain(), cloaca.set_tenant('test_path'); end $$;

-- How often each of the functions of the SQL path was called. With cloaca.direct off complete_sql locks executions by another one.
create function pg_temp.calls() returns bigint[] language sql as $$
    select array_agg(coalesce(pg_stat_get_xact_function_calls(p.oid), 0) order by p.proname)
    from pg_proc p where p.pronamespace = 'cloaca'::regnamespace and p.proname in ('tell_started', 'lock_execution', 'end_tasks', 'advance')
$$;
create function pg_temp.path(before bigint[], later bigint[]) returns text language sql as $$
    select case when bool_and(a = b) then 'direct' when bool_and(a > b or name = 'lock_execution') then 'sql'
        else 'sql: ' || string_agg(name, ', ' order by name) filter (where a > b) end
    from unnest(array['advance', 'end_tasks', 'lock_execution', 'tell_started'], before, later) as c (name, b, a)
$$;

-- All that an execution left, as text without ids and times.
create function pg_temp.remains(run bigint) returns text language plpgsql as $$
declare
    remains text;
begin
    execute format($query$
        select concat_ws(E'\n',
            (select jsonb_build_array(state, remaining, error, context, result, started_at is null, finished_at is null, expires_at is null)
             from %1$I.cloaca_execution where id = $1),
            (select string_agg(jsonb_build_array(n, state, remaining, attempt, worker, awaits, error, output, changes, started_at is null,
                finished_at is null, held_run_at is null)::text, E'\n' order by n) from %1$I.cloaca_execution_task where execution = $1),
            (select string_agg(jsonb_build_array(n.n, e.state, e.attempt, e.worker, e.name, e.detail)::text, E'\n' order by e.id)
             from %1$I.cloaca_execution_event e left join %1$I.cloaca_execution_task n on n.task = e.task where e.execution = $1),
            (select string_agg(jsonb_build_array(n.n, t.queue, t.name, t.priority, t.attempt, t.max_attempts, t.timeout, t.retry, t.payload,
                t.deadline is null, t.run_at = 'infinity')::text, E'\n' order by n.n)
             from %1$I.cloaca_task t join %1$I.cloaca_execution_task n on n.task = t.id where t.execution = $1))
        $query$, cloaca.current_tenant()) into remains using run;
    return remains;
end
$$;

-- Claims, ends what was claimed as its payload says, goes on, and so on until nothing is left to claim; `many` at a time. Returns what the
-- workers saw.
create function pg_temp.work(many integer) returns text language plpgsql as $$
declare
    claimed record;
    tasks bigint[];
    leases bigint[];
    results jsonb[];
    seen text := '';
begin
    loop
        tasks := '{}';
        for claimed in select * from cloaca.claim(worker => 'w', max => many) order by task loop
            seen := seen || concat_ws(' ', claimed.name, claimed.attempt, claimed.priority, claimed.max_attempts, claimed.payload, E'\n');
            if claimed.payload ? 'fail' then
                perform cloaca.fail(claimed.task, claimed.lease_id, claimed.payload ->> 'fail', final => true);
            elsif many = 1 then
                perform cloaca.complete(claimed.task, claimed.lease_id, claimed.payload -> 'give');
            else
                tasks := tasks || claimed.task;
                leases := leases || claimed.lease_id;
                results := results || (claimed.payload -> 'give');
            end if;
        end loop;
        exit when not found;
        perform cloaca.complete_many(tasks, leases, results) where tasks <> '{}';
        results := null;
        leases := null;
        perform cloaca.advance_now();
    end loop;
    return seen;
end
$$;
-- A whole run on one of the paths: which one served, and what it left, or the error. A change of the tables may come after the start.
create function pg_temp.run(direct boolean, workflow text, context jsonb, many integer, worker_role text, out path text, out remains text)
language plpgsql as $$
declare
    before bigint[];
    execution bigint;
    where_from text;
begin
    perform set_config('cloaca.direct', direct::text, true);
    execution := (cloaca.start_workflow(workflow, context)).execution;
    execute current_setting('test.later', true);
    before := pg_temp.calls();
    perform set_config('role', worker_role, true);
    remains := pg_temp.work(many);
    perform set_config('role', 'none', true);
    path := pg_temp.path(before, pg_temp.calls());
    remains := remains || pg_temp.remains(execution);
exception when others then
    get stacked diagnostics where_from = pg_exception_context;
    path := case when before is null then 'start ' when where_from ~ 'cloaca\.(tell_started|lock_execution|end_tasks|advance)\(' then 'sql '
        when where_from ~ 'cloaca\.(claim|complete|complete_many)_sql\(' then 'other ' else 'direct ' end || sqlstate;
    remains := sqlstate || ' ' || sqlerrm;
end
$$;
-- The path of a run that may take the direct one, and how what it left differs from what SQL leaves.
create function pg_temp.paths(workflow text default 'plain', context jsonb default '{}', many integer default 1, worker_role text default 'none',
    out path text, out difference text) language plpgsql as $$
declare
    direct record;
    other record;
begin
    select * into other from pg_temp.run(false, workflow, context, many, worker_role);
    select * into direct from pg_temp.run(true, workflow, context, many, worker_role);
    path := direct.path;
    if other.path !~ '^(sql|other|start)' then
        path := path || ', though switched off ' || other.path;
    end if;
    if direct.remains is distinct from other.remains then
        difference := format(E'direct:\n%s\nsql:\n%s', direct.remains, other.remains);
    end if;
end
$$;

select * from pg_temp.paths();
select * from pg_temp.paths(many => 5);
set cloaca.direct = off;
select path from pg_temp.run(false, 'plain', '{}', 1, 'none');
select split_part(remains, E'\n', 6) as execution from pg_temp.run(true, 'plain', '{"in": 0}', 1, 'none');
set cloaca.direct = on;

-- Changes of the tables, each made in the middle of a session that takes the direct path, and taken back. What only SQL knows how to treat
-- is left to it. A change is made to each of the tables when it names TABLE.
create temp table situation (n integer generated always as identity, name text, place text, path text, difference text, effect text, after text);
create procedure pg_temp.try_one(name text, place text, change text, effect text, worker_role text, later text) language plpgsql as $$
declare
    seen record;
    said text;
begin
    set local search_path = test_path, pg_catalog, pg_temp;
    execute change;
    perform set_config('test.later', later, true);
    select * into seen from pg_temp.paths(worker_role => worker_role);
    if effect is not null then
        execute effect into said;
    end if;
    rollback;
    insert into situation (name, place, path, difference, effect, after)
    values (name, place, seen.path, seen.difference, said, (select p.path from pg_temp.paths() p));
    commit;
end
$$;
create procedure pg_temp.try_with(name text, change text, effect text default null, worker_role text default 'none', later text default 'select')
language plpgsql as $$
declare
    place text;
begin
    if change || later !~ 'TABLE' then
        call pg_temp.try_one(name, null, change, effect, worker_role, later);
    else
        foreach place in array array['execution', 'execution_task', 'workflow_task', 'execution_event'] loop
            call pg_temp.try_one(name, place, replace(change, 'TABLE', 'cloaca_' || place), replace(effect, 'TABLE', 'cloaca_' || place), worker_role,
                replace(later, 'TABLE', 'cloaca_' || place));
        end loop;
    end if;
end
$$;
-- What a query finds by an index and without one, which it says when that is not the same.
create function pg_temp.both_ways(query text, index text) returns text language plpgsql as $$
declare
    line text;
    plan text := '';
    by_index text;
    without text;
begin
    set local enable_seqscan = off;
    set local enable_indexscan = on;
    set local enable_indexonlyscan = on;
    set local enable_bitmapscan = on;
    for line in execute 'explain (costs off) ' || query loop
        plan := plan || line;
    end loop;
    execute query into by_index;
    set local enable_indexscan = off;
    set local enable_indexonlyscan = off;
    set local enable_bitmapscan = off;
    set local enable_seqscan = on;
    execute query into without;
    return case when plan !~ index then 'no index: ' || plan when by_index is distinct from without then by_index || ' instead of ' || without
        when without = '0' then 'nothing' else 'all rows' end;
end
$$;
call pg_temp.try_with('nothing', 'select');
call pg_temp.try_with('trigger', $$create table fired (n integer); create function f() returns trigger language plpgsql as 'begin insert into test_path.fired values (1); return new; end';
    create trigger t before insert or update on TABLE for each row execute function f()$$, 'select case count(*) when 0 then ''never'' else ''fired'' end from fired');
call pg_temp.try_with('statement trigger', $$create function f() returns trigger language plpgsql as 'begin return null; end';
    create trigger t after insert or update on TABLE for each statement execute function f()$$);
call pg_temp.try_with('trigger that refuses', $$create function f() returns trigger language plpgsql as 'begin raise exception ''no''; end'$$,
    later => 'create or replace trigger t before insert or update on TABLE for each row execute function f()');
call pg_temp.try_with('rule', 'select', later => 'create or replace rule r as on update to TABLE do also select 1');
call pg_temp.try_with('rule that does nothing', 'create rule r as on delete to TABLE do instead nothing');
call pg_temp.try_with('row security', 'alter table TABLE enable row level security');
call pg_temp.try_with('one more column', 'alter table TABLE add more integer default 7', $$select string_agg(distinct more::text, ',') from TABLE$$);
call pg_temp.try_with('a column that was dropped', 'alter table TABLE add more integer; alter table TABLE drop more');
call pg_temp.try_with('generated column', 'alter table TABLE add more text generated always as (1::text || 2) stored');
call pg_temp.try_with('check constraint', 'alter table TABLE add check (1 = 1)');
call pg_temp.try_with('check constraint that refuses', 'alter table cloaca_execution_event add check (state <> ''completed'') not valid');
call pg_temp.try_with('unlogged', 'alter table TABLE set unlogged');
call pg_temp.try_with('inheritance', 'create table child () inherits (TABLE)');
call pg_temp.try_with('view', 'alter table TABLE rename to was; create view TABLE as select * from was');
call pg_temp.try_with('another type', 'alter table cloaca_execution_task alter attempt type bigint');
call pg_temp.try_with('another name', 'alter table cloaca_execution_event rename worker to who');
call pg_temp.try_with('null', 'alter table cloaca_execution alter state drop not null');
call pg_temp.try_with('not null', 'select', later => 'truncate cloaca_execution_event; alter table cloaca_execution_event alter detail set not null');
call pg_temp.try_with('default', $$alter table cloaca_execution_event alter detail set default 'none'$$, 'select detail from cloaca_execution_event order by id desc limit 1');
call pg_temp.try_with('no identity', 'alter table cloaca_execution_event alter id drop identity; create sequence s start 1000000;
    alter table cloaca_execution_event alter id set default nextval(''s'')');
call pg_temp.try_with('foreign key', 'create table other (id bigint references cloaca_execution on delete cascade)');
call pg_temp.try_with('no table', 'drop table TABLE');
-- Indexes: those by which rows are found must be there; others do not matter unless an entry calls functions.
call pg_temp.try_with('no primary key', 'alter table cloaca_execution drop constraint cloaca_execution_pkey');
call pg_temp.try_with('no primary key', 'alter table cloaca_execution_task drop constraint cloaca_execution_task_pkey');
call pg_temp.try_with('no place', 'alter table cloaca_execution_task drop constraint cloaca_execution_task_execution_n_key');
call pg_temp.try_with('no place', 'alter table cloaca_workflow_task drop constraint cloaca_workflow_task_pkey');
call pg_temp.try_with('not unique', 'alter table cloaca_execution_task drop constraint cloaca_execution_task_execution_n_key; create index on cloaca_execution_task (execution, n)');
call pg_temp.try_with('unique for some', 'alter table cloaca_execution_task drop constraint cloaca_execution_task_execution_n_key;
    create unique index on cloaca_execution_task (execution, n) where n > 1');
call pg_temp.try_with('another order', 'alter table cloaca_execution_task drop constraint cloaca_execution_task_execution_n_key;
    create unique index on cloaca_execution_task (execution, n desc)');
call pg_temp.try_with('deferrable', 'alter table cloaca_execution_task drop constraint cloaca_execution_task_execution_n_key;
    alter table cloaca_execution_task add unique (execution, n) deferrable initially deferred');
call pg_temp.try_with('deferrable primary key', 'alter table cloaca_execution drop constraint cloaca_execution_pkey;
    alter table cloaca_execution add primary key (id) deferrable');
call pg_temp.try_with('another primary key', 'alter table cloaca_execution_event drop constraint cloaca_execution_event_pkey; drop index cloaca_execution_event_execution');
call pg_temp.try_with('one more deferrable', 'alter table cloaca_execution_event add unique (id, state) deferrable initially deferred');
call pg_temp.try_with('exclusion', 'alter table cloaca_execution_event add exclude (id with =)');
call pg_temp.try_with('index on states', 'create index more on cloaca_execution_task (state)',
    $$select pg_temp.both_ways('select count(*) from test_path.cloaca_execution_task where state = ''completed''', 'more')$$);
call pg_temp.try_with('index on execution states', 'create index more on cloaca_execution (state)',
    $$select pg_temp.both_ways('select count(*) from test_path.cloaca_execution where state = ''completed''', 'more')$$);
call pg_temp.try_with('index on what counts down', 'create index more on cloaca_execution_task (remaining)',
    $$select pg_temp.both_ways('select count(*) from test_path.cloaca_execution_task where remaining = 0', 'more')$$);
call pg_temp.try_with('index on events', 'create index more on cloaca_execution_event (state, at)',
    $$select pg_temp.both_ways('select count(*) from test_path.cloaca_execution_event where state = ''ready''', 'more')$$);
call pg_temp.try_with('unique index', 'create unique index more on cloaca_execution_event (state, id)',
    $$select pg_temp.both_ways('select count(*) from test_path.cloaca_execution_event where state = ''running''', 'more')$$);
call pg_temp.try_with('unique index that refuses', 'truncate cloaca_execution_event; create unique index more on cloaca_execution_event (task, state);
    insert into cloaca_execution_event (execution, task, at, state) select -1, i, now(), ''completed'' from generate_series(1, 10000) i');
call pg_temp.try_with('partial index', 'create index more on cloaca_execution_task (finished_at) where state = ''completed''',
    $$select pg_temp.both_ways('select count(*) from test_path.cloaca_execution_task where finished_at > ''epoch'' and state = ''completed''', 'more')$$);
call pg_temp.try_with('partial index without a function', 'create index more on cloaca_execution_task (finished_at) where finished_at is not null and awaits is null',
    $$select pg_temp.both_ways('select count(*) from test_path.cloaca_execution_task where finished_at is not null and awaits is null', 'more')$$);
call pg_temp.try_with('expression index', 'create index more on cloaca_execution_task (upper(state || worker))',
    $$select pg_temp.both_ways('select count(*) from test_path.cloaca_execution_task where upper(state || worker) = ''COMPLETEDW''', 'more')$$);
call pg_temp.try_with('expression index that fails', 'truncate cloaca_execution_event; create index more on cloaca_execution_event ((1 / (attempt - 1)))');
call pg_temp.try_with('other kinds', 'create index more on cloaca_execution_task using gin (changes); create index hashed on cloaca_execution_task using hash (state);
    create index blocks on cloaca_execution_task using brin (finished_at)',
    $$select pg_temp.both_ways('select count(*) from test_path.cloaca_execution_task where changes @> ''{"x": 1}''', 'more') || ', ' ||
      pg_temp.both_ways('select count(*) from test_path.cloaca_execution_task where state = ''completed''', 'hashed') || ', ' ||
      pg_temp.both_ways('select count(*) from test_path.cloaca_execution_task where finished_at > ''epoch''', 'blocks')$$);
call pg_temp.try_with('cluster', 'cluster cloaca_execution_task using cloaca_execution_task_pkey; truncate cloaca_execution_event; reindex table cloaca_execution');
-- Publications.
call pg_temp.try_with('publication', 'set local client_min_messages = error; create publication test_path_publication for table TABLE');
call pg_temp.try_with('no replica identity', 'set local client_min_messages = error; create publication test_path_publication for table TABLE',
    later => 'alter table TABLE replica identity nothing');
call pg_temp.try_with('no replica identity, of inserts', 'set local client_min_messages = error; alter table TABLE replica identity nothing;
    create publication test_path_publication for table TABLE with (publish = ''insert'')');
-- Rights of the worker.
call pg_temp.try_with('all rights', 'select', null, 'test_path_user');
call pg_temp.try_with('no select', 'revoke select on TABLE from test_path_user', null, 'test_path_user');
call pg_temp.try_with('no update', 'revoke update on TABLE from test_path_user', null, 'test_path_user');
call pg_temp.try_with('no insert', 'revoke insert on TABLE from test_path_user', null, 'test_path_user');
call pg_temp.try_with('no delete', 'revoke delete on TABLE from test_path_user', null, 'test_path_user');
call pg_temp.try_with('no sequence', 'revoke all on sequence cloaca_execution_event_id_seq from test_path_user', null, 'test_path_user');
call pg_temp.try_with('some columns', 'revoke insert on cloaca_execution_event from test_path_user;
    grant insert (execution, task, at, attempt, state, worker, detail) on cloaca_execution_event to test_path_user', null, 'test_path_user');
call pg_temp.try_with('too few columns', 'revoke insert on cloaca_execution_event from test_path_user;
    grant insert (execution, task, at, attempt, state) on cloaca_execution_event to test_path_user', null, 'test_path_user');
call pg_temp.try_with('rights of all', 'revoke update on cloaca_execution from test_path_user; grant update on cloaca_execution to public', null, 'test_path_user');
call pg_temp.try_with('row security for a worker', 'alter table cloaca_execution_event enable row level security;
    create policy p on cloaca_execution_event using (state <> ''ready'')', null, 'test_path_user');
select name, coalesce(path, '') || case when min(place) is null then '' when count(*) = 4 then ', any of them' else ': ' || string_agg(place, ', ' order by n) end as path,
    difference, effect, case when min(after) = 'direct' and max(after) = 'direct' then 'direct again' end as after
from situation group by name, path, difference, effect order by min(n);

-- Pages that are full: new versions of rows that went elsewhere are found by every index.
begin;
do $$ begin perform pg_temp.define('wide', (select jsonb_agg(pg_temp.task('t' || i, case when i > 30 then array['t' || i - 30] else '{}' end,
    jsonb_build_object('give', jsonb_build_object('k' || i, (select string_agg(md5(i + j + 0.5 || ''), '') from generate_series(1, 24) j))))) from generate_series(1, 60) i)); end $$;
create temp table updated on commit drop as
    select pg_stat_get_xact_tuples_updated('test_path.cloaca_execution_task'::regclass) as rows, pg_stat_get_xact_tuples_hot_updated('test_path.cloaca_execution_task'::regclass) as hot;
select path, length(remains) > 100000 as is_long from pg_temp.run(true, 'wide', '{}', 1, 'none');
select pg_stat_get_xact_tuples_updated('test_path.cloaca_execution_task'::regclass) - rows as updated,
    pg_stat_get_xact_tuples_updated('test_path.cloaca_execution_task'::regclass) - rows > pg_stat_get_xact_tuples_hot_updated('test_path.cloaca_execution_task'::regclass) - hot as "not all of them hot" from updated;
select pg_temp.both_ways('select count(*) from test_path.cloaca_execution_task where task > 0', 'cloaca_execution_task_pkey') as task,
    pg_temp.both_ways('select count(*) from test_path.cloaca_execution_task where execution > 0 and n > 0', 'cloaca_execution_task_execution_n_key') as place,
    pg_temp.both_ways('select count(*) from test_path.cloaca_execution where name = ''wide''', 'cloaca_execution_') as execution,
    pg_temp.both_ways('select count(*) from test_path.cloaca_execution_event where execution > 0', 'cloaca_execution_event_execution') as event;
rollback;

-- What goes through an execution: the same on both paths.
create temp table scenario (n integer generated always as identity, name text, context jsonb default '{}', tasks jsonb);
insert into scenario (name, tasks) values
    ('results', jsonb_build_array(pg_temp.task('object', '{}', '{"give": {"k": {"deep": [1, 2]}, "l": 1}}'), pg_temp.task('number', '{}', '{"give": 1.50}'),
        pg_temp.task('text', '{}', '{"give": "t"}'), pg_temp.task('array', '{}', '{"give": [1, [2], {"x": null}]}'), pg_temp.task('null', '{}', '{"give": null}'),
        pg_temp.task('true', '{}', '{"give": true}'), pg_temp.task('none'), pg_temp.task('empty', '{}', '{"give": {}}'), pg_temp.task('empty array', '{}', '{"give": []}'),
        pg_temp.task('all', '{object,number,text,array,"null",true,none,empty,"empty array"}', '{"give": {"k": {"deep": [3, 1], "more": "\u00e9"}, "l": [1]}}'),
        pg_temp.task('some', '{none,all,number}', '{"give": "s", "own": [1]}'), pg_temp.task('last', '{some,"null"}'))),
    ('nothing at all', jsonb_build_array(pg_temp.task('a'), pg_temp.task('b'), pg_temp.task('c', '{a,b}'), pg_temp.task('d', '{c}'))),
    ('order of dependencies', jsonb_build_array(pg_temp.task('a', '{}', '{"give": {"v": "a", "l": [1, 2]}}'), pg_temp.task('b', '{}', '{"give": {"v": "b", "l": [2, 3]}}'),
        pg_temp.task('ab', '{a,b}'), pg_temp.task('ba', '{b,a}'), pg_temp.task('both', '{ba,ab,a}'))),
    ('skips over ranks', jsonb_build_array(pg_temp.task('bad', '{}', '{"fail": "broken"}'), pg_temp.task('good', '{}', '{"give": {"g": 1}}'),
        pg_temp.task('s1', '{bad}'), pg_temp.task('s2', '{s1,good}'), pg_temp.task('s3', '{s2,s1}'), pg_temp.task('also', '{good}', '{"give": {"also": 1}}'),
        pg_temp.task('late', '{s1,s3,also,good}', '{"give": 1}', '"always"'), pg_temp.task('s4', '{s3,late}'), pg_temp.task('end', '{s4,late,s1}', '{"give": 2}', '"always"'))),
    ('all are skipped', jsonb_build_array(pg_temp.task('bad', '{}', '{"fail": "broken"}'), pg_temp.task('s1', '{bad}'), pg_temp.task('s2', '{s1,bad}'), pg_temp.task('s3', '{s1}'))),
    ('a skipped one has changes', jsonb_build_array(pg_temp.task('good', '{}', '{"give": {"g": 1}}'), pg_temp.task('bad', '{good}', '{"fail": "broken"}'),
        pg_temp.task('skipped', '{good,bad}'), pg_temp.task('later', '{skipped}', '{}', '"always"'))),
    ('triggers', jsonb_build_array(pg_temp.task('bad', '{}', '{"fail": "broken"}'), pg_temp.task('good', '{}', '{"give": {"g": 5}}'),
        pg_temp.task('on failure', '{bad}', null, '{"all": [{"task_failed": "bad"}]}'), pg_temp.task('on success', '{good}', null, '{"all": [{"task_success": "good"}]}'),
        pg_temp.task('never', '{bad,good}', null, '{"none": [{"task_success": "good"}]}'), pg_temp.task('any', '{bad,good}', '{"give": [0]}', '{"any": [{"task_success": "good"}, {"task_success": "bad"}]}'),
        pg_temp.task('greater', '{good}', null, '{"all": [{"context_value": {"key": "g", "operator": "greater_than", "value": 4}}]}'),
        pg_temp.task('less', '{good}', null, '{"all": [{"context_value": {"key": "g", "operator": "less_than", "value": 4}}]}'),
        pg_temp.task('if skipped', '{never,less}', null, '{"all": [{"task_skipped": "never"}, {"task_skipped": "less"}]}'), pg_temp.task('plain', '{any,greater}'),
        pg_temp.task('end', '{on failure,on success,if skipped,plain}', '{"give": "end"}', '"always"')));
insert into scenario (name, context, tasks)
    select 'large context', jsonb_build_object('list', jsonb_agg(md5(i || 'x') order by i), 'in', 1),
        jsonb_build_array(pg_temp.task('a', '{}', '{"give": {"list": [1]}}'), pg_temp.task('b', '{}', jsonb_build_object('give', jsonb_build_object('more', jsonb_agg(md5(i || 'y'))))),
        pg_temp.task('c', '{a,b}', jsonb_build_object('give', jsonb_agg(md5(i || 'z')))), pg_temp.task('d', '{b,c}', '{"give": {"list": [2]}}'), pg_temp.task('e', '{d}'))
    from generate_series(1, 6000) i;
insert into scenario (name, context, tasks)
    select 'large context, small results', context, jsonb_build_array(pg_temp.task('a', '{}', '{"give": {"list": [1]}}'), pg_temp.task('b', '{a}', '{"give": 2}'),
        pg_temp.task('c', '{a,b}', '{"give": {"in": {"x": null}}}'), pg_temp.task('d', '{c}'), pg_temp.task('e', '{a}')) from scenario where name = 'large context';
insert into scenario (name, tasks)
    select 'many', jsonb_agg(pg_temp.task('t' || i, case when i <= 40 then '{}' when i <= 80 then array['t' || i - 40, 't' || (i - 40) % 40 + 1, 't' || (i - 34) % 40 + 1] else
        array(select 't' || j from generate_series(41, i - 1) j) end, case i % 3 when 0 then jsonb_build_object('give', jsonb_build_object('k' || i % 7, jsonb_build_array(i))) when 1 then '{"give": 1}' end)
        order by i) from generate_series(1, 85) i;
select pg_temp.define(name, tasks) from scenario \g /dev/null
begin;
select s.name, m.many, p.path, p.difference from scenario s, (values (1), (3), (100)) m (many), lateral pg_temp.paths(s.name, s.context, m.many) p order by s.n, m.many;
rollback;

-- Transactions that SQL must serve.
begin isolation level repeatable read;
select * from pg_temp.paths();
rollback;
begin isolation level serializable;
select * from pg_temp.paths();
rollback;

-- One call at a time, and what it leaves. Both tenants have the same ids, which are no others' either.
do $$ declare tenant text; begin
    foreach tenant in array array['test_path', 'test_other'] loop
        execute format('truncate %1$I.cloaca_execution_event, %1$I.cloaca_execution_task, %1$I.cloaca_execution, %1$I.cloaca_task', tenant);
        execute format('alter table %I.cloaca_execution alter id restart 100', tenant);
        execute format('alter table %I.cloaca_task alter id restart 1000', tenant);
    end loop;
end $$;
create temp table held (name text, task bigint, lease_id bigint);
grant all on held to test_path_user, test_other_user;
create procedure pg_temp.start(workflow text default 'plain') language plpgsql as $$
begin
    delete from held;
    perform cloaca.cancel_execution(e.execution) from cloaca.list_executions() e where e.state in ('running', 'paused', 'pending');
    perform cloaca.start_workflow(workflow);
    insert into held select name, task, lease_id from cloaca.claim(max => 9);
end $$;
create function pg_temp.complete(variadic names text[]) returns text language plpgsql as $$
declare
    before bigint[] := pg_temp.calls();
begin
    perform cloaca.complete(task, lease_id, to_jsonb(name)) from held where name = any (names) order by task;
    return pg_temp.path(before, pg_temp.calls());
end $$;
create function pg_temp.go_on() returns text language plpgsql as $$
declare
    before bigint[] := pg_temp.calls();
begin
    perform cloaca.advance_now();
    return pg_temp.path(before, pg_temp.calls());
end $$;
-- The last execution of each tenant.
create function pg_temp.look(out path text, out other text) language plpgsql security definer as $$
declare
    query text := 'select string_agg(n || n.state || case when t.id is not null then ''*'' else '''' end, '' '' order by n) from %1$I.cloaca_execution_task n left join %1$I.cloaca_task t on t.id = n.task '
        'where n.execution = (select max(execution) from %1$I.cloaca_execution_task)';
begin
    execute format(query, 'test_path') into path;
    execute format(query, 'test_other') into other;
end $$;
do $$ begin perform cloaca.set_tenant('test_other'), cloaca.start_workflow('plain'), cloaca.set_tenant('test_path'); end $$;

-- The session's tenant is another one, or none, when the transaction commits.
call pg_temp.start();
select * from pg_temp.look();
begin;
select pg_temp.complete('a', 'b');
set cloaca.tenant = 'test_other';
commit;
select * from pg_temp.look();
set cloaca.tenant = 'test_path';
call pg_temp.start();
begin;
select pg_temp.complete('a', 'b');
reset cloaca.tenant;
select pg_temp.go_on();
select * from pg_temp.look();
rollback;
set cloaca.tenant = 'test_path';
begin;
select pg_temp.complete('a', 'b');
set local cloaca.tenant = 'none';
select pg_temp.go_on();
commit;
select * from pg_temp.look();
-- Back and forth, before the tasks of both go on.
call pg_temp.start();
begin;
select pg_temp.complete('a');
set cloaca.tenant = 'test_other';
do $$ begin perform cloaca.complete(task, lease_id) from cloaca.claim(max => 9); end $$;
set cloaca.tenant = 'test_path';
select pg_temp.complete('b');
select pg_temp.go_on();
commit;
select * from pg_temp.look();

-- Somebody else commits: the rights are those of who completed.
call pg_temp.start();
begin;
set local role test_path_user;
select pg_temp.complete('a', 'b');
reset role;
set local role test_other_user;
select pg_temp.go_on();
commit;
select * from pg_temp.look();
call pg_temp.start();
begin;
revoke insert on test_path.cloaca_task from test_path_user;
set local role test_path_user;
select pg_temp.complete('a', 'b');
reset role;
commit;
select * from pg_temp.look();

-- Parts of it on one path, parts on the other.
begin;
select pg_temp.complete('a');
set local cloaca.direct = off;
select pg_temp.complete('b');
set local cloaca.direct = on;
select pg_temp.go_on();
commit;
select * from pg_temp.look();
call pg_temp.start();
begin;
select pg_temp.complete('a', 'b');
set local cloaca.direct = off;
select pg_temp.go_on();
commit;
select * from pg_temp.look();
-- The tables become others between.
call pg_temp.start();
begin;
select pg_temp.complete('a', 'b');
create rule r as on delete to test_path.cloaca_execution_event do instead nothing;
select pg_temp.go_on();
drop rule r on test_path.cloaca_execution_event;
commit;
select * from pg_temp.look();

-- What a savepoint takes back.
call pg_temp.start();
begin;
select pg_temp.complete('a');
savepoint one;
select pg_temp.complete('b');
select pg_temp.go_on();
select * from pg_temp.look();
rollback to one;
select * from pg_temp.look();
select pg_temp.go_on();
select * from pg_temp.look();
savepoint two;
select pg_temp.complete('b');
rollback to two;
commit;
select * from pg_temp.look();
select pg_temp.complete('b');
select * from pg_temp.look();
call pg_temp.start();
begin;
savepoint one;
select pg_temp.complete('a');
select pg_temp.go_on();
savepoint two;
select pg_temp.complete('b');
release two;
rollback to one;
select pg_temp.go_on();
commit;
select * from pg_temp.look();
begin;
select pg_temp.complete('a', 'b');
rollback;
select * from pg_temp.look();
do $$ begin perform pg_temp.complete('a', 'b'), pg_temp.go_on(); raise division_by_zero; exception when division_by_zero then null; end $$;
select * from pg_temp.look();
-- A claim that is taken back: the execution is pending again.
do $$ begin perform cloaca.start_workflow('plain'); end $$;
begin;
savepoint one;
select count(*) from cloaca.claim(max => 9);
rollback to one;
select state from cloaca.list_executions(max => 1);
select count(*) from cloaca.claim(max => 9);
rollback;
select state from cloaca.list_executions(max => 1);

-- Paused: what is free waits for the resume, with the same left by both paths.
create function pg_temp.paused(direct boolean, out path text, out remains text) language plpgsql as $$
declare
    before bigint[];
    last bigint;
begin
    perform set_config('cloaca.direct', direct::text, true);
    call pg_temp.start();
    last := (select execution from cloaca.list_executions(max => 1));
    before := pg_temp.calls();
    perform cloaca.pause_execution(last);
    perform pg_temp.complete('a', 'b'), cloaca.advance_now();
    path := pg_temp.path(before, pg_temp.calls());
    remains := pg_temp.remains(last);
    perform cloaca.resume_execution(last);
    remains := remains || E'\n' || pg_temp.work(1) || pg_temp.remains(last);
end $$;
begin;
select (pg_temp.paused(true)).* \gset direct_
select (pg_temp.paused(false)).* \gset sql_
select :'direct_path' as path, :'direct_remains' = :'sql_remains' as same;
select * from regexp_split_to_table(:'direct_remains', E'\n');
rollback;

-- Rows that somebody changed or deleted by hand: nothing goes on from what is no longer there, or has ended, on either path.
call pg_temp.start();
create function pg_temp.try_hand(direct boolean, change text) returns text language plpgsql as $$
declare
    last bigint := (select max(execution) from test_path.cloaca_execution_task);
    seen text;
begin
    perform set_config('cloaca.direct', direct::text, true);
    execute change using last;
    perform cloaca.complete(task, lease_id, '{"o": 1}') from held order by task;
    perform cloaca.advance_now();
    seen := (pg_temp.look()).path || E'\n' || pg_temp.remains(last);
    raise exception using errcode = 'ZZ999', message = seen;
exception when others then
    return case sqlstate when 'ZZ999' then '' else sqlstate || ': ' end || sqlerrm;
end $$;
select change, split_part(direct, E'\n', 1) as nodes, nullif(direct, pg_temp.try_hand(false, change)) as difference
from (values ('select $1'),
        ('update test_path.cloaca_execution_task set state = ''cancelled'' where execution = $1 and n = 1'),
        ('update test_path.cloaca_execution_task set state = ''cancelled'' where execution = $1 and n = 3'),
        ('update test_path.cloaca_execution_task set remaining = 0 where execution = $1 and n = 3'),
        ('update test_path.cloaca_execution_task set remaining = 1 where execution = $1 and n = 3'),
        ('update test_path.cloaca_execution_task set remaining = 3 where execution = $1 and n = 3'),
        ('update test_path.cloaca_execution_task set changes = ''{"by": "hand"}'' where execution = $1'),
        ('update test_path.cloaca_execution set finished_at = ''2000-01-01'', state = ''cancelled'' where id = $1'),
        ('update test_path.cloaca_execution set input = ''{"by": "hand"}'', deadline = ''2100-01-01'' where id = $1'),
        ('delete from test_path.cloaca_execution_task where execution = $1 and n = 1'),
        ('delete from test_path.cloaca_execution_task where execution = $1 and n = 3'),
        ('delete from test_path.cloaca_execution_task where execution = $1'),
        ('delete from test_path.cloaca_workflow_task where n = 1 and workflow = (select workflow from test_path.cloaca_execution where id = $1)'),
        ('delete from test_path.cloaca_workflow_task where n = 3 and workflow = (select workflow from test_path.cloaca_execution where id = $1)'),
        ('update test_path.cloaca_workflow_task set dependents = ''{}'' where n = 1 and workflow = (select workflow from test_path.cloaca_execution where id = $1)'),
        ('update test_path.cloaca_workflow_task set dependents = ''{3,3,9}'', rank = 7 where n < 4 and workflow = (select workflow from test_path.cloaca_execution where id = $1)'),
        ('update test_path.cloaca_workflow_task set dependencies = ''{2,9,2,1}'' where n = 3 and workflow = (select workflow from test_path.cloaca_execution where id = $1)'),
        ('update test_path.cloaca_workflow_task set timeout = ''1 hour'', retry = ''{"initial": 2}'', priority = 5, queue = ''q'', handler = ''h'', max_attempts = 9
          where n = 3 and workflow = (select workflow from test_path.cloaca_execution where id = $1)')) c (change), lateral pg_temp.try_hand(true, change) direct;

-- Many tasks of a session leave nothing behind in its memory, nor warnings of what was not closed: in one transaction, and in as many.
create procedure pg_temp.cycle(times integer, commits boolean) language plpgsql as $$
begin
    for i in 1 .. times loop
        perform cloaca.start_workflow('plain');
        for j in 1 .. 3 loop
            perform cloaca.complete(task, lease_id, jsonb_build_object('n', j)) from cloaca.claim(max => 1);
            perform cloaca.complete_many(array_agg(task), array_agg(lease_id)) from cloaca.claim(max => 2) having count(*) > 0;
            if commits then
                commit;
            else
                perform cloaca.advance_now();
            end if;
        end loop;
    end loop;
end $$;
create function pg_temp.memory() returns bigint language sql as $$ select sum(total_bytes) from pg_backend_memory_contexts $$;
truncate test_path.cloaca_execution_event, test_path.cloaca_execution_task, test_path.cloaca_execution, test_path.cloaca_task;
call pg_temp.cycle(300, true);
call pg_temp.cycle(100, false);
select pg_temp.memory() as before \gset
call pg_temp.cycle(3000, true);
select pg_temp.memory() - :before < 200000 as "as much as before";
call pg_temp.cycle(400, false);
select pg_temp.memory() - :before < 200000 as "as much as before";
select state, count(*) from test_path.cloaca_execution group by state;
select state, count(*) from test_path.cloaca_execution_task group by state;

reset cloaca.tenant;
call cloaca.drop_tenant_all('test_path');
call cloaca.drop_tenant_all('test_other');
