-- @helper key_holder
--
-- The task that has a key of a queue, live or finished so lately that the key is still taken; other than one of the caller's own.
create function cloaca.key_holder(tenant text, queue text, key text, own bigint, at timestamptz) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    holder bigint;
begin
    execute format($query$
        select coalesce((select t.id from %1$I.cloaca_task t where t.queue = $1 and t.key = $2 and t.id is distinct from $3),
            (select f.task from %1$I.cloaca_finished_key f where f.queue = $1 and f.key = $2 and f.until > $4))
        $query$, tenant) into holder using key_holder.queue, key_holder.key, own, key_holder.at;
    return holder;
end
$$;
