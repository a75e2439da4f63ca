/**
 * @file A worker that lies: the shipped program, whose results are bent where they leave the compute thread. `LIE` names the
 * way; nothing of it is in what is shipped.
 */
import { Worker } from 'node:worker_threads';

const floatsOf = ({ buffer, byteOffset, byteLength }) =>
  new Float32Array(buffer, byteOffset, byteLength >> 2);

/** What was sent first, and last, by size: as a copy. */
const first = new Map();
const last = new Map();
const keyOf = (outputs) => outputs.map(({ byteLength }) => byteLength).join(' ');
const copyOf = (outputs) => outputs.map((output) => floatsOf(output).slice());

function replay(memory, outputs) {
  const old = memory.get(keyOf(outputs));
  if (old === undefined) return;
  outputs.forEach((output, index) => floatsOf(output).set(old[index]));
}

const each = (change) => (outputs) => {
  for (const output of outputs) {
    const floats = floatsOf(output);
    for (let at = 0; at < floats.length; at++) floats[at] = change(floats[at], at);
  }
};

let seed = 1;
function chance(share) {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return seed < share * 2 ** 32;
}

const LIES = {
  zeros: each(() => 0),
  /** The results of the unit before. */
  stale: (outputs) => {
    const honest = copyOf(outputs);
    replay(last, outputs);
    last.set(keyOf(outputs), honest);
  },
  signFlip: each((value) => -value),
  scaled: each((value) => value * 1.01),
  /** One result for everything. */
  lazyCopy: (outputs) => {
    replay(first, outputs);
    if (!first.has(keyOf(outputs))) first.set(keyOf(outputs), copyOf(outputs));
  },
  /** One value in a hundred, and at least one. */
  sparse: each((value, at) => (at === 0 || chance(0.01) ? value + 0.05 : value)),
  /** Honest for a while: it has a good name when it turns. */
  sleeper: (outputs) => {
    answered++;
    if (answered > Number(process.env.TURNS_AT ?? 40)) LIES.scaled(outputs);
  },
};
let answered = 0;

const lie = LIES[process.env.LIE ?? ''];
if (lie === undefined) throw new Error(`no lie is called '${process.env.LIE}'`);

const { on } = Worker.prototype;
Worker.prototype.on = function listen(event, listener) {
  if (event !== 'message') return on.call(this, event, listener);
  return on.call(this, event, (message) => {
    if (message.kind === 'results') {
      for (const outcome of message.outcomes) if (outcome.status === 'ok') lie(outcome.outputs);
    }
    listener(message);
  });
};
await import(new URL('../../worker/dist/cli.js', import.meta.url).href);
