// Lets graphile-worker make its schema, add jobs and work them off, singly and by batches of 10 and 100 (localQueue with
// completeJobBatchDelay, as its documentation on performance says), and writes down the statements.
import { load, sentDuring, pick, written, script, file } from '../../lib/record.mjs';

const { run, makeWorkerUtils, Logger } = await load('graphile-worker');
const quiet = { logger: new Logger(() => () => {}), connectionString: 'postgresql:///' };
const utils = await makeWorkerUtils(quiet);
await utils.migrate();

const one = await sentDuring(() => utils.addJob('bench', { n: 1 }));
const many = await sentDuring(() => utils.addJobs(Array.from({ length: 100 }, () => ({ identifier: 'bench', payload: { n: 1 } }))));
script('enqueue.one.sql', { enqueue: written(pick(one, /add_job/)) });
const addJobs = pick(many, /add_jobs/);
const jobs = (count) => `(select json_agg(json_build_object('identifier', 'bench', 'payload', json_build_object('n', 1)))
    from generate_series(1, ${count}))`;
script('enqueue.many.sql', { enqueue: written(addJobs, { 1: jobs('$batch::integer') }) });
file('fill.sql', `${written(addJobs, { 1: jobs(':tasks') }).replace('select *', 'select count(*)')};\n`);

for (const batch of [1, 10, 100]) {
    let left = 101;
    const statements = await sentDuring(async () => {
        const preset = batch === 1 ? {} : { worker: { localQueue: { size: batch }, completeJobBatchDelay: 100, concurrentJobs: batch } };
        const runner = await run({ ...quiet, preset, taskList: { bench: async () => { left -= 1; } } });
        while (left > 0) await new Promise((resolve) => setTimeout(resolve, 20));
        await runner.stop();
    });
    await utils.addJobs(Array.from({ length: 101 }, () => ({ identifier: 'bench', payload: { n: 1 } })));
    const claim = written(pick(statements, /_private_jobs/, /skip\s+locked/, new RegExp(`limit ${batch}\\b`)), { 1: "'worker-1'" });
    const complete = pick(statements, /^\s*delete from/, batch === 1 ? /id = \$1/ : /unnest/);
    script(`lifecycle.${batch}.sql`, { claim, complete: written(complete, { 1: batch === 1 ? '$id' : '$id[]' }) });
}
await utils.release();
