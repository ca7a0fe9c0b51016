-- @function delete_resolved(queue text = null, older_than interval = '0', max integer = 1000) -> deleted bigint
--
-- Deletes dead letters that were resolved, the oldest first.
--
-- queue: of this queue alone; null for all
-- older_than: resolved at least this long ago, 0 to 10 years (0)
-- max: how many at most, 1 to 10,000
-- Returns: how many were deleted
-- Errors: invalid_argument
-- Writes: cloaca_dead_letter
create function cloaca.delete_resolved(queue text default null, older_than interval default '0', max integer default 1000)
returns table (deleted bigint)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    age interval := coalesce(cloaca.microseconds(older_than, 'older_than'), 0) * interval '1 microsecond';
begin
    perform cloaca.check_max(delete_resolved.max);
    return query execute format($query$
        with gone as (
            delete from %1$I.cloaca_dead_letter where id = any (array(
                select d.id from %1$I.cloaca_dead_letter d
                where d.status = 'resolved' and ($1 is null or d.queue = $1) and d.resolved_at <= $2
                order by d.id limit $3 for update skip locked))
            returning 1
        )
        select count(*) from gone
        $query$, cloaca.current_tenant()) using delete_resolved.queue, cloaca.now() - age, delete_resolved.max;
end
$$;
