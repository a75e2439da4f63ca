/**
 * @file Child of a test: `node replaceThread.mjs thread|process` hangs what computes with a long unit, has it replaced, and lets the
 * new one work. Prints what happened.
 */
import { ComputeClient } from '../../../worker/dist/compute/computeClient.js';
import { encodeProgram } from '../../../protocol/dist/index.js';

const SIDE = 1024;
const DEPTH = 40;
const type = { dtype: 'float32', shape: [SIDE, SIDE] };
const params = { transposeA: false, transposeB: false };
const product = (i) => ({ op: 'matMul', inputs: [i, 0], params, type });
const long = {
  inputs: [type],
  nodes: Array.from({ length: DEPTH }, (_, i) => product(i)),
  outputs: [DEPTH],
};
const small = { dtype: 'float32', shape: [2] };
const short = {
  inputs: [small],
  nodes: [{ op: 'neg', inputs: [0], params: {}, type: small }],
  outputs: [1],
};

const happened = [];
let answered;
const answer = new Promise((resolve) => (answered = resolve));
let crash;
const crashed = new Promise((resolve) => (crash = resolve));
const client = new ComputeClient(
  {
    ...{ backend: 'onnx-cpu', threads: 1, gflops: 1, instructions: '', digests: false },
    ...{ isolation: process.argv[2], memoryBytes: 2 ** 30 },
  },
  {
    results: ({ batch, outcomes }) => {
      happened.push({ batch, status: outcomes[0].status });
      answered();
    },
    crashed: (error) => {
      happened.push({ crashed: error.message, retryable: error.retryable });
      crash();
    },
    hopeless: (error) => happened.push({ hopeless: error.message }),
  },
);
const define = (hash, program) =>
  client.post({ kind: 'program', hash, bytes: encodeProgram(program) });
const run = (batch, hash) =>
  client.post({
    kind: 'batch',
    batch,
    execution: 1,
    hash,
    shards: Int32Array.of(0),
    inputs: [{ kind: 'state', key: 's' }],
    merge: null,
  });

await client.start();
define('long', long);
client.post({ kind: 'tensor', key: 's', bytes: new Uint8Array(4 * SIDE * SIDE) });
run(1, 'long');
while (client.busyMs < 50) await new Promise((resolve) => setTimeout(resolve, 5));
client.watch(1_000_000);
client.watch(20);
await crashed;
define('short', short);
client.post({ kind: 'tensor', key: 's', bytes: new Uint8Array(8) });
run(2, 'short');
await answer;
await client.close();
console.log(JSON.stringify(happened));
