/**
 * @file The training steps that are under way, in the order of their versions: the first has its turn to make the next one, each
 * other was begun with what the one before it is promised to make. Knows their order, not what they are made of.
 */

export class StepChain<Step extends object> {
  private steps: Step[] = [];
  private current: Step | null = null;

  /** The step that makes the next version; null between two turns. */
  get turn(): Step | null {
    return this.current;
  }

  get length(): number {
    return this.steps.length;
  }

  /** The step whose turn it is, or will be next. */
  get first(): Step | null {
    return this.steps[0] ?? null;
  }

  /** Comes last; its turn begins at once when it is nobody's. */
  add(step: Step): void {
    this.steps.push(step);
    this.current ??= step;
  }

  takeTurn(step: Step): void {
    this.current = step;
  }

  remove(step: Step): void {
    this.steps = this.steps.filter((each) => each !== step);
    if (this.current === step) this.current = null;
  }

  /** Its place in the order, from 0; -1: it makes no version. */
  placeOf(step: Step): number {
    return this.steps.indexOf(step);
  }

  /** Steps that begin with what this one makes, the last one first. */
  behind(step: Step): Step[] {
    const place = this.placeOf(step);
    return place < 0 ? [] : this.steps.slice(place + 1).reverse();
  }

  every(isTrue: (step: Step) => boolean): boolean {
    return this.steps.every(isTrue);
  }
}
