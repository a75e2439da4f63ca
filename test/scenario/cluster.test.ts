/**
 * @file Scenario scripts of the scheduler: `test/scenario/cluster/*.txt` are commands with the exact effects that follow,
 * and prose between, to be read in review. `RAVENLAB_UPDATE=1` writes the traces anew; read the diff.
 */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionId, LeaseId, UnitStatus } from '@ravenlab/protocol';
import type { ClusterEffect, UnitResult } from '../../kernel/src/core/cluster/events.js';
import { Scheduler, resource, worker } from '../unit/core/cluster/lib.js';

const FOLDER = join(__dirname, 'cluster');
const isUpdating = process.env['RAVENLAB_UPDATE'] === '1';

/** One effect as one line; bookkeeping that a reader does not need is left out. */
function describeEffect(effect: ClusterEffect): string {
  switch (effect.kind) {
    case 'provide':
    case 'drop':
      return `${effect.kind} ${effect.worker} resources ${effect.resources.join(',')}`;
    case 'run': {
      const groups = effect.groups.map((group) =>
        group.map(({ lease, shard }) => `${String(shard)}@${String(lease)}`).join('+'),
      );
      return `run ${effect.worker} execution ${String(effect.execution)} shard@lease ${groups.join(' ')}`;
    }
    case 'revoke':
      return `revoke ${effect.worker} leases ${effect.leases.join(',')}`;
    case 'revokeExecution':
      return `revoke ${effect.worker} execution ${String(effect.execution)}`;
    case 'accept':
      return `accept execution ${String(effect.execution)} shard ${String(effect.shard)}${effect.count > 1 ? ` + ${String(effect.count - 1)}` : ''}`;
    case 'meter':
      return `meter unit ${String(effect.entry.unit)} for ${effect.entry.worker}: ${String(effect.entry.amount)}`;
    case 'complete':
      return `complete execution ${String(effect.execution)} by ${String(effect.workers)} workers`;
    case 'committed':
      return `committed execution ${String(effect.execution)}`;
    case 'failed':
      return `failed execution ${String(effect.execution)}: ${effect.failure.code}: ${effect.failure.message}`;
    case 'expel':
      return `expel ${effect.worker}: ${effect.reason}`;
    case 'ping':
    case 'drained':
      return `${effect.kind} ${effect.worker}`;
    case 'relieved':
      return 'relieved';
    case 'starved':
      return `starved since ${String(effect.sinceMs)} ms${effect.bitClass === null ? '' : ` for ${effect.bitClass}`}`;
    case 'quarantined':
      return `quarantined ${effect.worker} for ${String(effect.forMs)} ms`;
  }
}

const ERROR = { code: 'program', message: 'no kernel', fault: 'remote', retryable: true } as const;
const NO_MEMORY = { ...ERROR, code: 'limit', message: 'no memory' } as const;

function result(lease: string, status: UnitStatus, computeUs = '1000'): UnitResult {
  return {
    lease: Number(lease) as LeaseId,
    status,
    computeUs: Number(computeUs),
    output: status === 'nonFinite' ? 0 : -1,
    error: status === 'failed' ? ERROR : null,
  };
}

type Command = (cluster: Scheduler, args: readonly string[]) => ClusterEffect[];

/** What a script can say; `> word args…`. */
const COMMANDS: Readonly<Record<string, Command>> = {
  join: (cluster, [name = '']) => cluster.join(name),
  /** A worker that has never answered a unit. */
  joinNew: (cluster, [name = '', incarnation = '1']) =>
    cluster.join(name, { isNew: true, incarnation: Number(incarnation) }),
  joinClass: (cluster, [name = '', bitClass = '', gflops = '']) =>
    cluster.join(name, { bitClass, gflops: Number(gflops) }),
  left: (cluster, [name = '']) => cluster.lose(name),
  heard: (cluster, [name = '']) =>
    cluster.feed({ kind: 'heard', worker: worker(name), latencyUs: 100 }),
  submit: (cluster, [id = '', shards = '', ...common]) => {
    const resources = common.map((text) => resource(Number(text)));
    return cluster.submit({ id: Number(id), units: Number(shards), common: resources });
  },
  /** A training step: its results are only summed. */
  submitSum: (cluster, [id = '', shards = '', ...common]) => {
    const resources = common.map((text) => resource(Number(text)));
    const options = { id: Number(id), units: Number(shards), common: resources };
    return cluster.submit({ ...options, isMergeable: true });
  },
  submitRun: (cluster, [id = '', shards = '', run = '']) =>
    cluster.submit({ id: Number(id), units: Number(shards), run }),
  mix: (cluster, [answer]) => cluster.feed({ kind: 'mixClasses', isAllowed: answer === 'yes' }),
  /** The worker answers what it has until it has nothing; told in short. */
  finish: (cluster, [name = '']) =>
    cluster.finish(name).filter((effect) => effect.kind === 'complete'),
  ok: (cluster, [name = '', lease = '', computeUs]) =>
    cluster.feed({ kind: 'done', worker: worker(name), results: [result(lease, 'ok', computeUs)] }),
  fail: (cluster, [name = '', lease = '', status = 'failed']) => {
    const results = [result(lease, status as UnitStatus)];
    return cluster.feed({ kind: 'done', worker: worker(name), results });
  },
  /** The worker has not the memory for the program. */
  noMemory: (cluster, [name = '', ...leases]) => {
    const results = leases.map((lease) => ({ ...result(lease, 'failed'), error: NO_MEMORY }));
    return cluster.feed({ kind: 'done', worker: worker(name), results });
  },
  need: (cluster, [name = '', ...ids]) => {
    const resources = ids.map((id) => resource(Number(id)).id);
    return cluster.feed({ kind: 'need', worker: worker(name), resources });
  },
  reduced: (cluster, [id = '']) =>
    cluster.feed({ kind: 'reduced', execution: Number(id) as ExecutionId, failure: null }),
  cancel: (cluster, [id = '']) =>
    cluster.feed({ kind: 'cancelled', execution: Number(id) as ExecutionId }),
  pause: (cluster, [name = '']) => cluster.feed({ kind: 'pause', worker: worker(name) }),
  ban: (cluster, [name = '']) => cluster.feed({ kind: 'ban', worker: worker(name) }),
  unban: (cluster, [name = '']) => cluster.feed({ kind: 'unban', worker: worker(name) }),
  drain: (cluster, [name = '']) => cluster.feed({ kind: 'drain', worker: worker(name) }),
  resume: (cluster, [name = '']) => cluster.feed({ kind: 'resume', worker: worker(name) }),
  retire: (cluster, ids) => {
    const resources = ids.map((id) => resource(Number(id)).id);
    return cluster.feed({ kind: 'retired', resources });
  },
  pass: (cluster, [ms = '']) => cluster.pass(Number(ms)),
  passAlive: (cluster, [ms = '']) => cluster.passAlive(Number(ms)),
};

/** Runs a script; returns it with the effects that really follow each command. */
function play(script: string): string {
  const cluster = new Scheduler();
  const lines: string[] = [];
  for (const line of script.split('\n')) {
    if (line.startsWith('  ')) continue; // a trace of before
    lines.push(line);
    if (!line.startsWith('> ')) continue;
    const [word = '', ...args] = line.slice(2).split(' ');
    const command = COMMANDS[word];
    if (command === undefined) throw new Error(`no command '${word}' in: ${line}`);
    for (const effect of command(cluster, args)) {
      if (effect.kind !== 'ping') lines.push(`  ${describeEffect(effect)}`);
    }
  }
  return lines.join('\n');
}

const scripts = readdirSync(FOLDER).filter((name) => name.endsWith('.txt'));

test('there are scripts to play', () => {
  expect(scripts.length).toBeGreaterThan(3);
});

test.each(scripts)('%s goes as written', (name) => {
  const file = join(FOLDER, name);
  const script = readFileSync(file, 'utf8');
  const played = play(script);
  if (isUpdating) writeFileSync(file, played);
  else expect(played).toBe(script);
});
