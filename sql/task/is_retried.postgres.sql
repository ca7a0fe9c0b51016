-- @helper is_retried
--
-- Whether a task that failed with this error is to be tried again, by the condition of its retry policy.
create function cloaca.is_retried(condition jsonb, error text) returns boolean
language sql immutable
return case
    when condition = '"never"' then false
    when condition = '"transient"' then lower(error collate "C")
        ~ 'timeout|timed out|connection|network|temporar|unavailable|try again'
    when jsonb_typeof(condition) = 'object' then lower(error collate "C") like
        '%' || replace(replace(replace(replace(lower(condition ->> 'pattern' collate "C"),
            '!', '!!'), '%', '!%'), '_', '!_'), '*', '%') || '%' escape '!'
    else true
end;
