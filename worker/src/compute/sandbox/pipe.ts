/** @file The pipe between a worker and its compute process: its number, and how much may go through it at once. */
import type { FrameSocketOptions } from '@ravenlab/protocol';
import { ENGINE_LIMITS, KERNEL_BOUNDS, LIMITS } from '@ravenlab/protocol';

/** After stdin, stdout and stderr. */
export const PIPE = 3;
/** Frames of a message of results: its header, and the outputs of at least one unit. */
export const FROM_CHILD_FRAMES = 1 + LIMITS.programOutputs;

/** Longest frame; a longer tensor is cut. */
export const PIPE_FRAME_BYTES = ENGINE_LIMITS.kernelFrameBytes;

/** @param memoryBytes what the receiver may be made to hold by one message; what the worker itself sends is believed */
export function pipeOptions(memoryBytes = KERNEL_BOUNDS.messageBytes): FrameSocketOptions {
  const messageBytes = Math.min(KERNEL_BOUNDS.messageBytes, memoryBytes + LIMITS.messageBytes);
  const frameBytes = Math.min(PIPE_FRAME_BYTES, messageBytes);
  return {
    bounds: { frames: KERNEL_BOUNDS.frames, frameBytes, messageBytes },
    // Arrays are handed on to another thread, or to the network.
    memory: 'kept',
    allocate: (sizeBytes) => Buffer.allocUnsafeSlow(sizeBytes),
    later: (callback) => process.nextTick(callback),
  };
}
