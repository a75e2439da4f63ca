/**
 * @file The TypeScript compiler as a type service for cells. A cell is checked as one module: first what
 * earlier cells declared, then its own text. Synchronous; lives in the type thread.
 */

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { KERNEL_LIMITS } from '@ravenlab/protocol';
import ts from 'typescript';
import { CELL_GLOBALS } from './cellGlobals.js';
import { declaredNames, Declarations } from './declarations.js';
import type { Completions, Inspection, TypeDiagnostic, TypedCell } from './typeService.js';

/** Where types are looked up; absolute paths. */
export interface LanguageTypeServiceOptions {
  readonly notebookDir: string;
  /** Declarations of the package `ravenlab`. */
  readonly apiTypesPath: string;
}

const COMPILER_OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  moduleDetection: ts.ModuleDetectionKind.Force,
  lib: ['lib.esnext.d.ts'],
  types: ['node'],
  strict: true,
  // A quick `function f(x)` in a notebook is no mistake.
  noImplicitAny: false,
  declaration: true,
  skipLibCheck: true,
  esModuleInterop: true,
  resolveJsonModule: true,
  allowUnreachableCode: true,
  allowUnusedLabels: true,
  allowImportingTsExtensions: true,
};

/** How completion kinds of TypeScript are called by front ends; others keep their name. */
const KIND_NAMES: Readonly<Record<string, string>> = {
  method: 'function',
  'local function': 'function',
  const: 'variable',
  let: 'variable',
  var: 'variable',
  'local var': 'variable',
  parameter: 'variable',
  getter: 'property',
  setter: 'property',
  alias: 'module',
  'external module name': 'module',
  script: 'module',
  directory: 'module',
};

/** Types, completions and declarations of cells. */
export class LanguageTypeService {
  private readonly declarations = new Declarations();
  private readonly cellPath: string;
  private readonly service: ts.LanguageService;
  private text = '';
  private version = 0;

  constructor(options: LanguageTypeServiceOptions) {
    this.cellPath = join(options.notebookDir, '__cell__.ts');
    this.service = ts.createLanguageService(this.createHost(options), ts.createDocumentRegistry());
    // The first program costs most; it is made before anybody asks.
    this.service.getProgram();
  }

  /** Completions at an offset of `code`. */
  complete(code: string, offset: number): Completions | null {
    const shift = this.show(code);
    const found = this.service.getCompletionsAtPosition(this.cellPath, shift + offset, {
      includeCompletionsForModuleExports: false,
      includeCompletionsWithInsertText: false,
    });
    if (!found) return null;
    const span = found.optionalReplacementSpan ?? found.entries[0]?.replacementSpan;
    const start = span ? span.start - shift : wordStart(code, offset);
    const end = span ? Math.max(offset, span.start + span.length - shift) : offset;
    const prefix = code.slice(start, offset);
    const items = rank(found.entries, prefix)
      .slice(0, KERNEL_LIMITS.completions)
      .map(({ name, kind }) => ({ text: name, type: KIND_NAMES[kind] ?? kind }));
    return { items, start, end };
  }

  /** The name at an offset, or else the call around it. */
  inspect(code: string, offset: number): Inspection | null {
    const shift = this.show(code);
    const places = offset > 0 ? [offset, offset - 1] : [offset];
    for (const place of places) {
      if (!/[\w$\p{L}]/u.test(code[place] ?? '')) continue;
      const info = this.service.getQuickInfoAtPosition(this.cellPath, shift + place);
      if (info) return describe(info.displayParts, info.documentation, info.tags);
    }
    return this.inspectCall(shift + offset);
  }

  /** Type errors of a cell; its declarations are carried over to later questions. */
  addCell({ code }: TypedCell, { check }: { readonly check: boolean }): TypeDiagnostic[] {
    const names = declaredNames(code);
    if (names.size === 0 && !check) return [];
    // Exporting a name makes the compiler write down its type; the list stands behind the cell.
    const list = names.size > 0 ? `\nexport { ${[...names].join(', ')} };` : '';
    const shift = this.show(code + list, names);
    const diagnostics = check ? this.diagnose(code, shift) : [];
    if (names.size > 0) this.carryOver(names);
    return diagnostics;
  }

  /** Forgets all cells. */
  reset(): void {
    this.declarations.clear();
  }

  private carryOver(names: ReadonlySet<string>): void {
    const emitted = this.service.getEmitOutput(this.cellPath, true, true);
    const text = emitted.outputFiles[0]?.text;
    if (text === undefined) return;
    this.declarations.add(text, names, (name) => this.typeOfExport(name));
  }

  private typeOfExport(name: string): string | null {
    const program = this.service.getProgram();
    const file = program?.getSourceFile(this.cellPath);
    const checker = program?.getTypeChecker();
    const module = file && checker?.getSymbolAtLocation(file);
    const symbol = module && checker?.getExportsOfModule(module).find((one) => one.name === name);
    if (!file || !checker || !symbol) return null;
    const type = checker.getTypeOfSymbolAtLocation(symbol, file);
    return checker.typeToString(type, file, ts.TypeFormatFlags.NoTruncation);
  }

  private diagnose(code: string, shift: number): TypeDiagnostic[] {
    const program = this.service.getProgram();
    // Not the service's, which add what cannot be written down in a declaration file: nobody exports a cell's types but we.
    return (program?.getSemanticDiagnostics(program.getSourceFile(this.cellPath)) ?? [])
      .filter(({ start, category }) => {
        const isError = category === ts.DiagnosticCategory.Error && start !== undefined;
        return isError && start >= shift && start <= shift + code.length;
      })
      .slice(0, KERNEL_LIMITS.diagnostics)
      .map((diagnostic) => {
        const before = code.slice(0, (diagnostic.start ?? shift) - shift).split('\n');
        return {
          line: before.length,
          column: (before.at(-1)?.length ?? 0) + 1,
          code: diagnostic.code,
          message: ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'),
        };
      });
  }

  private inspectCall(position: number): Inspection | null {
    const help = this.service.getSignatureHelpItems(this.cellPath, position, undefined);
    const item = help?.items[help.selectedItemIndex];
    if (!help || !item) return null;
    const parameters = item.parameters.map((parameter) =>
      ts.displayPartsToString(parameter.displayParts),
    );
    const signature =
      ts.displayPartsToString(item.prefixDisplayParts) +
      parameters.join(ts.displayPartsToString(item.separatorDisplayParts)) +
      ts.displayPartsToString(item.suffixDisplayParts);
    const active = item.parameters[help.argumentIndex];
    const about = active ? ts.displayPartsToString(active.documentation) : '';
    const argument = active ? [`**${active.name}** ${about}`.trimEnd()] : [];
    const documentation = ts.displayPartsToString(item.documentation);
    return { signature, documentation: [...argument, documentation].join('\n\n').trimEnd() };
  }

  /** Makes `code` the cell that is asked about; returns the offset at which it starts in the module. */
  private show(code: string, names: ReadonlySet<string> = declaredNames(code)): number {
    const prelude = this.declarations.prelude(names);
    const text = prelude + code;
    if (text !== this.text) {
      this.text = text;
      this.version += 1;
    }
    return prelude.length;
  }

  private createHost({
    notebookDir,
    apiTypesPath,
  }: LanguageTypeServiceOptions): ts.LanguageServiceHost {
    const globalsPath = join(notebookDir, '__globals__.d.ts');
    const require = createRequire(import.meta.url);
    const typeRoot = dirname(dirname(require.resolve('@types/node/package.json')));
    const options = { ...COMPILER_OPTIONS, typeRoots: [typeRoot] };
    const virtual = (path: string): string | undefined =>
      path === this.cellPath ? this.text : path === globalsPath ? CELL_GLOBALS : undefined;
    const resolve = (name: string, from: string): ts.ResolvedModuleFull | undefined =>
      ts.resolveModuleName(name, from, options, ts.sys).resolvedModule;
    return {
      getCompilationSettings: () => options,
      getCurrentDirectory: () => notebookDir,
      getDefaultLibFileName: (wanted) => ts.getDefaultLibFilePath(wanted),
      getScriptFileNames: () => [this.cellPath, globalsPath],
      getScriptVersion: (path) =>
        path === this.cellPath ? String(this.version) : fileVersion(path),
      getScriptSnapshot: (path) => {
        const text = virtual(path) ?? ts.sys.readFile(path);
        return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text);
      },
      fileExists: (path) => virtual(path) !== undefined || ts.sys.fileExists(path),
      readFile: (path) => virtual(path) ?? ts.sys.readFile(path),
      readDirectory: (...args) => ts.sys.readDirectory(...args),
      directoryExists: (path) => ts.sys.directoryExists(path),
      getDirectories: (path) => ts.sys.getDirectories(path),
      resolveModuleNameLiterals: (literals, containingFile) =>
        literals.map(({ text }) => {
          if (text === 'ravenlab') {
            const resolvedFileName = apiTypesPath;
            return { resolvedModule: { resolvedFileName, extension: ts.Extension.Dts } };
          }
          // Like the import itself: from the notebook, then from the project of this kernel.
          const resolvedModule = resolve(text, containingFile) ?? resolve(text, apiTypesPath);
          return { resolvedModule };
        }),
    };
  }
}

/** Modules of the user change under a running kernel; installed packages do not, and there are hundreds. */
function fileVersion(path: string): string {
  if (path.includes('/node_modules/')) return '0';
  return String(ts.sys.getModifiedTime?.(path)?.getTime() ?? 0);
}

function describe(
  display: ts.SymbolDisplayPart[] | undefined,
  documentation: ts.SymbolDisplayPart[] | undefined,
  tags: ts.JSDocTagInfo[] | undefined,
): Inspection {
  const tagLines = (tags ?? []).map(({ name, text }) =>
    `*@${name}* ${ts.displayPartsToString(text)}`.trimEnd(),
  );
  return {
    signature: ts.displayPartsToString(display),
    documentation: [ts.displayPartsToString(documentation), ...tagLines]
      .filter((line) => line !== '')
      .join('\n\n'),
  };
}

/** Entries that start with the prefix, in TypeScript's own order; another case only if none has this one. */
function rank(entries: readonly ts.CompletionEntry[], prefix: string): ts.CompletionEntry[] {
  const exact = entries.filter(({ name }) => name.startsWith(prefix));
  const lower = prefix.toLowerCase();
  const matching =
    exact.length > 0 ? exact : entries.filter(({ name }) => name.toLowerCase().startsWith(lower));
  return matching.sort((a, b) => compare(a.sortText, b.sortText) || compare(a.name, b.name));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function wordStart(code: string, offset: number): number {
  return offset - (/[\w$\p{L}]*$/u.exec(code.slice(0, offset))?.[0].length ?? 0);
}
