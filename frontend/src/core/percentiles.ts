/** Percentiles of the finite values, in linear proportion between two neighbours as `np.percentile`. */

import { halves } from './half'
import type { LayerData } from './layer'

/** Two percentiles of a channel, or of the whole layer (`null`); NaN, or 0 for the layer, where no value counts. */
export function percentiles(
  layer: LayerData,
  position: number | null,
  clip: readonly [number, number],
  positive = false,
): [number, number] {
  const exact = layer.percentiles
  if (exact && !positive && clip.every(Number.isInteger)) {
    const row = (position ?? layer.count) * 101
    return [exact[row + clip[0]]!, exact[row + clip[1]]!]
  }
  const { bits, exponent, offsets, count, size, slices } = layer
  const units = size * slices
  if (position === null) {
    if (bits && !offsets) return orZero(byCounts(bits, exponent, clip, positive))
    const all = new Float32Array(count * units)
    for (let at = 0; at < count; at++) all.set(layer.channel(at), at * units)
    return orZero(bySorting(all, clip, positive))
  }
  if (!bits || offsets) return bySorting(layer.channel(position), clip, positive)
  return byCounts(bits.subarray(position * units, (position + 1) * units), exponent, clip, positive)
}

function orZero(found: Pair): Pair {
  return Number.isNaN(found[0]) ? [0, 0] : found
}

type Pair = [number, number]

function between(count: number, [low, high]: readonly [number, number], at: (rank: number) => number): Pair {
  if (!count) return [NaN, NaN]
  const share = (percentile: number) => {
    const rank = (percentile / 100) * (count - 1)
    const before = Math.floor(rank)
    const value = at(before)
    return value + (at(Math.min(before + 1, count - 1)) - value) * (rank - before)
  }
  return [share(low), share(high)]
}

function bySorting(values: Float32Array, clip: readonly [number, number], positive: boolean): Pair {
  const kept = values.filter(value => value - value === 0 && (!positive || value > 0)).sort()
  return between(kept.length, clip, rank => kept[rank]!)
}

/** Of float16 the sorted order is known: it is enough to count how often each one occurs. */
function byCounts(bits: Uint16Array, exponent: number, clip: readonly [number, number], positive: boolean): Pair {
  const counts = new Uint32Array(65536)
  for (let index = 0; index < bits.length; index++) counts[bits[index]!]!++
  const values = halves(exponent)
  // From −65,504 up to −0, then from 0 up to 65,504; what lies beyond is ±inf and NaN.
  const first = positive ? 0x0001 : 0xfbff
  const rising = (pattern: number) => (pattern > 0x8000 ? pattern - 1 : pattern === 0x8000 ? 0 : pattern + 1)
  let total = 0
  for (let pattern = first; pattern !== 0x7c00; pattern = rising(pattern)) total += counts[pattern]!
  return between(total, clip, rank => {
    let [pattern, seen] = [first, counts[first]!]
    while (seen <= rank) {
      pattern = rising(pattern)
      seen += counts[pattern]!
    }
    return values[pattern]!
  })
}
