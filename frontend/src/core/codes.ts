/** Numbers to codes and back, the same as `Scale.codes` and `Scale.decode` of Python: 0 to 240, and marks above. */

import { type Curve, ends, forward, inverse, over, SLOPE, STRAIGHT } from './norms'

export const TOP = 240
export const GAP = 241
export const NAN = 242
export const POS_INF = 243
export const NEG_INF = 244
export const CONSTANT = 245
export const BELOW = 246
export const ABOVE = 247

export const MARKS: Record<number, string> = {
  [NAN]: 'NaN',
  [POS_INF]: '+inf',
  [NEG_INF]: '−inf',
  [CONSTANT]: 'dead or constant',
  [BELOW]: 'below the limits',
  [ABOVE]: 'above the limits',
}

/** The code of a value that is no finite one within the limits. */
function mark(value: number, low: number): number {
  if (value === Infinity) return POS_INF
  if (value === -Infinity) return NEG_INF
  return value < low ? BELOW : Number.isNaN(value) ? NAN : ABOVE
}

/** Where code 0 lies on a curve that is fitted, and how long the whole is; halved, since the range itself may overflow. */
function stretch(low: number, high: number, curve: Curve): [start: number, span: number] {
  const [first, last] = ends(low, high, curve.center)
  const start = forward(curve, first) / 2
  return [start, forward(curve, last) / 2 - start]
}

/** Half a step more than the code, by the same operations in the same order as in Python, so that both round it alike. */
function step(value: number, start: number, span: number, curve: Curve): number {
  return ((forward(curve, value) / 2 - start) / span) * TOP + 0.5
}

/** The code of one number. */
export function codeOf(value: number, low: number, high: number, curve: Curve = STRAIGHT): number {
  if (low < high && value >= low && value <= high) {
    const fitted = over(curve, low, high)
    return Math.floor(step(value, ...stretch(low, high, fitted), fitted))
  }
  const alike = value === low || (Number.isNaN(low) && Number.isFinite(value))
  return alike ? CONSTANT : mark(value, low)
}

/** The codes of `values` into `out`. */
export function encode(
  values: Float32Array,
  low: number,
  high: number,
  curve: Curve = STRAIGHT,
  out: Uint8Array = new Uint8Array(values.length),
): Uint8Array {
  if (!(low < high)) for (let index = 0; index < values.length; index++) out[index] = codeOf(values[index]!, low, high)
  else if (curve.norm === 'linear') encodeStraight(values, low, high, curve, out)
  else encodeCurved(values, low, high, over(curve, low, high), out)
  return out
}

// So near to the edge of a step, in steps, what is fast may round to the other side.
const NEAR = 1e-9

function encodeStraight(values: Float32Array, low: number, high: number, curve: Curve, out: Uint8Array) {
  const [start, span] = stretch(low, high, curve)
  const factor = TOP / 2 / span
  const offset = 0.5 - (start * TOP) / span
  const near = NEAR * (1 + Math.abs(offset))
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!
    if (value >= low && value <= high) {
      const place = value * factor + offset
      const code = place | 0
      const rest = place - code
      out[index] = rest > near && rest < 1 - near ? code : step(value, start, span, curve)
    } else out[index] = mark(value, low)
  }
}

function encodeCurved(values: Float32Array, low: number, high: number, curve: Curve, out: Uint8Array) {
  const [start, span] = stretch(low, high, curve)
  const factor = TOP / 2 / span
  const offset = 0.5 - (start * TOP) / span
  const near = NEAR * (1 + Math.abs(offset) + factor)
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const { logs, shares } = logTable()
  const within = curve.norm === 'log' ? 0 : curve.within
  const shift = curve.norm === 'log' ? 0 : SLOPE - Math.log(within)
  const slope = SLOPE / curve.within
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!
    if (value >= low && value <= high) {
      const size = Math.abs(value)
      const upper = (bits[index]! & 0x7fffffff) >>> 16
      const more = size * shares[upper]! - 1
      const log = logs[upper]! + more * (1 - more * (1 / 2 - more * (1 / 3 - more * (1 / 4 - more / 5))))
      const along = size < within ? slope * size : log + shift
      const place = (value < 0 ? -along : along) * factor + offset
      const code = place | 0
      const rest = place - code
      out[index] = rest > near && rest < 1 - near ? code : step(value, start, span, curve)
    } else out[index] = mark(value, low)
  }
}

let table: { logs: Float64Array; shares: Float64Array } | undefined

/**
 * By the upper half of a positive float32: the logarithm of the least number with it, and one part of that number. All
 * others with it lie less than 1/128 beyond, where five terms of log(1 + x) are exact to 1e-13.
 */
function logTable(): { logs: Float64Array; shares: Float64Array } {
  if (!table) {
    const least = new Float32Array(Uint32Array.from({ length: 32768 }, (_, upper) => upper << 16).buffer)
    // Numbers below the normal ones have too few digits; NaN sends them the exact way.
    table = {
      logs: Float64Array.from(least, (each, upper) => (upper < 128 ? NaN : Math.log(each))),
      shares: Float64Array.from(least, each => 1 / each),
    }
  }
  return table
}

/** The value that a code stands for: the middle of its step, ±inf, NaN for every other mark. */
export function decode(code: number, low: number, high: number, curve: Curve = STRAIGHT): number {
  if (code === CONSTANT) return low
  if (code === POS_INF) return Infinity
  if (code === NEG_INF) return -Infinity
  if (code > TOP) return NaN
  if (!(low < high)) return low
  const [start, end] = ends(low, high, curve.center)
  // The curve there and back may miss its two ends by a rounding.
  if (curve.norm !== 'linear' && code === 0) return start
  if (curve.norm !== 'linear' && code === TOP) return end
  const fitted = over(curve, low, high)
  const [first, last] = [forward(fitted, start), forward(fitted, end)]
  return inverse(fitted, first + code * ((last - first) / TOP))
}
