/** @file The exact run in a process of its own: cases as JSON on stdin, hashes as JSON on stdout. */
import { text } from 'node:stream/consumers';
import type { ExactCase } from './exactRun.js';
import { trainExactly } from './exactRun.js';

const cases = JSON.parse(await text(process.stdin)) as readonly ExactCase[];
process.stdout.write(`${JSON.stringify(await trainExactly(cases))}\n`);
