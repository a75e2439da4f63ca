/** @file Entry of the thread that checks large results, and computes disputed ones anew, one after another. */
import { parentPort } from 'node:worker_threads';
import { secretRandom } from './secretRandom.js';
import type { CheckThreadReply, CheckThreadRequest } from './unitChecks.js';
import { carryOut } from './unitChecks.js';

const random = secretRandom();

parentPort?.on('message', ({ id, job }: CheckThreadRequest) => {
  const reply: CheckThreadReply = { id, result: carryOut(job, random) };
  parentPort?.postMessage(reply);
});
