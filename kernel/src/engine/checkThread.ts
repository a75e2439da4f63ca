/** @file Entry of the thread that checks large results, one after another. */
import { parentPort } from 'node:worker_threads';
import { checkUnit } from '../core/verify/checkUnit.js';
import { secretRandom } from './secretRandom.js';
import type { CheckThreadReply, CheckThreadRequest } from './unitChecks.js';

const random = secretRandom();

parentPort?.on('message', ({ id, check }: CheckThreadRequest) => {
  const reply: CheckThreadReply = { id, verdict: checkUnit(check, random) };
  parentPort?.postMessage(reply);
});
