-- @helper trim_history
--
-- Deletes the oldest finished tasks of each queue of a tenant beyond the queue's retention, at most max of them in all.
create function cloaca.trim_history(tenant text, max integer, at timestamptz) returns bigint
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    trimmed bigint;
begin
    execute format($query$
        with recursive name (queue) as (
            (select h.queue from %1$I.cloaca_task_history h order by h.queue limit 1)
            union all
            select (select h.queue from %1$I.cloaca_task_history h where h.queue > name.queue order by h.queue limit 1)
            from name where name.queue is not null
        ), gone as (
            delete from %1$I.cloaca_task_history where task = any (array(
                select h.task from name
                left join %1$I.cloaca_queue q on q.queue = name.queue
                cross join lateral (
                    select h.task from %1$I.cloaca_task_history h
                    where h.queue = name.queue and h.finished_at <= $1 - coalesce(q.retention, interval '0')
                    order by h.finished_at, h.task limit $2 for update skip locked) h
                limit $2))
            returning 1
        )
        select count(*) from gone
        $query$, tenant) into trimmed using trim_history.at, trim_history.max;
    return trimmed;
end
$$;
