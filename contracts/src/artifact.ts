/** @file The compiled contracts of contracts/abi, and whether the code at an address is one of them. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { JsonFragment } from 'ethers';

/** A run of bytes that the constructor writes into the deployed code. */
export interface ImmutableRange {
  readonly start: number;
  readonly length: number;
}

/** One file of contracts/abi, as `npm run contracts` writes it. Code is hex with 0x. */
export interface ContractArtifact {
  readonly name: string;
  readonly source: string;
  readonly compiler: string;
  readonly abi: readonly JsonFragment[];
  readonly bytecode: string;
  readonly deployedBytecode: string;
  readonly immutables: readonly ImmutableRange[];
}

const ABI = new URL('../abi/', import.meta.url);

/** Contracts that are deployed; `testing/…` ones are read by name in tests. */
export const DEPLOYED_CONTRACTS = ['LaneEscrow', 'DevToken'] as const;

/**
 * Reads a compiled contract.
 * @param name a file of contracts/abi without its ending, such as 'LaneEscrow'
 */
export function readArtifact(name: string): ContractArtifact {
  const file = fileURLToPath(new URL(`${name}.json`, ABI));
  return JSON.parse(readFileSync(file, 'utf8')) as ContractArtifact;
}

/** `0x…` with the immutable ranges zeroed, lower case. */
function withoutImmutables(code: string, ranges: readonly ImmutableRange[]): string {
  let text = code.toLowerCase();
  for (const { start, length } of ranges) {
    const from = 2 + start * 2;
    const to = from + length * 2;
    if (to <= text.length) text = text.slice(0, from) + '0'.repeat(length * 2) + text.slice(to);
  }
  return text;
}

/**
 * True when deployed code (`eth_getCode`) is this contract, whatever its constructor computed: what a worker asks
 * of an escrow before it works for it.
 */
export function isCodeOf(artifact: ContractArtifact, deployed: string): boolean {
  const ranges = artifact.immutables;
  return (
    withoutImmutables(deployed, ranges) === withoutImmutables(artifact.deployedBytecode, ranges)
  );
}
