/** @file Import and export statements of a cell as calls of the cell's own import function. */

import type {
  ExportAllDeclaration,
  ExportNamedDeclaration,
  Identifier,
  ImportAttribute,
  ImportDeclaration,
  Literal,
} from 'acorn';

/** Name under which cell code reaches the runtime; a cell may not declare it. */
export const RUNTIME_NAME = '__rl';

/** Names that an import statement binds. */
export function importedNames(node: ImportDeclaration): string[] {
  return node.specifiers.map((specifier) => specifier.local.name);
}

/**
 * The statement as an expression statement: `void({a: b} = await __rl.import('x', ["a"]))`.
 * @param isUsed whether a local name is used as a value in the cell; only then must the module export it,
 * because an unused name may be a type.
 */
export function importStatement(
  node: ImportDeclaration,
  isUsed: (localName: string) => boolean,
): string {
  const required: string[] = [];
  const targets: string[] = [];
  let namespace: string | null = null;
  for (const specifier of node.specifiers) {
    const local = specifier.local.name;
    if (specifier.type === 'ImportNamespaceSpecifier') {
      namespace = local;
      continue;
    }
    const imported =
      specifier.type === 'ImportDefaultSpecifier' ? 'default' : nameOf(specifier.imported);
    targets.push(`${JSON.stringify(imported)}:${local}`);
    if (isUsed(local)) required.push(imported);
  }
  let expression = `await ${importCall(node, required)}`;
  if (namespace !== null) expression = `${namespace}=${expression}`;
  if (targets.length > 0) expression = `{${targets.join()}}=${expression}`;
  return `void(${expression});`;
}

/** `export … from 'x'` loads the module for its effects; a cell has no exports. */
export function exportFromStatement(node: ExportAllDeclaration | ExportNamedDeclaration): string {
  if (!node.source) return '';
  return `void(await ${importCall({ source: node.source, attributes: node.attributes }, [])});`;
}

function importCall(
  node: { readonly source: Literal; readonly attributes: readonly ImportAttribute[] },
  required: readonly string[],
): string {
  const attributes = Object.fromEntries(
    node.attributes.map(({ key, value }) => [nameOf(key), String(value.value)]),
  );
  const hasAttributes = node.attributes.length > 0;
  const args = [String(node.source.value), required, ...(hasAttributes ? [attributes] : [])];
  return `${RUNTIME_NAME}.import(${args.map((arg) => JSON.stringify(arg)).join()})`;
}

function nameOf(node: Identifier | Literal): string {
  return node.type === 'Identifier' ? node.name : String(node.value);
}
