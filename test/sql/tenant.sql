-- The life of tenants as psql sees it: made, used, closed, dropped, adopted; and every way to ask wrongly.
\set SHOW_CONTEXT never
set client_min_messages = warning;
create extension if not exists cloaca;
reset client_min_messages;
set timezone = 'UTC';
set cloaca.clock = '2026-01-01 00:00:00+00';

-- The settings come with the library, at the first call of a function in it.
select cloaca.refuse_transaction();
select name, context from pg_settings where name ~ '^cloaca\.' order by name;
set cloaca.random = '1';
set cloaca.public_host = 'evil@host/';
set cloaca.nonsense = 1;

-- A password of 32 letters and digits, and a URL that leads to the server.
select username, schema_name, password ~ '^[A-Za-z0-9]{32}$' as is_generated,
    regexp_replace(connection_string, password || '|(?<=host=)[^&]*|(?<=port=).*', '*', 'g') as connection_string
from cloaca.create_tenant('test_a', 'regress_test_a_user');
begin;
set local cloaca.public_host = 'db.example.com:6432';
select regexp_replace(connection_string, password, '*') as connection_string
from cloaca.create_tenant('test_b', 'regress_test_b_user', '');
rollback;

-- Nothing of it is left.
select count(*) from pg_roles where rolname = 'regress_test_b_user';
select to_regnamespace('test_b') is null as is_gone;
select count(*) from cloaca.list_tenants() where schema_name = 'test_b';

-- The extension's schema goes with the extension alone.
drop schema cloaca cascade;

-- Names: case counts, 63 bytes are the most, and none is truncated.
select schema_name, username from cloaca.create_tenant('Test_A', 'regress_Test_A_user');
select schema_name = repeat('s', 63) as whole, username = repeat('u', 63) as whole
from cloaca.create_tenant(repeat('s', 63), repeat('u', 63));
select cloaca.create_tenant(repeat('t', 64), 'regress_test_x');
select cloaca.create_tenant('regress_test_x', repeat('t', 64));
select cloaca.create_tenant(null, 'regress_test_x');
select cloaca.create_tenant('regress_test_x', null);
select cloaca.create_tenant('', 'regress_test_x');
select cloaca.create_tenant('regress_test_x', '');
select cloaca.create_tenant('1test', 'regress_test_x');
select cloaca.create_tenant('test"x', 'regress_test_x');
select cloaca.create_tenant(E'test\n', 'regress_test_x');
select cloaca.create_tenant('täst', 'regress_test_x');
select cloaca.create_tenant('test x', 'regress_test_x');
select cloaca.create_tenant('regress_test_x', 'x; drop table y');
select cloaca.create_tenant('pg_x', 'regress_test_x');
select cloaca.create_tenant('PG_x', 'regress_test_x');
select cloaca.create_tenant('public', 'regress_test_x');
select cloaca.create_tenant('information_schema', 'regress_test_x');
select cloaca.create_tenant('cloaca', 'regress_test_x');
select cloaca.create_tenant('cloaca_default', 'regress_test_x');
select cloaca.create_tenant('regress_test_x', 'cloaca_owner_x');
select cloaca.create_tenant('regress_test_x', 'public');
select cloaca.create_tenant('regress_test_x', 'none');
select cloaca.create_tenant('regress_test_x', 'current_user');
select cloaca.create_tenant('regress_test_x', 'pg_read_all_data');

-- Names that are taken.
select cloaca.create_tenant('test_a', 'regress_test_x');
select cloaca.create_tenant('regress_test_x', 'regress_test_a_user');
create schema test_taken;
select cloaca.create_tenant('test_taken', 'regress_test_x');
drop schema test_taken;
select to_regnamespace('regress_test_x') is null and to_regrole('regress_test_x') is null as nothing_was_made;

-- Passwords: a verifier always, plain text only where that is allowed, and none in an error.
select cloaca.create_tenant('regress_test_x', 'regress_test_x', 'hunter2');
select cloaca.create_tenant('regress_test_x', 'regress_test_x', 'md5d5f4b1b9f5c1a0ad5e5d3c1f2b0e9c11');
select cloaca.create_tenant('regress_test_x', 'regress_test_x', 'SCRAM-SHA-256$4096:salt$broken');
\set verifier 'SCRAM-SHA-256$4096:wJR5u5m6bIZkTXn1L0XNEw==$SBXR1W2uLJh1zKGDxN2eMKSXKzQJ1qcyIL6sUQ5q6BM=:9wTLLxhiZ41cmTIGFfQTJDgzM5qpLwsrgrUsHECmaJQ='
begin;
select username, password, regexp_replace(connection_string, '\?.*', '') as connection_string
from cloaca.create_tenant('regress_test_x', 'regress_test_x', :'verifier');
select rolpassword = :'verifier' as has_verifier from pg_authid where rolname = 'regress_test_x';
rollback;
begin;
set local cloaca.allow_plain_password = on;
select username, password, regexp_replace(connection_string, '\?.*', '') as connection_string
from cloaca.create_tenant('regress_test_x', 'regress_test_x', 'p@ss:/wörd');
select rolpassword ~ '^SCRAM-SHA-256\$' as is_verifier from pg_authid where rolname = 'regress_test_x';
rollback;

-- A connection limit, and settings of those that a tenant may have.
begin;
select username from cloaca.create_tenant('regress_test_x', 'regress_test_x', connection_limit => 5,
    settings => '{"statement_timeout": "30s", "work_mem": "8MB", "temp_file_limit": 1000000}');
select rolconnlimit, rolconfig from pg_roles where rolname = 'regress_test_x';
rollback;
select cloaca.create_tenant('regress_test_x', 'regress_test_x', connection_limit => 0);
select cloaca.create_tenant('regress_test_x', 'regress_test_x', connection_limit => -1);
select cloaca.create_tenant('regress_test_x', 'regress_test_x', settings => '[]');
select cloaca.create_tenant('regress_test_x', 'regress_test_x', settings => '{"work_mem": "much"}');
select cloaca.create_tenant('regress_test_x', 'regress_test_x', settings => '{"work_mem": null}');
select cloaca.create_tenant('regress_test_x', 'regress_test_x', settings => '{"search_path": "public"}');
select cloaca.create_tenant('regress_test_x', 'regress_test_x', settings => '{"session_preload_libraries": "x"}');

-- What was made: roles that may do nothing more, and a tenant without problems.
select rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolconfig
from pg_roles where rolname in ('regress_test_a_user', 'regress_Test_A_user') order by rolname collate "C";
select schema_name, username, owner ~ '^cloaca_owner_[0-9a-f]{16}$' as has_owner, state, table_version, created_at
from cloaca.list_tenants() where schema_name ilike 'test\_a' order by schema_name collate "C";
select schema_name, username, state, sessions, tables > 0 as has_tables, bytes > 0 as has_bytes, problems
from cloaca.tenant_status('test_a');
select cloaca.tenant_status('regress_test_nobody');
select cloaca.tenant_status(null);

-- Whose tasks a call means.
set session authorization regress_test_a_user;
set search_path = test_a;
select cloaca.current_tenant(), created from cloaca.enqueue('mine');
select count(*) from cloaca_task;
select cloaca.set_tenant('Test_A');
set cloaca.tenant = 'Test_A';
select cloaca.enqueue('theirs');
set cloaca.tenant = 'regress_test_nobody';
select cloaca.enqueue('nowhere');
set cloaca.tenant = 'public';
select cloaca.current_tenant() = 'public' as is_tenant;
reset cloaca.tenant;
select cloaca.set_tenant('');
select cloaca.set_tenant('test_a');
select cloaca.set_tenant(null);
select cloaca.current_tenant();

-- No admin function is a tenant's to call.
select cloaca.create_tenant('regress_test_x', 'regress_test_x');
select cloaca.drop_tenant('Test_A');
call cloaca.drop_tenant_all('Test_A');
select cloaca.list_tenants();
select cloaca.rotate_password('Test_A');
select cloaca.tenant_status('Test_A');
select cloaca.adopt_tenant('regress_test_x', 'regress_test_x');
select cloaca.grant_tenant('Test_A', 'regress_test_a_user');
select cloaca.grant_admin('regress_test_a_user');
select cloaca.harden();
select cloaca.migrate_tenants();
select cloaca.provision('regress_test_x', 'regress_test_x');
reset session authorization;
reset search_path;

-- A role with no tenant, until it is granted one.
create role regress_test_guest;
set session authorization regress_test_guest;
select cloaca.enqueue('nowhere');
reset session authorization;
select cloaca.grant_tenant('Test_A', 'regress_test_guest');
select cloaca.grant_tenant('Test_A', 'regress_test_nobody');
select cloaca.grant_tenant('Test_A', 'public');
select cloaca.grant_tenant('regress_test_nobody', 'regress_test_guest');
set session authorization regress_test_guest;
select cloaca.set_tenant('Test_A');
select created from cloaca.enqueue('granted');
create table "Test_A".mine ();
truncate "Test_A".cloaca_task;
select cloaca.set_tenant('test_a');
reset session authorization;
select cloaca.set_tenant(null);
select problems from cloaca.tenant_status('Test_A');

-- An admin without any attribute does all of it.
create role regress_test_admin;
select cloaca.grant_admin('regress_test_admin');
select cloaca.grant_admin('regress_test_nobody');
select cloaca.grant_admin('regress_test_a_user');
set session authorization regress_test_admin;
select username from cloaca.create_tenant('test_c', 'regress_test_c_user', connection_limit => 2);
select username, password ~ '^[A-Za-z0-9]{32}$' as is_generated from cloaca.rotate_password('test_c');
select username, password from cloaca.rotate_password('test_c', :'verifier');
select cloaca.rotate_password('test_c', 'hunter2');
select cloaca.rotate_password('regress_test_nobody');
select cloaca.rotate_password(null);
select problems from cloaca.tenant_status('test_c');
select cloaca.grant_tenant('test_c', 'regress_test_guest');
select * from cloaca.migrate_tenants();
select cloaca.migrate_tenants(0);
select count(*) > 0 as some from cloaca.list_tenants();
select cloaca.set_tenant('test_c');
select cloaca.grant_admin('regress_test_admin');
select * from cloaca.tenant;
select cloaca.drop_tenant('test_c', 0);
select cloaca.drop_tenant('test_c', null);
select cloaca.drop_tenant('regress_test_nobody');
call cloaca.drop_tenant_all('regress_test_nobody');
begin;
call cloaca.drop_tenant_all('test_c');
rollback;
call cloaca.drop_tenant_all('test_c');
reset session authorization;
select to_regnamespace('test_c') is null and to_regrole('regress_test_c_user') is null as is_gone;

-- A role that became more than a tenant is not the admin's to take over.
alter role regress_test_a_user createdb;
select problems from cloaca.tenant_status('test_a');
select cloaca.rotate_password('test_a');
select cloaca.drop_tenant('test_a');
alter role regress_test_a_user nocreatedb;

-- What drifted is told.
begin;
grant truncate on test_a.cloaca_task to public;
grant usage on schema test_a to public;
revoke delete on test_a.cloaca_task from regress_test_a_user;
alter table test_a.cloaca_queue add column extra integer;
create function test_a.spy() returns trigger language plpgsql as 'begin return new; end';
create trigger spy before insert on test_a.cloaca_task for each row execute function test_a.spy();
alter role regress_test_a_user reset search_path;
alter role regress_test_a_user nologin;
select unnest(problems) as problem from cloaca.tenant_status('test_a');
rollback;

-- Dropped in batches: first it is closed, then emptied, then gone.
set session authorization regress_test_a_user;
set search_path = test_a;
create table plain (id serial primary key, label text unique);
create view seen as select * from plain;
create materialized view kept as select * from seen;
create type colour as enum ('red', 'green');
create domain even as integer check (value % 2 = 0);
create table painted (c colour, e even);
create function twice(n even) returns integer language sql as 'select n * 2';
create procedure noop() language sql as '';
create aggregate total (integer) (sfunc = int4pl, stype = integer, initcond = '0');
create aggregate everything (*) (sfunc = int8inc, stype = bigint, initcond = '0');
create operator === (leftarg = integer, rightarg = integer, function = int4eq);
create collation simple from "C";
create statistics plain_statistics on id, label from plain;
create text search dictionary words (template = simple);
create table parted (n integer) partition by range (n);
create table parted_1 partition of parted for values from (0) to (1);
create table parted_2 partition of parted for values from (1) to (2);
select lo_create(0) > 0 as has_large_object;
reset session authorization;
reset search_path;
select cloaca.drop_tenant('test_a', 4) > 20 as closed;
select state from cloaca.list_tenants() where schema_name = 'test_a';
select rolcanlogin from pg_roles where rolname = 'regress_test_a_user';
select cloaca.set_tenant('test_a');
select cloaca.set_tenant(null);
select cloaca.rotate_password('test_a');
select cloaca.grant_tenant('test_a', 'regress_test_guest');
select cloaca.adopt_tenant('test_a', 'regress_test_a_user');
select cloaca.create_tenant('test_a', 'regress_test_x');
select cloaca.drop_tenant('test_a', 4) > 10 as some_remain;
call cloaca.drop_tenant_all('test_a', 3);
select to_regnamespace('test_a') is null and to_regrole('regress_test_a_user') is null as is_gone;
select count(*) from cloaca.list_tenants() where schema_name = 'test_a';
select count(*) from pg_roles r
where shobj_description(r.oid, 'pg_authid') = format('owns the cloaca tenant "test_a" of database "%s"', current_database());

-- What stops a drop is told, and nothing happened.
select cloaca.set_tenant('Test_A');
select created from cloaca.enqueue('kept');
create schema test_other;
create view test_other.looks as select * from "Test_A".cloaca_task;
select cloaca.drop_tenant('Test_A');
drop view test_other.looks;
create table test_other.refers (task bigint references "Test_A".cloaca_task);
select cloaca.drop_tenant('Test_A');
drop table test_other.refers;
select state from cloaca.list_tenants() where schema_name = 'Test_A';

-- Left behind, and adopted again: the roles are used again, the password stays.
create temporary table before as select a.oid, a.rolpassword from pg_authid a where a.rolname = 'regress_Test_A_user';
delete from cloaca.tenant where schema_name = 'Test_A';
select cloaca.set_tenant('Test_A');
select cloaca.adopt_tenant('Test_A', 'regress_test_guest');
select cloaca.adopt_tenant('regress_test_nobody', 'regress_test_x');
select cloaca.adopt_tenant('test_other', 'regress_test_x');
select cloaca.adopt_tenant('pg_catalog', 'regress_test_x');
select cloaca.adopt_tenant('Test_A', null);
select username, password, regexp_replace(connection_string, '\?.*', '') as connection_string
from cloaca.adopt_tenant('Test_A', 'regress_Test_A_user');
select a.oid = b.oid and a.rolpassword = b.rolpassword as unchanged from pg_authid a, before b where a.rolname = 'regress_Test_A_user';
select problems from cloaca.tenant_status('Test_A');
select cloaca.adopt_tenant('Test_A', 'regress_Test_A_user');
select cloaca.set_tenant('Test_A');
select name, state from cloaca.list_tasks();
select cloaca.set_tenant(null);

-- A schema whose tables were tampered with is refused: whatever runs code, hides rows or lacks.
delete from cloaca.tenant where schema_name = 'Test_A';
begin;
create trigger spy before insert on "Test_A".cloaca_task for each row execute function suppress_redundant_updates_trigger();
select cloaca.adopt_tenant('Test_A', 'regress_Test_A_user');
rollback;
begin;
create rule spy as on insert to "Test_A".cloaca_task do instead nothing;
select cloaca.adopt_tenant('Test_A', 'regress_Test_A_user');
rollback;
begin;
alter table "Test_A".cloaca_task enable row level security;
select cloaca.adopt_tenant('Test_A', 'regress_Test_A_user');
rollback;
begin;
create policy spy on "Test_A".cloaca_task using (true);
select cloaca.adopt_tenant('Test_A', 'regress_Test_A_user');
rollback;
begin;
alter table "Test_A".cloaca_task alter column worker set default current_user;
select cloaca.adopt_tenant('Test_A', 'regress_Test_A_user');
rollback;
begin;
create index spy on "Test_A".cloaca_task ((upper(name)));
select cloaca.adopt_tenant('Test_A', 'regress_Test_A_user');
rollback;
begin;
alter table "Test_A".cloaca_task add constraint spy check (octet_length(name) > 0);
select cloaca.adopt_tenant('Test_A', 'regress_Test_A_user');
rollback;
begin;
create statistics spy on (upper(name)) from "Test_A".cloaca_task;
select cloaca.adopt_tenant('Test_A', 'regress_Test_A_user');
rollback;
begin;
drop table "Test_A".cloaca_finished_key;
select cloaca.adopt_tenant('Test_A', 'regress_Test_A_user');
rollback;
begin;
alter table "Test_A".cloaca_task rename to other;
create view "Test_A".cloaca_task as select * from "Test_A".other;
select cloaca.adopt_tenant('Test_A', 'regress_Test_A_user');
rollback;
begin;
create table "Test_A".child () inherits ("Test_A".cloaca_queue);
select cloaca.adopt_tenant('Test_A', 'regress_Test_A_user');
rollback;
select username from cloaca.adopt_tenant('Test_A', 'regress_Test_A_user');

-- All gone.
call cloaca.drop_tenant_all('Test_A');
call cloaca.drop_tenant_all(repeat('s', 63));
drop owned by regress_test_admin, regress_test_guest;
drop role regress_test_admin, regress_test_guest;
drop schema test_other;
select count(*) from cloaca.list_tenants() where schema_name ilike 'test\_a%' or schema_name like 'sss%';
select count(*) from pg_roles where rolname ilike 'regress\_test\_%' or rolname like 'uuu%';
