truncate cloaca_default.cloaca_task;
