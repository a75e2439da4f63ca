/** @file The hub where workers' answers come in: a DONE that answers a lease twice costs its sender the connection. */
import type { DoneUnit, EngineId, ExecutionId, LeaseId, WorkerId } from '@ravenlab/protocol';
import { decodeEngineMessage, encodeWorkerMessage } from '@ravenlab/protocol';
import type { ClusterEvent } from '../../../kernel/src/core/cluster/events.js';
import { createCluster } from '../../../kernel/src/core/cluster/state.js';
import { step } from '../../../kernel/src/core/cluster/machine.js';
import type { Collector } from '../../../kernel/src/engine/collector.js';
import { NO_DEALS } from '../../../kernel/src/engine/dealDesk.js';
import { Resources } from '../../../kernel/src/engine/resources.js';
import type { Peer } from '../../../kernel/src/engine/transport.js';
import { WorkerHub } from '../../../kernel/src/engine/workerHub.js';
import { spec } from '../core/cluster/lib.js';

const ID = 'ab'.repeat(32) as WorkerId;
const OUTPUT_BYTES = 4;

/** A hub with one worker that was granted units; what it told the worker last. */
function joined() {
  const cluster = createCluster();
  const results: number[] = [];
  let events = 0;
  const feed = (event: ClusterEvent): void => {
    if (event.kind === 'done') results.push(event.results.length);
    step(cluster, event, ++events, 1000);
  };
  const collector = {
    expectedBytes: () => [OUTPUT_BYTES],
    isStaged: () => false,
    discard: () => undefined,
  };
  const fail = (error: Error): void => {
    throw error;
  };
  const hub = new WorkerHub({
    ...{ engineId: 'e'.repeat(16) as EngineId, price: () => 'free', cluster, feed },
    ...{ now: () => 1000, wallMs: () => 1000, resources: new Resources() },
    collectorOf: () => collector as unknown as Collector,
    admits: () => ({ invite: null }),
    trusts: () => true,
    desk: NO_DEALS,
    serverKey: () => '',
    findResource: () => undefined,
    ...{ onJoined: () => undefined, onBannedWallet: () => undefined },
    onMaking: () => undefined,
    onUnmade: () => undefined,
    onLeft: () => undefined,
    log: () => undefined,
    onFatal: fail,
  });
  const said: string[] = [];
  const peer: Peer = {
    key: 'local:1',
    origin: 'local',
    ...{ publicKey: null, admit: () => undefined, cut: () => false },
    send: (frames) => {
      const decoded = decodeEngineMessage([...frames]);
      if (!decoded.ok) throw decoded.error;
      const { value } = decoded;
      said.push(value.kind === 'bye' ? `${value.reason}: ${value.message}` : value.kind);
      return true;
    },
  };
  hub.onOpen(peer);
  hub.onMessage(
    peer,
    encodeWorkerMessage({
      ...{
        kind: 'hello',
        workerId: ID,
        token: 't',
        incarnation: 1,
        name: 'w',
        held: null,
        payee: null,
      },
      capabilities: {
        ...{ backend: 'onnx-cpu', device: 'a test', threads: 1, memoryBytes: 2 ** 30 },
        ...{ gflops: 1, dtypes: ['float32'], bitClass: 'test' },
      },
    }),
  );
  feed({ kind: 'submitted', spec: spec({ units: 8 }) });
  // Its first answer proves it; then it may have more than one.
  const done = (answered: readonly LeaseId[], sizeBytes = OUTPUT_BYTES): void => {
    const outputs = [[new Uint8Array(sizeBytes)]];
    const units = answered.map((lease): DoneUnit => ({
      lease,
      status: 'ok',
      computeUs: 5,
      outputs,
      digest: null,
    }));
    const execution = 1 as ExecutionId;
    const outputBytes = [sizeBytes];
    hub.onMessage(peer, encodeWorkerMessage({ kind: 'done', execution, outputBytes, units }));
  };
  const leases = (): LeaseId[] => [...cluster.leases.keys()];
  done(leases());
  return { hub, done, leases, said, results, cluster };
}

test('a message with an answer for each of several leases is taken whole', () => {
  const { hub, done, leases, results, said } = joined();
  const granted = leases();
  expect(granted.length).toBeGreaterThan(1);
  done(granted);
  expect(results).toEqual([1, granted.length]);
  expect(hub.badMessages).toBe(0);
  expect(said).toEqual(['welcome']);
});

test('a message that answers a lease twice, however far apart, is refused and takes nothing', () => {
  const { hub, done, leases, results, said } = joined();
  const granted = leases();
  done([...granted, ...granted.slice(0, 1)]);
  expect(results).toEqual([1]);
  expect(hub.badMessages).toBe(1);
  expect(said).toEqual(['welcome', `protocol: lease ${String(granted[0])} is answered twice`]);
});

test('a result of another size than its program makes is refused', () => {
  const { hub, done, leases, results, said } = joined();
  done(leases().slice(0, 1), 2 * OUTPUT_BYTES);
  expect(results).toEqual([1]);
  expect(hub.badMessages).toBe(1);
  expect(said[1]).toMatch(/^protocol: result of lease \d+ has other sizes .*\(4 bytes\)/);
});

test('a worker whose process has ended is gone, and what it had sent before counts no more', () => {
  const { hub, done, leases, results, cluster } = joined();
  const granted = leases();
  hub.processEnded('of another process');
  expect(cluster.members.size).toBe(1);
  hub.processEnded('t');
  expect(cluster.members.size).toBe(0);
  expect(cluster.leases.size).toBe(0);
  expect(hub.departures.map(({ workerId, reason }) => [workerId, reason])).toEqual([
    [ID, 'disconnected'],
  ]);
  done(granted);
  expect(results).toEqual([1]);
  expect(hub.badMessages).toBe(0);
});
