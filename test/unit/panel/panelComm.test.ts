/**
 * @file The panel hub under a manual clock: pace, lease, snapshot and delta, many front ends, commands run once.
 * The real `CommManager` carries the messages, so that what is tested is what a front end receives.
 */
import type {
  KernelMessage,
  PanelArgs,
  PanelOp,
  PanelReplica,
  PanelResults,
  PanelSource,
  PanelState,
} from '@ravenlab/protocol';
import {
  PANEL_LIMITS,
  PANEL_PROTO,
  PANEL_TARGET,
  ClusterError,
  applyDelta,
  applySnapshot,
  parseKernelMessage,
} from '@ravenlab/protocol';
import { CommManager } from '../../../kernel/src/jupyter/comms.js';
import { PanelHub, boundPanelState } from '../../../kernel/src/jupyter/panelComm.js';
import { BUSY_STATE, contributorOf, overTheWire } from './lib.js';
import { ManualClock } from './manualClock.js';

class TestSource implements PanelSource {
  current: PanelState = BUSY_STATE;
  readonly calls: { op: PanelOp; args: unknown }[] = [];
  answer: (op: PanelOp, args: unknown) => Promise<unknown> = () =>
    Promise.resolve({ stopped: true });
  private readonly listeners = new Set<() => void>();

  state(): PanelState {
    return this.current;
  }

  onChange(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  command<Op extends PanelOp>(op: Op, args: PanelArgs[Op]): Promise<PanelResults[Op]> {
    this.calls.push({ op, args });
    return this.answer(op, args) as Promise<PanelResults[Op]>;
  }

  get subscribers(): number {
    return this.listeners.size;
  }

  setUnits(unitsDone: number): void {
    this.current = { ...this.current, cluster: { ...this.current.cluster, unitsDone } };
    for (const listener of this.listeners) listener();
  }
}

class FrontEnd {
  readonly received: KernelMessage[] = [];
  closedWith: unknown = null;
  replica: PanelReplica | null = null;

  take(raw: unknown): void {
    const parsed = parseKernelMessage(overTheWire(raw));
    if (!parsed.ok) throw new Error(parsed.error);
    const message = parsed.value;
    this.received.push(message);
    if (message.type !== 'snapshot' && message.type !== 'delta') return;
    const step =
      message.type === 'snapshot'
        ? applySnapshot(this.replica, message)
        : applyDelta(this.replica, message);
    if (step.kind !== 'applied') throw new Error(`unexpected ${step.kind}`);
    this.replica = step.replica;
  }

  types(): string[] {
    return this.received.map((message) => message.type);
  }
}

function setUp() {
  const clock = new ManualClock();
  const source = new TestSource();
  const errors: unknown[] = [];
  const hub = new PanelHub({ source, clock, onError: (_context, error) => errors.push(error) });
  const fronts = new Map<string, FrontEnd>();
  const comms = new CommManager({
    maxOpenComms: 100,
    onError: (context, error) => errors.push([context, error]),
    send: ({ msgType, content }) => {
      const front = fronts.get(String(content['comm_id']));
      if (msgType === 'comm_close' && front) front.closedWith = content['data'];
      if (msgType === 'comm_msg') front?.take(content['data']);
    },
  });
  comms.registerTarget(PANEL_TARGET, hub);
  const open = (id: string, change: object = {}) => {
    const front = new FrontEnd();
    fronts.set(id, front);
    const data = { type: 'open', proto: PANEL_PROTO, maxHz: 4, visible: true, ...change };
    comms.handleOpen({ comm_id: id, target_name: PANEL_TARGET, data }, []);
    return front;
  };
  const say = (id: string, data: object) => comms.handleMessage({ comm_id: id, data }, []);
  const lease = (id: string, change: object = {}) =>
    say(id, { type: 'lease', maxHz: 4, visible: true, ...change });
  return { clock, source, errors, hub, comms, open, say, lease };
}

const settle = async () => {
  for (let i = 0; i < 8; i++) await Promise.resolve();
};

test('a front end gets a snapshot at once, then deltas that keep its copy equal', () => {
  const { clock, source, open } = setUp();
  const front = open('a');
  expect(front.types()).toEqual(['snapshot']);
  clock.advance(1000);
  source.setUnits(81);
  expect(front.types()).toEqual(['snapshot', 'delta']);
  expect(front.replica?.state).toEqual(source.current);
});

test('a thousand changes a second become at most 4 pushes a second, and the last value arrives', () => {
  const { clock, source, open } = setUp();
  const front = open('a');
  for (let i = 1; i <= 3000; i++) {
    source.setUnits(1000 + i);
    clock.advance(1);
  }
  clock.advance(250);
  expect(front.received.length).toBeGreaterThanOrEqual(12);
  expect(front.received.length).toBeLessThanOrEqual(14);
  expect(front.replica?.state.cluster.unitsDone).toBe(4000);
});

test('a hidden panel gets at most one push in two seconds and full pace at once when shown', () => {
  const { clock, source, open, lease } = setUp();
  const front = open('a', { visible: false });
  for (let i = 1; i <= 100; i++) {
    source.setUnits(1000 + i);
    clock.advance(100);
    if (i % 50 === 0) lease('a', { visible: false });
  }
  expect(front.received.length).toBeLessThanOrEqual(7);
  const before = front.received.length;
  source.setUnits(5000);
  clock.advance(250);
  lease('a', { visible: true });
  expect(front.received.length).toBeGreaterThan(before);
  expect(front.replica?.state.cluster.unitsDone).toBe(5000);
});

test('each front end gets its own pace, never above the allowed one', () => {
  const { clock, source, open } = setUp();
  const slow = open('slow', { maxHz: 1 });
  const greedy = open('greedy', { maxHz: 1e9 });
  for (let i = 1; i <= 4000; i++) {
    source.setUnits(1000 + i);
    clock.advance(1);
  }
  expect(slow.received.length).toBeLessThanOrEqual(5);
  expect(greedy.received.length).toBeLessThanOrEqual(17);
  expect(greedy.received.length).toBeGreaterThanOrEqual(16);
});

test('a change that the panel does not show sends nothing', () => {
  const { clock, source, open } = setUp();
  const front = open('a');
  clock.advance(1000);
  source.setUnits(BUSY_STATE.cluster.unitsDone);
  clock.advance(1000);
  expect(front.types()).toEqual(['snapshot']);
});

test('after 15 s without a lease nothing is pushed, no timer runs and the source is left alone', () => {
  const { clock, source, hub, open } = setUp();
  const front = open('a');
  clock.advance(PANEL_LIMITS.leaseMs);
  source.setUnits(1);
  source.setUnits(2);
  clock.advance(60_000);
  expect(front.types()).toEqual(['snapshot']);
  expect({ leased: hub.leased, timers: clock.pending, subscribers: source.subscribers }).toEqual({
    leased: 0,
    timers: 0,
    subscribers: 0,
  });
});

test('a lease renewed after a silence brings what changed meanwhile', () => {
  const { clock, source, open, lease } = setUp();
  const front = open('a');
  clock.advance(20_000);
  source.setUnits(1);
  source.setUnits(777);
  lease('a');
  expect(front.replica?.state.cluster.unitsDone).toBe(777);
  clock.advance(250);
  source.setUnits(778);
  expect(front.replica?.state.cluster.unitsDone).toBe(778);
});

test('resync answers with a snapshot whose number goes on', () => {
  const { clock, source, open, say } = setUp();
  const front = open('a');
  clock.advance(1000);
  source.setUnits(81);
  clock.advance(1000);
  say('a', { type: 'resync' });
  expect(front.received.map((message) => 'seq' in message && message.seq)).toEqual([0, 1, 2]);
  expect(front.types()).toEqual(['snapshot', 'delta', 'snapshot']);
});

test('a first message that is not open, or another protocol, closes the comm with the reason', () => {
  const { open } = setUp();
  expect(open('a', { type: 'lease' }).closedWith).toEqual({
    reason: expect.stringContaining('first message must be open') as string,
  });
  expect(open('b', { proto: PANEL_PROTO + 1 }).closedWith).toEqual({
    reason: expect.stringContaining('update the older one') as string,
  });
  expect(open('c', { maxHz: 'fast' }).closedWith).toEqual({
    reason: expect.stringContaining('open.maxHz') as string,
  });
});

test('a malformed message is answered with what is wrong and changes nothing', () => {
  const { open, say, errors } = setUp();
  const front = open('a');
  say('a', { type: 'cmd', id: 'x', op: 'format-disk', args: {} });
  expect(front.received[1]).toMatchObject({ type: 'event', level: 'error', code: 'protocol' });
  expect(errors).toEqual([]);
});

test('when all places are taken a silent front end gives way, a listening one does not', () => {
  const { clock, open, lease } = setUp();
  const first = open('f0');
  for (let i = 1; i < PANEL_LIMITS.clients; i++) open(`f${String(i)}`);
  expect(open('late').closedWith).not.toBeNull();
  clock.advance(PANEL_LIMITS.leaseMs - 1);
  for (let i = 1; i < PANEL_LIMITS.clients; i++) lease(`f${String(i)}`);
  clock.advance(1);
  expect(open('later').types()).toEqual(['snapshot']);
  expect(first.closedWith).not.toBeNull();
});

test('a closed comm is forgotten and the hub rests when it was the last', () => {
  const { clock, source, comms, open } = setUp();
  const front = open('a');
  comms.handleClose({ comm_id: 'a', data: {} });
  source.setUnits(1);
  clock.advance(10_000);
  expect(front.types()).toEqual(['snapshot']);
  expect(source.subscribers).toBe(0);
});

describe('a command', () => {
  const stop = { type: 'cmd', id: 'c1', op: 'stopRun', args: {} };

  test('reaches the source and its result comes back under its id', async () => {
    const { source, open, say } = setUp();
    const front = open('a');
    say('a', stop);
    await settle();
    expect(source.calls).toEqual([{ op: 'stopRun', args: {} }]);
    expect(front.received[1]).toEqual({
      type: 'result',
      id: 'c1',
      ok: true,
      value: { stopped: true },
    });
  });

  test('repeated by id, also from another tab, runs once and is answered each time', async () => {
    const { source, open, say } = setUp();
    const a = open('a');
    const b = open('b');
    say('a', stop);
    say('b', stop);
    await settle();
    say('a', stop);
    await settle();
    expect(source.calls).toHaveLength(1);
    expect([a.types(), b.types()]).toEqual([
      ['snapshot', 'result', 'result'],
      ['snapshot', 'result'],
    ]);
  });

  test('that fails is answered with the code and the text of the error', async () => {
    const { source, open, say } = setUp();
    source.answer = () => Promise.reject(new ClusterError('no engine runs; start a run first'));
    const front = open('a');
    say('a', stop);
    await settle();
    expect(front.received[1]).toEqual({
      type: 'result',
      id: 'c1',
      ok: false,
      error: { code: 'cluster', text: 'no engine runs; start a run first' },
    });
  });

  test('that the engine never answers fails after its time, and its place is free again', async () => {
    const { clock, source, open, say, lease } = setUp();
    source.answer = () => new Promise(() => undefined);
    const front = open('a');
    for (let i = 0; i < PANEL_LIMITS.commandsInFlight; i++) say('a', { ...stop, id: String(i) });
    say('a', { ...stop, id: 'one too many' });
    await settle();
    expect(front.received.at(-1)).toMatchObject({ id: 'one too many', error: { code: 'limit' } });
    clock.advance(PANEL_LIMITS.commandTimeoutMs);
    await settle();
    expect(front.received.at(-1)).toMatchObject({ ok: false, error: { code: 'cluster' } });
    source.answer = () => Promise.resolve({ stopped: false });
    lease('a');
    say('a', { ...stop, id: 'again' });
    await settle();
    expect(front.received.at(-1)).toMatchObject({ id: 'again', ok: true });
  });
});

test('a source that throws costs one report, and the next change is shown again', () => {
  const { clock, source, errors, open } = setUp();
  const front = open('a');
  clock.advance(1000);
  const broken = jest.spyOn(source, 'state').mockImplementation(() => {
    throw new Error('engine gone');
  });
  source.setUnits(98);
  expect(errors).toEqual([new Error('engine gone')]);
  broken.mockRestore();
  clock.advance(1000);
  source.setUnits(99);
  expect(front.replica?.state.cluster.unitsDone).toBe(99);
});

test('a crowd beyond the bound keeps its members and best earners, and all of the count', () => {
  const crowd = Array.from({ length: 700 }, (_, index) =>
    contributorOf(`w${String(index)}`, {
      state: index < 300 ? 'gone' : 'busy',
      earnedUnits: String(index),
    }),
  );
  const bounded = boundPanelState({ ...BUSY_STATE, contributors: crowd });
  expect(bounded.contributors).toHaveLength(500);
  expect(bounded.contributors.filter((row) => row.state === 'busy')).toHaveLength(400);
  expect(bounded.contributors[0]?.workerId).toBe('w699');
  expect(bounded.cluster.workerCount).toBe(BUSY_STATE.cluster.workerCount);
});
