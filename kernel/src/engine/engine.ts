/** @file The engine: all its parts put together. The process around it is main.ts. */
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type {
  EngineId,
  EngineReply,
  ExecutionPlan,
  HelloMessage,
  RavenError,
  WorkerId,
} from '@ravenlab/protocol';
import { ENGINE_LIMITS, amountOfWork, priceText } from '@ravenlab/protocol';
import type { ClusterEvent } from '../core/cluster/events.js';
import { restoreRules } from '../core/cluster/rules.js';
import type { ResourceId } from '../core/cluster/state.js';
import { createCluster } from '../core/cluster/state.js';
import type { ClusterState } from '../core/cluster/state.js';
import { makeAudits } from './audits.js';
import type { Audits } from './audits.js';
import { ClusterLoop } from './clusterLoop.js';
import type { Collector, Reducers } from './collector.js';
import { Commands } from './commands.js';
import { DataStore } from './dataStore.js';
import { Durability } from './durability.js';
import { engineFolder, socketFolder } from './engineId.js';
import type { EngineOptions } from './engineOptions.js';
import { publishAddress, sweepSaved, withdrawAddress } from './engineRegistry.js';
import { SharedHeap } from './heap.js';
import type { Admission } from './hubOptions.js';
import { KernelPort } from './kernelPort.js';
import type { Notice, ToEngine } from './kernelWire.js';
import { LocalWorkers } from './localWorkers.js';
import { PanelView } from './panelView.js';
import { PinKeeper } from './pinKeeper.js';
import { PaymentsView } from './paymentsView.js';
import type { Performers } from './clusterLoop.js';
import { performersOf } from './performers.js';
import { ProgramTable } from './programTable.js';
import { InlineReducer, ThreadReducer } from './reducer.js';
import { RemoteAccess } from './remoteAccess.js';
import { Resources } from './resources.js';
import { Runner } from './runner.js';
import { RulesStore } from './rulesStore.js';
import { RunTable } from './runs.js';
import { SocketPort } from './socketPort.js';
import { StateStore } from './states.js';
import type { Peer } from './transport.js';
import type { RestoredPay } from './treasury/payRows.js';
import { makeTreasury } from './treasury/makeTreasury.js';
import type { Treasury } from './treasury/treasury.js';
import { Vitals } from './vitals.js';
import { WorkerHub } from './workerHub.js';

/** Leases of one life of the engine: more than can be granted in it, and no lease comes again in another. */
const LEASES_PER_BOOT = 2 ** 36;

/** Integer ms that never go back. */
const monotonicMs = (): number => Math.trunc(performance.now());

export class Engine {
  private readonly options: EngineOptions;
  private readonly folder: string;
  private readonly sockets = socketFolder();
  private readonly heap = new SharedHeap();
  private readonly resources = new Resources();
  private readonly vitals = new Vitals();
  private readonly states: StateStore;
  private readonly data: DataStore;
  private readonly runs = new RunTable();
  private readonly thread: ThreadReducer;
  private readonly kernel: KernelPort;
  private readonly programs: ProgramTable;
  private readonly durability: Durability;
  private readonly rules: RulesStore;
  private readonly pins: PinKeeper;
  private treasury!: Treasury;
  private cluster!: ClusterState;
  private loop!: ClusterLoop;
  private hub!: WorkerHub;
  private runner!: Runner;
  private audits!: Audits;
  private panel!: PanelView;
  private commands!: Commands;
  private localPort!: SocketPort;
  private remote!: RemoteAccess;
  private locals!: LocalWorkers;
  private retired: ResourceId[] = [];
  private panelTimer: NodeJS.Timeout | null = null;
  private meterTimer: NodeJS.Timeout | null = null;
  private panelText = '';
  private closing = false;
  private readonly feed = (event: ClusterEvent): void => {
    this.loop.feed(event);
  };

  constructor(options: EngineOptions) {
    this.options = options;
    this.folder = engineFolder(options.engineId);
    const onRetired = (ids: readonly ResourceId[]) => {
      this.retire(ids);
    };
    this.rules = new RulesStore(this.folder, (message) => {
      this.options.log(message);
    });
    this.pins = new PinKeeper({
      cluster: () => this.cluster,
      rules: this.rules,
      tell: (text) => {
        this.tell('info', text);
      },
    });
    this.states = new StateStore(this.heap, this.resources, onRetired);
    this.data = new DataStore(this.resources, onRetired);
    this.thread = new ThreadReducer(this.heap.memory, options.onFatal);
    this.programs = this.makePrograms();
    this.durability = this.makeDurability();
    this.kernel = new KernelPort({
      onHello: (message) => this.greet(message),
      onGone: () => {
        this.durability.kernelGone();
      },
      onMessage: (message) => {
        this.fromKernel(message);
      },
      onUnreadable: (error) => {
        options.log(`kernel socket: ${error.message}`);
      },
      onFatal: options.onFatal,
    });
  }

  /** Opens everything. @returns the path of the kernel's socket. */
  async start(): Promise<string> {
    const { log, engineId } = this.options;
    const rules = this.rules.load();
    const restored = await this.durability.open(rules?.caught ?? []);
    withdrawAddress(this.folder);
    sweepSaved(dirname(this.folder), Date.now());
    this.cluster = createCluster(1, restored.boot * LEASES_PER_BOOT);
    for (const { worker, posted, units } of restored.accounts) {
      this.cluster.ledger.restore(worker as WorkerId, BigInt(posted), units);
    }
    if (rules !== null) restoreRules(this.cluster, rules);
    this.treasury = this.makeTreasury(restored.pay);
    this.assemble(engineId, log);
    if (this.options.isAuditing) this.audits.auditor.restore(restored.pay.held);
    const workersPath = join(this.sockets, 'workers.sock');
    const endpoint = `unix://${workersPath}`;
    this.localPort = new SocketPort(this.hub);
    await this.localPort.listen(workersPath);
    // They take longest to get ready: what is restored is there before them.
    this.locals = this.makeLocals(endpoint);
    this.locals.scale(this.options.localWorkers);
    await this.durability.recover(restored, { panel: this.panel, cluster: this.cluster });
    this.remote = new RemoteAccess(this.hub, {
      ...{ host: this.options.host, folder: this.sockets, now: monotonicMs, wallMs: Date.now },
      saved: restored.remote,
      save: (text) => this.durability.saveRemote(text),
    });
    this.remote.reopen().catch((error: unknown) => {
      this.alert('error', `Invited machines cannot come back, invite them again: ${String(error)}`);
    });
    this.commands = new Commands({
      cluster: this.cluster,
      feed: this.feed,
      ...{ runner: this.runner, hub: this.hub, panel: this.panel, runs: this.runs },
      ...{ locals: this.locals, remote: this.remote, treasury: this.treasury },
      ...{ audits: this.audits, resources: this.resources, heap: this.heap },
      ...{ vitals: this.vitals, durability: this.durability, endpoint, rules: this.rules },
    });
    this.treasury.start();
    const kernelPath = join(this.sockets, 'kernel.sock');
    await this.kernel.listen(kernelPath);
    this.durability.expectKernel();
    this.audits.start();
    this.panelTimer = setInterval(() => {
      this.pushPanel();
    }, 1000 / ENGINE_LIMITS.panelHz);
    this.meterTimer = setInterval(() => {
      this.hub.tellEarnings();
    }, ENGINE_LIMITS.meterMs);
    publishAddress(this.folder, { pid: process.pid, endpoint: kernelPath });
    return kernelPath;
  }

  /**
   * Ends workers and threads, writes what is owed. Safe to call twice.
   * @param isForgetting the notebook is over: only the ledger stays.
   */
  async close(isForgetting = false): Promise<void> {
    if (this.closing) return;
    this.closing = true;
    if (this.panelTimer !== null) clearInterval(this.panelTimer);
    if (this.meterTimer !== null) clearInterval(this.meterTimer);
    this.vitals.close();
    this.loop.stop();
    // Who is asked to do it again stays.
    if (!this.audits.cheats.isRewinding) this.hub.shutdown();
    const audited = this.audits.close();
    this.locals.close();
    this.treasury.close();
    await this.durability.close(isForgetting);
    await this.options.chain.close();
    await Promise.all([this.thread.close(), audited]);
    this.localPort.close();
    this.remote.close();
    this.kernel.close();
    withdrawAddress(this.folder);
    rmSync(this.sockets, { recursive: true, force: true });
  }

  private assemble(engineId: EngineId, log: (text: string) => void): void {
    const { cluster, resources, heap, states, data, treasury } = this;
    const payments = new PaymentsView({
      ledger: cluster.ledger,
      price: this.options.price,
      treasury,
    });
    this.panel = new PanelView({ engineId, cluster, payments, wallMs: Date.now });
    const reducers = { inline: new InlineReducer(heap.memory), thread: this.thread };
    this.runner = this.makeRunner(reducers);
    this.audits = this.makeAudits(reducers);
    this.hub = new WorkerHub({
      ...{ engineId, resources, cluster, log, onFatal: this.options.onFatal },
      ...{ price: () => priceText(payments.priceNow()), now: monotonicMs, wallMs: Date.now },
      feed: (event, done) => {
        this.loop.feed(event, done ?? null);
      },
      // What runs on this machine is the user's own, and needs no audit.
      trusts: ({ origin }) => origin === 'local' || !this.options.isAuditing,
      collectorOf: (execution) => this.audits.collectorOf(execution),
      admits: (hello, peer) => this.admits(hello, peer),
      desk: this.treasury,
      serverKey: () => this.remote.serverKey,
      findResource: (ref) => (ref.kind === 'state' ? states.find(ref) : data.find(ref)),
      onBannedWallet: (text) => {
        this.alert('warning', text);
      },
      onMaking: (session, execution) => {
        this.runner.making(session, execution);
      },
      onUnmade: (session, execution) => {
        this.runner.advances.unmade(session, execution);
      },
      onJoined: (session) => {
        this.panel.joined(session);
        this.treasury.joined(session.worker, session.payee, session.peer.origin === 'local');
      },
      onLeft: (session) => {
        this.panel.left(session.worker);
        this.treasury.left(session.worker);
      },
    });
    this.loop = new ClusterLoop({
      ...{ state: cluster, now: monotonicMs, performers: this.performers() },
      onFatal: this.options.onFatal,
    });
  }

  private makeRunner(reducers: Reducers): Runner {
    const { heap, states, data, runs, cluster } = this;
    return new Runner({
      ...{ heap, states, data, runs, cluster, reducers },
      onWritten: () => {
        this.hub.resume();
      },
      feed: this.feed,
      programs: this.programs,
      journal: this.durability,
      isAudited: {
        data: (ids) => this.audits.auditor.usesData(ids),
        program: (hash) => this.audits.auditor.usesProgram(hash),
      },
      onWithdrawn: (point) => {
        this.audits.auditor.withdrawn(point);
      },
      beforeSubmit: () => {
        this.tellRetired();
      },
      onCommitted: (plan, collector, isLate) => {
        this.onCommitted(plan, collector, isLate);
      },
      onFailed: (plan, error) => {
        this.onFailed(plan, error);
      },
      onRefused: (message) => {
        const text = `Workers refuse a step that they did before the engine was started again (${message}). It is tried again until one takes it.`;
        this.tell('warning', text);
      },
      after: (delayMs, act) => {
        setTimeout(() => {
          if (!this.closing) act();
        }, delayMs);
      },
    });
  }

  private makeAudits(reducers: Reducers): Audits {
    const { cluster, heap, states, resources, runner, durability, rules, kernel, treasury } = this;
    return makeAudits({
      ...{ cluster, heap, states, resources, reducers, runner },
      ...{ durability, rules, kernel, treasury },
      ...{ now: monotonicMs, onFatal: this.options.onFatal },
      isJournaled: this.options.journal !== 'off',
      feed: this.feed,
      beforeSubmit: () => {
        this.tellRetired();
      },
      onEnd: this.options.onEnd,
      hub: () => this.hub,
      alert: (level, text) => {
        this.alert(level, text);
      },
    });
  }

  private performers(): Performers {
    return performersOf({
      ...{ hub: this.hub, runner: this.runner, treasury: this.treasury },
      auditor: this.audits.auditor,
      durability: this.durability,
      log: this.options.log,
      now: monotonicMs,
      locals: () => this.locals,
      warn: (text) => {
        this.alert('warning', text);
      },
      starved: (text) => {
        this.panel.alerts.tell('warning', text, 'starved');
        this.kernel.notice({ level: 'warning', text });
      },
      relieved: () => {
        this.panel.alerts.resolve('starved');
      },
    });
  }

  private makeTreasury(restored: RestoredPay): Treasury {
    return makeTreasury({
      ...{ chain: this.options.chain, restored, rate: this.options.price.rate },
      ...{ caught: this.cluster.caught, isAuditing: this.options.isAuditing },
      ...{ durability: this.durability, now: monotonicMs },
      hub: () => this.hub,
      serverKey: () => this.remote.serverKey,
      feed: this.feed,
      tell: (level, text) => {
        this.alert(level, text);
      },
    });
  }

  private makeDurability(): Durability {
    const { folder, heap, resources, states, data, programs, runs } = this;
    const { journal: mode, journalThread: thread, lingerMs, log, onFatal } = this.options;
    return new Durability({
      ...{ folder, mode, thread, lingerMs, log, onFatal },
      memory: heap.memory,
      now: monotonicMs,
      stores: { resources, states, data, programs, runs },
      runner: () => this.runner,
      onDurable: (watermark) => {
        this.kernel.durable(watermark);
      },
      onStored: (rows) => {
        this.treasury.stored(rows);
      },
      onAttached: () => {
        this.panelText = '';
      },
      onAbandoned: () => {
        this.options.onEnd({ isForgetting: false });
      },
      tell: (level, text) => {
        this.tell(level, text);
      },
    });
  }

  private makePrograms(): ProgramTable {
    return new ProgramTable({
      resources: this.resources,
      sha256: (bytes) => createHash('sha256').update(bytes).digest('hex'),
      amountOf: (work) => amountOfWork(this.options.price.rate, work),
      retire: (ids) => {
        this.retire(ids);
      },
    });
  }

  private makeLocals(endpoint: string): LocalWorkers {
    return new LocalWorkers({
      command: this.options.workerCommand,
      backends: this.options.localBackends,
      endpoint,
      isWorkLeased: () => this.cluster.leases.size > 0,
      onGone: (token) => {
        this.hub.processEnded(token);
      },
      log: this.options.log,
      onCrash: (text) => {
        this.alert('warning', text);
      },
    });
  }

  /** The socket folder's rights admit local workers; a token that they show must be theirs. */
  private admits(hello: HelloMessage, peer: Peer): Admission | null {
    if (peer.origin === 'local') return { invite: null };
    const invite = this.remote.admits(hello.token);
    return invite === null ? null : { invite };
  }

  /** A kernel that worked with an earlier life of this engine sees in the panel that there was one. */
  private greet({
    client,
    session,
  }: Extract<ToEngine, { kind: 'hello' }>): ReturnType<Durability['hello']> {
    const isFirst = this.durability.session === 0;
    const answer = this.durability.hello(client, session);
    if (isFirst && session > 0 && answer.kind === 'welcome') {
      this.alert('info', 'The engine was started again; the run goes on where it was.');
    }
    return answer;
  }

  private fromKernel(message: Exclude<ToEngine, { kind: 'hello' }>): void {
    switch (message.kind) {
      case 'ack':
        this.durability.acked(message.acked);
        return;
      case 'cancelEpoch':
        this.runner.cancelEpoch(message.epoch);
        return;
      case 'close':
        this.options.onEnd({ isForgetting: true });
        return;
      case 'request': {
        const { id, epoch, acked, isRepeat, request } = message;
        this.durability.acked(acked);
        const { session } = this.durability;
        // Numbers are each kernel's own: what one asked and did not live to hear is no answer to the next.
        const isHeard = () => session === this.durability.session;
        const resolve = (reply: EngineReply) => {
          if (isHeard()) this.kernel.reply(id, reply);
        };
        const reject = (error: unknown) => {
          if (isHeard()) this.kernel.fail(id, error);
        };
        if (request.kind === 'command') {
          const done = this.commands.run(request.op, request.args);
          done.then((value) => {
            resolve({ kind: 'result', value });
          }, reject);
        } else {
          const point = { session, request: id };
          this.runner.submit({ point, epoch, isRepeat, request, resolve, reject });
        }
      }
    }
  }

  private onCommitted(plan: ExecutionPlan, collector: Collector, isLate: boolean): void {
    if (plan.step === null) return;
    const { lossOutput, runId } = plan.step;
    this.pins.committed(runId);
    this.panel.stepped(plan, collector.scalarOf(lossOutput), isLate);
  }

  private onFailed(plan: ExecutionPlan, error: RavenError): void {
    if (plan.step === null) return;
    this.runs.ended(plan.step.runId, 'failed');
    this.panel.ended(plan.step.runId, 'failed', error.message);
  }

  /** Gathers what is retired in one turn of the loop: one DROP a worker, not one a weight. */
  private retire(ids: readonly ResourceId[]): void {
    const isFirst = this.retired.length === 0;
    this.retired.push(...ids);
    if (isFirst) {
      queueMicrotask(() => {
        this.tellRetired();
      });
    }
  }

  /** Also before every execution: what is dropped and what replaces it may have one name, and the order decides. */
  private tellRetired(): void {
    if (this.retired.length === 0) return;
    const resources = this.retired;
    this.retired = [];
    this.loop.feed({ kind: 'retired', resources });
    // After the loop, which may be in the middle of another event.
    queueMicrotask(() => {
      this.resources.sweep(resources);
    });
  }

  /** In the panel and under the cell. */
  private tell(level: Notice['level'], text: string): void {
    this.alert(level, text);
    this.kernel.notice({ level, text });
  }

  private alert(level: 'info' | 'warning' | 'error', text: string): void {
    this.panel.alerts.tell(level, text);
  }

  private pushPanel(): void {
    const state = this.panel.snapshot();
    const text = JSON.stringify(state);
    if (text === this.panelText) return;
    this.panelText = text;
    this.kernel.panel(state);
  }
}
