/** @file Layers without weights, and containers. */
import type { Tensor } from '../tensor.js';
import { Module } from './module.js';

/** A module from one tensor to one tensor. */
export type Layer = Module & { forward(x: Tensor): Tensor };

/** Runs modules one after the other. */
export class Sequential extends Module {
  private readonly stages: readonly Layer[];

  constructor(...stages: readonly Layer[]) {
    super();
    this.stages = stages;
  }

  forward(x: Tensor): Tensor {
    return this.stages.reduce((value, stage) => stage.forward(value), x);
  }

  /** Numbered as in PyTorch: '0', '1', … */
  protected override members(): [string, Layer][] {
    return this.stages.map((stage, index) => [String(index), stage]);
  }
}

export class Flatten extends Module {
  private readonly from: number;
  private readonly to: number;

  constructor(from = 1, to = -1) {
    super();
    this.from = from;
    this.to = to;
  }

  forward(x: Tensor): Tensor {
    return x.flatten(this.from, this.to);
  }
}

/** Zeroes elements with probability `p` while training, and scales the rest by 1 / (1 - p). */
export class Dropout extends Module {
  private readonly p: number;

  constructor(p = 0.5) {
    super();
    this.p = p;
  }

  forward(x: Tensor): Tensor {
    return x.dropout(this.p, this.training);
  }

  protected override describe(): string {
    return String(this.p);
  }
}

export class ReLU extends Module {
  forward(x: Tensor): Tensor {
    return x.relu();
  }
}
export class GELU extends Module {
  forward(x: Tensor): Tensor {
    return x.gelu();
  }
}
export class SiLU extends Module {
  forward(x: Tensor): Tensor {
    return x.silu();
  }
}
export class Tanh extends Module {
  forward(x: Tensor): Tensor {
    return x.tanh();
  }
}
export class Sigmoid extends Module {
  forward(x: Tensor): Tensor {
    return x.sigmoid();
  }
}
export class Softmax extends Module {
  private readonly axis: number;

  constructor(axis = -1) {
    super();
    this.axis = axis;
  }

  forward(x: Tensor): Tensor {
    return x.softmax(this.axis);
  }
}
