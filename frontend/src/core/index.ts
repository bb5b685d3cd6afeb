/** The index pass: the codes of planes by their limits. What the paint pass then colours. */

import { codeOf, encode, NAN } from './codes'
import { halves } from './half'
import type { LayerData } from './layer'
import type { Curve } from './norms'

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
  { slice = 0, out = new Uint8Array(layer.size) }: { slice?: number; out?: Uint8Array } = {},
): Uint8Array {
  const { bits, size, slices } = layer
  const table = bits && tableFor(layer, position, range)
  if (table) look(bits.subarray((position * slices + slice) * size), table, out.subarray(0, size))
  else encode(layer.plane(position, slice), range.low, range.high, range.curve, out)
  return out
}

function look(bits: Uint16Array, table: Uint8Array, out: Uint8Array): void {
  for (let unit = 0; unit < out.length; unit++) out[unit] = table[bits[unit]!]!
}

// From so many values on, a table of the codes of all float16 takes less time than to work out each code.
const WORTH = 4096

const last = { key: [] as unknown[], codes: new Uint8Array(65536), seen: 0 }

/** The table of codes where it is worth it, as it is from the second plane on that has the same limits. */
function tableFor(layer: LayerData, position: number, { low, high, curve }: Range): Uint8Array | undefined {
  const { exponent, size } = layer
  const offset = layer.offsets?.[position] ?? 0
  const { min, max, least } = layer.extremes(position)
  // Where no true value lies beyond a limit, none that is rounded does.
  const [above, below, tiny] = [max <= high, min >= low, low > 0 && least >= low]
  const key = [low, high, curve.norm, curve.center, exponent, offset, above, below, tiny]
  if (key.some((part, at) => part !== last.key[at])) Object.assign(last, { key, seen: 0 })
  const made = last.seen >= WORTH
  last.seen += size
  if (last.seen < WORTH) return undefined
  const values = halves(exponent)
  const settled = (value: number) => {
    if (value > high) return above && value !== Infinity ? high : value
    return value < low && value !== -Infinity && (below || (tiny && value > low / 2)) ? low : value
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
