/** @file Which buffers of a message can move to another thread instead of being copied. */

/** Buffers that a view covers whole; smaller views are cheaper to copy than their buffer is to lose. */
export function transferablesOf(value: unknown): ArrayBuffer[] {
  const found = new Set<ArrayBuffer>();
  collect(value, found);
  return [...found];
}

function collect(value: unknown, found: Set<ArrayBuffer>): void {
  if (ArrayBuffer.isView(value)) {
    const { buffer } = value;
    if (buffer instanceof ArrayBuffer && value.byteLength === buffer.byteLength) found.add(buffer);
    return;
  }
  if (Array.isArray(value)) {
    for (const item of value as unknown[]) {
      if (typeof item === 'object') collect(item, found);
    }
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  for (const item of Object.values(value)) collect(item, found);
}
