/** @file What ONNX Runtime's kernels for this processor are like: how many channels make a block is found out by asking one. */
import { OrtTensor, createNativeSession } from './binding.js';
import { CHANNEL_BLOCKS } from './emitBlocked.js';
import type { Kernels } from './modelBuilder.js';
import { BLOCKED_DOMAIN, ModelBuilder } from './modelBuilder.js';

const CHANNELS = 16;
const PIXELS = 2;

let known: Kernels | undefined;

/** Blocks of 8 with AVX2, of 16 with AVX-512; 0 where ONNX Runtime has no such kernels. */
export function processorKernels(): Kernels {
  known ??= { channelBlock: measuredBlock(), areShared: true };
  return known;
}

/** A tensor that counts up, put into blocks: the second pixel of the first channel follows the last channel of a block. */
function measuredBlock(): number {
  const graph = new ModelBuilder();
  const type = { dtype: 'float32', shape: [1, CHANNELS, 1, PIXELS] } as const;
  const { name } = graph.input('x', type);
  const [blocks = ''] = graph.multi({
    op: 'ReorderInput',
    inputs: [name],
    attributes: { channels_last: 0 },
    outputs: 1,
    domain: BLOCKED_DOMAIN,
  });
  const fetch = graph.output({ name: blocks, type });
  const counted = Float32Array.from({ length: CHANNELS * PIXELS }, (_, i) => i);
  try {
    const session = createNativeSession(graph.finish(), {
      executionProviders: ['cpu'],
      intraOpNumThreads: 1,
      logSeverityLevel: 4,
    });
    const results = session.run(
      { [name]: new OrtTensor('float32', counted, type.shape) },
      { [fetch]: null },
    );
    const found = (results[fetch]?.data as Float32Array | undefined)?.indexOf(1) ?? 0;
    session.dispose();
    return CHANNEL_BLOCKS.includes(found) ? found : 0;
  } catch {
    // Processors without them: the operator is not registered.
    return 0;
  }
}
