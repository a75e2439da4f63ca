/**
 * @file A process of its own as a host: it holds no key, no address and no connection but the pipe to this one. It may crash, be
 * killed for want of memory or be killed from here, and the worker lives.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { parse } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BackendName } from '@ravenlab/protocol';
import { FrameSocket, WORKER_LIMITS } from '@ravenlab/protocol';
import { BACKEND_TABLE } from '../backendTable.js';
import type { ComputeHost, HostEnd, HostEvents } from '../computeHost.js';
import type { ComputeOptions, ToCompute } from '../computeMessages.js';
import { boundedCommand, confinedEnvironment, confinedFlags } from './confinement.js';
import { PIPE, PIPE_FRAME_BYTES, pipeOptions } from './pipe.js';
import type { ChildSettings } from './pipeMessages.js';
import { decodeFromChild, encodeToChild } from './pipeMessages.js';

const PROGRAM = fileURLToPath(new URL('./childMain.js', import.meta.url));
/** When memory is short, Linux ends what has the highest score first: this, and neither the worker nor the owner's desktop. */
const OOM_SCORE = '900';
const LAST_WORDS_CHARS = 2_000;
const OUT_OF_MEMORY = /bad_alloc|out of memory|Allocation failed|Cannot allocate memory/i;

/** Starts a process. */
export function openProcess(options: ComputeOptions, events: HostEvents): ProcessHost {
  return new ProcessHost(options, events);
}

export class ProcessHost implements ComputeHost {
  readonly gone: Promise<void>;
  private readonly child: ChildProcess;
  private readonly connection: FrameSocket;
  /** What it said last of the unit that runs, and when. */
  private heard = { busyMs: 0, atMs: 0 };
  private silentBeats = 0;
  private lastWords = '';
  /** Why it was ended from here; null when it was not. */
  private verdict: string | null = null;

  constructor(options: ComputeOptions, events: HostEvents) {
    const { backend, threads, digests, gflops, memoryBytes } = options;
    const settings: ChildSettings = { backend, threads, digests, gflops, memoryBytes };
    const node = [process.execPath, ...confinedFlags(), PROGRAM, JSON.stringify(settings)] as const;
    const [command, args] = boundedCommand(node, mostBytes(backend, memoryBytes));
    const child = spawn(command, args, {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      env: confinedEnvironment(backend, process.env),
      cwd: parse(process.cwd()).root,
      // Out of the terminal's group: Ctrl-C is the worker's to answer. On Windows it would open a window.
      detached: process.platform !== 'win32',
    });
    this.child = child;
    child.stderr?.on('data', (text: Buffer) => {
      this.lastWords = (this.lastWords + text.toString()).slice(-LAST_WORDS_CHARS);
    });
    this.connection = this.connect(child.stdio[PIPE] as Socket, events, memoryBytes);
    this.gone = this.whenGone(events);
    if (child.pid !== undefined) offerToOomKiller(child.pid);
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  get busyMs(): number {
    const { busyMs, atMs } = this.heard;
    return busyMs === 0 ? 0 : busyMs + Math.round(performance.now() - atMs);
  }

  post(message: ToCompute): void {
    this.connection.send(encodeToChild(message, PIPE_FRAME_BYTES));
  }

  beat(): string | null {
    this.silentBeats++;
    if (this.silentBeats <= WORKER_LIMITS.sandboxSilentS) return null;
    return `it said nothing for ${String(WORKER_LIMITS.sandboxSilentS)} s`;
  }

  stop(): void {
    this.post({ kind: 'stop' });
  }

  abandon(): void {
    this.kill('it was ended from here');
  }

  private connect(pipe: Socket, events: HostEvents, memoryBytes: number): FrameSocket {
    return new FrameSocket(
      pipe,
      {
        onMessage: (frames) => {
          const message = decodeFromChild(frames);
          if (message.kind !== 'beat') {
            events.message(message);
            return;
          }
          this.silentBeats = 0;
          this.heard = { busyMs: message.busyMs, atMs: performance.now() };
        },
        onClose: (error) => this.pipeClosed(error),
      },
      pipeOptions(memoryBytes),
    );
  }

  /** It is of no use without. When it ends by itself, that comes with a better reason. */
  private pipeClosed(error: Error | null): void {
    if (error !== null) this.kill(error.message);
    else setTimeout(() => this.kill('it closed its pipe'), WORKER_LIMITS.abandonMs).unref();
  }

  private whenGone(events: HostEvents): Promise<void> {
    return new Promise((resolve) => {
      let isTold = false;
      const tell = (end: HostEnd): void => {
        if (isTold) return;
        isTold = true;
        this.heard = { busyMs: 0, atMs: 0 };
        resolve();
        events.ended(end);
      };
      this.child.on('error', (error) => {
        // Not started, or a signal that did not reach it: then 'close' tells.
        if (this.child.pid === undefined) tell({ code: 'internal', reason: error.message });
      });
      this.child.on('close', (code, signal) => tell(this.endOf(code, signal)));
    });
  }

  private endOf(code: number | null, signal: NodeJS.Signals | null): HostEnd {
    if (this.verdict !== null) return { code: 'internal', reason: this.verdict };
    const words = this.lastWords.trim();
    const how = signal ?? `code ${String(code)}`;
    if (OUT_OF_MEMORY.test(words))
      return { code: 'limit', reason: `out of memory (${how}): ${words}` };
    if (signal === 'SIGKILL') {
      const reason = 'the system killed it (SIGKILL), as it does when memory runs out';
      return { code: 'limit', reason };
    }
    return { code: 'internal', reason: words === '' ? how : `${how}: ${words}` };
  }

  private kill(reason: string): void {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.verdict ??= reason;
    this.child.kill('SIGKILL');
  }
}

/** What the process may take from the system: what programs may, and what Node and the libraries are themselves. */
function mostBytes(backend: BackendName, memoryBytes: number): number {
  if (BACKEND_TABLE[backend].isAccelerator) return Infinity;
  return memoryBytes + WORKER_LIMITS.runtimeBytes;
}

function offerToOomKiller(pid: number): void {
  if (process.platform !== 'linux') return;
  // Best effort: the process may be gone already, or /proc not be there.
  writeFile(`/proc/${String(pid)}/oom_score_adj`, OOM_SCORE).catch(() => undefined);
}
