-- @helper see_keys
--
-- Before keys are looked up: lets go of those whose task was cancelled and whose worker's lease has ended, and makes sure that keys
-- which finished are seen. Above READ COMMITTED an old snapshot would not show them; an insert, taken back at once, meets what is
-- there all the same, and makes it a serialization failure.
create function cloaca.see_keys(tenant text, queue text, keys text[], at timestamptz) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    gone record;
begin
    execute format($query$
        select array_agg(t.id) as tasks, array_agg(t.lease_id) as lease_ids from %I.cloaca_task t
        where t.queue = $1 and t.key = any ($2) and t.cancelled and t.lease_until <= $3
        $query$, tenant) into gone using see_keys.queue, see_keys.keys, see_keys.at;
    if gone.tasks is not null then
        perform from cloaca.finish(tenant, 'cancelled', gone.tasks, gone.lease_ids, null, see_keys.at);
    end if;

    if current_setting('transaction_isolation') <> 'read committed' then
        begin
            execute format($query$
                insert into %I.cloaca_finished_key (queue, key, task, until)
                select distinct $1, k.key, 0, timestamptz '-infinity' from unnest($2) as k (key) where k.key is not null
                order by k.key
                on conflict do nothing
                $query$, tenant) using see_keys.queue, see_keys.keys;
            raise triggered_action_exception;
        exception when triggered_action_exception then
            null;
        end;
    end if;
end
$$;
