// Medians of the core's passes for three layers: `npm run bench`. Nothing here fails; the targets are printed beside.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { fileURLToPath, pathToFileURL } from 'node:url'
import * as esbuild from 'esbuild'

const folder = mkdtempSync(`${tmpdir()}/layerscope-bench-`)
process.on('exit', () => rmSync(folder, { recursive: true }))
await esbuild.build({
  stdin: {
    contents: ['layer', 'index', 'paint', 'scale', 'combine', 'lod', 'half', 'payload']
      .map(name => `export * from './${name}'`)
      .join('\n'),
    resolveDir: fileURLToPath(new URL('../src/core', import.meta.url)),
    loader: 'ts',
  },
  bundle: true,
  format: 'esm',
  minify: true,
  outfile: `${folder}/core.mjs`,
})
const core = await import(pathToFileURL(`${folder}/core.mjs`))

function half(value) {
  const [bits] = new Uint32Array(Float32Array.of(value).buffer)
  const power = ((bits >> 23) & 255) - 112
  return ((bits >> 16) & 32768) | (power <= 0 ? 0 : (power << 10) | ((bits >> 13) & 1023))
}

/** Values as of a convolution: both signs, and each channel at another size; `relu` sets half of them to 0. */
function layerOf(count, rows, columns, { relu = false, wide = false } = {}) {
  const size = rows * columns
  let state = 1
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  const values = new Float32Array(count * size)
  for (let index = 0; index < values.length; index++) {
    const value = (random() + random() + random() - 1.5) * (1 + Math.floor(index / size) / count)
    values[index] = relu ? Math.max(value, 0) : value
  }
  const statistics = new Float64Array(11 * count)
  const least = new Float64Array(count).fill(Infinity)
  for (let channel = 0; channel < count; channel++) {
    let [low, high] = [Infinity, -Infinity]
    for (let unit = channel * size; unit < (channel + 1) * size; unit++) {
      low = Math.min(low, values[unit])
      high = Math.max(high, values[unit])
      if (values[unit] > 0) least[channel] = Math.min(least[channel], values[unit])
    }
    statistics[channel] = low
    statistics[2 * count + channel] = high
  }
  const tensors = {
    values: {
      dtype: wide ? 'F32' : 'F16',
      shape: [count, rows, columns],
      data: wide ? values : Uint16Array.from(values, half),
    },
    channels: { dtype: 'I32', shape: [count], data: Int32Array.from({ length: count }, (_, index) => index) },
    statistics: { dtype: 'F64', shape: [11, count], data: statistics },
    least: { dtype: 'F64', shape: [count], data: least },
  }
  return () => core.LayerData.of({ meta: { exponent: 0 }, tensors })
}

function decodeAll(layer) {
  for (let at = 0; at < layer.count; at++) layer.plane(at)
}

function median(work, runs = 15) {
  const times = []
  for (let run = 0; run < runs; run++) {
    const start = performance.now()
    work()
    times.push(performance.now() - start)
  }
  return times.sort((one, other) => one - other)[runs >> 1]
}

const SHAPES = [
  [512, 28, 28],
  [64, 224, 224],
  [2048, 7, 7],
]
const RULES = ['channel', 'layer'].flatMap(per => ['linear', 'log', 'symlog'].map(norm => ({ per, norm })))
const lut = Uint32Array.from({ length: 256 }, (_, code) => 0xff000000 + code)
for (const wide of [false, true]) {
  for (const [count, rows, columns] of SHAPES) {
    const make = layerOf(count, rows, columns, { wide })
    const layer = make()
    const report = { 'decode all': median(() => decodeAll(make()), 7) }
    for (const rule of RULES) {
      const out = new Uint8Array(count * rows * columns)
      report[`scale ${rule.per} ${rule.norm}`] = median(() => {
        const { limits, curve } = core.scaleOf(layer, rule)
        core.codesOf(layer, limits, curve, { out })
      })
    }
    for (const factor of columns > 100 ? [2, 4] : []) {
      core.pooledPlanes(layer, 0, factor)
      report[`pool ${factor}`] = median(() => core.pooledPlanes(make(), 0, factor), 5)
      for (const rule of RULES.filter(rule => rule.per === 'channel')) {
        const { limits, curve } = core.scaleOf(layer, rule)
        report[`scale ${rule.norm} at detail ${factor}`] = median(() => core.codesOf(layer, limits, curve, { factor }))
      }
    }
    const { limits, curve } = core.scaleOf(layer, { per: 'channel' })
    const { codes } = core.codesOf(layer, limits, curve)
    const pixels = new Uint32Array(codes.length)
    report['paint all'] = median(() => core.paint(codes, lut, pixels))
    if (core.weighted) {
      report['mean of all'] = median(() => core.weighted(layer, core.even(layer)))
      const sum = core.weighted(layer, core.even(layer))
      report['drag a weight'] = median(() => core.drag(sum, layer.plane(3), 0.01), 101)
    }
    console.log(`\n${count} × ${rows} × ${columns}, ${wide ? 'float32' : 'float16'} (milliseconds)`)
    for (const [name, time] of Object.entries(report)) console.log(`  ${name.padEnd(28)}${time.toFixed(2).padStart(9)}`)
  }
}
