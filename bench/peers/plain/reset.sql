truncate plain.task;
