-- @function list_queues() -> queue text, paused boolean, lease interval, max_attempts integer, retry jsonb, retention interval, key_retention interval
--
-- Every queue that has settings, live tasks or dead letters, with its settings.
--
-- Returns: a row for each queue, ordered by name
-- Errors: unknown_tenant
-- Writes: nothing
create function cloaca.list_queues() returns setof cloaca.queue_info
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant constant text := cloaca.current_tenant();
begin
    return query select s.* from cloaca.queue_names(tenant) as name (queue)
        cross join lateral cloaca.queue_settings(tenant, name.queue) s
        order by name.queue collate "C";
end
$$;
