/** @file The namespace `optim` of the package. */
export { clipGradNorm, clipGradValue } from './clip.js';
export { Optimizer } from './optimizer.js';
export { Adam, AdamW, SGD } from './optimizers.js';
export { cosineAnnealing, lambdaLR, oneCycle, Schedule, stepLR, warmup } from './schedules.js';
