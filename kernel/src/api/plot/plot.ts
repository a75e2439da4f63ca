/** @file The namespace `plot` of the package: small SVG charts that follow the theme and stay in the saved notebook. */
export { bars, line, scatter } from './charts.js';
export { confusionMatrix } from './confusion.js';
export { Figure } from './figure.js';
export { graph } from './graphDrawing.js';
export { image, images } from './images.js';
export { live, LiveChart } from './live.js';
