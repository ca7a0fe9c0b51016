select coalesce(sum(pgq.seq_getval(q.queue_event_seq) - t.tick_event_seq), 0)
from pgq.queue q join pgq.subscription s on s.sub_queue = q.queue_id
    join pgq.tick t on t.tick_queue = q.queue_id and t.tick_id = s.sub_last_tick
