/** The index pass: the codes of a whole sheet, each channel by its own limits. What the paint pass then colours. */

import { codeOf, encode, NAN } from './codes'
import { halves } from './half'
import type { LayerData } from './layer'
import { pooled, pooledSize } from './lod'
import { type Curve, STRAIGHT } from './norms'

export interface Codes {
  /** `[channel, rows, columns]`, by position. */
  codes: Uint8Array
  rows: number
  columns: number
}

export interface IndexOptions {
  slice?: number
  /** Units along each axis that become one, as `factorFor` gives it. */
  factor?: number
  /** Where the codes go; its size must fit. */
  out?: Uint8Array
}

/** The codes of every channel; `limits` is `[2 · channel]`. */
export function codesOf(
  layer: LayerData,
  limits: Float64Array,
  curve: Curve = STRAIGHT,
  options: IndexOptions = {},
): Codes {
  const { slice = 0, factor = 1 } = options
  const [rows, columns] = pooledSize(layer.rows, layer.columns, factor)
  const size = rows * columns
  const codes = options.out ?? new Uint8Array(layer.count * size)
  if (factor > 1) {
    const planes = pooledPlanes(layer, slice, factor)
    for (let at = 0; at < layer.count; at++) {
      encode(planes.subarray(at * size, (at + 1) * size), limits[2 * at]!, limits[2 * at + 1]!, curve, codes, at * size)
    }
  } else if (!layer.bits) {
    for (let at = 0; at < layer.count; at++) {
      encode(layer.plane(at, slice), limits[2 * at]!, limits[2 * at + 1]!, curve, codes, at * size)
    }
  } else encodeHalves(layer, limits, curve, slice, codes)
  return { codes, rows, columns }
}

const pools = new WeakMap<LayerData, Map<string, Float32Array>>()

/** All planes at a level of detail, kept for the next change of scale. */
export function pooledPlanes(layer: LayerData, slice: number, factor: number): Float32Array {
  const known = pools.get(layer) ?? new Map<string, Float32Array>()
  pools.set(layer, known)
  const key = `${slice}:${factor}`
  let planes = known.get(key)
  if (!planes) {
    const [rows, columns] = pooledSize(layer.rows, layer.columns, factor)
    planes = new Float32Array(layer.count * rows * columns)
    for (let at = 0; at < layer.count; at++) {
      const out = planes.subarray(at * rows * columns, (at + 1) * rows * columns)
      pooled(layer.plane(at, slice), layer.rows, layer.columns, factor, out)
    }
    known.set(key, planes)
  }
  return planes
}

// A table of the codes of all float16 is worth it for so many values that share their limits.
const WORTH = 4096

function encodeHalves(layer: LayerData, limits: Float64Array, curve: Curve, slice: number, out: Uint8Array): void {
  const { count, size, slices } = layer
  const values = halves(layer.exponent)
  const table = new Uint8Array(65536)
  for (let at = 0, stop = 1; at < count; at = stop, stop = at + 1) {
    const [low, high] = [limits[2 * at]!, limits[2 * at + 1]!]
    while (stop < count && limits[2 * stop] === low && limits[2 * stop + 1] === high) stop++
    const tabled = (stop - at) * size > WORTH
    if (tabled) tableOf(values, low, high, curve, table)
    for (let channel = at; channel < stop; channel++) {
      if (tabled) look(layer.bits!, (channel * slices + slice) * size, table, out, channel * size, size)
      else encode(layer.plane(channel, slice), low, high, curve, out, channel * size)
    }
  }
}

function look(bits: Uint16Array, from: number, table: Uint8Array, out: Uint8Array, at: number, size: number): void {
  for (let unit = 0; unit < size; unit++) out[at + unit] = table[bits[from + unit]!]!
}

/** The codes of all float16. They rise with the values, so that it is enough to look where they change. */
function tableOf(values: Float32Array, low: number, high: number, curve: Curve, out: Uint8Array): void {
  const code = (pattern: number) => codeOf(values[pattern]!, low, high, curve)
  const between = (from: number, to: number, first: number, last: number) => {
    if (first === last) out.fill(first, from, to + 1)
    else if (to - from === 1) {
      out[from] = first
      out[to] = last
    } else {
      const middle = (from + to) >> 1
      const there = code(middle)
      between(from, middle, first, there)
      between(middle, to, there, last)
    }
  }
  for (const sign of [0, 32768]) {
    const [zero, infinity] = [sign, sign + 0x7c00]
    between(zero, infinity - 1, code(zero), code(infinity - 1))
    out[infinity] = code(infinity)
    out.fill(NAN, infinity + 1, sign + 32768)
  }
}
