/**
 * @file Entry of the gate thread: a Gate between its port and the engine's loop. Reads few modules: after a crash of the engine, workers
 * wait for it.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Gate } from './gate.js';
import type { FromGate, GateThreadData, ToGate } from './gateMessages.js';

const { host, port } = workerData as GateThreadData;
const gate = new Gate({
  ...{ host, port },
  now: () => performance.now(),
  say: (message: FromGate) => parentPort?.postMessage(message),
});
parentPort?.on('message', (message: ToGate) => {
  gate.take(message);
});
gate.listen();
