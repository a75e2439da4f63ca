/** @file What a drill and its kernel process say to each other. */
import type { ModelName, Tally } from './models.js';

export interface TrainOptions {
  readonly model: ModelName;
  /** Of the whole course; null: until it is told to wrap up. */
  readonly epochs: number | null;
  /** Go on with the run that the engine has, instead of beginning one. */
  readonly isResuming: boolean;
}

export type ToTrainer =
  | { readonly kind: 'command'; readonly id: number; readonly op: string; readonly args: object }
  | { readonly kind: 'train'; readonly options: TrainOptions }
  /** End after the epoch that is under way. */
  | { readonly kind: 'wrapUp' }
  | { readonly kind: 'close'; readonly restart: boolean };

/** The end of a course. */
export interface Finish {
  readonly epochs: number;
  /** SHA-256 over names and bytes of all parameters and buffers, in order of name. */
  readonly weightsSha: string;
  /** SHA-256 over the losses that this process saw, and how many. */
  readonly lossesSha: string;
  readonly losses: number;
  readonly tally: Tally | null;
  /** Units of the steps that this process saw committed. */
  readonly units: number;
}

export type FromTrainer =
  | { readonly kind: 'up'; readonly atMs: number }
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'refusal'; readonly id: number; readonly message: string }
  | { readonly kind: 'notice'; readonly text: string }
  /** The weights of the last commit are in this process's hands; `step` is the first that it makes. */
  | { readonly kind: 'attached'; readonly atMs: number; readonly step: number }
  | { readonly kind: 'step'; readonly atMs: number; readonly step: number; readonly loss: number }
  | { readonly kind: 'finished'; readonly finish: Finish }
  | { readonly kind: 'failed'; readonly message: string };
