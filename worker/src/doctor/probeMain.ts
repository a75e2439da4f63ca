/** @file The process that probeProcess.ts starts: `node probeMain.js <backend> <threads> [measure]`, an answer in JSON. */
import { writeSync } from 'node:fs';
import type { BackendName } from '@ravenlab/protocol';
import { probeHere } from './probe.js';

const [name, threads, measure] = process.argv.slice(2);
const answer = await probeHere(name as BackendName, {
  threads: Number(threads),
  isMeasured: measure === 'measure',
});
writeSync(1, `\n${JSON.stringify(answer)}\n`);
// Dawn and others keep a process alive that is done.
process.exit(0);
