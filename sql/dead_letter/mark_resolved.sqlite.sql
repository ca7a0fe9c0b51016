-- @function mark_resolved(dead_letter bigint, resolution text = null) -> void
--
-- Its task cannot be retried any more.

-- @raise unknown_dead_letter
select 'Dead letter ' || coalesce(:dead_letter, 'null')
    || case d.status when 'resolved' then ' is already resolved.' else ' does not exist.' end as detail
from (select :dead_letter as id) asked left join main.cloaca_dead_letter d on d.id = asked.id
where d.status is not 'failed';

update main.cloaca_dead_letter set status = 'resolved', resolution = :resolution, resolved_at = :now where id = :dead_letter;
