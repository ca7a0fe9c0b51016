-- @function cancel_execution(execution bigint, reason text = null) -> state text
--
-- Tasks that run are only marked.

-- @include workflow/refuse_execution

-- @raise execution_finished
select 'Execution ' || id || ' is ' || state || '.' as detail
from main.cloaca_execution where id = :execution and finished_at is not null and state <> 'cancelled';

insert into main.cloaca_closing (execution, state, error)
select id, 'cancelled', substr(:reason, 1, 10000) from main.cloaca_execution where id = :execution and finished_at is null;

-- @include workflow/close_executions

select 'cancelled' as state;
