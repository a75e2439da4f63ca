/** @file A real JupyterLab server for browser tests: own folder, own port, own runtime files; stopped with all its kernels. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import type { PanelOp, PanelResults, PanelState } from '@ravenlab/protocol';

const ROOT = resolve(__dirname, '..', '..', '..');
const READY_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 10_000;

export interface Lab {
  /** With the token in it. */
  readonly url: string;
  /** The folder that the server shows. */
  readonly folder: string;
  /** Where its kernels' engines keep what they keep. */
  readonly ravenHome: string;
  /** What staged kernels show and were asked; only with `isStaged`. */
  readonly stage: Stage;
  /** What the server wrote so far; for messages of failed tests. */
  log(): string;
  stop(): Promise<void>;
}

/** The other side of stagedKernel.mjs. */
export class Stage {
  private readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
    mkdirSync(folder);
  }

  show(state: PanelState): void {
    this.write('state.json', state);
  }

  /** What each command answers from now on. */
  answer(results: { readonly [Op in PanelOp]?: PanelResults[Op] }): void {
    this.write('results.json', results);
  }

  /** What was asked so far, oldest first. */
  commands(): readonly { readonly op: string; readonly args: unknown }[] {
    const file = join(this.folder, 'commands.jsonl');
    if (!existsSync(file)) return [];
    const lines = readFileSync(file, 'utf8').trim().split('\n');
    return lines.map((line) => JSON.parse(line) as { op: string; args: unknown });
  }

  private write(name: string, value: unknown): void {
    const draft = join(this.folder, `${name}.draft`);
    writeFileSync(draft, JSON.stringify(value));
    renameSync(draft, join(this.folder, name));
  }
}

function freePort(): Promise<number> {
  return new Promise((done, fail) => {
    const probe = createServer();
    probe.once('error', fail);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as AddressInfo;
      probe.close(() => done(port));
    });
  });
}

const pause = (durationMs: number) => new Promise((done) => setTimeout(done, durationMs));

async function waitUntilServing(
  address: string,
  token: string,
  child: ChildProcess,
): Promise<void> {
  const deadline = performance.now() + READY_LIMIT_MS;
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`jupyter-lab ended with code ${child.exitCode}`);
    const isUp = await fetch(`${address}/api/status`, {
      headers: { authorization: `token ${token}` },
    }).then(
      (response) => response.ok,
      () => false,
    );
    if (isUp) return;
    await pause(100);
  }
  throw new Error(`jupyter-lab did not answer within ${READY_LIMIT_MS / 1000} s`);
}

async function stopGroup(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.pid === undefined) return;
  const { pid } = child;
  const killGroup = () => {
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // The whole group has ended, as it should.
    }
  };
  const ended = new Promise((done) => child.once('exit', done));
  // SIGTERM makes the server shut its kernels down; the group catches what it leaves behind.
  child.kill('SIGTERM');
  const impatience = setTimeout(killGroup, STOP_LIMIT_MS);
  await ended;
  clearTimeout(impatience);
  killGroup();
}

/** This checkout's kernel and extension, found before those that the virtual environment was last set up with. */
async function shareOwn(share: string, kernelMain: string): Promise<void> {
  const template = join(ROOT, 'kernel', 'kernelspec');
  const kernel = join(share, 'kernels', 'ravenlab');
  await cp(template, kernel, { recursive: true });
  const spec = JSON.parse(await readFile(join(template, 'kernel.json'), 'utf8')) as {
    readonly argv: readonly string[];
  };
  const paths: Readonly<Record<string, string>> = {
    node: process.execPath,
    '{{KERNEL_MAIN}}': kernelMain,
  };
  const argv = spec.argv.map((part) => paths[part] ?? part);
  await writeFile(join(kernel, 'kernel.json'), JSON.stringify({ ...spec, argv }));
  const extensions = join(share, 'labextensions', '@ravenlab');
  await mkdir(extensions, { recursive: true });
  await symlink(join(ROOT, 'extension', 'labextension'), join(extensions, 'extension'), 'junction');
}

function serverEnv(home: string, token: string): NodeJS.ProcessEnv {
  return {
    ...process.env,
    PATH: [join(ROOT, '.venv', 'bin'), process.env['PATH'] ?? ''].join(delimiter),
    RAVENLAB_HOME: join(home, 'ravenlab'),
    RAVENLAB_STAGE: join(home, 'stage'),
    JUPYTER_PATH: join(home, 'share'),
    JUPYTER_TOKEN: token,
    JUPYTER_CONFIG_DIR: join(home, 'config'),
    JUPYTER_DATA_DIR: join(home, 'data'),
    JUPYTER_RUNTIME_DIR: join(home, 'runtime'),
    JUPYTERLAB_SETTINGS_DIR: join(home, 'settings'),
    JUPYTERLAB_WORKSPACES_DIR: join(home, 'workspaces'),
    JUPYTER_PREFER_ENV_PATH: '1',
  };
}

/** Serves copies of the project's notebooks, so that a run never changes the committed ones. */
export async function startLab(
  options: {
    readonly notebooks?: readonly string[];
    readonly isStaged?: boolean;
    /** `RAVENLAB_CHAIN` of its engines. */
    readonly chain?: 'simulated' | 'off';
  } = {},
): Promise<Lab> {
  const home = await mkdtemp(join(tmpdir(), 'ravenlab-browser-'));
  const folder = join(home, 'notebooks');
  await mkdir(folder);
  const stage = new Stage(join(home, 'stage'));
  const kernelMain =
    options.isStaged === true
      ? join(__dirname, 'stagedKernel.mjs')
      : join(ROOT, 'kernel', 'dist', 'main.js');
  await shareOwn(join(home, 'share'), kernelMain);
  const data = join(ROOT, 'notebooks', 'data');
  if (existsSync(data)) await cp(data, join(folder, 'data'), { recursive: true });
  for (const name of options.notebooks ?? []) {
    await cp(join(ROOT, 'notebooks', name), join(folder, name));
  }
  const port = await freePort();
  const token = randomBytes(24).toString('hex');
  const args = [
    '--no-browser',
    `--config=${join(ROOT, 'jupyter_config.json')}`,
    `--ServerApp.root_dir=${folder}`,
    '--ServerApp.ip=127.0.0.1',
    `--ServerApp.port=${port}`,
    '--ServerApp.port_retries=0',
    ...(process.getuid?.() === 0 ? ['--allow-root'] : []),
  ];
  const child = spawn('jupyter-lab', args, {
    cwd: folder,
    detached: true,
    env: {
      ...serverEnv(home, token),
      ...(options.chain !== undefined && { RAVENLAB_CHAIN: options.chain }),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const lines: string[] = [];
  const keep = (chunk: Buffer) => {
    lines.push(chunk.toString());
    if (lines.length > 500) lines.splice(0, 100);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const log = () => lines.join('');
  const stop = async () => {
    await stopGroup(child);
    await rm(home, { recursive: true, force: true, maxRetries: 5 });
  };
  const failed = new Promise<never>((_done, fail) => {
    child.once('error', (cause) => fail(new Error('jupyter-lab did not start', { cause })));
  });
  const address = `http://127.0.0.1:${port}`;
  try {
    await Promise.race([waitUntilServing(address, token, child), failed]);
  } catch (error) {
    await stop();
    throw new Error(`${String(error)}\n${log()}`, { cause: error });
  }
  return {
    url: `${address}/lab?token=${token}`,
    folder,
    ravenHome: join(home, 'ravenlab'),
    stage,
    log,
    stop,
  };
}
