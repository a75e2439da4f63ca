/**
 * @file EIP-712 digests of flat structs: addresses, 32-byte words and unsigned integers, each one word. The domain and the type are
 * hashed once; a message is then two hashes. Structs with texts, lists or other structs are not for this.
 */
import { TypedDataEncoder, id, keccak256 } from 'ethers';
import type { TypedField } from '@ravenlab/protocol';

const WORD_DIGITS = 64;

type Field = string | number | bigint;

/** Values that are not of their type are a programming error. */
const WORDS: Readonly<Record<string, (value: Field) => string>> = {
  bytes32: (value) => hexWord(value, WORD_DIGITS),
  address: (value) => hexWord(value, 40),
  uint128: (value) => numberWord(value, 128),
  uint64: (value) => numberWord(value, 64),
  uint32: (value) => numberWord(value, 32),
};

/** @returns the digest of a message that is given as the values of its fields, in order; 32 bytes. */
export function typedDigest(
  domain: Parameters<typeof TypedDataEncoder.hashDomain>[0],
  [name, fields]: readonly [string, readonly TypedField[]],
): (values: Readonly<Record<string, Field>>) => Uint8Array {
  const text = `${name}(${fields.map((field) => `${field.type} ${field.name}`).join(',')})`;
  const type = id(text).slice(2);
  const prefix = `1901${TypedDataEncoder.hashDomain(domain).slice(2)}`;
  const columns = fields.map((field) => {
    const word = WORDS[field.type];
    if (word === undefined) throw new Error(`typed data: a ${field.type} is not one word`);
    return { name: field.name, word };
  });
  return (values) => {
    let struct = type;
    for (const { name: column, word } of columns) {
      const value = values[column];
      if (value === undefined) throw new Error(`typed data: ${name} lacks ${column}`);
      struct += word(value);
    }
    return bytesOf(keccak256(bytesOf(`0x${prefix}${keccak256(bytesOf(`0x${struct}`)).slice(2)}`)));
  };
}

function bytesOf(hex: string): Uint8Array {
  return Buffer.from(hex.slice(2), 'hex');
}

function hexWord(value: Field, digits: number): string {
  if (typeof value !== 'string' || value.length !== digits + 2 || !/^0x[0-9a-f]+$/i.test(value)) {
    throw new Error(`typed data: ${String(value)} is not 0x and ${String(digits)} hex digits`);
  }
  return value.slice(2).toLowerCase().padStart(WORD_DIGITS, '0');
}

function numberWord(value: Field, bits: number): string {
  const number = BigInt(value);
  if (number < 0n || number >= 1n << BigInt(bits)) {
    throw new Error(`typed data: ${String(value)} is no unsigned number of ${String(bits)} bits`);
  }
  return number.toString(16).padStart(WORD_DIGITS, '0');
}
