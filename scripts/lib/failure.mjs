/** @file The one error that scripts show without a stack: what happened, and what to do about it. */

export class Failure extends Error {
  /**
   * @param {string} what one sentence: what was expected and what was found
   * @param {{ todo?: string, detail?: string, cause?: unknown }} [more]
   */
  constructor(what, { todo, detail, cause } = {}) {
    super(what, { cause });
    this.name = 'Failure';
    this.todo = todo;
    this.detail = detail;
  }

  /** The text a person sees. */
  report() {
    const lines = [this.message];
    if (this.detail !== undefined && this.detail !== '') lines.push('', this.detail.trimEnd(), '');
    if (this.todo !== undefined) lines.push(`What to do: ${this.todo}`);
    return lines.join('\n');
  }
}

/**
 * Runs a script's main function: a Failure is printed plainly, anything else with its stack.
 * @param {() => Promise<number | void>} main resolves to the exit code
 */
export async function runMain(main) {
  try {
    const code = await main();
    process.exitCode = typeof code === 'number' ? code : 0;
  } catch (error) {
    const text = error instanceof Failure ? error.report() : (error?.stack ?? String(error));
    process.stderr.write(`\n${text}\n`);
    process.exitCode = 1;
  }
}
