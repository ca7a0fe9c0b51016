-- @helper queue_settings
--
-- The settings of one queue of a tenant, the defaults where it has no row. Enqueue, claim and extend read single
-- settings by themselves, in the statement that needs them.
create type cloaca.queue_info as (
    queue         text,
    paused        boolean,
    lease         interval,
    max_attempts  integer,
    retry         jsonb,
    retention     interval,
    key_retention interval
);

create function cloaca.queue_settings(tenant text, queue text) returns cloaca.queue_info
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    settings cloaca.queue_info;
begin
    execute format('select queue, paused, lease, max_attempts, retry, retention, key_retention from %I.cloaca_queue where queue = $1',
            tenant)
        into settings using queue_settings.queue;
    if settings.queue is null then
        settings := row (queue_settings.queue, false, interval '30 seconds', 3, jsonb '{}', interval '0', interval '0');
    end if;
    return settings;
end
$$;
