select count(*) from minimal.task
