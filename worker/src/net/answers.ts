/** @file Results as messages: DONE with its outputs, or RESULT pieces ahead of it when they are large. */
import type {
  DoneMessage,
  DoneUnit,
  LeaseId,
  ResultChunk,
  ResultMessage,
  WireError,
} from '@ravenlab/protocol';
import { LIMITS } from '@ravenlab/protocol';
import type { Batch } from '../core/state.js';
import type { UnitOutcome } from '../compute/computeMessages.js';

/** Bytes of outputs of one DONE; more go in further ones, so that sums can begin. */
const DONE_BYTES = LIMITS.resultAheadBytes;

const UNEXPLAINED: WireError = {
  code: 'internal',
  message: 'the unit failed without a reason',
  fault: 'local',
  retryable: true,
};

interface Answer {
  readonly unit: DoneUnit;
  /** Bytes of the outputs that DONE itself carries. */
  readonly bytes: number;
  /** What goes before it. */
  readonly ahead: readonly ResultMessage[];
}

/** Messages for these outcomes, in the order in which to send them. */
export function answersOf(
  { run, outputBytes }: Pick<Batch, 'run' | 'outputBytes'>,
  outcomes: readonly UnitOutcome[],
): (ResultMessage | DoneMessage)[] {
  const messages: (ResultMessage | DoneMessage)[] = [];
  let answers: DoneUnit[] = [];
  let bytes = 0;
  // Each output is a segment, and the errors are one more.
  const segments = LIMITS.segmentsPerMessage - 1;
  const unitsPerDone = Math.min(
    LIMITS.unitsPerMessage,
    Math.floor(segments / Math.max(1, outputBytes.length)),
  );
  const flush = (): void => {
    if (answers.length > 0)
      messages.push({ kind: 'done', execution: run.execution, outputBytes, units: answers });
    answers = [];
    bytes = 0;
  };
  for (const outcome of outcomes) {
    const lease = run.units[outcome.unit]?.lease;
    if (lease === undefined) continue;
    const answer = answerOf(lease, outcome);
    const isFull = bytes + answer.bytes > DONE_BYTES || answers.length >= unitsPerDone;
    if (isFull) flush();
    messages.push(...answer.ahead);
    answers.push(answer.unit);
    bytes += answer.bytes;
  }
  flush();
  return messages;
}

function answerOf(lease: LeaseId, outcome: UnitOutcome): Answer {
  const { computeUs } = outcome;
  const bare = (unit: DoneUnit): Answer => ({ unit, bytes: 0, ahead: [] });
  switch (outcome.status) {
    case 'cancelled':
      return bare({ lease, computeUs, status: 'cancelled' });
    case 'nonFinite':
      return bare({ lease, computeUs, status: 'nonFinite', output: outcome.output });
    case 'failed':
      return bare({ lease, computeUs, status: 'failed', error: outcome.error ?? UNEXPLAINED });
    case 'ok':
      return computed(lease, outcome);
  }
}

function computed(lease: LeaseId, outcome: UnitOutcome): Answer {
  const { computeUs, outputs } = outcome;
  const digest = outcome.digest ?? null;
  const views = outputs.map(
    ({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength),
  );
  const bytes = views.reduce((sum, view) => sum + view.byteLength, 0);
  if (bytes <= LIMITS.resultAheadBytes) {
    const chunks = views.map((view) => [view]);
    return {
      unit: { lease, computeUs, status: 'ok', outputs: chunks, digest },
      bytes,
      ahead: [],
    };
  }
  const ahead = views.flatMap((view, output) => resultsOf(lease, output, view));
  return {
    unit: { lease, computeUs, status: 'ok', outputs: null, digest },
    bytes: 0,
    ahead,
  };
}

/** One output in pieces of a frame, a message each. */
function resultsOf(lease: LeaseId, output: number, data: Uint8Array): ResultMessage[] {
  const messages: ResultMessage[] = [];
  const totalBytes = data.byteLength;
  let offsetBytes = 0;
  do {
    const piece = data.subarray(offsetBytes, offsetBytes + LIMITS.frameBytes);
    const chunk: ResultChunk = { lease, output, offsetBytes, totalBytes, bytes: [piece] };
    messages.push({ kind: 'result', chunks: [chunk] });
    offsetBytes += piece.byteLength;
  } while (offsetBytes < totalBytes);
  return messages;
}
