/** @file Writer of the protobuf wire format, as much as ONNX models need: varints, bytes and nested messages. */

const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;
const MAX_VARINT_BYTES = 10;
const INITIAL_BYTES = 1024;

const utf8 = new TextEncoder();

/** Appends fields to one message. Nested messages are writers of their own, added as bytes. */
export class ProtobufWriter {
  private bytes = new Uint8Array(INITIAL_BYTES);
  private length = 0;

  /** A signed integer as int32, int64 or enum; negative numbers take ten bytes, as the format demands. */
  int(field: number, value: number): this {
    this.tag(field, VARINT);
    this.varint(value);
    return this;
  }

  float(field: number, value: number): this {
    this.tag(field, FIXED32);
    this.reserve(4);
    new DataView(this.bytes.buffer).setFloat32(this.length, value, true);
    this.length += 4;
    return this;
  }

  string(field: number, value: string): this {
    return this.raw(field, utf8.encode(value));
  }

  message(field: number, value: ProtobufWriter): this {
    return this.raw(field, value.finish());
  }

  raw(field: number, value: Uint8Array): this {
    this.tag(field, LENGTH_DELIMITED);
    this.varint(value.length);
    this.reserve(value.length);
    this.bytes.set(value, this.length);
    this.length += value.length;
    return this;
  }

  /** Packed list of signed integers. */
  ints(field: number, values: readonly number[]): this {
    const packed = new ProtobufWriter();
    for (const value of values) packed.varint(value);
    return this.raw(field, packed.finish());
  }

  /** View of what was written; valid until the next write. */
  finish(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }

  private tag(field: number, wireType: number): void {
    this.varint(field * 8 + wireType);
  }

  private varint(value: number): void {
    this.reserve(MAX_VARINT_BYTES);
    if (value >= 0 && value < 0x80) {
      this.bytes[this.length++] = value;
      return;
    }
    let rest = BigInt.asUintN(64, BigInt(value));
    while (rest >= 0x80n) {
      this.bytes[this.length++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.bytes[this.length++] = Number(rest);
  }

  private reserve(count: number): void {
    if (this.length + count <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + count));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }
}
