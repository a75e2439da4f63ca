/** @file Types of the globals that cells find; notebookGlobals.ts defines them. */

/** Ambient declarations, as TypeScript source. */
export const CELL_GLOBALS = `
interface JupyterDisplayOptions {
  /** Outputs with the same id are updated together. */
  readonly id?: string;
  /** Replace the output with this id instead of adding one. */
  readonly update?: boolean;
  readonly metadata?: Record<string, unknown>;
}
/** The notebook that this cell belongs to. */
declare var jupyter: {
  /** Shows any value as the last expression of a cell is shown. */
  display(value: unknown, options?: JupyterDisplayOptions): void;
  /** Shows a bundle of MIME types, e.g. \`{ 'text/html': '<b>hi</b>' }\`; bytes become base64. */
  raw(data: Record<string, unknown>, options?: JupyterDisplayOptions): void;
  html(text: string, options?: JupyterDisplayOptions): void;
  markdown(text: string, options?: JupyterDisplayOptions): void;
  latex(text: string, options?: JupyterDisplayOptions): void;
  svg(text: string, options?: JupyterDisplayOptions): void;
  png(bytes: Uint8Array, options?: JupyterDisplayOptions): void;
  jpeg(bytes: Uint8Array, options?: JupyterDisplayOptions): void;
  json(value: unknown, options?: JupyterDisplayOptions): void;
  /** Clears the cell's output; with \`wait\`, when the next output comes. */
  clearOutput(options?: { readonly wait?: boolean }): void;
  /** Writes to stdout, without adding a line end. */
  print(text: string): void;
  /** Asks for a line of text; blocks the cell, not the kernel. */
  input(prompt?: string): string | null;
  /** Like \`input\`, without showing what is typed. */
  password(prompt?: string): string | null;
};
/** Asks for a line of text. */
declare function prompt(text?: string): string | null;
/** Asks for y or n. */
declare function confirm(text?: string): boolean;
/** Prints a text. */
declare function alert(text?: string): void;
`;
