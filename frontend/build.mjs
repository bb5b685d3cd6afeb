// Bundles each host that has an entry, and the style, into the Python package: `node build.mjs`. With `--watch` after each
// change; with `--check` nothing is written, and it fails where what is there isn't what would be written.
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import * as esbuild from 'esbuild'

const here = path => fileURLToPath(new URL(path, import.meta.url))
const STATIC = here('../src/layerscope/viewer/static')

// Page and report are inlined as classic scripts, since modules don't load from file://; anywidget imports a module.
const ENTRIES = [
  { from: here('src/hosts/page.tsx'), to: `${STATIC}/page.js`, format: 'iife' },
  { from: here('src/hosts/report.tsx'), to: `${STATIC}/report.js`, format: 'iife' },
  { from: here('src/hosts/widget.tsx'), to: `${STATIC}/widget.js`, format: 'esm' },
  { from: here('src/style.css'), to: `${STATIC}/style.css` },
].filter(entry => existsSync(entry.from))

const options = ({ from, to, format }) => ({
  entryPoints: [from],
  outfile: to,
  ...(format && { format }),
  bundle: true,
  minify: true,
  charset: 'utf8',
  target: ['es2022', 'chrome111', 'firefox113', 'safari16.4'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  legalComments: 'none',
  // The widget's module brings its own style; everything else has it from the page.
  loader: { '.css': to.endsWith('.css') ? 'css' : 'text' },
  logLevel: 'warning',
})

if (process.argv.includes('--watch')) {
  for (const entry of ENTRIES) await (await esbuild.context(options(entry))).watch()
} else if (process.argv.includes('--check')) {
  const built = await Promise.all(ENTRIES.map(entry => esbuild.build({ ...options(entry), write: false })))
  const stale = built
    .flatMap(({ outputFiles }) => outputFiles)
    .filter(({ path, contents }) => !existsSync(path) || !readFileSync(path).equals(contents))
  for (const { path } of stale) console.error(`${path} isn't what its source gives: npm run build`)
  process.exitCode = stale.length ? 1 : 0
} else {
  await Promise.all(ENTRIES.map(entry => esbuild.build(options(entry))))
}
