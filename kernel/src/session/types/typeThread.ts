/** @file Entry of the type thread: one language service, questions answered in order. */

import { parentPort, workerData } from 'node:worker_threads';
import { LanguageTypeService } from './languageTypeService.js';
import type { LanguageTypeServiceOptions } from './languageTypeService.js';
import type { FromTypes, NumberedQuestion, TypeAnswer, TypeQuestion } from './typeMessages.js';

const port = parentPort;
if (!port) throw new Error('typeThread.js runs as a worker thread only');

const service = new LanguageTypeService(workerData as LanguageTypeServiceOptions);

const ANSWERS: {
  [K in TypeQuestion['kind']]: (question: TypeQuestion & { kind: K }) => TypeAnswer;
} = {
  complete: ({ code, offset }) => service.complete(code, offset),
  inspect: ({ code, offset }) => service.inspect(code, offset),
  addCell: ({ cell, check }) => service.addCell(cell, { check }),
  reset: () => {
    service.reset();
    return null;
  },
};

const post = (message: FromTypes): void => port.postMessage(message);

port.on('message', ({ id, question }: NumberedQuestion) => {
  try {
    const answer = ANSWERS[question.kind] as (question: TypeQuestion) => TypeAnswer;
    post({ kind: 'answer', id, answer: answer(question) });
  } catch (error) {
    // The compiler's own failure must not cost the thread.
    post({
      kind: 'failure',
      id,
      message: error instanceof Error ? String(error.stack) : String(error),
    });
  }
});
post({ kind: 'ready' });
