/**
 * @file The front end's model of one kernel. Goal: whatever happens to kernel, comm and connection, the model ends
 * up with the kernel's state, says truthfully what it is waiting for, and never keeps a caller waiting for ever.
 */
import type { PanelSource, PanelState } from '@ravenlab/protocol';
import { PANEL_LIMITS, PANEL_TARGET, PANEL_PROTO } from '@ravenlab/protocol';
import type { CommPort, PortHandlers } from '../../../extension/src/model/clusterModel.js';
import { ClusterModel } from '../../../extension/src/model/clusterModel.js';
import { CommManager } from '../../../kernel/src/jupyter/comms.js';
import { PanelHub } from '../../../kernel/src/jupyter/panelComm.js';
import { BUSY_STATE, overTheWire } from '../panel/lib.js';
import { ManualClock } from '../panel/manualClock.js';

class FakePort implements CommPort {
  readonly sent: Record<string, unknown>[];
  isClosed = false;
  readonly handlers: PortHandlers;

  constructor(open: object, handlers: PortHandlers) {
    this.sent = [open as Record<string, unknown>];
    this.handlers = handlers;
  }

  send(data: object): void {
    this.sent.push(data as Record<string, unknown>);
  }

  close(): void {
    this.isClosed = true;
  }

  types(): unknown[] {
    return this.sent.map((message) => message['type']);
  }

  snapshot(seq = 0, state: PanelState = BUSY_STATE): void {
    this.handlers.onMessage(overTheWire({ type: 'snapshot', stream: 1, seq, atMs: 1, state }));
  }

  delta(seq: number, unitsDone: number): void {
    const patch = { cluster: { unitsDone } };
    this.handlers.onMessage({ type: 'delta', stream: 1, seq, atMs: 2, patch });
  }
}

function setUp() {
  const clock = new ManualClock();
  const ports: FakePort[] = [];
  let nextId = 0;
  const model = new ClusterModel({
    openPort: (data, handlers) => {
      const port = new FakePort(data, handlers);
      ports.push(port);
      return port;
    },
    after: (delayMs, run) => clock.after(delayMs, run),
    newId: () => `id-${String(nextId++)}`,
  });
  const port = () => ports[ports.length - 1]!;
  return { clock, ports, port, model };
}

test('it opens a comm, waits for the snapshot, then follows the deltas', () => {
  const { model, port } = setUp();
  expect(model.view()).toEqual({ phase: 'offline', reason: null, replica: null });
  model.connect();
  expect(model.view().phase).toBe('connecting');
  expect(port().sent[0]).toEqual({ type: 'open', proto: PANEL_PROTO, maxHz: 4, visible: false });
  port().snapshot();
  port().delta(1, 81);
  expect(model.view().phase).toBe('live');
  expect(model.view().replica?.state.cluster.unitsDone).toBe(81);
});

test('every change makes a new view and tells the listeners, nothing else does', () => {
  const { model, port } = setUp();
  model.connect();
  port().snapshot();
  const listener = jest.fn();
  const unsubscribe = model.subscribe(listener);
  const before = model.view();
  expect(model.view()).toBe(before);
  port().delta(1, 81);
  expect(model.view()).not.toBe(before);
  port().delta(1, 99);
  expect(listener).toHaveBeenCalledTimes(1);
  unsubscribe();
  port().delta(2, 82);
  expect(listener).toHaveBeenCalledTimes(1);
});

test('it renews the lease every 5 s, and at once when it is shown', () => {
  const { clock, model, port } = setUp();
  model.connect();
  port().snapshot();
  clock.advance(3 * PANEL_LIMITS.leaseEveryMs);
  expect(port().types()).toEqual(['open', 'lease', 'lease', 'lease']);
  model.setPace({ visible: true, maxHz: 2 });
  expect(port().sent.at(-1)).toEqual({ type: 'lease', maxHz: 2, visible: true });
  model.setPace({ visible: true });
  expect(port().sent).toHaveLength(5);
});

test('a lost delta asks for one snapshot, and the state is whole again after it', () => {
  const { model, port } = setUp();
  model.connect();
  port().snapshot();
  port().delta(2, 82);
  port().delta(3, 83);
  expect(port().types()).toEqual(['open', 'resync']);
  port().snapshot(4, { ...BUSY_STATE, cluster: { ...BUSY_STATE.cluster, unitsDone: 84 } });
  expect(model.view().replica?.state.cluster.unitsDone).toBe(84);
  port().delta(5, 85);
  expect(model.view().replica?.state.cluster.unitsDone).toBe(85);
});

test('a comm that never answers is opened anew, less and less often', () => {
  const { clock, ports, model } = setUp();
  model.connect();
  clock.advance(60_000);
  expect(ports.length).toBeGreaterThanOrEqual(4);
  expect(ports.length).toBeLessThanOrEqual(8);
  expect(ports.slice(0, -1).every((old) => old.isClosed)).toBe(true);
});

test('what an old comm still says is not heard', () => {
  const { ports, model } = setUp();
  model.connect();
  model.connect();
  ports[0]!.snapshot();
  ports[0]!.handlers.onClose('late');
  expect(model.view()).toMatchObject({ phase: 'connecting', replica: null });
});

test('through a restart it keeps the old values, says why, and recovers with the new kernel', () => {
  const { clock, ports, model, port } = setUp();
  model.connect();
  port().snapshot();
  model.setOffline('The kernel is restarting');
  expect(model.view()).toMatchObject({ phase: 'offline', reason: 'The kernel is restarting' });
  expect(model.view().replica?.state).toEqual(BUSY_STATE);
  clock.advance(60_000);
  expect(ports).toHaveLength(1);
  model.resume();
  port().snapshot();
  expect(ports).toHaveLength(2);
  expect(model.view()).toMatchObject({ phase: 'live', reason: null });
});

test('after a short break it asks the same comm first, and opens another when that is dead', () => {
  const { clock, ports, model, port } = setUp();
  model.connect();
  port().snapshot();
  model.suspend('The connection is down');
  clock.advance(30_000);
  expect(port().types()).toEqual(['open']);
  model.resume();
  expect(port().types()).toEqual(['open', 'resync']);
  clock.advance(1_500);
  expect(ports).toHaveLength(2);
  port().snapshot();
  expect(model.view().phase).toBe('live');
});

test('a kernel that refuses three times is taken at its word', () => {
  const { clock, ports, model, port } = setUp();
  model.connect();
  for (let elapsedMs = 0; elapsedMs < 60_000; elapsedMs += 500) {
    const last = port();
    if (!last.isClosed) last.handlers.onClose('update the older one');
    last.isClosed = true;
    clock.advance(500);
  }
  expect(ports).toHaveLength(3);
  expect(model.view()).toMatchObject({ phase: 'refused', reason: 'update the older one' });
});

test('a message that cannot be read leaves the state and says what is wrong', () => {
  const { model, port } = setUp();
  model.connect();
  port().snapshot();
  port().handlers.onMessage({ type: 'delta', stream: 1, seq: 'x' });
  expect(model.view().reason).toMatch(/delta.seq/);
  expect(model.view().replica?.state).toEqual(BUSY_STATE);
});

test('a connection that cannot carry comms is offline with the reason', () => {
  const model = new ClusterModel({
    openPort: () => {
      throw new Error('Comms are disabled on this kernel connection');
    },
    after: () => () => undefined,
    newId: () => 'x',
  });
  model.connect();
  expect(model.view().phase).toBe('offline');
  expect(model.view().reason).toMatch(/disabled/);
});

describe('a command', () => {
  test('resolves with the checked result of its own id', async () => {
    const { model, port } = setUp();
    model.connect();
    port().snapshot();
    const invite = model.command('invite', {});
    const stop = model.command('stopRun', {});
    const result = (id: string, value: unknown) =>
      port().handlers.onMessage({ type: 'result', id, ok: true, value });
    result('id-1', { stopped: true });
    result('id-0', { command: 'npm run worker -- join x', expiresAtMs: null });
    await expect(stop).resolves.toEqual({ stopped: true });
    await expect(invite).resolves.toEqual({
      command: 'npm run worker -- join x',
      expiresAtMs: null,
    });
  });

  test('rejects with the kernel’s words, or when the result is not what the op promises', async () => {
    const { model, port } = setUp();
    model.connect();
    const refused = model.command('scale', { workers: 2 });
    const wrong = model.command('invite', {});
    const error = { code: 'cluster', text: 'no engine runs' };
    port().handlers.onMessage({ type: 'result', id: 'id-0', ok: false, error });
    port().handlers.onMessage({ type: 'result', id: 'id-1', ok: true, value: { command: 7 } });
    await expect(refused).rejects.toMatchObject({ code: 'cluster', message: 'no engine runs' });
    await expect(wrong).rejects.toMatchObject({ code: 'protocol' });
  });

  test('never hangs: without a kernel, when the kernel goes, and when no answer comes', async () => {
    const { clock, model } = setUp();
    await expect(model.command('stopRun', {})).rejects.toMatchObject({ code: 'offline' });
    model.connect();
    const lost = model.command('stopRun', {});
    model.setOffline('The kernel is restarting');
    await expect(lost).rejects.toMatchObject({ code: 'offline' });
    model.connect();
    const late = model.command('stopRun', {});
    for (let i = 0; i < 4; i++) clock.advance(PANEL_LIMITS.commandTimeoutMs / 4);
    await expect(late).rejects.toThrow();
  });
});

test('disposed, it closes its comm, lets go of its timers and stays silent', () => {
  const { clock, model, port } = setUp();
  model.connect();
  const listener = jest.fn();
  model.subscribe(listener);
  model.dispose();
  expect(port().isClosed).toBe(true);
  port().snapshot();
  model.connect();
  expect({ timers: clock.pending, calls: listener.mock.calls.length }).toEqual({
    timers: 0,
    calls: 0,
  });
});

test('model and kernel hub, joined by a lossy wire, always end with equal states', () => {
  const clock = new ManualClock();
  let state = BUSY_STATE;
  const listeners = new Set<() => void>();
  const source: PanelSource = {
    state: () => state,
    onChange: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    command: () => Promise.reject(new Error('not used here')),
  };
  const failures: unknown[] = [];
  const hub = new PanelHub({ source, clock, onError: (_context, error) => failures.push(error) });
  const fronts = new Map<string, PortHandlers>();
  let messages = 0;
  const comms = new CommManager({
    maxOpenComms: 10,
    onError: (_context, error) => failures.push(error),
    send: ({ msgType, content }) => {
      // Every fifth message is lost on its way.
      if (msgType !== 'comm_msg' || ++messages % 5 === 0) return;
      fronts.get(String(content['comm_id']))?.onMessage(overTheWire(content['data']));
    },
  });
  comms.registerTarget(PANEL_TARGET, hub);
  const model = new ClusterModel({
    openPort: (data, handlers) => {
      const id = `comm-${String(fronts.size)}`;
      fronts.set(id, handlers);
      comms.handleOpen({ comm_id: id, target_name: PANEL_TARGET, data: overTheWire(data) }, []);
      return {
        send: (message) => comms.handleMessage({ comm_id: id, data: overTheWire(message) }, []),
        close: () => comms.handleClose({ comm_id: id, data: {} }),
      };
    },
    after: (delayMs, run) => clock.after(delayMs, run),
    newId: () => 'unused',
  });
  model.connect();
  model.setPace({ visible: true });
  for (let i = 1; i <= 500; i++) {
    state = { ...state, cluster: { ...state.cluster, unitsDone: i } };
    for (const listener of listeners) listener();
    clock.advance(137);
  }
  clock.advance(20_000);
  expect(failures).toEqual([]);
  expect(model.view().phase).toBe('live');
  expect(model.view().replica?.state).toEqual(state);
});
