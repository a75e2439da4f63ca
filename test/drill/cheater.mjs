/**
 * @file A worker that lies: the shipped program, whose results are bent where the network thread gets them. `LIE` names the
 * way; nothing of it is in what is shipped.
 */
import { createHash } from 'node:crypto';
import { ComputeClient } from '../../worker/dist/compute/computeClient.js';

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

const sha256 = (outputs) => {
  const hash = createHash('sha256');
  for (const { buffer, byteOffset, byteLength } of outputs) {
    hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return `0x${hash.digest('hex')}`;
};

/** In copies: what comes through the pipe need not lie at a multiple of four bytes. It commits to what it sends. */
function bent(outcome) {
  if (outcome.status !== 'ok') return outcome;
  const outputs = outcome.outputs.map(({ buffer, byteOffset, byteLength, ...rest }) => {
    const copy = buffer.slice(byteOffset, byteOffset + byteLength);
    return { ...rest, buffer: copy, byteOffset: 0, byteLength };
  });
  lie(outputs);
  const digest = outcome.digest === undefined ? {} : { digest: sha256(outputs) };
  return { ...outcome, outputs, ...digest };
}

const { start } = ComputeClient.prototype;
ComputeClient.prototype.start = function startLying(...args) {
  const { events } = this;
  const results = (message) => events.results({ ...message, outcomes: message.outcomes.map(bent) });
  this.events = Object.assign(Object.create(events), { results });
  return start.apply(this, args);
};
await import(new URL('../../worker/dist/cli.js', import.meta.url).href);
