/** @file The auditor and what follows from its findings, put together with the engine's parts. */
import { ENGINE_LIMITS } from '@ravenlab/protocol';
import type { ClusterEvent } from '../core/cluster/events.js';
import { rulesOf } from '../core/cluster/rules.js';
import type { ClusterState } from '../core/cluster/state.js';
import { Auditor } from './auditor.js';
import { Bans } from './bans.js';
import { Cheats } from './cheats.js';
import type { Answer } from '../core/verify/auditBook.js';
import type { Collector, Reducers } from './collector.js';
import type { Durability } from './durability.js';
import type { SharedHeap } from './heap.js';
import type { VoidedUnits } from './journalMessages.js';
import type { KernelPort } from './kernelPort.js';
import type { Resources } from './resources.js';
import type { RulesStore } from './rulesStore.js';
import type { Runner } from './runner.js';
import type { StateStore } from './states.js';
import type { Treasury } from './treasury/treasury.js';
import { secretRandom } from './secretRandom.js';
import { UnitChecks } from './unitChecks.js';
import type { WorkerHub } from './workerHub.js';

export interface AuditParts {
  readonly cluster: ClusterState;
  readonly heap: SharedHeap;
  readonly states: StateStore;
  readonly resources: Resources;
  readonly reducers: Reducers;
  readonly runner: Runner;
  readonly durability: Durability;
  readonly rules: RulesStore;
  readonly kernel: KernelPort;
  readonly isJournaled: boolean;
  /** Integer ms that never go back. */
  readonly now: () => number;
  readonly feed: (event: ClusterEvent) => void;
  readonly beforeSubmit: () => void;
  readonly treasury: Treasury;
  readonly hub: () => WorkerHub;
  readonly onFatal: (error: unknown) => void;
  /** Ends this life of the engine. */
  readonly onEnd: (how: { readonly isForgetting: boolean }) => void;
  readonly alert: (level: 'warning' | 'error', text: string) => void;
}

export interface Audits {
  readonly auditor: Auditor;
  readonly cheats: Cheats;
  readonly bans: Bans;
  /** Where results of an execution go, audits included; null when it has ended. */
  readonly collectorOf: (execution: number) => Collector | null;
  /** Looks after audits that wait, until `close`. */
  readonly start: () => void;
  readonly close: () => Promise<void>;
}

export function makeAudits(parts: AuditParts): Audits {
  const { cluster, runner, states, durability, treasury, feed } = parts;
  const bans = new Bans({
    ...{ cluster, feed, rules: parts.rules, hub: parts.hub },
    walletOf: (worker) => treasury.walletOf(worker),
    onUnbanned: (worker) => {
      auditor.book.pardoned(worker);
    },
  });
  const cheats = makeCheats(parts, bans);
  const checks = new UnitChecks({
    ...{ heap: parts.heap, resources: parts.resources, onCrash: parts.onFatal },
  });
  const auditor: Auditor = new Auditor({
    ...{ cluster, feed, heap: parts.heap, reducers: parts.reducers, now: parts.now },
    ...{ beforeSubmit: parts.beforeSubmit, random: secretRandom(), checks },
    onJudged: (judgements) => {
      for (const { answer, verdict } of judgements) {
        // What nobody can repeat is paid: it was the user's choice to have it done by one owner alone.
        const isRefused = verdict === 'refused';
        treasury.judged(answer.leases, isRefused ? 'refused' : 'accepted');
        if (isRefused) durability.paid(voidedUnits(answer));
      }
    },
    nextExecution: () => runner.newExecution(),
    executionOf: (execution) => runner.executionOf(execution),
    pin: (revision) => states.pin(revision),
    paidOf: (point) => durability.paidOf(point),
    onHeld: (from) => {
      durability.hold(from);
    },
    onEnded: () => {
      runner.resume();
    },
    onCaught: (caught) => {
      cheats.caught(caught);
    },
    onUnverified: (worker) => {
      cheats.unverified(worker);
    },
    onWithheld: (withheld) => {
      cheats.withheld(withheld);
    },
  });
  let timer: NodeJS.Timeout | null = null;
  return {
    ...{ auditor, cheats, bans },
    collectorOf: (execution) =>
      (runner.executionOf(execution) ?? auditor.executionOf(execution))?.collector ?? null,
    start: () => {
      timer ??= setInterval(() => {
        auditor.tick();
      }, ENGINE_LIMITS.auditTickMs);
    },
    close: async () => {
      if (timer !== null) clearInterval(timer);
      cheats.close();
      auditor.close();
      await checks.close();
    },
  };
}

function makeCheats(parts: AuditParts, bans: Bans): Cheats {
  const { cluster, durability, rules, kernel, feed, isJournaled } = parts;
  const keep = (): void => {
    rules.save(rulesOf(cluster));
  };
  return new Cheats({
    isJournaled,
    ban: (worker) => {
      parts.treasury.convicted(worker);
      bans.ban(worker, true);
    },
    pause: (worker) => {
      feed({ kind: 'pause', worker });
      queueMicrotask(keep);
    },
    abandon: () => {
      durability.abandon();
    },
    rewind: () => {
      keep();
      kernel.rewinding();
      parts.onEnd({ isForgetting: false });
    },
    tell: (level, text) => {
      parts.alert(level, text);
      kernel.notice({ level, text });
    },
  });
}

/** Rows of the ledger that do not count: whoever does these units again is paid for them. */
function voidedUnits({ worker, point, shard, count }: Answer): VoidedUnits {
  const { session, request } = point;
  return { kind: 'voided', session, request, shard, count, worker };
}
