-- @part refuse_finished
--
-- Raises when the execution has ended.

-- @raise execution_finished
select 'Execution ' || id || ' is ' || state || '.' as detail
from main.cloaca_execution where id = :execution and finished_at is not null;
