-- @function delete_resolved(queue text = null, older_than interval = '0', max integer = 1000) -> deleted bigint
--
-- The oldest first, a bounded number.

-- @raise invalid_argument
select detail from (select case
    when :older_than not between 0 and 315576000000000 then 'The older_than must be from 0 to 10 years.'
    when :max is null or :max not between 1 and 10000 then 'The max must be from 1 to 10000.'
    end as detail)
where detail is not null;

delete from main.cloaca_dead_letter where id in (
    select id from main.cloaca_dead_letter
    where (:queue is null or queue = :queue) and status = 'resolved' and resolved_at <= :now - coalesce(:older_than, 0)
    order by id limit :max);

select changes() as deleted;
