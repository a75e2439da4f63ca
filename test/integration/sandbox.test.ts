/**
 * @file What an invited worker computes in: a process without keys, files and connections, which may be killed in the middle of a
 * unit. Real processes against a scripted engine.
 *
 * @jest-environment ./test/support/nativeArrays.ts
 */
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { RunInput, StateId, StateVersion } from '@ravenlab/protocol';
import { WORKER_LIMITS } from '@ravenlab/protocol';
import {
  boundedCommand,
  confinedEnvironment,
  confinedFlags,
} from '../../worker/src/compute/sandbox/confinement.js';
import { powers } from './lib/programs.js';
import { ScriptedEngine, ended } from './lib/scriptedEngine.js';

const isLinux = process.platform === 'linux';
/** What is looked up in /proc is nowhere else. */
const onLinux = isLinux ? test : test.skip;
if (!isLinux) console.log(`skipped on ${process.platform}: tests that read /proc`);

let engine: ScriptedEngine;

beforeEach(async () => {
  engine = await ScriptedEngine.start({ isRemote: true });
});

afterEach(() => engine.stop());

const GIB = 1024 ** 3;
const STATE: RunInput = { kind: 'state', stateId: 1 as StateId, version: 1 as StateVersion };

/** Pids of the processes that a process has started. */
function childrenOf(parent: number | undefined): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ');
        return Number(fields?.[1]) === parent && fields?.[0] !== 'Z';
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** Inodes of the sockets that a process has open. */
function socketsOf(pid: number): string[] {
  const folder = `/proc/${String(pid)}/fd`;
  return readdirSync(folder).flatMap((fd) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(join(folder, fd)))?.[1] ?? [];
    } catch {
      return [];
    }
  });
}

function internetSockets(): Set<string> {
  const tables = ['tcp', 'tcp6', 'udp', 'udp6'].map((name) => `/proc/net/${name}`);
  const lines = tables.filter(existsSync).flatMap((path) => readFileSync(path, 'utf8').split('\n'));
  return new Set(lines.flatMap((line) => line.trim().split(/\s+/)[9] ?? []));
}

onLinux(
  'a joined worker computes in a process without its secrets and without connections',
  async () => {
    const child = engine.spawnJoin('secret', '--no-pay', '--memory', '1G');
    await engine.welcome();
    const [pid] = childrenOf(child.pid);
    if (pid === undefined) throw new Error('the worker has no compute process');
    const environment = readFileSync(`/proc/${String(pid)}/environ`, 'utf8');
    expect(environment).not.toMatch(/RAVENLAB_|HOME=/);
    expect(readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8')).not.toContain(engine.home);
    const internet = internetSockets();
    // The worker itself has one to the engine: the test can see what it looks for.
    expect(socketsOf(child.pid!).some((inode) => internet.has(inode))).toBe(true);
    expect(socketsOf(pid).filter((inode) => internet.has(inode))).toEqual([]);
    expect(readFileSync(`/proc/${String(pid)}/oom_score_adj`, 'utf8').trim()).toBe('900');
    const limits = readFileSync(`/proc/${String(pid)}/limits`, 'utf8');
    const data = /^Max data size +(\d+)/m.exec(limits)?.[1];
    expect(Number(data)).toBe(GIB + WORKER_LIMITS.runtimeBytes);
  },
);

onLinux(
  'a process that is killed in the middle of a unit costs that unit, and the worker goes on',
  async () => {
    const child = engine.spawnJoin('secret', '--no-pay');
    await engine.welcome();
    await engine.define(0, powers(1024, 200));
    await engine.define(1, powers(2, 1));
    await engine.putState(1, 1, new Float32Array(1024 * 1024));
    const [lease] = await engine.run({ program: 0, inputs: [STATE] });
    await busy();
    const [first] = childrenOf(child.pid);
    process.kill(first!, 'SIGKILL');
    const { units } = await engine.next('done');
    expect(units).toMatchObject([
      { lease, status: 'failed', error: { code: 'limit', retryable: true } },
    ]);
    // What it held is gone, so it is asked for again.
    const again = { ...STATE, stateId: 2 as StateId };
    await engine.run({ program: 1, inputs: [again] });
    expect(await engine.next('need')).toMatchObject({ states: [{ stateId: 2, version: 1 }] });
    await engine.putState(2, 1, Float32Array.of(1, 2, 3, 4));
    expect((await engine.next('done')).units).toMatchObject([{ status: 'ok' }]);
    expect(childrenOf(child.pid)).not.toContain(first);
    expect(child.exitCode).toBeNull();
  },
);

async function busy(): Promise<void> {
  for (let seq = 1; ; seq++) {
    await engine.send({ kind: 'ping', seq, sentMs: seq });
    if ((await engine.next('pong')).busyMs > 0) return;
    await new Promise((then) => setTimeout(then, 50));
  }
}

onLinux('the process ends with its worker, however that ends', async () => {
  const child = engine.spawnJoin('secret', '--no-pay');
  const end = ended(child);
  await engine.welcome();
  const [pid] = childrenOf(child.pid);
  child.kill('SIGKILL');
  await end;
  const deadline = performance.now() + 5_000;
  while (existsSync(`/proc/${String(pid)}/exe`) && performance.now() < deadline) {
    await new Promise((then) => setTimeout(then, 20));
  }
  expect(existsSync(`/proc/${String(pid)}/exe`)).toBe(false);
});

onLinux('a process is refused memory beyond its bound, and goes on', async () => {
  const script =
    'try { new Uint8Array(800 * 2 ** 20).fill(1); console.log("had it"); } catch (error) { console.log(error.message); }';
  const said = async (bytes: number): Promise<string> => {
    const [program, args] = boundedCommand([process.execPath, '-e', script], bytes);
    return (await promisify(execFile)(program, args)).stdout.trim();
  };
  expect(await said(GIB / 2)).toBe('Array buffer allocation failed');
  expect(await said(2 * GIB)).toBe('had it');
});

test('its JavaScript reads no files but its modules, starts nothing, makes no code and inherits no secrets', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ravenlab-confined-'));
  try {
    const secret = join(folder, 'key.json');
    writeFileSync(secret, 'secret');
    const lib = resolve(__dirname, 'lib');
    const args = [...confinedFlags(), `--allow-fs-read=${lib}/`, join(lib, 'confined.mjs')];
    const env = confinedEnvironment('onnx-cpu', {
      ...process.env,
      RAVENLAB_HOME: folder,
      RAVENLAB_WORKER_TOKEN: 'secret',
      NODE_OPTIONS: '--no-warnings',
      HOME: folder,
    });
    const run = promisify(execFile)(process.execPath, [...args, secret, join(folder, 'new')], {
      env,
    });
    expect(JSON.parse((await run).stdout)).toEqual({
      readsSecrets: 'ERR_ACCESS_DENIED',
      writesFiles: 'ERR_ACCESS_DENIED',
      startsProcesses: 'ERR_ACCESS_DENIED',
      makesCode: 'EvalError',
      environment: [],
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
