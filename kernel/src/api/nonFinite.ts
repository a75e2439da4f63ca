/** @file Finds the op behind a NaN: runs the failed step again as a probe, with the same weights, data and keys. */
import type { EngineReply, ExecutionPlan, ProgramHash, RavenError } from '@ravenlab/protocol';
import { encodeProgram, formatShape, NumericError } from '@ravenlab/protocol';
import { describeNode } from '../core/graph/node.js';
import type { Probe } from '../core/plan/probe.js';
import { firstNonFinite, probeProgram } from '../core/plan/probe.js';
import { originLine } from './emit.js';
import type { Execution } from './execution.js';
import type { Runtime } from './runtime.js';
import { expectReply } from './runtime.js';
import type { Diagnosis } from './stepQueue.js';

const ADVICE =
  'The weights are unchanged: lower the learning rate, clip gradients with optim.clipGradNorm, or keep log and div away from 0';

/** A diagnosis for errors with code `numeric`; null for all others. `step` counts from 0. */
export function explainNonFinite(
  runtime: Runtime,
  execution: Execution,
  error: RavenError,
  step: number,
): Diagnosis | null {
  if (error.code !== 'numeric') return null;
  // Programs of one plan differ in sizes only, so the probes list the same values.
  const probes = execution.source.programs.map((program) => probeProgram(program));
  const [probe] = probes;
  if (probe === undefined) return null;
  const hashes = probes.map(({ program }) => {
    const bytes = encodeProgram(program);
    const hash = runtime.session.sha256(bytes) as ProgramHash;
    runtime.post({ kind: 'defineProgram', hash, bytes });
    return hash;
  });
  return {
    request: { kind: 'execute', plan: probePlan(execution, probe, hashes) },
    explain: (reply) => explain(runtime, execution, probe, { reply, error, step }),
  };
}

/** The flags of every micro-shard, one after the other. */
function probePlan(
  execution: Execution,
  probe: Probe,
  programs: readonly ProgramHash[],
): ExecutionPlan {
  const { plan } = execution;
  const flags = probe.values.length * plan.shards.length;
  return {
    ...plan,
    programs,
    outputs: [
      { combine: 'concat', axis: 0, type: { dtype: 'int32', shape: [flags] }, deliver: true },
    ],
    updates: [],
    clips: [],
    step: null,
  };
}

interface Failure {
  readonly reply: EngineReply;
  readonly error: RavenError;
  readonly step: number;
}

function explain(
  runtime: Runtime,
  execution: Execution,
  probe: Probe,
  { reply, error, step }: Failure,
): NumericError {
  const [flags] = expectReply(reply, 'executed').outputs;
  const count = probe.values.length;
  const meta = { ...error.meta, step };
  const head = `step ${String(step + 1)}: the loss or a gradient is NaN or infinite`;
  for (const [index, shard] of execution.plan.shards.entries()) {
    const value = firstNonFinite(probe, flags?.subarray(index * count, (index + 1) * count) ?? []);
    if (value === null) continue;
    const place = placeOf(runtime, execution, value);
    const rows = `rows ${String(shard.offset)} … ${String(shard.offset + shard.size - 1)} of the batch`;
    return new NumericError(
      `${head}; the first non-finite value is in ${place.text}, ${rows}. ${ADVICE}`,
      {
        ...meta,
        op: place.op,
        line: place.line,
        shard: index,
      },
    );
  }
  return new NumericError(
    `${head}, although every value of each micro-shard is finite: ${overflowOf(execution.plan)}. ${ADVICE}`,
    meta,
  );
}

function overflowOf({ wire = 'float32' }: ExecutionPlan): string {
  if (wire !== 'float16') return 'their sum overflows';
  return "they, or their sum, are too large for float16, which ends at 65504; cluster.wire = 'bfloat16' reaches further";
}

interface Place {
  readonly text: string;
  readonly op: string;
  readonly line: string | null;
}

const INPUT_NAMES = {
  state: 'the weights',
  rows: 'the batch',
  data: 'a data tensor',
  inline: 'a constant of the cell',
  key: 'a random key',
} as const;

function placeOf(runtime: Runtime, execution: Execution, value: number): Place {
  const { inputs } = execution.plan;
  const input = inputs[value];
  const [program] = execution.source.programs;
  if (input !== undefined) {
    const shape = formatShape(program?.inputs[value]?.shape ?? []);
    return { text: `${INPUT_NAMES[input.kind]} (float32 ${shape})`, op: input.kind, line: null };
  }
  const index = value - inputs.length;
  const source = execution.source.sources[index];
  const origin = runtime.programs.originsOf(execution.plan.programs[0])[index] ?? source?.origin;
  const line = originLine(origin);
  const op = program?.nodes[index]?.op ?? 'an op';
  const what = source === undefined ? op : describeNode(source);
  const at = line === null ? '' : ` at ${line}`;
  return { text: `\`${what}\`${at}`, op, line };
}
