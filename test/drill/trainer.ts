/**
 * @file The kernel of a drill, in a process of its own so that it can be killed: the engine's client, the public API, one
 * training loop. What a notebook's cells and main thread do, without Jupyter around them.
 */
import { createHash } from 'node:crypto';
import type { EngineReply, EngineRequest } from '@ravenlab/protocol';
import type { Tensor } from '../../kernel/src/api/index.js';
import { cluster } from '../../kernel/src/api/index.js';
import { installSession } from '../../kernel/src/api/session.js';
import { EngineClient } from '../../kernel/src/engine/client.js';
import { nowMs } from './lib/clock.js';
import type { FromTrainer, ToTrainer, TrainOptions } from './lib/messages.js';
import type { Course } from './lib/models.js';
import { makeCourse, readTally } from './lib/models.js';
import { ENGINE_ENTRY } from './lib/paths.js';

const say = (message: FromTrainer): void => {
  process.send?.(message);
};

const client = new EngineClient({
  entry: ENGINE_ENTRY,
  keys: [process.env['JPY_SESSION_NAME'] ?? 'drill'],
  env: process.env,
  onNotice: ({ text }) => {
    say({ kind: 'notice', text });
  },
});

let units = 0;
let attached: EngineReply | null = null;

async function request(message: EngineRequest): Promise<EngineReply> {
  const reply = await client.request(message);
  if (reply.kind === 'executed' && message.kind === 'execute' && message.plan.step !== null) {
    units += reply.units;
  }
  return reply;
}

const refuseToBlock = (): never => {
  throw new Error('this process has one thread: it awaits and never blocks');
};

installSession({
  request,
  // What the API asks before its first id, asked ahead.
  requestSync: (message) => {
    if (message.kind === 'attach' && attached !== null) return attached;
    return refuseToBlock();
  },
  waitSync: refuseToBlock,
  display: () => undefined,
  write: () => undefined,
  sha256: (bytes) => createHash('sha256').update(bytes).digest('hex'),
  now: () => Date.now(),
  interactive: false,
});

interface Pending {
  readonly step: PromiseLike<void>;
  readonly loss: Tensor;
}

let epochsWanted: number | null = null;
let epochUnderWay = 0;

async function train({ model: name, epochs, isResuming }: TrainOptions): Promise<void> {
  attached = await client.request({ kind: 'attach' });
  const course = makeCourse(name);
  const first = isResuming ? await resume(course) : 0;
  const losses: number[] = [];
  let before: Pending | null = null;
  const settle = async ({ step, loss }: Pending): Promise<void> => {
    await step;
    const [value = NaN] = await loss.data();
    say({ kind: 'step', atMs: nowMs(), step: first + losses.length, loss: value });
    losses.push(value);
  };
  epochsWanted ??= epochs;
  for (; epochsWanted === null || epochUnderWay < epochsWanted; epochUnderWay++) {
    for (const batch of course.loader) {
      const loss = course.pass(batch);
      const next: Pending = { step: course.optimizer.step(), loss };
      if (before !== null) await settle(before);
      before = next;
    }
  }
  if (before !== null) await settle(before);
  await finish(course, epochsWanted, losses);
}

/** Takes up the run that the kernel before this one left. @returns the number of its next step. */
async function resume({ model, optimizer, loader }: Course): Promise<number> {
  const run = await cluster.attach();
  if (run === null) throw new Error('the engine has no run to go on with');
  const { epoch } = await run.restore({ model, optimizer, loader });
  epochUnderWay = epoch;
  say({ kind: 'attached', atMs: nowMs(), step: run.step });
  return run.step;
}

async function finish({ model }: Course, epochs: number, losses: readonly number[]): Promise<void> {
  const hash = createHash('sha256');
  const state = [...(await model.stateDict())].sort(([a], [b]) => (a < b ? -1 : 1));
  for (const [key, { data }] of state) {
    hash.update(key).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  const lossesSha = createHash('sha256').update(Float64Array.from(losses)).digest('hex');
  const tally = await readTally(model, epochs);
  const weightsSha = hash.digest('hex');
  say({
    kind: 'finished',
    finish: { epochs, weightsSha, lossesSha, losses: losses.length, tally, units },
  });
}

const textOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error);

process.on('message', (message: ToTrainer) => {
  switch (message.kind) {
    case 'command': {
      const { id, op, args } = message;
      client.request({ kind: 'command', op, args: args as Readonly<Record<string, unknown>> }).then(
        (reply) => {
          say({ kind: 'answer', id, value: reply.kind === 'result' ? reply.value : reply });
        },
        (error: unknown) => {
          say({ kind: 'refusal', id, message: textOf(error) });
        },
      );
      return;
    }
    case 'train':
      train(message.options).catch((error: unknown) => {
        say({ kind: 'failed', message: textOf(error) });
      });
      return;
    case 'wrapUp':
      epochsWanted = epochUnderWay + 1;
      return;
    case 'close':
      void client.close({ restart: message.restart }).then(() => process.exit(0));
  }
});
// The drill is gone, and so is the reason to be here.
process.on('disconnect', () => {
  void client.close().finally(() => process.exit(0));
});
say({ kind: 'up', atMs: nowMs() });
