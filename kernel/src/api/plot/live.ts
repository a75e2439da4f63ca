/** @file A chart that grows while a cell runs: redrawn in place, complete in the saved notebook. */
import type { Runtime } from '../runtime.js';
import { currentRuntime } from '../runtime.js';
import type { Tensor } from '../tensor.js';
import type { AxesOptions } from './axes.js';
import { line } from './charts.js';

/** Between two drawings. */
const DRAW_MS = 250;
/** Points kept a curve; older neighbours are averaged pairwise beyond it. */
const MAX_POINTS = 2_000;

export interface LiveOptions extends AxesOptions {
  /** Curve to fill with the loss of every optimizer step until `done()`; '' for none. */
  readonly loss?: string;
  /** Goes on behind the steps that were done before: what `load` or `cluster.attach` gave. */
  readonly resume?: LiveStart | null | undefined;
}

/** Steps done, and the losses of a run that the engine still knows. */
interface LiveStart {
  readonly step: number;
  readonly losses?: readonly (readonly [number, number])[];
}

interface Curve {
  readonly x: number[];
  readonly y: number[];
}

/** A live chart; made by `plot.live`. */
export class LiveChart {
  private readonly options: LiveOptions;
  private readonly runtime: Runtime;
  private readonly displayId: string;
  private readonly curves = new Map<string, Curve>();
  private stopListening: (() => void) | null = null;
  private steps: number;
  private drawnMs = -Infinity;
  private isShown = false;

  constructor(options: LiveOptions = {}) {
    const { resume, ...shown } = options;
    this.options = shown;
    this.steps = resume?.step ?? 0;
    this.runtime = currentRuntime();
    this.displayId = this.runtime.newDisplayId('live');
    const name = options.loss ?? 'loss';
    if (name !== '') {
      for (const [step, loss] of resume?.losses ?? []) this.add(name, step + 1, loss);
      this.stopListening = this.runtime.meter.listen(({ loss }) => {
        this.steps++;
        if (loss !== null) this.add(name, this.steps, loss);
      });
    }
    this.draw();
  }

  /** Adds a point to each named curve; x is the number of steps so far unless given. Tensors of one element are read. */
  push(values: Readonly<Record<string, number | Tensor>>, x?: number): void {
    for (const [name, value] of Object.entries(values)) {
      const y = typeof value === 'number' ? value : value.item();
      this.add(
        name,
        x ?? (this.steps > 0 ? this.steps : (this.curves.get(name)?.x.length ?? 0) + 1),
        y,
      );
    }
  }

  /** Draws the final state and stops listening to steps. */
  done(): void {
    this.runtime.steps.waitForAll();
    this.stopListening?.();
    this.stopListening = null;
    this.draw();
  }

  private add(name: string, x: number, y: number): void {
    const curve = this.curves.get(name) ?? { x: [], y: [] };
    this.curves.set(name, curve);
    curve.x.push(x);
    curve.y.push(y);
    if (curve.x.length > MAX_POINTS) halve(curve);
    const now = this.runtime.session.now();
    if (this.runtime.session.interactive && now - this.drawnMs >= DRAW_MS) this.draw();
  }

  private draw(): void {
    const { session } = this.runtime;
    this.drawnMs = session.now();
    const series = [...this.curves].map(([label, { x, y }]) => ({ label, x, y, trend: true }));
    const options = { xLabel: 'step', ...this.options };
    const figure = line(series.length === 0 ? { x: [], y: [] } : series, options);
    session.display(figure.bundle(), { displayId: this.displayId, update: this.isShown });
    this.isShown = true;
  }
}

/** Averages neighbours in place: half as many points, the same shape. */
function halve(curve: Curve): void {
  const count = Math.floor(curve.x.length / 2);
  for (let i = 0; i < count; i++) {
    curve.x[i] = curve.x[2 * i] ?? 0;
    curve.y[i] = ((curve.y[2 * i] ?? 0) + (curve.y[2 * i + 1] ?? 0)) / 2;
  }
  curve.x.length = count;
  curve.y.length = count;
}

/** A chart that shows the loss of each step from now on, and whatever is pushed to it. */
export function live(options: LiveOptions = {}): LiveChart {
  return new LiveChart(options);
}
