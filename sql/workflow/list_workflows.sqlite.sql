-- @function list_workflows(after text = null, max integer = 100) -> name text, version text, tasks integer, defined_at timestamptz
--
-- In the order of the bytes of the names.

-- @raise invalid_argument
select detail from (select case
    when :max is null or :max not between 1 and 10000 then 'The max must be from 1 to 10000.'
    end as detail)
where detail is not null;

select name, version, tasks, defined_at
from main.cloaca_workflow
where is_current and (:after is null or name > :after)
order by name limit :max;
