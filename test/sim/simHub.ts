/**
 * @file All workers' connections of one life of the engine: who is who, what they say as events, and what the scheduler says
 * to them. Lies end here.
 */
import type { LeaseId, WorkerId } from '@ravenlab/protocol';
import type { ClusterEvent, UnitResult } from '../../kernel/src/core/cluster/events.js';
import type { ClusterState, Resource, ResourceId } from '../../kernel/src/core/cluster/state.js';
import type { Flaw } from './canaries.js';
import type { SimContext } from './context.js';
import type { Link } from './link.js';
import type { SimResource, SimResult, ToEngine, ToWorker } from './messages.js';
import { OUTPUT_BYTES, PROGRAM } from './messages.js';
import type { SimWorker } from './simWorker.js';

const MEMORY_BYTES = 45_000;
const WINDOW_BYTES = 50_000;

export interface HubOptions {
  readonly context: SimContext;
  readonly state: ClusterState;
  readonly resources: ReadonlyMap<ResourceId, SimResource>;
  readonly flaw: Flaw | null;
  readonly apply: (event: ClusterEvent, results?: readonly SimResult[]) => void;
}

export class SimHub {
  private readonly options: HubOptions;
  private readonly context: SimContext;
  private readonly links = new Map<WorkerId, { worker: SimWorker; link: Link }>();
  private readonly workersByLink = new Map<Link, SimWorker>();

  constructor(options: HubOptions) {
    this.options = options;
    this.context = options.context;
  }

  /** The engine is dead. @param isSilent the machine is gone too: nobody tells the workers. */
  die(isSilent: boolean): void {
    const links = [...this.workersByLink];
    this.links.clear();
    this.workersByLink.clear();
    for (const [link, worker] of links) {
      link.isOpen = false;
      if (isSilent || link.isDeaf.down) continue;
      this.context.heap.after(this.context.plan.latencyMs, () => {
        worker.onClosed(link);
      });
    }
  }

  send(id: WorkerId, message: ToWorker): void {
    this.links.get(id)?.link.sendDown(message);
  }

  accept(worker: SimWorker, link: Link): void {
    this.workersByLink.set(link, worker);
  }

  toEngine(link: Link, message: ToEngine): void {
    const worker = this.workersByLink.get(link);
    if (worker === undefined) return;
    if (message.kind === 'hello') this.hello(worker, link, message);
    else if (this.links.get(worker.id)?.link !== link) this.close(link);
    else if (message.kind === 'done') this.done(worker, message.results);
    else if (message.kind === 'need') {
      this.options.apply({ kind: 'need', worker: worker.id, resources: message.resources });
    } else if (message.kind === 'credit') {
      this.options.apply({ kind: 'credit', worker: worker.id, inFlightBytes: 0 });
    } else {
      const latencyUs = Math.max(500, (this.context.heap.nowMs - message.sentMs) * 1000);
      this.options.apply({ kind: 'heard', worker: worker.id, latencyUs });
    }
  }

  private hello(
    worker: SimWorker,
    link: Link,
    { incarnation, held }: Extract<ToEngine, { kind: 'hello' }>,
  ): void {
    const old = this.links.get(worker.id);
    if (old !== undefined && old.link !== link) this.close(old.link);
    this.links.set(worker.id, { worker, link });
    const adopted: Resource[] = [];
    const unknown: ResourceId[] = [];
    for (const id of held) {
      const resource = this.options.resources.get(id);
      if (resource === undefined) unknown.push(id);
      // The program's index is of the connection that it was sent on.
      else if (id !== PROGRAM) adopted.push(resource);
    }
    if (unknown.length > 0) link.sendDown({ kind: 'drop', resources: unknown });
    this.options.apply({
      kind: 'joined',
      worker: worker.id,
      incarnation,
      gflops: 10,
      bitClass: String(worker.bits),
      isTrusted: worker.isTrusted,
      owner: worker.id,
      memoryBytes: MEMORY_BYTES,
      windowBytes: WINDOW_BYTES,
      held: adopted,
    });
  }

  /** A result that will count must be of the size that its program makes. */
  private done(worker: SimWorker, results: readonly SimResult[]): void {
    if (this.isLie(worker.id, results) && this.options.flaw !== 'gullible') {
      const link = this.links.get(worker.id)?.link;
      if (link !== undefined) this.close(link);
      this.links.delete(worker.id);
      this.options.apply({
        kind: 'left',
        worker: worker.id,
        reason: 'broke the protocol',
        isOrderly: false,
      });
      return;
    }
    const { id } = worker;
    const answers: UnitResult[] = [];
    for (const result of results) answers.push(toUnitResult(result));
    this.options.apply({ kind: 'done', worker: id, results: answers }, results);
  }

  private isLie(worker: WorkerId, results: readonly SimResult[]): boolean {
    for (const { lease, status, sizeBytes } of results) {
      if (status === 'ok' && sizeBytes !== OUTPUT_BYTES && this.isLeasedTo(worker, lease))
        return true;
    }
    return false;
  }

  /** The connection is gone. */
  lost(link: Link): void {
    const worker = this.workersByLink.get(link);
    this.workersByLink.delete(link);
    if (worker === undefined || this.links.get(worker.id)?.link !== link) return;
    this.links.delete(worker.id);
    this.options.apply({
      kind: 'left',
      worker: worker.id,
      reason: 'connection lost',
      isOrderly: false,
    });
  }

  isLeasedTo(worker: WorkerId, lease: LeaseId): boolean {
    return this.options.state.leases.get(lease)?.worker === worker;
  }

  expel(id: WorkerId): void {
    const connection = this.links.get(id);
    if (connection === undefined) return;
    this.links.delete(id);
    this.close(connection.link);
  }

  /** A process that is frozen or cut off finds out by its own time-out. */
  private close(link: Link): void {
    const worker = this.workersByLink.get(link);
    this.workersByLink.delete(link);
    link.isOpen = false;
    this.context.heap.after(this.context.plan.latencyMs, () => {
      if (!link.isDeaf.down) worker?.onClosed(link);
    });
  }
}

function toUnitResult({ lease, status, computeUs, error }: SimResult): UnitResult {
  return { lease, status, computeUs, output: -1, error };
}
