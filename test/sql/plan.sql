-- The statements that must not depend on the backlog find their rows by index, in every plan_cache_mode, whether the table was never
-- analyzed, or when it was empty, or when all of it was scheduled for later or of other queues, or lately. Shown by how many rows each
-- call reads, and by the plans of all nested statements (auto_explain).
\set SHOW_CONTEXT never
set client_min_messages = warning;
create extension if not exists cloaca;
do $$ begin perform cloaca.create_tenant('test_plan', 'test_plan_user'), cloaca.set_tenant('test_plan'); end $$;
reset client_min_messages;
alter table test_plan.cloaca_task set (autovacuum_enabled = off);
create index on test_plan.cloaca_task (enqueued_at); -- a trap: it looks good to a planner that thinks that few rows are due

-- Calls each function on a backlog, and says how many rows of the live table it read at most; nothing stays changed.
create procedure pg_temp.read_rows(what text, due integer) language plpgsql as $$
declare
    call record;
    mode text;
    before bigint;
    after bigint;
    most bigint;
    slow text := '';
    rows_read constant text := 'select seq_tup_read + idx_tup_fetch from pg_stat_xact_all_tables
        where relid = ''test_plan.cloaca_task''::regclass';
begin
    begin
        insert into test_plan.cloaca_task (queue, priority, run_at, max_attempts, enqueued_at, name, payload)
        select 'q', n % 3, '2026-01-01', 3, '2026-01-01', 'n', '{}' from generate_series(1, due) n;
        for call in select * from (values
            ('claim 1', 'select from cloaca.claim(''q'')', 20),
            ('claim 100', 'select from cloaca.claim(''q'', max => 100)', 600),
            ('claim of an empty queue', 'select from cloaca.claim(''none'')', 10),
            ('extend', 'select cloaca.extend(task, lease_id) from cloaca.claim(''q'')', 500),
            ('release', 'select cloaca.release(task, lease_id) from cloaca.claim(''q'')', 500),
            ('complete', 'select cloaca.complete(task, lease_id) from cloaca.claim(''q'')', 500),
            ('fail', 'select cloaca.fail(task, lease_id, ''x'') from cloaca.claim(''q'')', 500),
            ('cancel_task', 'select cloaca.cancel_task(task) from cloaca.claim(''q'')', 500),
            ('extend_many', 'select cloaca.extend_many(coalesce(array_agg(task), ''{}''), coalesce(array_agg(lease_id), ''{}''))
                from cloaca.claim(''q'', max => 100)', 2000),
            ('complete_many', 'select cloaca.complete_many(coalesce(array_agg(task), ''{}''), coalesce(array_agg(lease_id), ''{}''))
                from cloaca.claim(''q'', max => 100)', 2000),
            ('enqueue', 'select from cloaca.enqueue(''n'', queue => ''q'', key => ''k'')', 10),
            ('enqueue_many', 'select from cloaca.enqueue_many(''n'', array_fill(jsonb ''1'', array[3]), ''q'', keys => ''{a,b,c}'')', 20)
            ) calls (name, sql, most)
        loop
            foreach mode in array array['auto', 'force_custom_plan', 'force_generic_plan'] loop
                perform set_config('plan_cache_mode', mode, true);
                execute rows_read into before;
                execute call.sql;
                execute rows_read into after;
                if after - before > call.most then
                    slow := slow || format(E'\n  %s (%s) read %s rows', call.name, mode, after - before);
                end if;
            end loop;
        end loop;
        raise data_exception;
    exception when data_exception then
        null;
    end;
    raise notice '% and % due tasks: %', what, due, case slow when '' then 'every call reads few rows' else slow end;
end
$$;

call pg_temp.read_rows('never analyzed', 1);
call pg_temp.read_rows('never analyzed', 30000);
analyze test_plan.cloaca_task;
call pg_temp.read_rows('analyzed when empty', 1);
call pg_temp.read_rows('analyzed when empty', 30000);

insert into test_plan.cloaca_task (queue, priority, run_at, max_attempts, enqueued_at, name, payload)
select 'q', n % 3, '2100-01-01', 3, '2026-01-01', 'n', '{}' from generate_series(1, 30000) n;
analyze test_plan.cloaca_task;
call pg_temp.read_rows('analyzed with 30000 scheduled', 1);
call pg_temp.read_rows('analyzed with 30000 scheduled', 30000);
update test_plan.cloaca_task set queue = 'other', run_at = '2026-01-01';
vacuum analyze test_plan.cloaca_task;
call pg_temp.read_rows('analyzed with 30000 of another queue', 1);
call pg_temp.read_rows('analyzed with 30000 of another queue', 30000);
update test_plan.cloaca_task set queue = 'q', priority = -1, run_at = '2026-01-01';
vacuum analyze test_plan.cloaca_task;
call pg_temp.read_rows('analyzed lately, 30000 more', 30000);

-- The nodes that touch the live table, out of the log of all nested statements, and every kind of join but nested loops.
\setenv PGHOST :HOST
\setenv PGPORT :PORT
\setenv PGUSER :USER
\setenv PGDATABASE :DBNAME
\! for mode in auto force_custom_plan force_generic_plan; do echo "claim, $mode:"; psql -X -q -c "load 'auto_explain'" -c "set auto_explain.log_min_duration = 0" -c "set auto_explain.log_nested_statements = on" -c "set client_min_messages = log" -c "set plan_cache_mode = $mode" -c "select cloaca.set_tenant('test_plan')" -c "select count(*) from cloaca.claim('q', max => 10)" 2>&1 >/dev/null | grep -oE '(ERROR|FATAL).*|(Seq|Index|Index Only|Bitmap Heap|Tid) Scan( using [a-z_]+)? on cloaca_(task|queue) |(Hash|Merge)[a-zA-Z ]* Join' | sort -u; done
call cloaca.drop_tenant_all('test_plan');
