/**
 * @file A cell's TypeScript as scripts that share one scope with all other cells.
 *
 * Top-level names become global variables, so that `lr = 0.01` or a redefined function takes effect in
 * functions of older cells, and what ran before an error stays. Function declarations are a script of
 * their own that runs first (calls may precede them, as in a module); the rest is the body of one
 * function, async if the cell awaits. Both scripts keep every line where it was.
 */

import { parse } from 'acorn';
import type { AnyNode, ModuleDeclaration, Program, Statement, VariableDeclaration } from 'acorn';
import { KERNEL_LIMITS } from '@ravenlab/protocol';
import {
  exportFromStatement,
  importStatement,
  importedNames,
  RUNTIME_NAME,
} from './moduleSyntax.js';
import { gapsBetween, originalColumn, PatchList, renderSpans } from './patches.js';
import type { Position, Span } from './patches.js';
import { stripTypes } from './stripTypes.js';
import type { CellSyntaxError } from './stripTypes.js';
import { namesOfPattern, walk } from './walk.js';
import type { WalkContext } from './walk.js';

/** One of the two scripts of a cell. */
export interface CellScript {
  readonly code: string;
  /** For `vm.Script`: makes column numbers of the first line those of the cell. */
  readonly columnOffset: number;
}

/** A cell, ready to run. */
export interface CellCode {
  /** Function declarations; null if there are none. */
  readonly hoisted: CellScript | null;
  /** Evaluates to `[value]` if the cell ends in an expression, else undefined; a promise of it if async. */
  readonly body: CellScript;
  readonly isAsync: boolean;
  /** Top-level names of the cell. */
  readonly names: readonly string[];
  /** From a place in a script to the place in the cell. */
  readonly toOriginal: (position: Position) => Position;
}

export type TransformResult =
  | { readonly ok: true; readonly cell: CellCode }
  | { readonly ok: false; readonly error: CellSyntaxError };

type TopLevelNode = Statement | ModuleDeclaration;

/** Translates one cell. */
export function transformCell(source: string): TransformResult {
  if (source.length > KERNEL_LIMITS.cellChars) {
    const message = `the cell has ${source.length} characters, at most ${KERNEL_LIMITS.cellChars} run`;
    return failure(message, { line: 1, column: 1 }, false);
  }
  const stripped = stripTypes(source);
  if (!stripped.ok) return stripped;
  const { code, toOriginal } = stripped;
  const parsed = parseScript(code, toOriginal);
  if (!parsed.ok) return parsed;
  const rewriter = new Rewriter(code, parsed.program);
  if (rewriter.names.has(RUNTIME_NAME)) {
    return failure(`the name ${RUNTIME_NAME} is reserved`, { line: 1, column: 1 }, false);
  }
  return { ok: true, cell: assemble(code, rewriter, toOriginal) };
}

function assemble(
  code: string,
  rewriter: Rewriter,
  toOriginal: (position: Position) => Position,
): CellCode {
  const patches = rewriter.patches.sorted();
  const functions = rewriter.functions;
  const rest = gapsBetween(functions, code.length);
  const names = [...rewriter.names];
  const declared = names.length > 0 ? `var ${names.join()};` : '';
  const bodyPrefix = `'use strict';${declared}(${rewriter.isAsync ? 'async' : ''}()=>{`;
  const hoistedPrefix = `'use strict';`;
  const hoisted = {
    code: hoistedPrefix + renderSpans(code, patches, functions),
    columnOffset: -hoistedPrefix.length,
  };
  return {
    hoisted: functions.length > 0 ? hoisted : null,
    body: {
      // The newline ends a comment on the last line.
      code: `${bodyPrefix}${renderSpans(code, patches, rest)}\n})()`,
      columnOffset: -bodyPrefix.length,
    },
    isAsync: rewriter.isAsync,
    names: [...names, ...rewriter.functionNames],
    toOriginal: (position) => {
      const column =
        originalColumn(code, patches, rest, position) ??
        originalColumn(code, patches, functions, position);
      return toOriginal({ line: position.line, column: column ?? position.column });
    },
  };
}

type ParseResult =
  | { readonly ok: true; readonly program: Program }
  | { readonly ok: false; readonly error: CellSyntaxError };

function parseScript(code: string, toOriginal: (position: Position) => Position): ParseResult {
  try {
    const program = parse(code, {
      ecmaVersion: 'latest',
      sourceType: 'module',
      allowAwaitOutsideFunction: true,
      preserveParens: true,
      // `export { x }` of a name from an earlier cell is harmless here.
      allowImportExportEverywhere: false,
      checkPrivateFields: true,
    });
    return { ok: true, program };
  } catch (error) {
    if (!(error instanceof SyntaxError) && !(error instanceof RangeError)) throw error;
    const loc = 'loc' in error ? (error.loc as { line: number; column: number }) : null;
    const pos = 'pos' in error ? Number(error.pos) : 0;
    const message = error.message.replace(/ \(\d+:\d+\)$/, '');
    const position = loc ? { line: loc.line, column: loc.column + 1 } : { line: 1, column: 1 };
    const isDecorator = code[pos] === '@';
    return failure(
      isDecorator
        ? 'decorators are not supported in cells; call the decorator as a function'
        : message,
      toOriginal(position),
      !isDecorator && pos >= code.trimEnd().length,
    );
  }
}

/** Collects the edits of one cell. */
class Rewriter {
  readonly patches = new PatchList();
  /** Ranges of top-level function declarations, ascending. */
  readonly functions: Span[] = [];
  readonly functionNames: string[] = [];
  /** Top-level names other than functions. */
  readonly names = new Set<string>();
  isAsync = false;
  private readonly source: string;
  private readonly usedNames = new Set<string>();
  private readonly topLevel: ReadonlySet<AnyNode>;
  private readonly resultNode: AnyNode | null;

  constructor(source: string, program: Program) {
    this.source = source;
    const statements = program.body.map(withoutExport);
    this.topLevel = new Set(statements);
    this.resultNode = resultOf(statements);
    walk(program, {
      enter: (node, context) => this.enter(node, context),
      leave: (node) => this.leave(node),
    });
    // Imports are rewritten last: which of their names are used is known only now.
    for (const node of program.body) this.rewriteModuleSyntax(node);
  }

  private enter(node: AnyNode, context: WalkContext): void {
    if (this.topLevel.has(node)) this.enterTopLevel(node);
    if (node === this.resultNode) this.patches.open(node.start, 'return[(');
    this.noteUse(node, context);
    switch (node.type) {
      case 'AwaitExpression':
        this.isAsync ||= !context.isInFunction;
        this.patches.open(node.start, `${RUNTIME_NAME}.resume(${RUNTIME_NAME}.here(),`);
        this.patches.open(node.argument.start, `${RUNTIME_NAME}.settle(`);
        break;
      case 'ForOfStatement':
        if (!node.await) break;
        this.isAsync ||= !context.isInFunction;
        this.patches.open(node.right.start, `${RUNTIME_NAME}.iterate(`);
        break;
      case 'ImportExpression': {
        const keyword = { start: node.start, end: node.start + 'import'.length };
        this.patches.replace(keyword, `${RUNTIME_NAME}.dynamicImport`, this.source);
        break;
      }
      case 'MetaProperty':
        if (node.meta.name !== 'import') break;
        this.patches.replace(node, `${RUNTIME_NAME}.meta`, this.source);
        break;
      case 'VariableDeclaration':
        this.enterVariables(node, context);
        break;
      default:
        break;
    }
  }

  private leave(node: AnyNode): void {
    if (node.type === 'AwaitExpression') this.patches.close(node.argument.end, '))');
    if (node.type === 'ForOfStatement' && node.await) this.patches.close(node.right.end, ')');
    if (node === this.resultNode) this.patches.close(node.end, ')]');
    if (node.type === 'ClassDeclaration' && this.topLevel.has(node)) {
      this.patches.close(node.end, ';');
    }
  }

  private enterTopLevel(node: AnyNode): void {
    if (node.type === 'FunctionDeclaration' && node.id) {
      this.functions.push({ start: node.start, end: node.end });
      this.functionNames.push(node.id.name);
    } else if (node.type === 'ClassDeclaration' && node.id) {
      this.names.add(node.id.name);
      this.patches.open(node.start, `;${node.id.name}=`);
    } else if (node.type === 'ImportDeclaration') {
      this.isAsync = true;
      for (const name of importedNames(node)) this.names.add(name);
    } else if (node.type === 'ExportNamedDeclaration' || node.type === 'ExportAllDeclaration') {
      this.isAsync ||= Boolean(node.source);
    }
  }

  /** `let`, `const` and `var` of the cell's scope become assignments; those of inner scopes stay. */
  private enterVariables(node: VariableDeclaration, context: WalkContext): void {
    if (node.kind === 'await using') this.isAsync ||= !context.isInFunction;
    const isTopLevel = this.topLevel.has(node);
    const isCellVar = node.kind === 'var' && !context.isInFunction;
    const isUsing = node.kind === 'using' || node.kind === 'await using';
    if (isUsing || !(isTopLevel || isCellVar)) return;
    for (const { id } of node.declarations) {
      for (const name of namesOfPattern(id)) this.names.add(name);
    }
    const keyword = { start: node.start, end: node.start + node.kind.length };
    if (isLoopTarget(node, context.parent)) {
      this.patches.replace(keyword, ' '.repeat(node.kind.length), this.source);
      return;
    }
    // `void` starts a statement of its own, whatever precedes it without a semicolon.
    this.patches.replace(keyword, 'void(', this.source);
    for (const { id, init } of node.declarations) {
      if (init) continue;
      // `var x;` keeps the value of an earlier cell, `let x;` starts anew.
      if (node.kind === 'var') this.patches.replace(id, '0', this.source);
      else this.patches.close(id.end, '=void 0');
    }
    this.patches.close(node.declarations.at(-1)?.end ?? node.end, ')');
  }

  private rewriteModuleSyntax(node: TopLevelNode): void {
    if (node.type === 'ImportDeclaration') {
      const statement = importStatement(node, (name) => this.usedNames.has(name));
      this.patches.replace(node, statement, this.source);
    }
    const exported = withoutExport(node);
    if (exported !== node) {
      this.patches.replace({ start: node.start, end: exported.start }, '', this.source);
    } else if (node.type === 'ExportDefaultDeclaration') {
      // A nameless function or class: nothing can refer to it.
      this.patches.replace(
        { start: node.start, end: node.declaration.start },
        'void ',
        this.source,
      );
    } else if (node.type === 'ExportNamedDeclaration' || node.type === 'ExportAllDeclaration') {
      this.patches.replace(node, exportFromStatement(node), this.source);
    }
  }

  private noteUse(node: AnyNode, { parent }: WalkContext): void {
    if (node.type !== 'Identifier' || !parent || parent.type.startsWith('Import')) return;
    const isName =
      (parent.type === 'MemberExpression' && parent.property === node && !parent.computed) ||
      (parent.type === 'Property' && parent.key === node && !parent.computed && !parent.shorthand);
    if (!isName) this.usedNames.add(node.name);
  }
}

/** What an export declares or evaluates: in a cell, `export` only marks a name that is shared anyway. */
function withoutExport(node: TopLevelNode): AnyNode {
  if (node.type === 'ExportNamedDeclaration') return node.declaration ?? node;
  if (node.type !== 'ExportDefaultDeclaration') return node;
  const { declaration } = node;
  const isNameless = 'id' in declaration && !declaration.id;
  return isNameless ? node : declaration;
}

function resultOf(statements: readonly AnyNode[]): AnyNode | null {
  const last = statements.filter((node) => !isEmpty(node)).at(-1);
  if (last?.type === 'ExpressionStatement') return last.expression;
  return last?.type.endsWith('Expression') ? last : null;
}

/** Does nothing when it runs; `var` without a value is also what a compiled namespace ends in. */
function isEmpty(node: AnyNode): boolean {
  if (node.type === 'EmptyStatement') return true;
  if (node.type !== 'VariableDeclaration' || node.kind !== 'var') return false;
  return node.declarations.every(({ init }) => !init);
}

function isLoopTarget(node: VariableDeclaration, parent: AnyNode | null): boolean {
  const isLoop = parent?.type === 'ForOfStatement' || parent?.type === 'ForInStatement';
  return isLoop && parent.left === node;
}

function failure(
  message: string,
  position: Position,
  isIncomplete: boolean,
): TransformResult & { ok: false } {
  return { ok: false, error: { message, position, isIncomplete } };
}
