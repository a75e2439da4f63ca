/**
 * @file Memories whose arrays are added up by SIMD loops. What the arrays mean is not its business. The loops are built from
 * the engine's source (kernel/src/engine/wasm/assembly), for memory that is not shared: a sum has one definition.
 */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { UpdateLoops } from '@ravenlab/protocol';

export interface SumMemory {
  /** Never grows, so that views stay valid. */
  readonly buffer: ArrayBuffer;
  readonly loops: UpdateLoops;
}

/** The few members of WebAssembly that are used here: Node's declarations have none. */
interface WasmRuntime {
  readonly Memory: new (limits: { readonly initial: number; readonly maximum: number }) => {
    readonly buffer: ArrayBuffer;
  };
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: unknown };
}

const { WebAssembly: runtime } = globalThis as unknown as { readonly WebAssembly: WasmRuntime };

const PAGE_BYTES = 65_536;
const MAX_PAGES = 65_535;

/** Where `npm run build` leaves the loops. */
const LOOPS_FILE = fileURLToPath(new URL('./sums.wasm', import.meta.url));

/** Makes memories over which one compiled module runs. */
export class SumMemories {
  private readonly module: object;

  private constructor(module: object) {
    this.module = module;
  }

  /** Null where the loops are not built: sums are then made in JavaScript, to the same bits but slower. */
  static load(file: string = LOOPS_FILE): SumMemories | null {
    if (!existsSync(file)) return null;
    return new SumMemories(new runtime.Module(new Uint8Array(readFileSync(file))));
  }

  /** Zeroed memory of at least this size; null when the machine has no room for it. */
  create(sizeBytes: number): SumMemory | null {
    const pages = Math.ceil(sizeBytes / PAGE_BYTES);
    if (pages > MAX_PAGES) return null;
    try {
      const memory = new runtime.Memory({ initial: pages, maximum: pages });
      const { exports } = new runtime.Instance(this.module, { env: { memory } });
      return { buffer: memory.buffer, loops: exports as UpdateLoops };
    } catch (error) {
      if (error instanceof RangeError) return null;
      throw error;
    }
  }
}
