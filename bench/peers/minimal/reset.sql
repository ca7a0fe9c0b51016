truncate minimal.task;
