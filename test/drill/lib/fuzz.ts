/** @file Fuzzed messages through the real codec and the real hub, in this process: what gets through, what is refused, what it costs. */
import type { EngineId, WorkerToEngine } from '@ravenlab/protocol';
import { encodeWorkerMessage } from '@ravenlab/protocol';
import { createCluster } from '../../../kernel/src/core/cluster/state.js';
import { step } from '../../../kernel/src/core/cluster/machine.js';
import { NO_DEALS } from '../../../kernel/src/engine/dealDesk.js';
import { Resources } from '../../../kernel/src/engine/resources.js';
import type { Peer } from '../../../kernel/src/engine/transport.js';
import { WorkerHub } from '../../../kernel/src/engine/workerHub.js';
import type { Prng } from '../../sim/prng.js';

const hex = (digit: string): string => digit.repeat(64);
const SIGNATURE = { r: `0x${hex('1')}`, vs: `0x${hex('2')}` };

/** Well-formed messages of every kind: what is fuzzed is close to what is believed. */
function templates(): Uint8Array[][] {
  const hello = {
    ...{ kind: 'hello', workerId: hex('a'), token: 't', incarnation: 1, name: 'w', held: null },
    payee: null,
    capabilities: {
      ...{ backend: 'onnx-cpu', device: 'a drill', threads: 1, memoryBytes: 2 ** 30 },
      ...{ gflops: 1, dtypes: ['float32'], bitClass: 'drill' },
    },
  };
  const outputs = [[new Uint8Array(8)]];
  const messages: unknown[] = [
    hello,
    { kind: 'need', programs: [1], states: [{ stateId: 1, version: 1 }], blocks: [] },
    {
      kind: 'done',
      ...{ execution: 1, outputBytes: [8] },
      units: [
        { lease: 1, status: 'ok', computeUs: 5, outputs, digest: null },
        { lease: 2, status: 'nonFinite', computeUs: 5, output: 0 },
      ],
    },
    {
      kind: 'result',
      chunks: [{ lease: 1, output: 0, offsetBytes: 0, totalBytes: 8, bytes: [new Uint8Array(8)] }],
    },
    { kind: 'credit', consumedBytes: 0 },
    { kind: 'pong', seq: 1, sentMs: 1, queuedUnits: 0, busyMs: 0, heldBytes: 0 },
    { kind: 'identify', signature: SIGNATURE, clientKey: 'HelloWorld'.repeat(4) },
    { kind: 'accept', job: `0x${hex('3')}` },
    { kind: 'voucherAck', job: `0x${hex('3')}`, seq: 4 },
    { kind: 'presented', voucher: null },
    {
      kind: 'error',
      error: { code: 'internal', message: 'no', fault: 'local', retryable: false },
    },
    { kind: 'bye', reason: 'leave', message: '' },
  ];
  return messages.map((message) => encodeWorkerMessage(message as WorkerToEngine));
}

const EXTREMES = [-1, 0, 1, 2 ** 31 - 1, -(2 ** 31), 65_536, 4_097] as const;

/** A copy with a few mistakes. */
function mangled(prng: Prng, frames: readonly Uint8Array[]): Uint8Array[] {
  const copies = frames.map((frame) => frame.slice());
  const mistakes = prng.between(0, 4);
  for (let i = 0; i < mistakes; i++) {
    const at = prng.between(0, copies.length - 1);
    const frame = copies[at] ?? new Uint8Array(0);
    switch (prng.between(0, 5)) {
      case 0:
      case 1:
        if (frame.length > 0) frame[prng.between(0, frame.length - 1)] = prng.between(0, 255);
        break;
      case 2: {
        const words = new Int32Array(frame.buffer, 0, frame.length >> 2);
        if (words.length > 0) words[prng.between(0, words.length - 1)] = prng.pick(EXTREMES);
        break;
      }
      case 3:
        copies[at] = frame.slice(0, prng.between(0, frame.length));
        break;
      case 4:
        copies.splice(at, 1);
        break;
      default:
        copies.push(new Uint8Array(prng.between(0, 64)));
    }
    if (copies.length === 0) copies.push(new Uint8Array(0));
  }
  return copies;
}

export interface FuzzReport {
  readonly frames: number;
  readonly messages: number;
  readonly refused: number;
  readonly connections: number;
  /** Errors that were no refusal. */
  readonly escaped: number;
  /** The hub's tables at the end, all connections closed. */
  readonly left: number;
}

/** Until `frames` frames have been said. */
export function fuzzHub(prng: Prng, frames: number): FuzzReport {
  const cluster = createCluster();
  let now = 0;
  let escaped = 0;
  const hub = new WorkerHub({
    ...{ engineId: 'e'.repeat(16) as EngineId, price: () => 'free', cluster, desk: NO_DEALS },
    ...{ now: () => now, wallMs: () => now, resources: new Resources(), serverKey: () => '' },
    feed: (event) => step(cluster, event, ++now, now),
    ...{ admits: () => ({ invite: 'drill' }), trusts: () => false },
    collectorOf: () => null,
    findResource: () => undefined,
    onMaking: () => undefined,
    onUnmade: () => undefined,
    onJoined: () => undefined,
    onBannedWallet: () => undefined,
    onLeft: () => undefined,
    log: () => undefined,
    onFatal: () => escaped++,
  });
  const known = templates();
  let peers = 0;
  let said = 0;
  let messages = 0;
  const open = (): Peer & { isCut: boolean } => {
    const peer = {
      ...{ key: `remote:${String(++peers)}`, origin: 'remote' as const, publicKey: hex('a') },
      isCut: false,
      send: () => true,
      admit: () => undefined,
      cut: () => {
        peer.isCut = true;
        return true;
      },
    };
    hub.onOpen(peer);
    return peer;
  };
  let peer = open();
  while (said < frames) {
    if (peer.isCut || prng.chance(5)) {
      if (!peer.isCut) hub.onClose(peer);
      peer = open();
      // Most of what is said afterwards is said by a member.
      if (prng.chance(800))
        hub.onMessage(
          peer,
          (known[0] ?? []).map((frame) => frame.slice()),
        );
    }
    const message = mangled(prng, prng.pick(known));
    said += message.length;
    messages++;
    try {
      hub.onMessage(peer, message);
    } catch {
      escaped++;
    }
  }
  hub.onClose(peer);
  const tables = hub as unknown as Record<'strangers' | 'banned' | 'byPeer', { size: number }>;
  const left = tables.strangers.size + tables.banned.size + tables.byPeer.size;
  const { badMessages: refused } = hub;
  hub.shutdown();
  return { frames: said, messages, refused, connections: peers, escaped, left };
}
