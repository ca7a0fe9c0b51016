-- @function mark_resolved(dead_letter bigint, resolution text = null) -> void
--
-- Marks a dead letter as dealt with by hand. It stays until delete_resolved takes it.
--
-- dead_letter: its id, as list_dead_letters returns it
-- resolution: what was done; may be null
-- Returns: nothing
-- Errors: unknown_dead_letter
-- Writes: cloaca_dead_letter
create function cloaca.mark_resolved(dead_letter bigint, resolution text default null) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    tenant text := cloaca.current_tenant();
    status text;
begin
    execute format('select d.status from %I.cloaca_dead_letter d where d.id = $1 for update', tenant)
        into status using mark_resolved.dead_letter;
    if status is null then
        perform cloaca.raise_condition('unknown_dead_letter',
            format('Dead letter %s does not exist.', coalesce(mark_resolved.dead_letter::text, 'null')));
    elsif status = 'resolved' then
        perform cloaca.raise_condition('unknown_dead_letter',
            format('Dead letter %s is already resolved.', mark_resolved.dead_letter));
    end if;
    execute format('update %I.cloaca_dead_letter set status = ''resolved'', resolution = $2, resolved_at = $3 where id = $1', tenant)
        using mark_resolved.dead_letter, mark_resolved.resolution, cloaca.now();
end
$$;
