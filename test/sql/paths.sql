-- The two paths do the same: many calls, chosen by chance, are made on the direct path for one tenant and by SQL for another. After
-- each the answers must be the same, errors included, and at the end the tables.
\set SHOW_CONTEXT never
set client_min_messages = warning;
create extension if not exists cloaca;
do $$ begin perform cloaca.create_tenant('test_fast', 'test_fast_user'), cloaca.create_tenant('test_slow', 'test_slow_user'); end $$;
set timezone = 'UTC';
set cloaca.clock = '2026-01-01 00:00:00+00';
set cloaca.random = '0.5';
do $$ declare tenant text; begin
    foreach tenant in array array['test_fast', 'test_slow'] loop
        perform cloaca.set_tenant(tenant), cloaca.set_queue('kept', retention => '1 day', key_retention => '40 ms'),
            cloaca.set_queue('once', max_attempts => 1);
    end loop;
end $$;
select setseed(0.42) \g /dev/null

create temp table lease (n bigint generated always as identity, task bigint, fast bigint, slow bigint);
create temp table tally (call text, outcome text, direct boolean);

-- The answer of a call for one tenant. $1 is the column of `lease` that holds its leases.
create function pg_temp.answer(tenant text, direct boolean, call text, out answer text) language plpgsql as $$
begin
    perform set_config('cloaca.direct', direct::text, false), cloaca.set_tenant(tenant);
    execute format('select coalesce(jsonb_agg(to_jsonb(r)), ''[]'')::text from (%s) r', call) into answer;
exception when others then
    declare
        detail text;
        hint text;
    begin
        get stacked diagnostics detail = pg_exception_detail, hint = pg_exception_hint;
        answer := concat_ws('; ', sqlstate, sqlerrm, detail, hint);
    end;
end
$$;

create function pg_temp.pick(variadic choices text[]) returns text language sql volatile as $$
    select choices[1 + floor(random() * cardinality(choices))::integer]
$$;

-- Leases that are or were somebody's, now and then one that never was: as (task, lease) arrays for either tenant.
create function pg_temp.leases(most integer, out tasks text, out fast text, out slow text) language sql volatile as $$
    select format('array[%s]::bigint[]', string_agg(l.task::text, ',')), format('array[%s]::bigint[]', string_agg(l.fast::text, ',')),
        format('array[%s]::bigint[]', string_agg(l.slow::text, ','))
    from (select coalesce(l.task, 7) as task, coalesce(l.fast, -1) as fast, coalesce(l.slow, -1) as slow
          from generate_series(1, 1 + floor(random() * most)::integer) i
          left join lateral (select i, max(n) - floor(random() ^ 2 * 12) as n from lease) r on random() < 0.97
          left join lease l on l.n = r.n) l
$$;

-- A call, chosen by chance; TASKS and LEASES stand for what differs.
create function pg_temp.chance() returns text language sql volatile as $$
    select case when x < 0.2 then format('select * from cloaca.enqueue(%L, %L, %L, %s, run_at => %s, delay => %s, key => %s, max_attempts => %s, retry => %s)',
            pg_temp.pick('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', ''), pg_temp.pick('{}', '{"p": 1}', '[1, 2]', '"' || repeat('x', 3000) || '"', '"' || repeat('x', 30000) || '"'),
            pg_temp.pick('q', 'q', 'kept', 'once'), pg_temp.pick('0', '0', '0', '0', '0', '-1', '3', '40000'),
            pg_temp.pick('null', 'null', 'null', 'null', 'null', 'cloaca.now() + interval ''30 ms'''), pg_temp.pick('null', 'null', 'null', 'null', 'null', 'null', '''20 ms''', '''0''', '''-1 s'''),
            pg_temp.pick('null', 'null', 'null', 'null', 'null', '''k1''', '''k2''', '''k3'''), pg_temp.pick('null', 'null', 'null', 'null', '1', '2', '1000000', '0'),
            pg_temp.pick('null', 'null', 'null', 'null', '''{"strategy": "fixed", "initial": 0.02}''', '''{"other": 1}'''))
        when x < 0.3 then format('select * from cloaca.enqueue_many(%L, array(select to_jsonb(n) from generate_series(1, %s) n), %L, %s, delay => %s, keys => %s)',
            pg_temp.pick('a', 'b'), pg_temp.pick('0', '1', '3', '5'), pg_temp.pick('q', 'kept', 'once'), pg_temp.pick('0', '1'),
            pg_temp.pick('null', 'null', '''10 ms'''), pg_temp.pick('null', 'null', 'array[''k1'', null, ''k4'']'))
        when x < 0.5 then format('select * from cloaca.claim(%L, %s, %s, %s)', pg_temp.pick('q', 'q', 'kept', 'once', 'none'),
            pg_temp.pick('null', '''w''', '''v'''), pg_temp.pick('1', '1', '1', '2', '2', '5', '50', '0'), pg_temp.pick('null', 'null', 'null', '''1 min''', '''5 min''', '''-1 s'''))
        when x < 0.55 then format('select * from cloaca.extend(TASKS[1], LEASES[1], %s)', pg_temp.pick('null', 'null', '''5 min''', '''1 min''', '''0'''))
        when x < 0.6 then format('select * from cloaca.extend_many(TASKS, LEASES, %s)', pg_temp.pick('null', 'null', '''5 min''', '''1 min''', '''0'''))
        when x < 0.7 then format('select cloaca.complete(TASKS[1], LEASES[1], %s)', pg_temp.pick('null', 'null', '''{"r": 1}'''))
        when x < 0.78 then format('select * from cloaca.complete_many(TASKS, LEASES, %s)', pg_temp.pick('null', 'null', 'array_fill(jsonb ''2'', array[cardinality(TASKS)])'))
        when x < 0.83 then format('select * from cloaca.fail(TASKS[1], LEASES[1], ''no'', %s, %s)', pg_temp.pick('false', 'false', 'true'), pg_temp.pick('null', '''0'''))
        when x < 0.86 then 'select cloaca.release(TASKS[1], LEASES[1])'
        when x < 0.88 then 'select cloaca.defer_until(TASKS[1], LEASES[1], cloaca.now() + interval ''20 ms'')'
        when x < 0.92 then 'select * from cloaca.cancel_task(TASKS[1])'
        when x < 0.93 then format('select * from cloaca.retry_task(queue => %L)', pg_temp.pick('q', 'kept', 'once'))
        when x < 0.97 then format('select * from cloaca.set_queue(%L, paused => %s, lease => %s, key_retention => %s)', pg_temp.pick('q', 'kept', 'once'),
            pg_temp.pick('false', 'false', 'true'), pg_temp.pick('null', '''1 min'''), pg_temp.pick('null', 'null', '''40 ms'''))
        when x < 0.98 then format('select * from cloaca.drop_queue(%L, %s)', pg_temp.pick('q', 'once'), pg_temp.pick('false', 'false', 'true'))
        else 'select * from cloaca.run_maintenance()' end
    from (select random() as x) x
$$;

create procedure pg_temp.storm(steps integer) language plpgsql as $$
declare
    at timestamptz := '2026-01-01 00:00:00+00';
    call text;
    held record;
    before bigint;
    fast text;
    slow text;
    is_direct boolean;
    is_doomed boolean := false;
begin
    for i in 1 .. steps loop
        at := at + floor(random() ^ 4 * 30000)::integer * interval '1 microsecond';
        perform set_config('cloaca.clock', at::text, false);
        call := pg_temp.chance();
        -- A task that was deleted, and is there again after a rollback, may be hidden by the cursor for a while.
        continue when is_doomed and call ~ 'drop_queue|cancel_task';
        held := pg_temp.leases(3);
        before := cloaca.direct_calls();
        fast := pg_temp.answer('test_fast', true, replace(replace(call, 'TASKS', '(' || held.tasks || ')'), 'LEASES', '(' || held.fast || ')'));
        is_direct := cloaca.direct_calls() > before;
        slow := pg_temp.answer('test_slow', false, replace(replace(call, 'TASKS', '(' || held.tasks || ')'), 'LEASES', '(' || held.slow || ')'));
        if call ~ 'cloaca.claim' and fast ~ '^\[' and slow ~ '^\[' then
            insert into lease (task, fast, slow)
            select (f.row ->> 'task')::bigint, (f.row ->> 'lease_id')::bigint, (s.row ->> 'lease_id')::bigint
            from jsonb_array_elements(fast::jsonb) with ordinality f (row, n)
            left join jsonb_array_elements(slow::jsonb) with ordinality s (row, n) on s.n = f.n;
        end if;
        fast := regexp_replace(fast, '"lease_id": \d+', '"lease_id": 1', 'g');
        slow := regexp_replace(slow, '"lease_id": \d+', '"lease_id": 1', 'g');
        insert into tally values (substring(call from 'cloaca\.(\w+)'), left(fast, 5), is_direct);
        if fast is distinct from slow then
            raise warning '% %: directly %, by SQL %', i, call, fast, slow;
        end if;
        continue when random() < 0.4;
        if is_doomed then
            rollback;
        else
            commit;
        end if;
        is_doomed := random() < 0.15;
    end loop;
end
$$;
call pg_temp.storm(1500);

-- Every function was served, and refused, on either path.
select call, bool_or(direct and outcome ~ '^\[') as direct, bool_or(not direct and outcome ~ '^\[') as sql, bool_or(outcome !~ '^\[') as refused
from tally group by call order by call;

-- Nothing but the leases' ids differs.
create function pg_temp.contents(tenant text, name text) returns setof jsonb language plpgsql as $$
begin
    return query execute format('select to_jsonb(t) - ''lease_id'' from %I.%I t', tenant, name);
end
$$;
select name, count(*) filter (where f is distinct from s) as different
from unnest(array['cloaca_task', 'cloaca_task_history', 'cloaca_dead_letter', 'cloaca_finished_key', 'cloaca_queue']) name
left join lateral (select * from pg_temp.contents('test_fast', name) f full join pg_temp.contents('test_slow', name) s on f = s) both_of (f, s) on true
group by name order by name;

reset cloaca.clock;
do $$ begin perform cloaca.set_tenant(null); end $$;
call cloaca.drop_tenant_all('test_fast');
call cloaca.drop_tenant_all('test_slow');
