/** @file The chain as the engine's loop sees it, with threads that say what a test wants: order, crashes, ends. */
import type { Address, JobId } from '@ravenlab/protocol';
import { ChainError } from '@ravenlab/protocol';
import { ChainProxy, emptyStatus } from '../../../../kernel/src/engine/chain/chainProxy.js';
import type { ChainStatus, LaneOnChain } from '../../../../kernel/src/engine/chain/chainService.js';

const JOB = `0x${'01'.repeat(32)}` as JobId;
const ANN = `0x${'0a'.repeat(20)}` as Address;
const LANE: LaneOnChain = { job: JOB, payee: ANN, cap: 5n, paid: 2n };
const READY = {
  ...emptyStatus('ready'),
  job: {
    ...{ id: JOB, payer: ANN, signer: ANN, expiry: 1, deposit: 9n, free: 4n, reserved: 3n },
    state: 'open',
  },
} as const;

const proxies: ChainProxy[] = [];
afterEach(() => Promise.all(proxies.splice(0).map((proxy) => proxy.close())));

/** A thread of this source; `say(response)` tells, `on(request)` is called. */
function proxyOf(source: string, logs: string[] = []): ChainProxy {
  const literal = (value: unknown): string =>
    JSON.stringify(value, (_key, each: unknown) =>
      typeof each === 'bigint' ? `bigint:${each.toString()}` : each,
    ).replaceAll(/"bigint:(\d+)"/g, '$1n');
  const text = `
    import { parentPort } from 'node:worker_threads';
    const say = (response) => parentPort.postMessage(response);
    const READY = ${literal(READY)}; const LANE = ${literal(LANE)};
    parentPort.on('message', (request) => on(request));
    ${source}`;
  const proxy = new ChainProxy({
    ...{ choice: { kind: 'simulated' }, home: '/nowhere', folder: '/nowhere', owner: 'a' },
    ...{ log: (line: string) => logs.push(line), delayMs: 0 },
    entry: new URL(`data:text/javascript,${encodeURIComponent(text)}`),
  });
  proxies.push(proxy);
  return proxy;
}

const closing = `const on = ({ id, call }) => say({ kind: 'done', id, value: call === 'close' ? null : call });`;

function next(proxy: ChainProxy, fits: (status: ChainStatus) => boolean): Promise<ChainStatus> {
  return new Promise((resolve) => {
    const end = proxy.onChange((status) => {
      if (!fits(status)) return;
      end();
      resolve(status);
    });
  });
}

test('lanes that come before their job are told again once it is named', async () => {
  const proxy = proxyOf(`${closing}
    say({ kind: 'lanes', lanes: [LANE] });
    say({ kind: 'status', status: READY });`);
  const told: [string, LaneOnChain][] = [];
  proxy.onLane((lane) => told.push([proxy.status().phase, lane]));
  await next(proxy, ({ phase }) => phase === 'ready');
  await Promise.resolve();
  expect(told).toEqual([
    ['starting', LANE],
    ['ready', LANE],
  ]);
  const late: LaneOnChain[] = [];
  proxy.onLane((lane) => late.push(lane));
  expect(late).toEqual([LANE]);
});

test('a refusal is a ChainError with its words and whether to try again', async () => {
  const proxy = proxyOf(`
    const on = ({ id, call }) => call === 'close' ? say({ kind: 'done', id, value: null }) :
      say({ kind: 'failed', id, error: { code: 'chain', message: 'not today', fault: 'local', retryable: true } });
    say({ kind: 'status', status: READY });`);
  await next(proxy, ({ phase }) => phase === 'ready');
  const error: unknown = await proxy.refund().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ChainError);
  expect(error).toMatchObject({ message: 'not today', retryable: true });
});

test('a thread that crashes rejects what waits, is a problem, and is started again', async () => {
  const logs: string[] = [];
  const proxy = proxyOf(
    `const on = ({ call, id }) => { if (call === 'close') say({ kind: 'done', id, value: null }); else throw new Error('boom'); };
     say({ kind: 'status', status: READY });`,
    logs,
  );
  await next(proxy, ({ phase }) => phase === 'ready');
  const crashed = next(proxy, ({ phase }) => phase === 'problem');
  await expect(proxy.refund()).rejects.toThrow(/boom.*started again/);
  expect((await crashed).problem).toContain('boom');
  expect(logs.join()).toContain('boom');
  await expect(proxy.refund()).rejects.toThrow(/not ready/);
  await next(proxy, ({ phase }) => phase === 'ready');
});

test('before the thread is there, requests are refused and closing is at once', async () => {
  const proxy = new ChainProxy({
    ...{ choice: { kind: 'simulated' }, home: '/nowhere', folder: '/nowhere', owner: 'a' },
    ...{ log: () => undefined, delayMs: 60_000 },
  });
  await expect(proxy.refund()).rejects.toThrow(/being started/);
  await proxy.close();
  expect(proxy.status().phase).toBe('starting');
});
