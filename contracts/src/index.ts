/** @file The public surface of @ravenlab/contracts. */
export * from './anvil.js';
export * from './artifact.js';
