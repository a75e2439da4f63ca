/** @file The public surface of the protocol package. */
export * from './dtype.js';
export * from './narrow.js';
export * from './aggregate.js';
export * from './largePages.js';
export * from './lossScale.js';
export * from './errors.js';
export type * from './ids.js';
export * from './shape.js';
export * from './limits.js';
export * from './ops/table.js';
export type { FieldKind, FieldSchema, FieldTypes, ParamsOf } from './ops/row.js';
export * from './ops/window.js';
export * from './program.js';
export * from './message.js';
export * from './random.js';
export type { Frames } from './codec.js';
export {
  decodeEngineMessage,
  decodeWorkerMessage,
  encodeEngineMessage,
  encodeWorkerMessage,
  messageBytes,
} from './codec.js';
export type { AsideReader, AsideWriter } from './aside.js';
export { ASIDE_BYTES, AsideRing, asidePath } from './aside.js';
export type { FrameSocketHandlers, FrameSocketOptions } from './frameSocket.js';
export { FrameSocket } from './frameSocket.js';
export { KERNEL_BOUNDS, WORKER_BOUNDS } from './frameStream.js';
export { copyChunks, joinChunks, totalBytes } from './frames.js';
export { decodeProgram, encodeProgram } from './codecProgram.js';
export type { Decoded } from './words.js';
export type * from './engineApi.js';
export type { Invite } from './invite.js';
export { decodeInvite, encodeInvite, inviteEndpoint } from './invite.js';
export * from './panel.js';
export type { Reader } from './read.js';
export * as read from './read.js';
export * from './price.js';
export * from './receipt.js';
export * from './receiptChain.js';
export * from './voucher.js';
export type * from './deal.js';
export { isCurveKey, z85ToHex } from './z85.js';
export * from './update.js';
