/** @file The process that probeProcess.ts starts: `node probeMain.js <backend> <threads> [measure]`, an answer in JSON. */
import { writeSync } from 'node:fs';
import type { BackendName } from '@ravenlab/protocol';
import { prepareEnvironment } from '../compute/backendTable.js';
import { probeHere } from './probe.js';

const [name, threads, measure] = process.argv.slice(2);
const backend = name as BackendName;
prepareEnvironment(backend);
const answer = await probeHere(backend, {
  threads: Number(threads),
  isMeasured: measure === 'measure',
});
writeSync(1, `\n${JSON.stringify(answer)}\n`);
// Dawn and others keep a process alive that is done.
process.exit(0);
