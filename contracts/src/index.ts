/** @file The public surface of @ravenlab/contracts. */
export * from './anvil.js';
export * from './artifact.js';
export * from './chainClient.js';
export * from './devAccounts.js';
export * from './escrowClient.js';
export * from './keystore.js';
export * from './password.js';
export * from './privateFile.js';
export { Rpc, RpcRefusal, RpcUnreachable, withoutSecrets } from './rpc.js';
export * from './signing.js';
export * from './z85.js';
