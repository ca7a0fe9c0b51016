-- Documents merged into the context of a workflow: the merge in C, and against its twin in PL/pgSQL.
\set SHOW_CONTEXT never
set client_min_messages = warning;
create extension if not exists cloaca;
select setseed(0.5) \g /dev/null

select documents, cloaca.merge(documents::jsonb[]) as merged from (values
    ('{}'::text[]), (array[null]), (array['1']), (array[null, '{"a": 1}', null]),
    -- Objects, deeply; the later one of anything else.
    (array['{"a": 1, "b": {"c": 1, "d": [1]}}', '{"b": {"c": 2, "e": null}}', '{"b": {"d": [2, 1]}, "f": "x"}']),
    (array['{"a": null}', '{"a": 0}']), (array['{"a": 0}', '{"a": null}']), (array['{"a": 1.10}', '{"b": 1e3}']),
    -- Arrays, without repeating; what the first one repeats stays.
    (array['{"a": [1, 1, 2]}', '{"a": [2, 3, 3]}', '{"a": [3.0, "3", null, null, true, {"x": 1}, [1]]}', '{"a": [{"x": 1.0}, [1], [1, 1], {}]}']),
    (array['[]', '[]']), (array['{}', '{}']), (array['[1]', '[]', '[1, 2]']),
    -- What is of another kind replaces all before it.
    (array['{"a": [1]}', '{"a": {"k": 1}}', '{"a": [2]}', '{"a": [2, 3]}']), (array['{"a": {"k": 1}}', '{"a": 7}', '{"a": {"l": 1}}']), (array['{"a": 1}', '"x"']),
    (array['5', '{"a": 1}', '{"b": 2}'])) as v (documents);

-- A thousand documents, and a deep one.
select jsonb_array_length(m -> 'all') as elements, (select count(*) from jsonb_object_keys(m)) as members
from cloaca.merge(array(select jsonb_build_object('k' || n, n, 'all', jsonb_build_array(n % 100)) from generate_series(1, 1000) n)) m;
select cloaca.merge(array[repeat('{"a":', 500) || '1' || repeat('}', 500), repeat('{"a":', 500) || '{"b": 2}' || repeat('}', 500)]::jsonb[])
    = (repeat('{"a":', 500) || '{"b": 2}' || repeat('}', 500))::jsonb as is_deep;

-- By chance, and often alike.
create function pg_temp.document(depth integer) returns jsonb language plpgsql as $$
declare
    chance constant double precision := random();
begin
    if depth = 0 or chance < 0.25 then
        return (array['1', '2', '1.0', '"a"', '"b"', 'null', 'true', '3.50']::jsonb[])[1 + floor(random() * 8)];
    elsif chance < 0.6 then
        return (select coalesce(jsonb_agg(pg_temp.document(depth - 1)), '[]') from generate_series(1, (random() * 4)::integer));
    end if;
    return (select coalesce(jsonb_object_agg(chr(97 + (random() * 4)::integer), pg_temp.document(depth - 1)), '{}') from generate_series(1, (random() * 4)::integer));
end
$$;
create temp table compared as
    select documents, cloaca.merge(documents) as c, cloaca.merge_sql(documents) as sql
    from (select array(select pg_temp.document(3) from generate_series(1, 2 + n % 4)) as documents from generate_series(1, 3000) n) x;
select count(*), count(*) filter (where jsonb_typeof(c) = 'object' and c <> documents[cardinality(documents)]) > 100 as have_merged from compared;
select * from compared where c is distinct from sql limit 5;
