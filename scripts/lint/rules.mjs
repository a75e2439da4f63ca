/** @file Lint of our own: file headers, work left for later, and what a pure folder may not do. */

/**
 * The first comment of a file is its header: what the file is, and what it is not.
 * @type {import('eslint').Rule.RuleModule}
 */
const fileHeader = {
  meta: {
    type: 'suggestion',
    schema: [],
    messages: { missing: 'start the file with /** @file what it is; what it is not. */' },
  },
  create(context) {
    return {
      Program(node) {
        const first = context.sourceCode.getAllComments()[0];
        const isHeader =
          first?.type === 'Block' && /^\*\s*(\n\s*\*\s*)?@file\s+\S/.test(first.value);
        if (!isHeader) context.report({ node, loc: { line: 1, column: 0 }, messageId: 'missing' });
      },
    };
  },
};

const UNOWNED_TODO = /\b(TODO|FIXME|XXX|HACK)\b(?!\s*\(#\d+\))/;

/**
 * Work left for later is an issue; the comment only points at it.
 * @type {import('eslint').Rule.RuleModule}
 */
const todoNeedsIssue = {
  meta: {
    type: 'problem',
    schema: [],
    messages: { unowned: 'write {{word}} as {{word}} (#123), with the number of its issue' },
  },
  create(context) {
    return {
      Program() {
        for (const comment of context.sourceCode.getAllComments()) {
          const match = UNOWNED_TODO.exec(comment.value);
          if (match === null) continue;
          context.report({ loc: comment.loc, messageId: 'unowned', data: { word: match[1] } });
        }
      },
    };
  },
};

export const ravenlabRules = {
  rules: { 'file-header': fileHeader, 'todo-needs-issue': todoNeedsIssue },
};

/** What the compiler cannot forbid in a pure folder: these exist in every ECMAScript realm. */
export const PURITY_BANS = [
  [':function[async=true]', 'core is synchronous: return an effect, and answer it with an event'],
  ['AwaitExpression', 'core is synchronous: return an effect, and answer it with an event'],
  [
    'Identifier[name="Promise"]',
    'core is synchronous: return an effect, and answer it with an event',
  ],
  ['ImportExpression', 'core is loaded whole; a dynamic import is I/O'],
  ['Identifier[name="Date"]', 'time is an argument (`now`, integer ms), never read'],
  ['MemberExpression[object.name="Math"][property.name="random"]', 'use the injected PRNG'],
  [
    'Identifier[name=/^(WeakRef|FinalizationRegistry)$/]',
    'garbage collection is not deterministic',
  ],
  [
    'CallExpression[callee.property.name=/^(localeCompare|toLocale\\w*)$/]',
    'locale differs by machine',
  ],
  ['Identifier[name="Intl"]', 'locale differs by machine'],
].map(([selector, message]) => ({ selector, message }));
