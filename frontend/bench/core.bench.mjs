// Medians of what a sheet costs, by the interface's own code without a browser: `npm run bench`. Nothing here fails.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { fileURLToPath, pathToFileURL } from 'node:url'
import * as esbuild from 'esbuild'

const MODULES = ['app/raster', 'core/layer', 'core/scale', 'core/combine', 'core/codes', 'core/payload']
const folder = mkdtempSync(`${tmpdir()}/layerscope-bench-`)
process.on('exit', () => rmSync(folder, { recursive: true }))
await esbuild.build({
  stdin: {
    contents: MODULES.map(name => `export * from './${name}'`).join('\n'),
    resolveDir: fileURLToPath(new URL('../src', import.meta.url)),
    loader: 'ts',
  },
  bundle: true,
  format: 'esm',
  minify: true,
  outfile: `${folder}/core.mjs`,
})
globalThis.ImageData = class {
  constructor(width, height) {
    this.data = new Uint8ClampedArray(4 * width * height)
  }
}
const core = await import(pathToFileURL(`${folder}/core.mjs`))

const SHAPES = [
  [512, 28, 28],
  [64, 224, 224],
  [2048, 7, 7],
]
const SCREENS = [
  { width: 820, height: 520, ratio: 1 },
  { width: 1920, height: 1200, ratio: 1 },
]
const FIGURES = ['min', 'mean', 'max', 'deviation', 'sparsity', 'positive', 'energy', 'dead', 'constant', 'nan', 'inf']
const NORMS = ['linear', 'log', 'symlog']

function halfOf(value) {
  const [bits] = new Uint32Array(Float32Array.of(value).buffer)
  const power = ((bits >> 23) & 255) - 112
  return ((bits >> 16) & 32768) | (power <= 0 ? 0 : (power << 10) | ((bits >> 13) & 1023))
}

/** The bytes of a payload: values of both signs, in each channel of another size. */
function payloadOf(count, rows, columns, wide) {
  const size = rows * columns
  const values = new Float32Array(count * size)
  const statistics = new Float64Array(11 * count)
  const least = new Float64Array(count).fill(Infinity)
  let state = 1
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  for (let channel = 0; channel < count; channel++) {
    let [low, high] = [Infinity, -Infinity]
    for (let unit = channel * size; unit < (channel + 1) * size; unit++) {
      const value = Math.fround((random() + random() + random() - 1.5) * (1 + channel / count))
      values[unit] = value
      low = Math.min(low, value)
      high = Math.max(high, value)
      if (value > 0) least[channel] = Math.min(least[channel], value)
    }
    statistics[channel] = low
    statistics[2 * count + channel] = high
  }
  return packed({
    statistics: ['F64', [11, count], statistics],
    least: ['F64', [count], least],
    channels: ['I32', [count], Int32Array.from({ length: count }, (_, index) => index)],
    values: [wide ? 'F32' : 'F16', [count, rows, columns], wide ? values : Uint16Array.from(values, halfOf)],
  })
}

function packed(tensors) {
  const header = { __metadata__: { layerscope: JSON.stringify({ exponent: 0, figures: FIGURES }) } }
  let end = 0
  for (const [name, [dtype, shape, data]] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [end, end + data.byteLength] }
    end += data.byteLength
  }
  const json = new TextEncoder().encode(JSON.stringify(header))
  const length = Math.ceil(json.length / 8) * 8
  const bytes = new Uint8Array(8 + length + end).fill(32)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true)
  bytes.set(json, 8)
  for (const [name, [, , data]] of Object.entries(tensors)) {
    bytes.set(new Uint8Array(data.buffer), 8 + length + header[name].data_offsets[0])
  }
  return bytes
}

/** Median of the milliseconds of `work`, which is given what `prepare` makes before the clock runs. */
function median(work, prepare = () => undefined, runs = 15) {
  const times = []
  for (let run = 0; run < runs; run++) {
    const given = prepare()
    const start = performance.now()
    work(given)
    times.push(performance.now() - start)
  }
  return times.sort((one, other) => one - other)[runs >> 1]
}

const LUT = Uint32Array.from({ length: 256 }, (_, code) => 0xff000000 + code)

/** A layer on a screen. */
class Sheet {
  constructor(bytes, screen) {
    const layer = core.LayerData.of(bytes)
    this.layer = layer
    this.screen = screen
    this.source = { ...layer, rows: layer.rows, columns: layer.columns, plane: at => layer.plane(at), layer }
    this.plate = new core.Plate(screen.width, screen.height)
  }

  scale(rule) {
    const { limits, curve } = core.scaleOf(this.layer, rule)
    this.tiles = new core.Tiles(this.source, limits, curve)
  }

  draw(zoom = null) {
    const { layer, screen, plate } = this
    const at = core.grid(layer, screen, zoom)
    const factor = Math.min(core.detail(layer.rows, at.height), core.detail(layer.columns, at.width))
    for (const place of core.seen(at, layer.count, screen.width, screen.height)) {
      const tile = this.tiles.codes(place, factor)
      plate.block(tile.codes, LUT, tile, [...core.corner(at, place), at.width, at.height])
    }
  }
}

function measured(bytes, screen) {
  const sheet = new Sheet(bytes, screen)
  const show = (each, rule) => {
    each.scale(rule)
    each.draw()
  }
  const times = {
    'first frame from bytes': median(() => show(new Sheet(bytes, screen), { per: 'channel' }), undefined, 9),
  }
  for (const per of ['channel', 'layer']) {
    for (const norm of NORMS) times[`scale: ${per}, ${norm}`] = median(() => show(sheet, { per, norm }))
  }
  times.colours = median(() => sheet.draw())
  sheet.draw({ scale: 4, x: 3, y: 3 })
  times['zoom ×4, pan'] = median(() => sheet.draw({ scale: 4, x: 3.1, y: 3 }))
  const { layer } = sheet
  const sum = core.weighted(
    layer,
    Array.from({ length: layer.count }, (_, at) => [at, 1 / layer.count]),
  )
  times['mean of all'] = median(() =>
    core.weighted(
      layer,
      Array.from({ length: layer.count }, (_, at) => [at, 0.1]),
    ),
  )
  times['a weight'] = median(() => {
    core.drag(sum, layer.plane(3), 0.01)
    const { limits, curve } = core.scaleOfPlane(sum, { per: 'layer' })
    core.encode(sum, limits[0], limits[1], curve)
  })
  return times
}

for (const wide of [false, true]) {
  for (const [count, rows, columns] of SHAPES) {
    const bytes = payloadOf(count, rows, columns, wide)
    const [small, large] = SCREENS.map(screen => measured(bytes, screen))
    const sizes = SCREENS.map(({ width, height }) => `${width} × ${height}`.padStart(13)).join('')
    console.log(`\n${`${count} × ${rows} × ${columns}, ${wide ? 'float32' : 'float16'} (ms)`.padEnd(30)}${sizes}`)
    for (const [name, time] of Object.entries(small)) {
      console.log(`  ${name.padEnd(28)}${[time, large[name]].map(each => each.toFixed(2).padStart(13)).join('')}`)
    }
  }
}
