-- @helper take_late_execution
--
-- Locks an execution whose time is over, for update, and its tasks that have not ended, without waiting for anybody. False when it has
-- ended meanwhile or not all of that is to be had; what was locked until then, the caller gives back.
create function cloaca.take_late_execution(tenant text, execution bigint, at timestamptz) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    is_late boolean;
    is_whole boolean;
begin
    execute format($query$
        select true from %I.cloaca_execution e where e.id = $1 and e.deadline <= $2 and e.finished_at is null
        for update skip locked
        $query$, tenant) into is_late using take_late_execution.execution, take_late_execution.at;
    if is_late is null then
        return false;
    end if;
    -- From here on nobody makes tasks of it, or ends one.
    execute format($query$
        with node as materialized (
            select n.n, n.task from %1$I.cloaca_execution_task n where n.execution = $1 and n.state in ('waiting', 'ready')
        ), live as materialized (
            select t.id from %1$I.cloaca_task t where t.id = any (array(select n.task from node n))
        ), held_task as materialized (
            select t.id from %1$I.cloaca_task t where t.id = any (array(select l.id from live l)) order by t.id for update skip locked
        ), held_node as materialized (
            select n.n from %1$I.cloaca_execution_task n
            where n.execution = $1 and n.n = any (array(select o.n from node o)) order by n.n for update skip locked
        )
        select (select count(*) from held_task) = (select count(*) from live)
            and (select count(*) from held_node) = (select count(*) from node)
        $query$, tenant) into is_whole using take_late_execution.execution;
    return is_whole;
end
$$;
