/** @file The models that the exact tier is held to, and the bits that it gives. */
import type { TensorData } from '@ravenlab/protocol';
import { encodeProgram } from '@ravenlab/protocol';
import { MODEL_NAMES, capturedModel } from './captured.js';
import type { ExactCase } from './exactRun.js';

/**
 * SHA-256 of the weights after 50 steps. They are the bits of one version of ONNX Runtime and of our emission: when one of
 * these changes, so may they; when neither does, never.
 */
export const EXACT_BITS: Readonly<Record<string, string>> = {
  mlp: '5a7221630cf0c7fdc9f497d07f3e411dae4e12ecda8d0d9eb764069348f0928e',
  cnn: 'a4b7ac891f22bf714848a88a4592fe7e49e2f486e114c42bc15080377533eb5a',
  gru: '61b86084a20576089a5b4cd42b42982f6b6d1d9d271a83fc514fff50823938a4',
  transformer: '66c8a9b9789512ddb3ea7b8510b34910bf22766156b9d7854ffc8be195ba0ee3',
};

function hexOf({ buffer, byteOffset, byteLength }: TensorData): string {
  return Buffer.from(buffer, byteOffset, byteLength).toString('hex');
}

export function exactCases(): readonly ExactCase[] {
  return MODEL_NAMES.map((name) => {
    const { program, inputs, outputIndex, weightInputs } = capturedModel(name);
    return {
      name,
      program: hexOf(encodeProgram(program)),
      inputs: inputs.map(hexOf),
      // The first output is the loss.
      weights: weightInputs.map((input, index) => ({
        input,
        gradient: outputIndex[index + 1] ?? 0,
      })),
    };
  });
}
