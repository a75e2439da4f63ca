/** @file Every bound of the system, with its unit. A queue, buffer, retry or remote size that is not here is a bug. */

const KIB = 1024;
const MIB = 1024 * KIB;

export const LIMITS = {
  /** Nodes of one program. */
  programNodes: 20_000,
  programInputs: 4_096,
  programOutputs: 4_096,
  /** Encoded program. */
  programBytes: 4 * MIB,
  tensorRank: 8,
  /** Elements of one tensor. */
  tensorElements: 2 ** 31 - 1,
} as const;

/** Bounds of the panel protocol (RFC 2), checked on both sides before anything is stored. */
export const PANEL_LIMITS = {
  /** Rows a snapshot carries; the kernel keeps the most useful ones and counts the rest. */
  contributors: 500,
  payees: 500,
  alerts: 20,
  /** Points of the loss curve; a longer run is merged pairwise, never truncated. */
  lossPoints: 512,
  /** Characters. */
  idChars: 64,
  nameChars: 64,
  textChars: 400,
  commandChars: 4096,
  /** 10^78 > 2^256: any amount a chain can hold. */
  amountDigits: 78,
  workersPerScale: 1024,
  /** A front end that is silent for this long gets nothing more. */
  leaseMs: 15_000,
  leaseEveryMs: 5_000,
  visibleHz: 4,
  hiddenHz: 0.5,
  /** Front ends of one kernel, and commands one of them may have in flight. */
  clients: 32,
  commandsInFlight: 16,
  /** Replies kept so that a command repeated after a reconnect is not run twice. */
  repliesKept: 256,
  commandTimeoutMs: 30_000,
} as const;
