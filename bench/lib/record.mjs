// Runs a library that uses the driver "pg" and keeps every statement that it sends. With these its peer's set-up writes the scripts
// for bench/drive: nothing of the library is copied here, and what is measured is what this version of it really sends.
import { createRequire } from 'node:module';
import { writeFileSync } from 'node:fs';

const require = createRequire(`${process.env.BENCH_BUILD}/node_modules/`);
const out = process.env.BENCH_OUT;

// import of a package that lives in build/bench
export const load = (name) => import(require.resolve(name));

const sent = [];
const pg = (await load('pg')).default;
const query = pg.Client.prototype.query;
pg.Client.prototype.query = function (...args) {
    const [first, second] = args;
    if (typeof first === 'string') sent.push({ text: first, values: Array.isArray(second) ? second : [] });
    else if (first?.text) sent.push({ text: first.text, values: first.values ?? [] });
    return query.apply(this, args);
};

// What was sent while the function ran.
export async function sentDuring(run) {
    const before = sent.length;
    await run();
    return sent.slice(before);
}

// The first of these statements that matches all the patterns.
export function pick(statements, ...patterns) {
    const found = statements.find(({ text }) => patterns.every((pattern) => pattern.test(text)));
    if (!found) throw new Error(`no statement matches ${patterns.join(' ')}:\n${statements.map(({ text }) => text).join('\n')}`);
    return found;
}

function literal(value) {
    if (value === null || value === undefined) return 'null';
    if (Array.isArray(value)) return `'${`{${value.map((item) => JSON.stringify(String(item))).join(',')}}`.replaceAll("'", "''")}'`;
    const text = value instanceof Date ? value.toISOString() : typeof value === 'object' ? JSON.stringify(value) : String(value);
    return `'${text.replaceAll("'", "''")}'`;
}

// The statement with its values in place: those given here by number, else those that were sent.
export const written = ({ text, values }, replace = {}) =>
    text.trim().replace(/;$/, '').replace(/\$(\d+)/g, (whole, number) => replace[number] ?? literal(values[number - 1]));

// A script for bench/drive.
export const script = (name, steps) =>
    writeFileSync(`${out}/${name}`, Object.entries(steps).map(([step, sql]) => `-- step ${step}\n${sql}\n`).join(''));

export const file = (name, text) => writeFileSync(`${out}/${name}`, text);
