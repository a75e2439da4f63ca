/** @file What every plot is: markup for a front end and a sentence for everything else. */
import { currentRuntime } from '../runtime.js';

/** A finished plot. As the last expression of a cell it shows itself; `show()` shows it at once. */
export class Figure {
  readonly html: string;
  /** Where there is no front end. */
  readonly text: string;

  constructor(html: string, text: string) {
    this.html = html;
    this.text = text;
  }

  show(): void {
    currentRuntime().session.display(this.bundle());
  }

  bundle(): Record<string, string> {
    return { 'text/html': this.html, 'text/plain': this.text };
  }

  [Symbol.for('Jupyter.display')](): Record<string, string> {
    return this.bundle();
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.text;
  }
}
