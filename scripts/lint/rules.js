/** @file Two lint rules of our own: every file says what it is, and work left for later has an issue. */

/** The first comment of a file is its header: what the file is, and what it is not. */
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

/** Work left for later is an issue; the comment only points at it. */
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
