// Bundles each host that has an entry, and the style, into the Python package: `node build.mjs`. With `--watch` after each
// change; with `--check` nothing is written, and it fails where what is there isn't what would be written.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as esbuild from 'esbuild'
import { minify } from 'terser'
import * as short from './short.mjs'

const here = path => fileURLToPath(new URL(path, import.meta.url))
const STATIC = here('../src/layerscope/viewer/static')

// Page and report are inlined as classic scripts, since modules don't load from file://; anywidget imports a module.
const ENTRIES = [
  { from: here('src/hosts/page.tsx'), to: `${STATIC}/page.js`, format: 'iife' },
  { from: here('src/hosts/report.tsx'), to: `${STATIC}/report.js`, format: 'iife' },
  { from: here('src/hosts/widget.tsx'), to: `${STATIC}/widget.js`, format: 'esm' },
  { from: here('src/style.css'), to: `${STATIC}/style.css` },
].filter(entry => existsSync(entry.from))

// Names of fields that no JSON, no text and no browser knows, so that they may be short.
const OWN =
  'across answer bits center codes columns combined compose count cover curve depth dialog down drawn ends extremes failed follow ground hover jobs kept least limits meta offsets order owners payload peak percentiles pitchX pitchY pixels place plane planes predict ratio seen shown sides slices tables tiles turn turned wrong'

// Methods of Preact's classes, which nothing outside a bundle calls.
const INNER =
  /^(component(Will|Did)\w+|getDerivedStateFrom\w+|getSnapshotBeforeUpdate|shouldComponentUpdate|getChildContext|debounceRendering|forceUpdate|setState|contextType|defaultProps|displayName)$/

const options = ({ from, to, format }) => ({
  entryPoints: [from],
  outfile: to,
  ...(format && { format }),
  bundle: true,
  minify: true,
  mangleProps: new RegExp(`^(${OWN.replaceAll(' ', '|')})$`),
  charset: 'utf8',
  target: ['es2022', 'chrome111', 'firefox113', 'safari16.4'],
  // h(…) is shorter than what the types go by, and nobody looks into signals.
  tsconfigRaw: {
    compilerOptions: {
      ...{ target: 'ES2022', jsx: 'react', jsxFactory: 'h', jsxFragmentFactory: 'Fragment' },
      // A field that is declared and gets its value later needs no code.
      useDefineForClassFields: false,
    },
  },
  inject: [here('node_modules/preact/dist/preact.mjs'), here('short.mjs')],
  define: {
    'window.__PREACT_SIGNALS_DEVTOOLS__': 'false',
    ...Object.fromEntries(Object.keys(short).map(name => [name.replace('_', '.'), name])),
  },
  legalComments: 'none',
  logLevel: 'warning',
})

/** What an entry gives. A second pass takes from scripts what the bundler leaves: two kilobytes of what is sent. */
async function built(entry) {
  const { outputFiles } = await esbuild.build({ ...options(entry), write: false })
  const [{ text }] = outputFiles
  if (!entry.format) return text
  const { code } = await minify(text, {
    module: entry.format === 'esm',
    ecma: 2020,
    compress: { passes: 3, inline: 1, switches: false },
    mangle: { properties: { regex: INNER } },
  })
  return `${code}\n`
}

if (process.argv.includes('--watch')) {
  for (const entry of ENTRIES) await (await esbuild.context(options(entry))).watch()
} else {
  const texts = await Promise.all(ENTRIES.map(built))
  for (const [at, { to }] of ENTRIES.entries()) {
    if (!process.argv.includes('--check')) writeFileSync(to, texts[at])
    else if (!existsSync(to) || readFileSync(to, 'utf8') !== texts[at]) {
      console.error(`${to} isn't what its source gives: npm run build`)
      process.exitCode = 1
    }
  }
}
