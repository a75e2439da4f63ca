/**
 * @file Receipts and held units as bytes of one length each: as the loop sends them to its journal thread, and as the tables keep
 * them, many to a row. Texts that many of them share are numbers: of the batch on the way, of the table of words on the disk.
 */
import type { Address, Hash32, LeaseId, ProgramHash, Receipt, WorkerId } from '@ravenlab/protocol';
import type { ReceiptEntry } from '../../core/ledger/payEvents.js';
import type { CommittedWork } from '../../core/ledger/payLane.js';

/** Bytes of a receipt: lease, flops, sizeBytes, amount (2), program and verdict, result. */
export const RECEIPT_BYTES = 80;
/** Bytes of a held unit: what its receipt has, then session, request, shard and worker, payee, its number among the payee's. */
export const WORK_BYTES = 120;

const AT = {
  ...{ lease: 0, flops: 8, sizeBytes: 16, amountLow: 24, amountHigh: 32, program: 40, verdict: 44 },
  ...{ result: 48, session: 80, request: 88, shard: 96, worker: 100, payee: 104, ordinal: 112 },
} as const;
const RESULT_BYTES = 32;
const LOW = 2n ** 64n - 1n;

/** Numbers for texts, from 0, in the order of their first use. */
export class TextNumbers {
  private readonly numbers = new Map<string, number>();

  numberOf(text: string): number {
    let number = this.numbers.get(text);
    if (number === undefined) {
      number = this.numbers.size;
      this.numbers.set(text, number);
    }
    return number;
  }

  texts(): readonly string[] {
    return [...this.numbers.keys()];
  }
}

/** Gives a text its number. */
type Numbers = Pick<TextNumbers, 'numberOf'>;

/** Records of one length over one buffer. */
export class PayBytes {
  readonly bytes: Uint8Array<ArrayBuffer>;
  private readonly view: DataView;
  private readonly buffer: Buffer;
  private readonly stride: number;

  /** @param bytes a whole number of records, not copied */
  constructor(bytes: Uint8Array<ArrayBuffer>, stride: typeof RECEIPT_BYTES | typeof WORK_BYTES) {
    if (bytes.byteLength % stride !== 0) {
      throw new Error(
        `pay: ${String(bytes.byteLength)} bytes are no whole number of records of ${String(stride)}`,
      );
    }
    this.bytes = bytes;
    this.stride = stride;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get count(): number {
    return this.bytes.byteLength / this.stride;
  }

  leaseAt(index: number): LeaseId {
    return this.view.getFloat64(index * this.stride + AT.lease, true) as LeaseId;
  }

  /** Payee and number among its held units, of a held unit. */
  holdAt(index: number): { readonly payee: number; readonly ordinal: number } {
    const at = index * this.stride;
    return {
      payee: this.view.getUint32(at + AT.payee, true),
      ordinal: this.view.getFloat64(at + AT.ordinal, true),
    };
  }

  setOrdinal(index: number, ordinal: number): void {
    this.view.setFloat64(index * this.stride + AT.ordinal, ordinal, true);
  }

  /** Texts get other numbers. */
  renumber(numberOf: (number: number) => number): void {
    const { view, stride } = this;
    const columns = stride === WORK_BYTES ? [AT.program, AT.worker, AT.payee] : [AT.program];
    for (let at = 0; at < this.bytes.byteLength; at += stride) {
      for (const column of columns) {
        view.setUint32(at + column, numberOf(view.getUint32(at + column, true)), true);
      }
    }
  }

  putReceipt(index: number, { work, verdict }: ReceiptEntry, texts: Numbers): void {
    const isAccepted = verdict === 'accepted';
    this.put(index, work, isAccepted ? work.amount : 0n, texts);
    this.view.setUint32(index * this.stride + AT.verdict, isAccepted ? 1 : 0, true);
  }

  putWork(index: number, work: CommittedWork, texts: Numbers): void {
    const { view } = this;
    const at = index * this.stride;
    this.put(index, work, work.amount, texts);
    view.setFloat64(at + AT.session, work.session, true);
    view.setFloat64(at + AT.request, work.request, true);
    view.setUint32(at + AT.shard, work.shard, true);
    view.setUint32(at + AT.worker, texts.numberOf(work.worker), true);
    view.setUint32(at + AT.payee, texts.numberOf(work.payee), true);
  }

  /** @param n its number in the lane */
  receiptAt(
    index: number,
    { job, payee, n }: Pick<Receipt, 'job' | 'payee' | 'n'>,
    textOf: (number: number) => string,
  ): Receipt {
    const isAccepted = this.view.getUint32(index * this.stride + AT.verdict, true) === 1;
    return {
      ...{ n, job, payee, ...this.commonAt(index, textOf) },
      verdict: isAccepted ? 'accepted' : 'refused',
    };
  }

  workAt(index: number, textOf: (number: number) => string): CommittedWork {
    const { view } = this;
    const at = index * this.stride;
    return {
      session: view.getFloat64(at + AT.session, true),
      request: view.getFloat64(at + AT.request, true),
      shard: view.getUint32(at + AT.shard, true),
      worker: textOf(view.getUint32(at + AT.worker, true)) as WorkerId,
      payee: textOf(view.getUint32(at + AT.payee, true)) as Address,
      ...this.commonAt(index, textOf),
    };
  }

  private put(index: number, work: CommittedWork, amount: bigint, texts: Numbers): void {
    const { view } = this;
    const at = index * this.stride;
    view.setFloat64(at + AT.lease, work.lease, true);
    view.setFloat64(at + AT.flops, work.flops, true);
    view.setFloat64(at + AT.sizeBytes, work.sizeBytes, true);
    view.setBigUint64(at + AT.amountLow, amount & LOW, true);
    view.setBigUint64(at + AT.amountHigh, amount >> 64n, true);
    view.setUint32(at + AT.program, texts.numberOf(work.program), true);
    this.buffer.write(work.result.slice(2), at + AT.result, RESULT_BYTES, 'hex');
  }

  private commonAt(index: number, textOf: (number: number) => string) {
    const { view, buffer } = this;
    const at = index * this.stride;
    const high = view.getBigUint64(at + AT.amountHigh, true);
    const result = buffer.toString('hex', at + AT.result, at + AT.result + RESULT_BYTES);
    return {
      lease: this.leaseAt(index),
      program: textOf(view.getUint32(at + AT.program, true)) as ProgramHash,
      flops: view.getFloat64(at + AT.flops, true),
      sizeBytes: view.getFloat64(at + AT.sizeBytes, true),
      amount: (high << 64n) | view.getBigUint64(at + AT.amountLow, true),
      result: `0x${result}` as Hash32,
    };
  }
}
