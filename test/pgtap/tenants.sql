-- Tenants in the catalogue: racing creators, the cost of many, migration of tables, and a schema too large for one transaction.
\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
set client_min_messages = warning;
create extension if not exists dblink;
create extension if not exists cloaca;
select format('host=%s port=%s dbname=%s user=%s', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'),
    current_database(), current_user) as here \gset
select dblink_connect('one', :'here'), dblink_connect('two', :'here') \g /dev/null

select no_plan();

-- Two admins make the same tenant at once: one wins, the other is told, whichever name they share.
create function pg_temp.race(first text, second text) returns text language plpgsql as $$
declare
    outcome text := 'nothing';
    waited integer := 0;
begin
    perform dblink_exec('one', 'begin');
    perform * from dblink('one', first) as t (x text);
    perform dblink_send_query('two', second);
    while not exists (select from pg_locks where not granted) and dblink_is_busy('two') = 1 and waited < 1200 loop
        perform pg_sleep(0.1);
        waited := waited + 1;
    end loop;
    perform dblink_exec('one', 'commit');
    begin
        perform * from dblink_get_result('two') as t (x text);
        outcome := 'made';
    exception
        when others then
            outcome := sqlstate;
    end;
    perform * from dblink_get_result('two', false) as t (x text);
    return outcome;
end
$$;
select is(pg_temp.race('select schema_name from cloaca.create_tenant(''race'', ''race_user'')', 'select schema_name from cloaca.create_tenant(''race'', ''race_other'')'),
    'ZC003', 'racing for a schema');
select is(pg_temp.race('select schema_name from cloaca.create_tenant(''race_2'', ''race_user_2'')', 'select schema_name from cloaca.create_tenant(''race_3'', ''race_user_2'')'),
    'ZC003', 'racing for a role');
select set_eq('select schema_name, username from cloaca.list_tenants() where schema_name ~ ''^race''', $$values ('race', 'race_user'), ('race_2', 'race_user_2')$$,
    'the first of both won');
select ok(to_regnamespace('race_3') is null and to_regrole('race_other') is null, 'the others left nothing');
call cloaca.drop_tenant_all('race');
call cloaca.drop_tenant_all('race_2');

select is(pg_temp.race('select schema_name from cloaca.create_tenant(''race'', ''race_user'')', 'select schema_name from cloaca.create_tenant(''race_2'', ''race_user_2'')'),
    'made', 'two tenants at once are both made');
select is(pg_temp.race('select remaining from cloaca.drop_tenant(''race'') a', 'select remaining from cloaca.drop_tenant(''race_2'') a'), 'made', 'and both closed');
select is(pg_temp.race('select remaining from cloaca.drop_tenant(''race'') a', 'select remaining from cloaca.drop_tenant(''race_2'') a'), 'made', 'and both dropped');
select is((select count(*) from pg_roles where rolname ~ '^race_user'), 0::bigint, 'with their roles');

-- The default tenant is made once, however many need it at the same time.
do $$ begin
    if exists (select from cloaca.list_tenants() where schema_name = 'cloaca_default') then
        call cloaca.drop_tenant_all('cloaca_default');
    end if;
end $$;
select is(pg_temp.race('select cloaca.current_tenant()', 'select cloaca.current_tenant()'), 'made', 'racing for the default tenant');
select is((select count(*) from cloaca.list_tenants() where schema_name = 'cloaca_default'), 1::bigint, 'there is one');

-- The fiftieth tenant costs what the first ones cost: no more of the catalogue is looked at.
create temporary table took (part integer, rows bigint);
-- All that this session has read since its last report, which is for later than this block.
create function pg_temp.rows_read() returns bigint language sql as $$
    select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_xact_all_tables
$$;
do $$
declare
    before bigint;
begin
    for part in 0 .. 4 loop
        before := pg_temp.rows_read();
        for i in part * 10 + 1 .. part * 10 + 10 loop
            perform cloaca.create_tenant('many_' || i, 'many_user_' || i);
            commit;
        end loop;
        insert into took values (part, pg_temp.rows_read() - before);
    end loop;
end
$$;
select cmp_ok((select min(rows) from took), '>', 10000::bigint, 'what is read is counted');
select cmp_ok((select rows from took where part = 4), '<', (select rows * 5 / 2 from took where part = 0), 'the last ten of fifty tenants took no more than the first');
select is((select count(*) from cloaca.list_tenants() where schema_name ~ '^many_'), 50::bigint, 'all are there');
do $$ begin
    for i in 1 .. 50 loop
        call cloaca.drop_tenant_all('many_' || i);
    end loop;
end $$;
select is((select count(*) from pg_roles where rolname ~ '^many_user_'), 0::bigint, 'and all are gone');

-- A schema with more in it than a transaction should lock: a batch stops by itself.
select connection_string as url from cloaca.create_tenant('large', 'large_user') \gset
do $$ begin
    for i in 1 .. 1200 loop
        execute format('create table large.t%s (id bigint primary key)', i);
        execute format('alter table large.t%s owner to large_user', i);
        if i % 100 = 0 then
            commit;
        end if;
    end loop;
end $$;
select cmp_ok((select remaining from cloaca.drop_tenant('large', 10000)), '>', 1200::bigint, 'large: closed');
begin;
select cmp_ok((select remaining from cloaca.drop_tenant('large', 10000)), '>', 1::bigint, 'large: not all at once, whatever max says');
select cmp_ok((select count(*) from pg_locks where pid = pg_backend_pid()), '<', current_setting('max_locks_per_transaction')::bigint
    * current_setting('max_connections')::bigint / 2, 'large: more than half of the lock table is left to others');
commit;
call cloaca.drop_tenant_all('large');
select is(to_regnamespace('large')::text, null, 'large: gone');
select is(to_regrole('large_user')::text, null, 'large: with its role');

-- After an update of the extension: functions refuse until the tables are migrated. Here the step is one of the test's own.
select from cloaca.create_tenant('old', 'old_user') o, cloaca.create_tenant('young', 'young_user') y \g /dev/null
begin;
create or replace function cloaca.table_version() returns integer language sql immutable as 'select 3';
create or replace function cloaca.table_upgrade(version integer) returns text language sql immutable as $$
    select case version when 1 then 'alter table %1$I.cloaca_queue add column first integer; create table %1$I.cloaca_more (id bigint primary key)'
        when 2 then 'alter table %1$I.cloaca_more owner to ' || (select quote_ident(nspowner::regrole::text) from pg_namespace where nspname = 'old') end
$$;
update cloaca.tenant set table_version = 3 where schema_name <> 'old';
select throws_ok('select cloaca.set_tenant(''old'')', 'ZC013', 'tenant is outdated', 'migration: until then the tenant is outdated');
select lives_ok('select cloaca.set_tenant(''young'')', 'migration: others are not');
select set_eq('select * from cloaca.migrate_tenants()', $$values ('old', 3)$$, 'migration: tells what it moved');
select is_empty('select * from cloaca.migrate_tenants()', 'migration: nothing is left to do');
select lives_ok('select cloaca.set_tenant(''old'')', 'migration: the tenant is served again');
select has_column('old'::name, 'cloaca_queue'::name, 'first'::name, 'migration: the steps were done');
select ok(has_table_privilege('old_user', 'old.cloaca_more', 'select, insert, update, delete'), 'migration: the tenant has the new table');
rollback;
select cloaca.set_tenant(null) \g /dev/null
call cloaca.drop_tenant_all('old');
call cloaca.drop_tenant_all('young');

-- Settings that a user put before the library came count for nothing where only a superuser may set them. Where the library is
-- preloaded they are refused at once.
create role tenants_admin login;
select cloaca.grant_admin('tenants_admin') \g /dev/null
select dblink_connect('fresh', :'here') \g /dev/null
select dblink_exec('fresh', 'set session authorization tenants_admin'), dblink_exec('fresh', 'set cloaca.allow_plain_password = on', false),
    dblink_exec('fresh', 'set cloaca.public_host = ''evil.example''', false) \g /dev/null
select throws_ok('select * from dblink(''fresh'', ''select schema_name from cloaca.create_tenant(''''plain'''', ''''plain_user'''', ''''hunter2'''')'') as t (x text)',
    'ZC001', null, 'an admin cannot allow plain passwords to itself');
select unalike((select x from dblink('fresh', 'select connection_string from cloaca.create_tenant(''plain'', ''plain_user'')') as t (x text)),
    '%evil.example%', 'nor lead tenants elsewhere');
select dblink_disconnect(c) from unnest(array['one', 'two', 'fresh']) c \g /dev/null
call cloaca.drop_tenant_all('plain');
drop owned by tenants_admin;
drop role tenants_admin;

select * from finish();
