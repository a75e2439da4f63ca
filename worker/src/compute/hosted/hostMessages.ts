/** @file What a blocked thread and the thread that hosts its backend say to each other: one request, one answer. */
import type { MessagePort } from 'node:worker_threads';
import type { Program, TensorData, WireError } from '@ravenlab/protocol';

export type ToHost =
  | { readonly kind: 'compile'; readonly executable: number; readonly program: Program }
  | { readonly kind: 'run'; readonly executable: number; readonly inputs: readonly TensorData[] }
  | { readonly kind: 'dispose'; readonly executable: number }
  | { readonly kind: 'stop' };

export type FromHost =
  | { readonly kind: 'done'; readonly outputs: readonly TensorData[] }
  | { readonly kind: 'failed'; readonly error: WireError };

/** What the thread says of itself, once. */
export type HostStart =
  | {
      readonly kind: 'open';
      readonly deviceName: string;
      readonly version: string;
      readonly isSoftware: boolean;
    }
  | { readonly kind: 'closed'; readonly reason: string };

export interface HostSettings {
  readonly backend: HostedName;
  /** One Int32: answers so far; the other side sleeps on it. */
  readonly answers: SharedArrayBuffer;
  /** Where questions come from and answers go to. */
  readonly port: MessagePort;
}

/** tfjs has one current backend a thread: those that are not the reference live on threads of their own. */
export type HostedName = 'tfjs-webgpu' | 'tfjs-node' | 'tfjs-node-gpu';
