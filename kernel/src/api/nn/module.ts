/** @file The base of all modules: finds parameters through fields, saves and loads them. */
import { DataError, formatShape, sameShape, ShapeError } from '@ravenlab/protocol';
import type { HostArray } from '../host.js';
import { noteModule } from '../resume/manifest.js';
import { Parameter } from '../parameter.js';
import { evaluate } from '../evaluate.js';

/** Values by name, in PyTorch's naming and layout. */
export type StateDict = ReadonlyMap<string, HostArray>;

/** `runningMean` → `running_mean`: names in files are those of PyTorch. */
function fileName(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/**
 * A part of a model. Fields that are parameters, modules, or arrays of them belong to it; subclasses write `forward`.
 *
 *     class Net extends nn.Module {
 *       hidden = new nn.Linear(784, 128);
 *       out = new nn.Linear(128, 10);
 *       forward(x: Tensor): Tensor { return this.out.call(this.hidden.call(x).relu()); }
 *     }
 *
 * `forward` may take and give anything; `call` has its types.
 */
export abstract class Module {
  /** False after `eval()`: dropout passes everything, batch norm uses its running statistics. */
  training = true;

  constructor() {
    noteModule(this);
  }

  /** What the module computes. `never[]` lets subclasses name their own inputs. */
  abstract forward(...inputs: never[]): unknown;

  /** Runs the module: the same as `forward`. */
  call<M extends Module>(this: M, ...inputs: Parameters<M['forward']>): ReturnType<M['forward']> {
    return this.forward(...inputs) as ReturnType<M['forward']>;
  }

  /** Trainable parameters of this module and all below it, each once. */
  parameters(): Parameter[] {
    return [...new Set(this.namedParameters().map(([, parameter]) => parameter))];
  }

  /** Trainable parameters with their names in a state dict. */
  namedParameters(): [string, Parameter][] {
    return this.namedTensors().filter(([, parameter]) => parameter.requiresGrad);
  }

  /** Values that are saved but not trained, like running statistics. */
  namedBuffers(): [string, Parameter][] {
    return this.namedTensors().filter(([, parameter]) => !parameter.requiresGrad);
  }

  /** Parameters and buffers of this module and all below it, by name: what a state dict holds. */
  namedTensors(prefix = ''): [string, Parameter][] {
    return this.members().flatMap(([name, value]): [string, Parameter][] =>
      value instanceof Parameter
        ? [[`${prefix}${name}`, value]]
        : value.namedTensors(`${prefix}${name}.`),
    );
  }

  /** Modules right below this one, by name. */
  namedChildren(): [string, Module][] {
    return this.members().flatMap(([name, value]): [string, Module][] =>
      value instanceof Module ? [[name, value]] : [],
    );
  }

  /** This module and all below it. */
  modules(): Module[] {
    const below = this.namedChildren().flatMap(([, child]) => child.modules());
    return [...new Set([this, ...below])];
  }

  /** Switches dropout and batch norm to training, or with `false` to evaluation. */
  train(on = true): this {
    for (const module of this.modules()) module.training = on;
    return this;
  }

  eval(): this {
    return this.train(false);
  }

  /** Number of trainable values. */
  get parameterCount(): number {
    return this.parameters().reduce((count, parameter) => count + parameter.size, 0);
  }

  /** Values of all parameters and buffers, read from the engine. */
  async stateDict(): Promise<Map<string, HostArray>> {
    const entries = this.namedTensors();
    const values = await evaluate(entries.map(([, parameter]) => parameter.node));
    return new Map(
      entries.map(([name, { dtype, shape }], index) => [
        name,
        { dtype, shape, data: (values[index] ?? new Float32Array()).slice() },
      ]),
    );
  }

  /**
   * Sets every parameter and buffer; nothing changes unless all fit. With `strict: false`, names on one side only are
   * skipped. A PyTorch file's `num_batches_tracked` is always skipped: it is not used.
   * @throws DataError for missing or unexpected names; ShapeError naming the first value that does not fit.
   */
  loadStateDict(state: StateDict, options: { readonly strict?: boolean } = {}): void {
    const entries = this.namedTensors();
    const names = new Set(entries.map(([name]) => name));
    const missing = [...names].filter((name) => !state.has(name));
    const unexpected = [...state.keys()].filter(
      (name) => !names.has(name) && !name.endsWith('num_batches_tracked'),
    );
    if (options.strict !== false && missing.length + unexpected.length > 0) {
      throw new DataError(
        `loadStateDict: the file does not fit the model: missing [${missing.join(', ')}], unexpected [${unexpected.join(', ')}]; ` +
          'build the model as when it was saved, or pass { strict: false } to load what fits',
        { meta: { missing, unexpected } },
      );
    }
    for (const [name, parameter] of entries) {
      const value = state.get(name);
      if (value === undefined || sameShape(value.shape, parameter.shape)) continue;
      throw new ShapeError(
        `loadStateDict: '${name}' has shape ${formatShape(value.shape)}, the model expects ${formatShape(parameter.shape)}`,
        { name, shape: value.shape, expected: parameter.shape },
      );
    }
    for (const [name, parameter] of entries) {
      const value = state.get(name);
      if (value !== undefined) parameter.set(value.data);
    }
  }

  /** Parameters and modules among the fields, also inside arrays and records, in order of definition. */
  protected members(): [string, Member][] {
    return Object.entries(this).flatMap(([field, value]) => found(fileName(field), value, 0));
  }

  /** What a subclass shows in brackets after its name. */
  protected describe(): string {
    return '';
  }

  /** The module tree, one line a module. */
  toString(): string {
    const head = `${this.constructor.name}(${this.describe()}`;
    const children = this.namedChildren();
    if (children.length === 0) return `${head})`;
    const lines = children.map(
      ([name, child]) => `  (${name}): ${child.toString().replaceAll('\n', '\n  ')}`,
    );
    return `${head}\n${lines.join('\n')}\n)`;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `${this.toString()}\n${this.parameterCount.toLocaleString('en-US')} parameters`;
  }
}

type Member = Parameter | Module;

/** How deep arrays and records are searched: enough for `layers[i].heads[j]`. */
const MAX_DEPTH = 4;

function found(name: string, value: unknown, depth: number): [string, Member][] {
  if (value instanceof Parameter || value instanceof Module) return [[name, value]];
  if (depth >= MAX_DEPTH || typeof value !== 'object' || value === null) return [];
  const isPlain = Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype;
  if (!isPlain) return [];
  return Object.entries(value).flatMap(([key, item]) => found(`${name}.${key}`, item, depth + 1));
}
