-- @helper fire
--
-- Starts what a schedule starts, in its tenant, and says which task or execution that is, or why it is none: then nothing of it
-- stays. What may be better the next time (a conflict, a lock, a lack of room) is raised.
create function cloaca.fire(tenant text, workflow text, task text, queue text, payload jsonb, priority integer, out started_task bigint,
    out started_execution bigint, out error text)
language plpgsql volatile
set search_path = pg_catalog, pg_temp
set cloaca.tenant = ''
as $$
#variable_conflict use_column
declare
    detail text;
begin
    perform set_config('cloaca.tenant', tenant, true);
    if fire.workflow is not null then
        select s.execution into started_execution from cloaca.start_workflow(fire.workflow, fire.payload) s;
    else
        select e.task into started_task
        from cloaca.enqueue(fire.task, fire.payload, queue => fire.queue, priority => fire.priority) e;
    end if;
exception when others then
    if sqlstate ~ '^(40|53|55|57|58|XX)' then
        raise;
    end if;
    get stacked diagnostics detail = pg_exception_detail;
    started_task := null;
    started_execution := null;
    error := left(concat_ws(': ', sqlerrm, nullif(detail, '')), 10000);
end
$$;
