/** @file The namespace `nn` of the package. */
export { MultiHeadAttention, TransformerEncoderLayer } from './attention.js';
export * as functional from './functional.js';
export { accuracy, bceWithLogits, crossEntropy, l1, mse, nllLoss, smoothL1 } from './functional.js';
export {
  Dropout,
  Flatten,
  GELU,
  ReLU,
  Sequential,
  Sigmoid,
  SiLU,
  Softmax,
  Tanh,
} from './layers.js';
export { AvgPool2d, Conv1d, Conv2d, Embedding, Linear, MaxPool2d } from './linear.js';
export { Module } from './module.js';
export { BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm } from './norms.js';
export { GRU, LSTM, RNN } from './recurrent.js';
export { Parameter } from '../parameter.js';
