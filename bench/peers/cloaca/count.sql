select count(*) from cloaca_default.cloaca_task
