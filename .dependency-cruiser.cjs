/** @file The layer rules of scripts/lint/layerRules.cjs in dependency-cruiser's form. */
const { join } = require('node:path');
const { LAYER_RULES } = require('./scripts/lint/layerRules.cjs');

module.exports = {
  forbidden: LAYER_RULES.map(({ name, comment, from, to }) => ({
    name,
    comment,
    severity: 'error',
    from,
    to,
  })),
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist|labextension|\\.venv)/|^extension/lib/' },
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    tsConfig: { fileName: join(__dirname, 'tsconfig.layers.json') },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
