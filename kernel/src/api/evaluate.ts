/** @file Runs what a cell asks the value of: leaves from the notebook, states from the store, graphs on the cluster. */
import type { EngineReply, EngineRequest, StateVersion, TensorData } from '@ravenlab/protocol';
import { RavenError } from '@ravenlab/protocol';
import type { GraphNode, LeafNode } from '../core/graph/node.js';
import { applyOp } from '../core/graph/node.js';
import type { Execution } from './execution.js';
import { cutSmaller, planExecution } from './execution.js';
import { takeRows } from './host.js';
import type { Deferred, Runtime } from './runtime.js';
import { currentRuntime, expectReply } from './runtime.js';

/** Values of `nodes`, computed together. Rejects with the RavenError of the execution. */
export async function evaluate(nodes: readonly GraphNode[]): Promise<TensorData[]> {
  const runtime = currentRuntime();
  runtime.steps.throwUnreported();
  runtime.steps.settleVersion();
  for (const deferred of deferredBelow(runtime, nodes)) await deferred.ready();
  for (const job of jobsFor(runtime, nodes)) {
    for (let next: Job | null = job; next !== null;) {
      const { request, accept, smaller }: Job = next;
      try {
        accept(await runtime.session.request(request));
        next = null;
      } catch (error) {
        next = smaller(error);
        if (next === null) throw error;
      }
    }
  }
  return nodes.map((node) => hostValue(runtime, node) ?? missing());
}

/** Values of `nodes`, computed together; blocks the cell. @throws RavenError of the execution. */
export function evaluateSync(nodes: readonly GraphNode[]): TensorData[] {
  const runtime = currentRuntime();
  runtime.steps.throwUnreported();
  runtime.steps.settleVersion();
  for (const deferred of deferredBelow(runtime, nodes)) deferred.wait();
  for (const job of jobsFor(runtime, nodes)) {
    for (let next: Job | null = job; next !== null;) {
      const { request, accept, smaller }: Job = next;
      try {
        accept(runtime.session.requestSync(request));
        next = null;
      } catch (error) {
        next = smaller(error);
        if (next === null) throw error;
      }
    }
  }
  return nodes.map((node) => hostValue(runtime, node) ?? missing());
}

function missing(): never {
  throw new RavenError('internal', 'an execution returned no value for a tensor that it computed');
}

interface Job {
  readonly request: EngineRequest;
  readonly accept: (reply: EngineReply) => void;
  /** The same in smaller pieces, when the error is that these were too large. */
  readonly smaller: (error: unknown) => Job | null;
}

/** Requests that make every value of `nodes` known. */
function jobsFor(runtime: Runtime, nodes: readonly GraphNode[]): Job[] {
  const wanted = [...new Set(nodes)].filter((node) => hostValue(runtime, node) === null);
  const states = wanted.filter((node) => node.kind === 'leaf');
  const computed = wanted.filter((node) => node.kind !== 'leaf');
  const jobs = readJobs(runtime, states);
  if (computed.length > 0) jobs.push(executeJob(runtime, computed));
  return jobs;
}

function executeJob(runtime: Runtime, nodes: readonly GraphNode[]): Job {
  const roots = substituteKnown(runtime, nodes);
  // A graph that cannot be cut is fine here: it runs as one unit. Only a step says so, because it comes again.
  const replan = (): Execution => planExecution(runtime, roots);
  const jobOf = (execution: Execution): Job => ({
    request: { kind: 'execute', plan: execution.plan },
    accept(reply) {
      const { outputs } = expectReply(reply, 'executed');
      nodes.forEach((node, index) => {
        const values = outputs[execution.outputOf[index] ?? -1];
        if (values) runtime.remember(node, values);
      });
    },
    smaller(error) {
      if (!(error instanceof RavenError)) return null;
      const smaller = cutSmaller(runtime, execution, error, replan);
      return smaller === null ? null : jobOf(smaller);
    },
  });
  return jobOf(replan());
}

function readJobs(runtime: Runtime, leaves: readonly LeafNode[]): Job[] {
  runtime.collectGarbage();
  const byVersion = new Map<StateVersion, LeafNode[]>();
  for (const node of leaves) {
    if (node.leaf.kind !== 'state') {
      throw new RavenError('internal', `a '${node.leaf.kind}' leaf has no value of its own`);
    }
    const version = runtime.readableVersion(node.leaf.stateId, node.leaf.version);
    byVersion.set(version, [...(byVersion.get(version) ?? []), node]);
  }
  return [...byVersion].map(([version, group]) => ({
    request: {
      kind: 'readStates',
      stateIds: group.flatMap(({ leaf }) => (leaf.kind === 'state' ? [leaf.stateId] : [])),
      version,
    },
    accept(reply) {
      const { values } = expectReply(reply, 'states');
      group.forEach((node, index) => {
        const data = values[index];
        if (data !== undefined) runtime.remember(node, data);
      });
    },
    smaller: () => null,
  }));
}

/** A value that this thread already has: computed before, given by the cell, or rows of a data set. */
export function hostValue(runtime: Runtime, node: GraphNode): TensorData | null {
  const known = runtime.knownLeaf(node);
  if (known?.leaf.kind === 'inline') return known.leaf.data;
  if (node.kind !== 'leaf') return null;
  if (node.leaf.kind === 'inline') return node.leaf.data;
  const handle = runtime.handleOf(node);
  if (handle === null) return null;
  if (node.leaf.kind === 'rows') {
    const { shape, dtype } = handle.type;
    return takeRows(handle.host, shape, dtype, node.leaf.indices);
  }
  return node.leaf.kind === 'data' ? handle.host : null;
}

/** Executions in flight whose values `roots` need. */
export function deferredBelow(runtime: Runtime, roots: readonly GraphNode[]): Set<Deferred> {
  const found = new Set<Deferred>();
  const seen = new Set<GraphNode>(roots);
  const stack = [...roots];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    const deferred = runtime.deferredOf(node);
    if (deferred !== null) found.add(deferred);
    if (deferred !== null || runtime.isSettled(node)) continue;
    for (const input of node.inputs) {
      if (seen.has(input)) continue;
      seen.add(input);
      stack.push(input);
    }
  }
  return found;
}

/** The same graph with every computed node replaced by its value, so that nothing is computed twice. */
export function substituteKnown(runtime: Runtime, roots: readonly GraphNode[]): GraphNode[] {
  const replaced = new Map<GraphNode, GraphNode>();
  const stack = [...roots];
  while (stack.length > 0) {
    const node = stack[stack.length - 1];
    if (node === undefined || replaced.has(node)) {
      stack.pop();
      continue;
    }
    const leaf = node.kind === 'leaf' ? node : runtime.knownLeaf(node);
    const waiting = leaf === null ? node.inputs.filter((input) => !replaced.has(input)) : [];
    if (waiting.length > 0) {
      for (let i = waiting.length - 1; i >= 0; i--) {
        const input = waiting[i];
        if (input !== undefined) stack.push(input);
      }
      continue;
    }
    stack.pop();
    replaced.set(node, leaf ?? rebuilt(node, replaced));
  }
  return roots.map((root) => replaced.get(root) ?? root);
}

function rebuilt(node: GraphNode, replaced: ReadonlyMap<GraphNode, GraphNode>): GraphNode {
  const inputs = node.inputs.map((input) => replaced.get(input) ?? input);
  const isSame = inputs.every((input, index) => input === node.inputs[index]);
  if (isSame || node.kind === 'leaf') return node;
  // A program has no stop: gradients were taken before.
  if (node.kind === 'stop') return inputs[0] ?? node;
  return applyOp(node.op, inputs, node.params, node.origin);
}
