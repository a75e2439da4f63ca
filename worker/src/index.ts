/** @file The public surface of the worker package: its compute backends, for benches and conformance tests. */
export type { Backend, BackendOptions, Executable } from './compute/backend.js';
