/** @file Runs the scripts of a cell in this thread and reports how it ended. */

import vm from 'node:vm';
import type {
  CellOutcome,
  CellRun,
  DisplayBundle,
  ExpressionOutcome,
  UserExpression,
} from '../threadMessages.js';
import type { CellScript } from '../transform/cellTransform.js';
import type { CellScope, RunContext } from './cellScope.js';
import { captureError } from './errorCapture.js';
import { describeValue } from './mimeBundle.js';

/** What a cell's body evaluates to: a box around the value, so that a promise is shown and not awaited. */
type Box = readonly [value: unknown] | undefined;

/**
 * Runs one cell; `finish` is called once, synchronously if nothing was awaited. It is never called if
 * the run is terminated: the main thread settles such a cell itself.
 */
export function runCell(
  run: CellRun,
  scope: CellScope,
  finish: (outcome: CellOutcome) => void,
): void {
  const context: RunContext = {
    cellId: run.cellId,
    allowStdin: run.allowStdin,
    isStopped: false,
    wasToldOfStop: false,
  };
  const fail = (error: unknown): void => {
    finish({ status: 'error', error: captureError(error) });
  };
  scope.run(context, () => {
    try {
      makeAssignable(run.names);
      if (run.hoisted) evaluate(run.hoisted, run.filename);
      const outcome = evaluate(run.body, run.filename) as Box | Promise<Box>;
      const complete = (box: Box): void => {
        const result = box?.[0] === undefined ? null : describeValue(box[0]);
        if (result instanceof Promise || run.userExpressions.length > 0) {
          finishLater(result, run.userExpressions, finish).catch(fail);
        } else {
          finish({ status: 'ok', result, userExpressions: {} });
        }
      };
      if (outcome instanceof Promise) outcome.then(complete).catch(fail);
      else complete(outcome);
    } catch (error) {
      fail(error);
    }
  });
}

async function finishLater(
  result: DisplayBundle | null | Promise<DisplayBundle>,
  expressions: readonly UserExpression[],
  finish: (outcome: CellOutcome) => void,
): Promise<void> {
  const bundle = await result;
  const userExpressions: Record<string, ExpressionOutcome> = {};
  for (const expression of expressions) {
    userExpressions[expression.name] = await evaluateExpression(expression);
  }
  finish({ status: 'ok', result: bundle, userExpressions });
}

async function evaluateExpression(expression: UserExpression): Promise<ExpressionOutcome> {
  try {
    const box = (await evaluate(expression.body, expression.filename)) as Box;
    return { status: 'ok', bundle: await describeValue(box?.[0]) };
  } catch (error) {
    return { status: 'error', error: captureError(error) };
  }
}

function evaluate(script: CellScript, filename: string): unknown {
  const compiled = new vm.Script(script.code, {
    filename,
    columnOffset: script.columnOffset,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  // Node would put the throwing line on top of the stack; the traceback shows it in a better way.
  return compiled.runInThisContext({ displayErrors: false });
}

/** Some globals of Node (`crypto`, `navigator`) are accessors that ignore assignment: a cell's name wins. */
function makeAssignable(names: readonly string[]): void {
  for (const name of names) {
    const property = Object.getOwnPropertyDescriptor(globalThis, name);
    if (!property?.configurable || property.writable) continue;
    Object.defineProperty(globalThis, name, {
      value: undefined,
      writable: true,
      configurable: true,
      enumerable: property.enumerable ?? false,
    });
  }
}
