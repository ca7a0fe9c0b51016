-- @helper note_resumed
--
-- Tells the library that a queue is paused no more: all of its tasks may have become claimable. Beyond a thousand it makes no
-- difference how many there are.
create function cloaca.note_resumed(tenant text, queue text) returns void
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    execute format($query$
        select cloaca.note_ready(%1$L, $1, null, null, null, count(*))
        from (select from %1$I.cloaca_task t where t.queue = $1 limit 1000) waiting
        $query$, tenant) using note_resumed.queue;
end
$$;
