/**
 * @file What earlier cells declared, as ambient TypeScript: one text per name, so that a redeclared name
 * replaces the old one and all others stay.
 */

import { KERNEL_LIMITS } from '@ravenlab/protocol';
import ts from 'typescript';

/** Declarations by name, oldest first. */
export class Declarations {
  private readonly texts = new Map<string, string>();

  /** Source that declares every carried name but those in `except`; ends in a newline. */
  prelude(except: ReadonlySet<string>): string {
    const texts = new Set<string>();
    for (const [name, text] of this.texts) {
      if (!except.has(name)) texts.add(text);
    }
    return texts.size === 0 ? '' : `${[...texts].join('\n')}\n`;
  }

  /**
   * Takes over the names that a cell declared, from its emitted declaration file.
   * @param typeOf names the type of a declaration that the file leaves out: a `var` inside a block.
   */
  add(
    declarationFile: string,
    names: ReadonlySet<string>,
    typeOf: (name: string) => string | null,
  ): void {
    const file = ts.createSourceFile('cell.d.ts', declarationFile, ts.ScriptTarget.ESNext, true);
    const found = new Map<string, string[]>();
    for (const statement of file.statements) {
      for (const { name, text } of splitStatement(statement)) {
        if (!names.has(name)) continue;
        const texts = found.get(name) ?? [];
        texts.push(text);
        found.set(name, texts);
      }
    }
    for (const name of names) {
      if (found.has(name)) continue;
      const type = typeOf(name);
      if (type !== null) found.set(name, [`declare let ${name}: ${type};`]);
    }
    for (const [name, texts] of found) {
      this.texts.delete(name);
      this.texts.set(name, texts.join('\n'));
    }
    for (const oldest of this.texts.keys()) {
      if (this.texts.size <= KERNEL_LIMITS.carriedDeclarations) break;
      this.texts.delete(oldest);
    }
  }

  clear(): void {
    this.texts.clear();
  }
}

/** Names that the top level of a cell declares or imports. */
export function declaredNames(code: string): Set<string> {
  const file = ts.createSourceFile('cell.ts', code, ts.ScriptTarget.ESNext, true);
  const names = new Set<string>();
  for (const statement of file.statements) {
    for (const { name } of splitStatement(statement)) names.add(name);
    // `var` reaches the cell's scope from inside blocks and loops.
    if (!ts.isVariableStatement(statement)) collectVars(statement, names);
  }
  return names;
}

interface NamedText {
  readonly name: string;
  readonly text: string;
}

/** A statement as one text per name that it declares. */
function splitStatement(statement: ts.Statement): NamedText[] {
  if (ts.isVariableStatement(statement)) return splitVariables(statement);
  if (ts.isImportDeclaration(statement)) return splitImport(statement);
  const isNamed =
    ts.isFunctionDeclaration(statement) ||
    ts.isClassDeclaration(statement) ||
    ts.isInterfaceDeclaration(statement) ||
    ts.isTypeAliasDeclaration(statement) ||
    ts.isEnumDeclaration(statement) ||
    ts.isModuleDeclaration(statement) ||
    ts.isImportEqualsDeclaration(statement);
  const text = withoutExport(statement);
  return isNamed && statement.name ? [{ name: statement.name.text, text }] : [];
}

function splitVariables(statement: ts.VariableStatement): NamedText[] {
  const { declarationList } = statement;
  const documentation = documentationOf(statement);
  const isConst = (declarationList.flags & ts.NodeFlags.Const) !== 0;
  return declarationList.declarations.flatMap((declaration) =>
    namesOfBinding(declaration.name).map((name) => ({
      name,
      text: `${documentation}declare ${isConst ? 'const' : 'let'} ${declaration.getText()};`,
    })),
  );
}

function splitImport(statement: ts.ImportDeclaration): NamedText[] {
  const from = statement.moduleSpecifier.getText();
  const clause = statement.importClause;
  if (!clause) return [];
  const keyword = clause.phaseModifier === ts.SyntaxKind.TypeKeyword ? 'import type' : 'import';
  const result: NamedText[] = [];
  const add = (name: string, binding: string): void => {
    result.push({ name, text: `${keyword} ${binding} from ${from};` });
  };
  if (clause.name) add(clause.name.text, clause.name.text);
  const bindings = clause.namedBindings;
  if (bindings && ts.isNamespaceImport(bindings)) {
    add(bindings.name.text, `* as ${bindings.name.text}`);
  } else if (bindings) {
    for (const element of bindings.elements) add(element.name.text, `{ ${element.getText()} }`);
  }
  return result;
}

function namesOfBinding(name: ts.BindingName): string[] {
  if (ts.isIdentifier(name)) return [name.text];
  return name.elements.flatMap((element) =>
    ts.isOmittedExpression(element) ? [] : namesOfBinding(element.name),
  );
}

function collectVars(node: ts.Node, names: Set<string>): void {
  if (ts.isFunctionLike(node) || ts.isClassLike(node)) return;
  if (ts.isVariableDeclarationList(node) && (node.flags & ts.NodeFlags.BlockScoped) === 0) {
    for (const { name } of node.declarations) {
      for (const one of namesOfBinding(name)) names.add(one);
    }
  }
  ts.forEachChild(node, (child) => collectVars(child, names));
}

function withoutExport(statement: ts.Statement): string {
  return documentationOf(statement) + statement.getText().replace(/^export\s+(default\s+)?/, '');
}

/** The JSDoc in front of a statement: hover shows it in later cells too. */
function documentationOf(statement: ts.Statement): string {
  const before = statement.getFullText().slice(0, statement.getLeadingTriviaWidth());
  const last = before.lastIndexOf('/**');
  return last === -1 ? '' : before.slice(last);
}
