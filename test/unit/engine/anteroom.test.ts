/** @file The way of an invited worker from HELLO to membership: proof, terms, acceptance, and what cuts it short. */
import type {
  Address,
  EngineId,
  EngineToWorker,
  Hash32,
  HelloMessage,
  JobId,
  WorkerId,
  WorkerToEngine,
} from '@ravenlab/protocol';
import { LIMITS, decodeEngineMessage, encodeWorkerMessage } from '@ravenlab/protocol';
import type { ClusterEvent } from '../../../kernel/src/core/cluster/events.js';
import { step } from '../../../kernel/src/core/cluster/machine.js';
import { createCluster } from '../../../kernel/src/core/cluster/state.js';
import type { HelloClaim } from '../../../kernel/src/engine/chain/chainService.js';
import type { DealDesk, Terms } from '../../../kernel/src/engine/dealDesk.js';
import { Resources } from '../../../kernel/src/engine/resources.js';
import type { Peer } from '../../../kernel/src/engine/transport.js';
import { WorkerHub } from '../../../kernel/src/engine/workerHub.js';

const word = (digit: string): Hash32 => `0x${digit.repeat(64)}` as Hash32;
const address = (digit: string): Address => `0x${digit.repeat(40)}` as Address;
const WALLET = address('1');
const ESCROW = address('2');
const SIGNATURE = { r: word('3'), vs: word('4') };
const SERVER_KEY = 'HelloWorld'.repeat(4);
const CLIENT_KEY = 'WorldHello'.repeat(4);
/** CLIENT_KEY in hex. */
const WORKER = 'b559f75b864fd26f'.repeat(4) as WorkerId;
const JOB = word('a') as string as JobId;

const HELLO: HelloMessage = {
  ...{ kind: 'hello', workerId: WORKER, token: 't', incarnation: 1, name: '', held: null },
  payee: WALLET,
  capabilities: {
    ...{ backend: 'onnx-cpu', device: 'a test', threads: 1, memoryBytes: 2 ** 30 },
    ...{ gflops: 1, dtypes: ['float32'], bitClass: 'test' },
  },
};
const TERMS: Terms = {
  ...{ chainId: 31_337, escrow: ESCROW, job: JOB, payer: address('5'), signer: address('6') },
  ...{ token: address('7'), tokenSymbol: 'DEV', decimals: 6, expiry: 2_000_000_000, cap: 100n },
  ...{ paid: 0n, perGflop: 1n, perMib: 1n, holdbackUnits: 19, serverSignature: SIGNATURE },
};
const IDENTIFY: WorkerToEngine = {
  kind: 'identify',
  signature: SIGNATURE,
  clientKey: CLIENT_KEY,
};

interface Desk {
  isPaying: boolean;
  terms: Terms | null;
  /** What a signature is found to be. */
  verdict: () => Promise<boolean>;
  readonly claims: HelloClaim[];
  readonly told: string[];
}

/** A hub with one connection; what was said on it, and what the scheduler heard. */
function setUp(desk: Partial<Desk> = {}) {
  const state: Desk = {
    ...{ isPaying: true, terms: TERMS, verdict: () => Promise.resolve(true), claims: [] },
    ...{ told: [], ...desk },
  };
  const dealDesk: DealDesk = {
    domain: () => (state.isPaying ? { chainId: 31_337, escrow: ESCROW } : null),
    isHello: (claim) => {
      state.claims.push(claim);
      return state.verdict();
    },
    arrived: ({ payee }) => state.told.push(`arrived ${payee}`),
    terms: () => state.terms,
    presented: (_, voucher) => state.told.push(`presented ${String(voucher?.seq ?? null)}`),
    acknowledged: (_, { seq }) => state.told.push(`acknowledged ${String(seq)}`),
  };
  const events: ClusterEvent['kind'][] = [];
  const cluster = createCluster();
  const refusals: string[] = [];
  const hub = new WorkerHub({
    ...{ engineId: 'e'.repeat(16) as EngineId, price: () => 'free', cluster },
    ...{ now: () => 1000, wallMs: () => 1_800_000_000_000, resources: new Resources() },
    ...{ desk: dealDesk, serverKey: () => SERVER_KEY, admits: () => ({ invite: null }) },
    feed: (event) => events.push(event.kind),
    collectorOf: () => null,
    trusts: () => true,
    findResource: () => undefined,
    onMaking: () => undefined,
    onUnmade: () => undefined,
    onJoined: () => undefined,
    onBannedWallet: (text) => refusals.push(text),
    onLeft: () => undefined,
    log: () => undefined,
    onFatal: (error) => {
      throw error;
    },
  });
  const connect = (key: string, origin: Peer['origin'] = 'remote', id: string = WORKER) => {
    const said: EngineToWorker[] = [];
    const peer: Peer = {
      key,
      origin,
      ...{
        publicKey: origin === 'remote' ? id : null,
        admit: () => undefined,
        cut: () => false,
      },
      send: (frames) => {
        const decoded = decodeEngineMessage([...frames]);
        if (!decoded.ok) throw decoded.error;
        said.push(decoded.value);
        return true;
      },
    };
    hub.onOpen(peer);
    const say = async (...messages: WorkerToEngine[]): Promise<void> => {
      for (const message of messages) {
        hub.onMessage(peer, encodeWorkerMessage(message));
        await Promise.resolve();
        await Promise.resolve();
      }
    };
    const heard = (): string[] =>
      said.map((message) => (message.kind === 'bye' ? `bye ${message.reason}` : message.kind));
    return { peer, said, say, heard };
  };
  return { hub, state, events, connect, cluster, refusals };
}

beforeEach(() => {
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
});

test('a worker is a member once it has proved its wallet and accepted the terms', async () => {
  const { hub, state, events, connect } = setUp();
  const { said, say, heard } = connect('remote:1');
  await say(HELLO);
  expect(said).toMatchObject([{ kind: 'challenge', serverKey: SERVER_KEY, escrow: ESCROW }]);
  await say(IDENTIFY);
  expect(heard()).toEqual(['challenge', 'welcome', 'terms']);
  expect(events).toEqual([]);
  const [challenge] = said;
  expect(state.claims).toEqual([
    {
      ...{ wallet: WALLET, serverKey: SERVER_KEY, clientKey: CLIENT_KEY, expiry: 1_800_000_010 },
      nonce: challenge?.kind === 'challenge' ? challenge.nonce : null,
    },
  ]);
  await say({ kind: 'presented', voucher: null }, { kind: 'accept', job: JOB });
  expect(events).toEqual(['joined']);
  expect(hub.session(WORKER)).toMatchObject({ payee: WALLET, job: JOB });
  await say({ kind: 'voucherAck', job: JOB, seq: 7 });
  expect(state.told).toEqual([`arrived ${WALLET}`, 'presented null', 'acknowledged 7']);
  hub.shutdown();
});

test('nobody is asked who names no wallet, is a machine of the owner, or comes while nobody is paid', async () => {
  for (const [isPaying, origin, payee] of [
    [true, 'remote', null],
    [true, 'local', WALLET],
    [false, 'remote', WALLET],
  ] as const) {
    const { hub, events, connect } = setUp({ isPaying });
    const { say, heard } = connect('p', origin);
    await say({ ...HELLO, payee });
    expect(heard()).toEqual(['welcome']);
    expect(events).toEqual(['joined']);
    expect(hub.session(WORKER)?.payee).toBeNull();
    hub.shutdown();
  }
});

test('every connection is asked another nonce', async () => {
  const { hub, connect } = setUp();
  const nonces = new Set<string>();
  for (let i = 0; i < 20; i++) {
    const { say, said } = connect(`remote:${String(i)}`);
    await say(HELLO);
    const [challenge] = said;
    if (challenge?.kind === 'challenge') nonces.add(challenge.nonce);
  }
  expect(nonces.size).toBe(20);
  hub.shutdown();
});

const REFUSED: readonly (readonly [
  what: string,
  desk: Partial<Desk>,
  messages: WorkerToEngine[],
  ends: string,
])[] = [
  [
    'a signature of somebody else',
    { verdict: () => Promise.resolve(false) },
    [HELLO, IDENTIFY],
    'bye refused',
  ],
  [
    'the key of another connection',
    {},
    [HELLO, { ...IDENTIFY, clientKey: SERVER_KEY }],
    'bye refused',
  ],
  ['a nonce twice', {}, [HELLO, IDENTIFY, IDENTIFY], 'bye protocol'],
  ['a proof that was not asked for', { isPaying: false }, [HELLO, IDENTIFY], 'bye protocol'],
  ['acceptance before proof', {}, [HELLO, { kind: 'accept', job: JOB }], 'bye protocol'],
  [
    'acceptance before there are terms',
    { terms: null },
    [HELLO, IDENTIFY, { kind: 'accept', job: JOB }],
    'bye protocol',
  ],
  [
    'work before acceptance',
    {},
    [HELLO, IDENTIFY, { kind: 'need', programs: [], states: [], blocks: [] }],
    'bye protocol',
  ],
  [
    "a voucher of somebody else's lane",
    {},
    [
      HELLO,
      IDENTIFY,
      {
        kind: 'presented',
        voucher: {
          ...{ job: JOB, payee: address('9'), cumulative: 5n, seq: 1, ledgerHead: word('b') },
          ...SIGNATURE,
        },
      },
    ],
    'bye protocol',
  ],
  [
    'nothing, while a wallet cannot be checked, but it may try again',
    { verdict: () => Promise.reject(new Error('the chain thread is gone')) },
    [HELLO, IDENTIFY],
    'bye expelled',
  ],
];

test.each(REFUSED)('it is turned away for %s', async (_, desk, messages, ends) => {
  const { hub, events, connect } = setUp(desk);
  const { say, heard } = connect('remote:1');
  await say(...messages);
  expect(heard().at(-1)).toBe(ends);
  expect(events.filter((kind) => kind === 'joined')).toHaveLength(desk.isPaying === false ? 1 : 0);
  const before = heard().length;
  await say({ kind: 'accept', job: JOB });
  expect(heard()).toHaveLength(before);
  hub.shutdown();
});

test('proof and acceptance have their time, and it is pinged while it reads the chain', async () => {
  const { hub, events, connect } = setUp();
  const late = connect('remote:1');
  await late.say(HELLO);
  jest.advanceTimersByTime(LIMITS.challengeMs);
  expect(late.heard()).toEqual(['challenge', 'bye refused']);
  const slow = connect('remote:2');
  await slow.say(HELLO, IDENTIFY);
  jest.advanceTimersByTime(3 * LIMITS.heartbeatMs);
  expect(slow.heard()).toEqual(['challenge', 'welcome', 'terms', 'ping', 'ping', 'ping']);
  jest.advanceTimersByTime(LIMITS.acceptMs);
  expect(slow.heard().at(-1)).toBe('bye refused');
  expect(events).toEqual([]);
  expect(jest.getTimerCount()).toBe(0);
  hub.shutdown();
});

test('terms that come late are told then; new ones of the job are told, another job is another session', async () => {
  const { hub, state, events, connect } = setUp({ terms: null });
  const { said, say, heard } = connect('remote:1');
  await say(HELLO, IDENTIFY);
  expect(heard()).toEqual(['challenge', 'welcome']);
  state.terms = TERMS;
  hub.offer(WALLET);
  await say({ kind: 'accept', job: JOB });
  expect(events).toEqual(['joined']);
  state.terms = { ...TERMS, cap: 500n };
  hub.offer(WALLET);
  expect(said.at(-1)).toMatchObject({ kind: 'terms', cap: 500n });
  hub.offer(address('9'));
  state.terms = { ...TERMS, job: word('c') as string as JobId };
  hub.offer(WALLET);
  expect(heard().at(-1)).toBe('bye expelled');
  expect(events).toEqual(['joined', 'left']);
  hub.shutdown();
});

test('a banned wallet goes with all its workers, and comes in under no other id until it is let off', async () => {
  const { hub, events, connect, cluster, refusals } = setUp();
  const { say, heard } = connect('remote:1');
  await say(HELLO, IDENTIFY, { kind: 'accept', job: JOB });
  expect(events).toEqual(['joined']);
  const other = 'cd'.repeat(32) as WorkerId;
  step(cluster, { kind: 'ban', worker: other, wallet: WALLET }, 1, 1000);
  hub.banish(WALLET);
  expect(heard().at(-1)).toBe('bye refused');
  expect(events).toEqual(['joined', 'left']);
  const again = connect('remote:2', 'remote', 'ef'.repeat(32));
  await again.say({ ...HELLO, workerId: 'ef'.repeat(32) as WorkerId });
  expect(again.heard()).toEqual(['bye refused']);
  expect(refusals).toEqual([expect.stringContaining("cluster.unban('cdcdcd')")]);
  step(cluster, { kind: 'unban', worker: other }, 2, 1000);
  const free = connect('remote:3');
  await free.say({ ...HELLO, incarnation: 2 });
  expect(free.heard()).toEqual(['challenge']);
  hub.shutdown();
});

test('who joined while nobody was paid is asked to come anew when work is paid', async () => {
  const { hub, state, events, connect } = setUp({ isPaying: false });
  const paid = connect('remote:1');
  await paid.say(HELLO);
  const free = connect('remote:2', 'remote', 'cd'.repeat(32));
  await free.say({ ...HELLO, workerId: 'cd'.repeat(32) as WorkerId, payee: null });
  state.isPaying = true;
  hub.recall();
  expect(paid.heard()).toEqual(['welcome', 'bye expelled']);
  expect(free.heard()).toEqual(['welcome']);
  expect(events).toEqual(['joined', 'joined', 'left']);
  hub.shutdown();
});

test('a connection that ends while its signature is checked leaves nothing behind', async () => {
  let found: (isSigned: boolean) => void = () => undefined;
  const { hub, events, connect } = setUp({
    verdict: () => new Promise((resolve) => (found = resolve)),
  });
  const { peer, say, heard } = connect('remote:1');
  await say(HELLO, IDENTIFY);
  hub.onClose(peer);
  found(true);
  await Promise.resolve();
  expect(heard()).toEqual(['challenge']);
  expect(events).toEqual([]);
  expect(jest.getTimerCount()).toBe(0);
  hub.shutdown();
});
