/** @file What the engine's loop and its chain thread say to each other. Plain, clonable data; no key ever crosses. */
import type { WireError } from '@ravenlab/protocol';
import type { ChainService, ChainStatus, LaneOnChain } from './chainService.js';
import type { ChainChoice } from './chainChoice.js';

/** What is asked and answered; the rest is told. */
export type ChainCalls = Pick<
  ChainService,
  | 'signVoucher'
  | 'isOwnVoucher'
  | 'isHello'
  | 'signServer'
  | 'reserve'
  | 'settle'
  | 'deposit'
  | 'extend'
  | 'refund'
  | 'setLimits'
  | 'close'
>;

export type ChainCall = keyof ChainCalls;

export interface ChainRequest {
  readonly id: number;
  readonly call: ChainCall;
  readonly args: readonly unknown[];
}

export type ChainResponse =
  | { readonly kind: 'status'; readonly status: ChainStatus }
  | { readonly kind: 'lanes'; readonly lanes: readonly LaneOnChain[] }
  | { readonly kind: 'log'; readonly text: string }
  | { readonly kind: 'done'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly id: number; readonly error: WireError };

export interface ChainThreadData {
  readonly choice: Exclude<ChainChoice, { kind: 'off' }>;
  /** RavenLab's folder of this person. */
  readonly home: string;
  /** The engine's own, for its simulated chain. */
  readonly folder: string;
  /** The engine's id. */
  readonly owner: string;
}
