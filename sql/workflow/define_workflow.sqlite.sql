-- @function define_workflow(name text, definition jsonb) -> workflow bigint, version text, created boolean
--
-- The scratch row carries the version and, where it is known already, its id to the statements after it.

-- @raise invalid_name
select 'The workflow name must have 1 to 200 bytes and no control characters.' as detail
where :name is null or length(cast(:name as blob)) not between 1 and 200 or :name glob '*[' || char(1, 45, 31, 127, 45, 159) || ']*';

-- @raise invalid_argument
select 'The definition must have at most 64 MiB.' as detail where length(cast(:definition as blob)) > 67108864;

-- @raise invalid_definition
select detail from (select cloaca_definition_problem(:definition) as detail) where detail is not null;

delete from main.cloaca_scratch;

insert into main.cloaca_scratch (task, outcome)
select (select id from main.cloaca_workflow where name = :name and version = content.version), content.version
from (select substr(cloaca_sha256(:definition), 1, 16) as version) content;

update main.cloaca_workflow set is_current = 0
where name = :name and is_current and version <> (select outcome from main.cloaca_scratch);

update main.cloaca_workflow set is_current = 1 where id = (select task from main.cloaca_scratch) and not is_current;

-- @if
select 1 from main.cloaca_scratch where task is null;

insert into main.cloaca_workflow (name, version, is_current, defined_at, tasks, timeout, retention, definition)
select :name, outcome, 1, :now, json_array_length(:definition, '$.tasks'),
    cast(round((:definition ->> '$.timeout') * 1000000.0) as integer),
    cast(round(coalesce(:definition ->> '$.retention', 2592000) * 1000000.0) as integer), :definition
from main.cloaca_scratch;

insert into main.cloaca_scratch (lease_id) values (last_insert_rowid());

insert into main.cloaca_workflow_task (workflow, n, rank, priority, max_attempts, name, handler, queue, dependencies, dependents, timeout,
    retry, trigger, input)
with item (n, task) as materialized (
    select key + 1, value from json_each(:definition, '$.tasks')
), edge (n, dependencies, dependents, rank) as materialized (
    select key + 1, value -> 'dependencies', value -> 'dependents', value ->> 'rank' from json_each(cloaca_definition_edges(:definition))
)
select (select lease_id from main.cloaca_scratch where lease_id is not null), i.n, e.rank,
    cast(coalesce(i.task ->> 'priority', 0) as integer), cast(coalesce(i.task ->> 'max_attempts', 3) as integer), i.task ->> 'name',
    coalesce(i.task ->> 'handler', i.task ->> 'name'), coalesce(i.task ->> 'queue', :definition ->> '$.queue', 'default'),
    e.dependencies, e.dependents, cast(round((i.task ->> 'timeout') * 1000000.0) as integer),
    i.task -> 'retry', i.task -> 'trigger', i.task -> 'input'
from item i join edge e on e.n = i.n
order by i.n;
-- @end

select coalesce(max(lease_id), max(task)) as workflow, max(outcome) as version, max(lease_id) is not null as created
from main.cloaca_scratch;
