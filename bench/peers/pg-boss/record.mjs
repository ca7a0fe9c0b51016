// Lets pg-boss make its schema and a queue, send jobs, fetch and complete them, singly and by batches of 10 and 100, and writes down
// the statements. It keeps completed jobs in its table for some days; so it does here.
import { load, sentDuring, pick, written, script, file } from '../../lib/record.mjs';

const { PgBoss } = await load('pg-boss');
const boss = new PgBoss({ connectionString: 'postgresql:///', supervise: false, schedule: false });
boss.on('error', (error) => { throw error; });
await boss.start();
await boss.createQueue('bench');

const one = pick(await sentDuring(() => boss.send('bench', { n: 1 })), /insert into/i);
const many = pick(await sentDuring(() => boss.insert('bench', Array.from({ length: 101 }, () => ({ data: { n: 1 } })))), /insert into/i);
const jobs = (count) => `(select json_agg(json_build_object('data', json_build_object('n', 1))) from generate_series(1, ${count}))`;
script('enqueue.one.sql', { enqueue: written(one) });
script('enqueue.many.sql', { enqueue: written(many, { 1: jobs('$batch::integer') }) });
file('fill.sql', `${written(many, { 1: jobs(':tasks') })};\n`);

for (const batch of [1, 10, 100]) {
    let jobs;
    const claim = pick(await sentDuring(async () => { jobs = await boss.fetch('bench', { batchSize: batch }); }), /skip locked/i);
    const ids = jobs.map((job) => job.id);
    const complete = pick(await sentDuring(() => boss.complete('bench', ids)), /update/i);
    script(`lifecycle.${batch}.sql`, { claim: written(claim), complete: written(complete, { 2: '$id[]' }) });
}
await boss.stop();
