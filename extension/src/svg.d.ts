/** @file SVG files are bundled as their text. */
declare module '*.svg' {
  const source: string;
  export default source;
}
