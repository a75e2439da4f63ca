/** @file What a simulated kernel asks of the engine, and what it is answered. */

export type SimRequest = {
  readonly id: number;
  readonly epoch: number;
  /** It was answered by an earlier life: workers that refuse it now must not make it fail. */
  readonly isRepeat: boolean;
} & (
  | { readonly kind: 'define'; readonly dataId: number; readonly data: number }
  | { readonly kind: 'step'; readonly salt: number }
  | { readonly kind: 'eval'; readonly salt: number }
);

export interface SimReply {
  readonly id: number;
  readonly isOk: boolean;
  /** Version that a step made, or that an evaluation read. */
  readonly version: number;
  /** Weights of that version. */
  readonly weight: number;
  /** Sum of an evaluation. */
  readonly sum: number;
  /** Bit class of the run. */
  readonly pin: string | null;
}

/** The kernel that is attached; messages to it take their time and may find it gone. */
export interface KernelEnd {
  onReply(reply: SimReply): void;
  onDurable(request: number): void;
}
