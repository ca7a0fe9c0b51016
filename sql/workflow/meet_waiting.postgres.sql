-- @helper meet_waiting
--
-- Keeps an execution from everybody else who sends a signal to it or waits for one, locks the tasks that wait for this signal, and tells the
-- state of the execution; null when there is none.
--
-- Somebody may have such a task in hand, to cancel it, say, and may yet roll back, after which nobody else would wake it. Who has it
-- may need the execution before he ends: so that is let go of, and nothing is held while he is waited for.
create function cloaca.meet_waiting(tenant text, execution bigint, signal text) returns text
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
declare
    state text;
    has_execution boolean;
begin
    loop
        begin
            has_execution := false;
            state := cloaca.touch_execution(tenant, meet_waiting.execution);
            has_execution := true;
            perform from cloaca.waiting_tasks(tenant, meet_waiting.execution, meet_waiting.signal, 'nowait');
            return state;
        exception when lock_not_available then
            if not has_execution then
                raise;
            end if;
        end;
        begin
            perform from cloaca.waiting_tasks(tenant, meet_waiting.execution, meet_waiting.signal);
            raise triggered_action_exception;
        exception when triggered_action_exception then
            null;
        end;
    end loop;
end
$$;
