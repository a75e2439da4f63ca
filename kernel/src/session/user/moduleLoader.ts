/**
 * @file Where the imports of a cell come from: the package `ravenlab` of this kernel, then the notebook's
 * directory, then the project that the kernel belongs to.
 */

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import vm from 'node:vm';

type Namespace = Record<string, unknown>;
type Importer = (specifier: string, options?: object) => Promise<Namespace>;

/** How far a missing name's error lists what the module does export. */
const LISTED_EXPORTS = 12;

/** Options of a {@link ModuleLoader}; both are absolute paths. */
export interface ModuleLoaderOptions {
  readonly notebookDir: string;
  /** Entry of the package `ravenlab`. */
  readonly apiPath: string;
}

/** Imports for cells. */
export class ModuleLoader {
  /** `import.meta` of a cell: the notebook's directory, as if the cell were a file in it. */
  readonly meta: Readonly<Record<string, unknown>>;
  /** CommonJS `require` with the notebook's directory as its base. */
  readonly require: NodeJS.Require;
  private readonly importers: readonly { readonly base: string; readonly load: Importer }[];
  private readonly apiUrl: string;

  constructor({ notebookDir, apiPath }: ModuleLoaderOptions) {
    const cellPath = join(notebookDir, 'cell.ts');
    this.apiUrl = pathToFileURL(apiPath).href;
    this.require = createRequire(cellPath);
    this.importers = [notebookDir, dirname(apiPath)].map((directory) => {
      const base = join(directory, 'cell.ts');
      return { base, load: compileImporter(base) };
    });
    this.meta = Object.freeze({
      url: pathToFileURL(cellPath).href,
      dirname: notebookDir,
      filename: cellPath,
    });
  }

  /**
   * An import statement of a cell.
   * @param required names that the module must export.
   * @throws SyntaxError that lists what the module exports, if a required name is missing.
   */
  readonly import = async (
    specifier: string,
    required: readonly string[],
    attributes?: Readonly<Record<string, string>>,
  ): Promise<Namespace> => {
    const namespace = await this.load(specifier, attributes && { with: attributes });
    const missing = required.filter((name) => !(name in namespace));
    if (missing.length === 0) return namespace;
    return withMembersOfDefault(specifier, namespace, missing);
  };

  /** `import()` in a cell. */
  readonly dynamicImport = (specifier: unknown, options?: object): Promise<Namespace> =>
    this.load(String(specifier), options);

  private async load(specifier: string, options?: object): Promise<Namespace> {
    if (specifier === 'ravenlab') return (await import(this.apiUrl)) as Namespace;
    let firstError: unknown;
    for (const { base, load } of this.importers) {
      try {
        return await load(specifier, options);
      } catch (error) {
        if (!isNotFound(error, base)) throw error;
        firstError ??= error;
      }
    }
    throw firstError;
  }
}

/** An `import()` that resolves as if it stood in the file `base`, which need not exist. */
function compileImporter(base: string): Importer {
  const script = new vm.Script('(specifier, options) => import(specifier, options)', {
    filename: base,
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  return script.runInThisContext() as Importer;
}

/** True if the specifier itself was not found from `base`; not if one of its own imports is missing. */
function isNotFound(error: unknown, base: string): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false;
  return error.code === 'ERR_MODULE_NOT_FOUND' && error.message.includes(`imported from ${base}`);
}

/** CommonJS modules whose exports Node cannot list beforehand offer them on `default`. */
function withMembersOfDefault(
  specifier: string,
  namespace: Namespace,
  missing: readonly string[],
): Namespace {
  const members = Object(namespace['default']) as Namespace;
  const picked = missing.filter((name) => name in members);
  if (picked.length === missing.length) {
    return { ...namespace, ...Object.fromEntries(picked.map((name) => [name, members[name]])) };
  }
  const names = Object.keys(namespace);
  const listed = names.slice(0, LISTED_EXPORTS).join(', ');
  const more = names.length > LISTED_EXPORTS ? `, … (${names.length} in all)` : '';
  throw new SyntaxError(
    `'${specifier}' does not export ${missing.join(', ')}; it exports ${listed}${more}`,
  );
}
