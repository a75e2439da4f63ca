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
