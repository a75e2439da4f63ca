/** @file SVG files are bundled as their text. */
declare module '*.svg' {
  const source: string;
  // eslint-disable-next-line no-restricted-exports -- how bundlers hand out an asset
  export default source;
}
