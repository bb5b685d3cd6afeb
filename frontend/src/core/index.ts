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
  const planes = factor > 1 ? pooledPlanes(layer, slice, factor) : undefined
  for (let at = 0; at < layer.count; at++) {
    const range = { low: limits[2 * at]!, high: limits[2 * at + 1]!, curve }
    if (planes) encode(planes.subarray(at * size, (at + 1) * size), range.low, range.high, curve, codes, at * size)
    else codesOfPlane(layer, at, range, { slice, out: codes, at: at * size })
  }
  return { codes, rows, columns }
}

export interface Range {
  low: number
  high: number
  curve: Curve
}

/** The codes of one plane: of float16 by a table, where the plane is large or the one before had the same limits. */
export function codesOfPlane(
  layer: LayerData,
  position: number,
  range: Range,
  { slice = 0, out = new Uint8Array(layer.size), at = 0 }: { slice?: number; out?: Uint8Array; at?: number } = {},
): Uint8Array {
  const { bits, size, slices } = layer
  const table = bits && tableFor(layer, position, range)
  if (table) look(bits, (position * slices + slice) * size, table, out, at, size)
  else encode(layer.plane(position, slice), range.low, range.high, range.curve, out, at)
  return out
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

function look(bits: Uint16Array, from: number, table: Uint8Array, out: Uint8Array, at: number, size: number): void {
  for (let unit = 0; unit < size; unit++) out[at + unit] = table[bits[from + unit]!]!
}

// From so many values on, a table of the codes of all float16 takes less time than to work out each code.
const WORTH = 4096

const last = { key: '', codes: new Uint8Array(65536), seen: 0 }

/** The table of codes where it is worth it, as it is from the second plane on that has the same limits. */
function tableFor(layer: LayerData, position: number, { low, high, curve }: Range): Uint8Array | undefined {
  const { exponent, size } = layer
  const offset = layer.offsets?.[position] ?? 0
  const { min, max, least } = layer.extremes(position)
  // Where no true value lies beyond a limit, none that is rounded does.
  const [above, below, tiny] = [max <= high, min >= low, low > 0 && least >= low]
  const key = `${low} ${high} ${curve.norm} ${curve.center} ${exponent} ${offset} ${above} ${below} ${tiny}`
  if (key !== last.key) Object.assign(last, { key, seen: 0 })
  const made = last.seen >= WORTH
  last.seen += size
  if (last.seen < WORTH) return undefined
  const values = halves(exponent)
  const settled = (value: number) => {
    if (value > high) return above && value !== Infinity ? high : value
    return value < low && value !== -Infinity && (below || (tiny && value > least / 2)) ? low : value
  }
  if (!made) tableOf(pattern => codeOf(settled(Math.fround(values[pattern]! + offset)), low, high, curve), last.codes)
  return last.codes
}

/** The codes of all float16. They rise with the values, so that it is enough to look where they change. */
function tableOf(code: (pattern: number) => number, out: Uint8Array): void {
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
