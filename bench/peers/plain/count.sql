select count(*) from plain.task
