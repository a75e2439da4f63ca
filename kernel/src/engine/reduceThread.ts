/** @file Entry of the reduce thread: adds partial sums and applies updates in shared memory, in the order it is told. */
import { parentPort, workerData } from 'node:worker_threads';
import type { ReduceCommand, ReduceReply, ReduceThreadData } from './reducer.js';
import { runCommand } from './reducer.js';
import { loadKernels } from './wasm/kernels.js';

const { memory, kernelsFile } = workerData as ReduceThreadData;
const kernels = loadKernels(memory, kernelsFile);

parentPort?.on('message', (command: ReduceCommand) => {
  const reply: ReduceReply = { id: command.id, result: runCommand(kernels, memory, command) };
  parentPort?.postMessage(reply);
});
