-- @part refuse_execution
--
-- Raises that there is no such execution.

-- @raise unknown_execution
select 'There is no execution ' || coalesce(:execution, 'null') || '.' as detail
where not exists (select 1 from main.cloaca_execution where id = :execution);
