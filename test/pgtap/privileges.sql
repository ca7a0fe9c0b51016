-- What a tenant of a hardened database can do to another, to the server and to cloaca itself: every row of the matrix in
-- docs/security.md, tried in real sessions of two tenants, each logged in with its own connection string.
\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
set client_min_messages = warning;
create extension if not exists dblink;
create extension if not exists cloaca;
create temporary table login as
select c.username, c.connection_string from cloaca.create_tenant('acme', 'acme_user', connection_limit => 5, settings => '{"temp_file_limit": "1GB"}') c
union all
select c.username, c.connection_string from cloaca.create_tenant('rival', 'rival_user') c;
create temporary table hardened as select * from cloaca.harden(other_databases => true);
select dblink_connect(username, connection_string) from login \g /dev/null

-- Runs one statement in a tenant's session, which stays open: its first value as text, or the error.
create function pg_temp.as_tenant(username text, statement text) returns text language plpgsql as $$
declare
    answer text;
begin
    select value into answer from dblink(username, statement) as result (value text);
    return answer;
exception
    when others then
        return sqlstate || ': ' || sqlerrm;
end
$$;

-- A test: the tenant acme is refused, for lack of privileges and for no other reason.
create function pg_temp.refused(statement text, title text default null) returns text language sql as $$
    select matches(pg_temp.as_tenant('acme_user', statement), '^42501: ', coalesce(title, statement))
$$;

create function pg_temp.answers(username text, statement text, expected text, title text default null) returns text language sql as $$
    select is(pg_temp.as_tenant(username, statement), expected, coalesce(title, statement))
$$;

-- What the other tenant has.
create temporary table rivals as
select pg_temp.as_tenant('rival_user', statement) as answer
from unnest(array[
    'create table secret (id serial primary key, word text)',
    'insert into secret (word) values (''treasure''), (''treasure'')',
    'analyze secret',
    'create view seen as select word from secret',
    'create materialized view kept as select word from secret',
    'create sequence counter',
    'create type mood as enum (''glad'', ''sad'')',
    'create domain word as text',
    'create function answer() returns integer language sql as ''select 42''',
    'create procedure act() language sql as ''''',
    'create statistics secret_statistics on id, word from secret',
    'select lo_from_bytea(424242, ''treasure'')::text',
    'select created::text from cloaca.enqueue(''theirs'', ''{"word": "treasure"}'')',
    'begin', 'select pg_advisory_lock(1)::text', 'prepare transaction ''rivals''']) as statement;
-- A session of rival's that stays in the middle of a query that says something.
select dblink_connect('rival_busy', connection_string) from login where username = 'rival_user' \g /dev/null
select dblink_send_query('rival_busy', 'select ''treasure'', pg_sleep(300)') \g /dev/null

select no_plan();

select is((select string_agg(answer, ', ') from rivals where answer ~ '^[0-9A-Z]{5}: '), null, 'rival could make all that');
select set_eq('select object, privilege from hardened where action = ''revoked'' and object in (''schema public'', ''database '' || current_database())',
    $$values ('database ' || current_database(), 'connect'), ('database ' || current_database(), 'temporary'), ('schema public', 'usage')$$,
    'harden revoked what PUBLIC had');
select set_eq('select distinct action from cloaca.harden(true)', array['absent'], 'nothing is left for a second harden');

-- The tenant's own.
select pg_temp.answers('acme_user', 'select current_schema', 'acme', 'the session lands in its own schema');
select pg_temp.answers('acme_user', 'select cloaca.current_tenant()', 'acme', 'and its calls mean its own tenant');
select pg_temp.answers('acme_user', 'select created::text from cloaca.enqueue(''mine'')', 'true', 'it can enqueue');
select pg_temp.answers('acme_user', 'select name from cloaca.claim()', 'mine', 'and claim');
select pg_temp.answers('acme_user', 'select name from cloaca_task', 'mine', 'and read the tables');
select pg_temp.answers('acme_user', 'create table own (id integer)', 'CREATE TABLE', 'it can make tables of its own');
select pg_temp.answers('acme_user', 'create function own() returns integer language sql as ''select 1''', 'CREATE FUNCTION', 'and functions');

-- Tables
select pg_temp.refused('select name from rival.cloaca_task', 'tables: read');
select pg_temp.refused('insert into rival.cloaca_queue (queue, created_at) values (''x'', now())', 'tables: insert');
select pg_temp.refused('update rival.cloaca_task set name = ''x''', 'tables: update');
select pg_temp.refused('delete from rival.cloaca_task', 'tables: delete');
select pg_temp.refused('truncate rival.cloaca_task', 'tables: truncate');
select pg_temp.refused('do $x$ begin lock table rival.cloaca_task in access share mode; end $x$', 'tables: lock');
select pg_temp.refused('copy rival.cloaca_task to stdout', 'tables: copy');
select pg_temp.refused('select word from rival.secret', 'tables: read what the other made itself');
select pg_temp.refused('alter table rival.secret add column x integer', 'tables: alter');
select pg_temp.refused('drop table rival.secret', 'tables: drop');
select pg_temp.refused('create index on rival.secret (word)', 'tables: index');
select pg_temp.refused('create table child () inherits (rival.secret)', 'tables: inherit');
select pg_temp.refused('create table pointer (id integer references rival.secret)', 'tables: reference');
select pg_temp.refused('vacuum rival.secret', 'tables: vacuum in another schema');
select pg_temp.refused('comment on table rival.secret is ''x''', 'tables: comment');

-- Views and sequences
select pg_temp.refused('select word from rival.seen', 'views: read');
select pg_temp.refused('select word from rival.kept', 'views: read a materialized one');
select pg_temp.refused('refresh materialized view rival.kept', 'views: refresh');
select pg_temp.refused('create view looks as select * from rival.secret', 'views: look through one of its own');
select pg_temp.refused('select nextval(''rival.counter'')', 'sequences: advance');
select pg_temp.refused('select last_value from rival.counter', 'sequences: read');
select pg_temp.refused('select setval(''rival.counter'', 99)', 'sequences: set');
select pg_temp.refused('select setval(pg_get_serial_sequence(''cloaca_task'', ''id''), 1)', 'sequences: set back cloaca''s own');

-- Functions and types
select pg_temp.refused('select rival.answer()', 'functions: call');
select pg_temp.refused('call rival.act()', 'functions: call a procedure');
select pg_temp.refused('drop function rival.answer()', 'functions: drop');
select pg_temp.refused('create or replace function rival.answer() returns integer language sql as ''select 1''', 'functions: replace');
select pg_temp.refused('create function evil() returns void language c as ''$libdir/cloaca'', ''cloaca_refuse_transaction''', 'functions: make one in C');
select pg_temp.refused('do language plperlu $x$ $x$', 'functions: untrusted languages')
    where exists (select from pg_language where lanname = 'plperlu');
select is((select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace cross join lateral aclexplode(p.proacl) a
    where n.nspname in ('acme', 'rival') and a.grantee = 0), 0::bigint, 'functions: what tenants make is not executable by PUBLIC');
select is((select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname in ('acme', 'rival') and p.proacl is null), 0::bigint, 'functions: nor by default');
select pg_temp.refused('select ''glad''::rival.mood', 'types: use an enum');
select pg_temp.refused('create table moods (m rival.mood)', 'types: make a column of one');
select pg_temp.refused('select ''x''::rival.word', 'types: use a domain');

-- Triggers, rules, policies: no code on tables of cloaca's, one's own schema's included
select pg_temp.as_tenant('acme_user', 'create function spy() returns trigger language plpgsql as ''begin return new; end''') \g /dev/null
select pg_temp.refused('create trigger spy before insert on rival.secret for each row execute function spy()', 'triggers: on another''s table');
select pg_temp.refused('create trigger spy before insert on cloaca_task for each row execute function spy()', 'triggers: on cloaca''s table');
select pg_temp.refused('create event trigger spy on ddl_command_start execute function spy()', 'triggers: for events');
select pg_temp.refused('create rule spy as on insert to cloaca_task do instead nothing', 'triggers: as a rule');
select pg_temp.refused('create policy spy on cloaca_task using (true)', 'triggers: as a policy');
select pg_temp.refused('alter table cloaca_task alter column worker set default current_user', 'triggers: as a default');
select pg_temp.refused('create index spy on cloaca_task ((upper(name)))', 'triggers: as an index expression');
select pg_temp.refused('create statistics spy on (upper(name)) from cloaca_task', 'triggers: as statistics of an expression');
select pg_temp.refused('alter table cloaca_task add constraint spy check (name <> '''')', 'triggers: as a constraint');
select pg_temp.refused('create table pointer (task bigint references cloaca_task)', 'triggers: by a reference');
select pg_temp.refused('create table child () inherits (cloaca_task)', 'triggers: by inheritance');
select pg_temp.refused('truncate cloaca_task', 'the tenant''s own tables of cloaca: truncate');
select pg_temp.refused('drop table cloaca_task', 'the tenant''s own tables of cloaca: drop');
select pg_temp.refused('alter table cloaca_task rename to x', 'the tenant''s own tables of cloaca: rename');
select pg_temp.refused('alter table cloaca_task owner to acme_user', 'the tenant''s own tables of cloaca: take over');
select is((select count(*) from aclexplode((select relacl from pg_class where oid = 'acme.cloaca_task'::regclass)) a
    where a.grantee = 'acme_user'::regrole and a.is_grantable), 0::bigint, 'the tenant''s own tables of cloaca: nothing to pass on');

-- The schema
select pg_temp.refused('create table rival.x ()', 'schemas: make something in another''s');
select pg_temp.refused('drop schema acme cascade', 'schemas: drop its own');
select pg_temp.refused('alter schema acme rename to x', 'schemas: rename its own');
select pg_temp.refused('alter schema acme owner to acme_user', 'schemas: take over its own');
select pg_temp.refused('drop schema rival cascade', 'schemas: drop another''s');
select pg_temp.refused('create schema x', 'schemas: make one');
select pg_temp.refused('create extension hstore', 'schemas: make a trusted extension');
select pg_temp.refused('drop extension cloaca', 'schemas: drop the extension');
select pg_temp.refused('create table public.x ()', 'schemas: make something in public');
select pg_temp.refused('select public.plan(1)', 'schemas: use something in public');
select pg_temp.refused('create function cloaca.x() returns integer language sql as ''select 1''', 'schemas: make something in cloaca');
select pg_temp.answers('acme_user', 'grant usage on schema acme to rival_user', 'GRANT', 'schemas: sharing its own is only a warning');
select pg_temp.answers('rival_user', 'select has_schema_privilege(''acme'', ''usage'')::text', 'false', 'schemas: and changes nothing');

-- Statistics
select pg_temp.answers('acme_user', 'select count(*)::text from pg_stats where schemaname = ''rival''', '0', 'statistics: of another''s columns');
select pg_temp.answers('acme_user', 'select count(*)::text from pg_stats_ext where schemaname = ''rival''', '0', 'statistics: extended ones');
select pg_temp.refused('select starelid::text from pg_statistic', 'statistics: raw');
select pg_temp.refused('select stxoid::text from pg_statistic_ext_data', 'statistics: raw extended ones');
select pg_temp.refused('analyze rival.secret', 'statistics: analyze');

-- Secrets of the catalogue and of sessions
select pg_temp.refused('select rolpassword from pg_authid', 'secrets: pg_authid');
select pg_temp.refused('select passwd from pg_shadow', 'secrets: pg_shadow');
select pg_temp.refused('select line_number::text from pg_hba_file_rules', 'secrets: pg_hba.conf');
select pg_temp.refused('select name from pg_file_settings', 'secrets: postgresql.conf');
select pg_temp.refused('show data_directory', 'secrets: where the files are');
select pg_temp.refused('select subconninfo from pg_subscription', 'secrets: subscriptions');
select pg_temp.refused('select lo_get(424242)::text', 'secrets: another''s large object');
select pg_temp.refused('select schema_name from cloaca.tenant', 'secrets: the registry');
select pg_temp.answers('acme_user', 'select string_agg(schema_name, '','') from cloaca.usable_tenant', 'acme', 'secrets: the registry''s view shows its own row alone');
select pg_temp.refused('do $x$ begin lock table cloaca.usable_tenant in share mode; end $x$', 'secrets: lock the registry''s view');
select pg_temp.answers('acme_user', 'select bool_and(query = ''<insufficient privilege>'')::text from pg_stat_activity where usename = ''rival_user''', 'true', 'secrets: another''s statement');
select pg_temp.refused('select pg_terminate_backend(pid)::text from pg_stat_activity where usename = ''rival_user'' limit 1', 'sessions: end another''s');
select pg_temp.refused('select pg_cancel_backend(pid)::text from pg_stat_activity where usename = ''rival_user'' limit 1', 'sessions: cancel another''s statement');
select pg_temp.refused('commit prepared ''rivals''', 'sessions: commit another''s prepared transaction');
select pg_temp.refused('rollback prepared ''rivals''', 'sessions: roll it back');

-- Roles
select pg_temp.refused('set role rival_user', 'roles: set role to another tenant');
select pg_temp.refused('set role postgres', 'roles: to a superuser');
select pg_temp.refused(format('set role %I', owner), 'roles: to the owner of its schema') from cloaca.list_tenants() where schema_name = 'acme';
select pg_temp.refused('set session authorization rival_user', 'roles: set session authorization');
select pg_temp.refused('create role x', 'roles: create');
select pg_temp.refused('alter role acme_user createdb', 'roles: more attributes for itself');
select pg_temp.refused('alter role acme_user bypassrls', 'roles: bypass row security');
select pg_temp.refused('alter role acme_user connection limit -1', 'roles: no connection limit for itself');
select pg_temp.refused('alter role acme_user reset temp_file_limit', 'roles: nor a limit of temporary files');
select pg_temp.refused('alter role rival_user password ''x''', 'roles: another''s password');
select pg_temp.refused('alter role rival_user set search_path = acme', 'roles: another''s settings');
select pg_temp.refused('grant rival_user to acme_user', 'roles: join another tenant');
select pg_temp.refused('grant pg_read_all_data to acme_user', 'roles: join a predefined role');
select pg_temp.refused('alter default privileges for role rival_user grant select on tables to acme_user', 'roles: another''s default privileges');
select pg_temp.refused('reassign owned by rival_user to acme_user', 'roles: another''s objects');
select pg_temp.refused('drop owned by rival_user', 'roles: drop another''s objects');

-- Settings
select pg_temp.refused('set session_replication_role = replica', 'settings: switch triggers off');
select pg_temp.refused('set log_statement = ''none''', 'settings: logging');
select pg_temp.refused('set cloaca.public_host = ''evil''', 'settings: cloaca.public_host');
select pg_temp.refused('set cloaca.allow_plain_password = on', 'settings: cloaca.allow_plain_password');
select pg_temp.refused('set lo_compat_privileges = on', 'settings: large objects for all');
select pg_temp.refused('alter system set work_mem = ''1MB''', 'settings: of the server');
select pg_temp.refused(format('alter database %I set work_mem = ''1MB''', current_database()), 'settings: of the database');
select pg_temp.refused('alter role all set work_mem = ''1MB''', 'settings: of every role');
select pg_temp.refused('load ''auto_explain''', 'settings: load a library');

-- Files of the server
select pg_temp.refused('select pg_read_file(''postgresql.conf'')', 'files: read');
select pg_temp.refused('select pg_ls_dir(''.'')', 'files: list');
select pg_temp.refused('copy own from ''/etc/passwd''', 'files: copy from');
select pg_temp.refused('copy own to ''/tmp/x''', 'files: copy to');
select pg_temp.refused('copy own from program ''true''', 'files: run a program');
select pg_temp.refused('select lo_import(''/etc/passwd'')::text', 'files: as a large object');
select pg_temp.refused('select lo_export(424242, ''/tmp/x'')::text', 'files: from a large object');
select pg_temp.refused('create tablespace x location ''/tmp''', 'files: a tablespace');

-- The database and other databases
create function pg_temp.connect_error(url text) returns text language plpgsql as $$
declare
    reason text;
begin
    perform dblink_connect('elsewhere', url);
    return dblink_disconnect('elsewhere');
exception
    when others then
        get stacked diagnostics reason = pg_exception_detail;
        return reason;
end
$$;
select matches(pg_temp.connect_error(regexp_replace(l.connection_string, '/[^/?]*\?', '/' || d.datname || '?')),
    'permission denied for database', 'databases: connect to ' || d.datname)
from pg_database d, login l where d.datallowconn and d.datname <> current_database() and l.username = 'acme_user' order by d.datname;
select pg_temp.refused('create database x', 'databases: create');
select pg_temp.refused(format('alter database %I connection limit 1', current_database()), 'databases: alter');
select pg_temp.refused('create publication x', 'databases: publish');
select pg_temp.refused('create subscription x connection '''' publication x', 'databases: subscribe')
    where current_setting('server_version_num')::integer >= 160000;
select pg_temp.refused('select slot_name from pg_create_logical_replication_slot(''x'', ''pgoutput'')', 'databases: make a replication slot');
select pg_temp.refused('create foreign data wrapper x', 'databases: foreign data');
select pg_temp.refused('checkpoint', 'databases: checkpoint');

-- Temporary schemas
select pg_temp.refused('create temporary table x ()', 'temporary schemas: make a table in one');
select pg_temp.refused(format('select username from %I.login', nspname), 'temporary schemas: read another session''s')
from pg_namespace where oid = pg_my_temp_schema();

-- The admin functions, each
select is((select string_agg(p.proname, ', ') from pg_proc p where p.pronamespace = 'cloaca'::regnamespace
        and has_function_privilege('acme_user', p.oid, 'execute') and p.prosecdef), null, 'admin functions: no SECURITY DEFINER function is executable');
select pg_temp.refused(statement, 'admin functions: ' || substring(statement from 'cloaca\.(\w+)'))
from unnest(array['select cloaca.create_tenant(''x'', ''x'')::text', 'select cloaca.drop_tenant(''rival'')::text',
    'call cloaca.drop_tenant_all(''rival'')', 'select schema_name from cloaca.list_tenants()',
    'select cloaca.rotate_password(''rival'')::text', 'select cloaca.tenant_status(''rival'')::text',
    'select cloaca.adopt_tenant(''rival'', ''acme_user'')::text', 'select cloaca.grant_tenant(''rival'', ''acme_user'')',
    'select cloaca.grant_admin(''acme_user'')', 'select object from cloaca.harden()', 'select schema_name from cloaca.migrate_tenants()',
    'select cloaca.provision(''x'', ''x'')::text', 'select cloaca.provision_default()', 'select cloaca.take_role(''rival_user'')',
    'select cloaca.grant_tables(''rival'', ''acme_user'')', 'select cloaca.register(''rival'', ''x'', ''acme_user'')::text']) as statement;

-- Spoofed settings: every public function, with another's schema named
select pg_temp.answers('acme_user', 'set cloaca.tenant = ''rival''', 'SET', 'spoofed settings: naming another''s schema is possible');
select pg_temp.refused(statement, 'spoofed settings: ' || substring(statement from 'cloaca\.(\w+)'))
from unnest(array['select cloaca.current_tenant()', 'select task::text from cloaca.enqueue(''x'')',
    'select task::text from cloaca.enqueue_many(''x'', array[jsonb ''1''])', 'select task::text from cloaca.claim()',
    'select cloaca.extend(1, 1)::text', 'select task::text from cloaca.extend_many(array[1], array[1])',
    'select cloaca.complete(1, 1)::text', 'select task::text from cloaca.complete_many(array[1], array[1])',
    'select state from cloaca.fail(1, 1, ''x'')', 'select cloaca.release(1, 1)::text', 'select cloaca.defer_until(1, 1, now())::text',
    'select cloaca.cancel_task(1)::text', 'select cloaca.retry_task(1)::text', 'select task::text from cloaca.get_task(1)',
    'select task::text from cloaca.list_tasks()', 'select queue from cloaca.set_queue(''x'')', 'select cloaca.drop_queue(''x'')::text',
    'select queue from cloaca.list_queues()', 'select queue from cloaca.queue_stats()', 'select count(*)::text from cloaca.list_dead_letters()',
    'select cloaca.mark_resolved(1, ''x'')::text', 'select cloaca.delete_resolved()::text',
    'select queue from cloaca.failure_stats()', 'select cloaca.set_tenant(''rival'')']) as statement;
select pg_temp.answers('acme_user', 'reset cloaca.tenant', 'RESET', 'spoofed settings: back to its own');
select pg_temp.answers('acme_user', 'set search_path = rival, acme', 'SET', 'spoofed settings: a search_path');
select pg_temp.answers('acme_user', 'select cloaca.current_tenant()', 'acme', 'spoofed settings: changes no tenant');
select pg_temp.answers('acme_user', 'set search_path = acme', 'SET', 'spoofed settings: back to its own path');
select pg_temp.refused(statement, 'helpers: ' || substring(statement from 'cloaca\.(\w+)'))
from unnest(array['select queue from cloaca.queue_settings(''rival'', ''x'')', 'select ready::text from cloaca.queue_counts(''rival'', ''x'', now())']) as statement;
select pg_temp.answers('acme_user', 'select expired::text from cloaca.run_maintenance()', '0', 'maintenance: runs, for its own tenant');

-- Nothing happened to the other.
select is((select count(*) from rival.cloaca_task where name = 'theirs' and lease_id is null), 1::bigint, 'rival''s task is as it was');
select is((select count(*) from rival.secret), 2::bigint, 'rival''s table is as it was');

-- Sweeps: whatever acme has a privilege on is its own, the catalogue's, or cloaca's public interface.
create function pg_temp.is_foreign(namespace oid) returns boolean language sql as $$
    select nspname not in ('acme', 'pg_catalog', 'information_schema') and nspname !~ '^pg_(temp|toast)' from pg_namespace where oid = namespace
$$;
select is((select string_agg(c.oid::regclass::text, ', ') from pg_class c where pg_temp.is_foreign(c.relnamespace)
        and c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relname <> 'usable_tenant' and has_schema_privilege('acme_user', c.relnamespace, 'usage')
        and has_any_column_privilege('acme_user', c.oid, 'select, insert, update, references')), null, 'sweep: tables and views');
select is((select string_agg(c.oid::regclass::text, ', ') from pg_class c where pg_temp.is_foreign(c.relnamespace)
        and case c.relkind when 'S' then has_sequence_privilege('acme_user', c.oid, 'usage, select, update') end), null, 'sweep: sequences');
select is((select string_agg(n.nspname, ', ') from pg_namespace n where n.nspname not in ('acme', 'pg_catalog', 'information_schema', 'cloaca')
        and n.oid <> pg_my_temp_schema()
        and has_schema_privilege('acme_user', n.oid, 'usage')), null, 'sweep: schemas to use');
select is((select string_agg(n.nspname, ', ') from pg_namespace n where n.nspname <> 'acme'
        and has_schema_privilege('acme_user', n.oid, 'create')), null, 'sweep: schemas to make things in');
select is((select string_agg(d.datname, ', ') from pg_database d where d.datname <> current_database() and d.datallowconn
        and has_database_privilege('acme_user', d.oid, 'connect')), null, 'sweep: databases to connect to');
select ok(not has_database_privilege('acme_user', current_database(), 'create, temporary'), 'sweep: nothing but CONNECT on its own');
select is((select string_agg(l.lanname, ', ') from pg_language l where l.lanispl
        and has_language_privilege('acme_user', l.oid, 'usage') and not l.lanpltrusted), null, 'sweep: languages');
select is((select string_agg(r.rolname, ', ') from pg_roles r where r.rolname <> 'acme_user'
        and pg_has_role('acme_user', r.oid, 'member')), null, 'sweep: roles');
select is((select string_agg(c.relname, ', ') from pg_class c where c.relnamespace = 'acme'::regnamespace and c.relname ~ '^cloaca_'
        and c.relkind = 'r' and has_table_privilege('acme_user', c.oid, 'truncate, references, trigger')), null, 'sweep: cloaca''s tables, for rows alone');
select is((select string_agg(p.oid::regprocedure::text, ', ') from pg_proc p where p.pronamespace = 'cloaca'::regnamespace and p.prosecdef
        and not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)), null, 'sweep: no SECURITY DEFINER function without its search_path');
select is((select string_agg(problem, ' ') from unnest((select array_agg(p) from unnest(array['acme', 'rival']) s
        cross join lateral unnest((select problems from cloaca.tenant_status(s))) p)) problem), null, 'sweep: tenant_status finds no problem');

-- Away with them: what stops that is told, and then their sessions end.
select throws_ok('select cloaca.drop_tenant(''rival'')', 'ZC014', 'tenant is in use', 'dropping: a prepared transaction stops it');
rollback prepared 'rivals';
select is(count(*), 2::bigint, 'dropping: the tenant has sessions') from pg_stat_activity where usename = 'rival_user';
-- A session that does not end within seconds stops it, too: on a slow machine it is tried again.
create function pg_temp.drop_patiently(tenant text) returns bigint language plpgsql as $$
begin
    for attempt in 1 .. 20 loop
        begin
            return (select remaining from cloaca.drop_tenant(tenant));
        exception when sqlstate 'ZC014' then
            raise warning '%', sqlerrm;
        end;
    end loop;
    return null;
end
$$;
select cmp_ok(pg_temp.drop_patiently('rival'), '>', 1::bigint, 'dropping: the first call closes');
select is(count(*), 0::bigint, 'dropping: and ends the sessions') from pg_stat_activity where usename = 'rival_user';
select matches(pg_temp.connect_error(connection_string), 'not permitted to log in', 'dropping: nobody can log in any more')
from login where username = 'rival_user';
select dblink_disconnect('acme_user') \g /dev/null
call cloaca.drop_tenant_all('acme');
call cloaca.drop_tenant_all('rival');
select is((select count(*) from pg_roles where rolname ~ '^(acme|rival)_user$'), 0::bigint, 'dropped, roles and all');
select * from finish();
