/** @file What a cell imports from 'ravenlab'. */
export type { DType, Shape } from '@ravenlab/protocol';
export { load, save } from './checkpoint.js';
export type { WorkerTable } from './cluster.js';
export { cluster } from './cluster.js';
export * as data from './data/data.js';
export * from './functions.js';
export { noGrad } from './gradMode.js';
export * as nn from './nn/nn.js';
export * as optim from './optim/optim.js';
export { Parameter } from './parameter.js';
export * as plot from './plot/plot.js';
export { progress } from './progress.js';
export type { Checkpoint, Position } from './resume/snapshot.js';
export type { TrainingRun } from './resume/trainingRun.js';
export { Tensor } from './tensor.js';
