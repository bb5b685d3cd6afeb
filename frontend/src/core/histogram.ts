/** How often values occur, in equal steps along a scale. */

import { curveOf, forward, over } from './norms'
import type { Norm } from './types'

/** Counts of the finite values from `low` to `high`, both included; what lies beyond isn't counted. */
export function histogram(
  values: Float32Array,
  low: number,
  high: number,
  bins: number,
  norm: Norm = 'linear',
): Uint32Array {
  const counts = new Uint32Array(bins)
  if (!(low < high)) return counts
  const curve = over(curveOf(norm), low, high)
  const start = forward(curve, low) / 2
  const span = forward(curve, high) / 2 - start
  const most = bins - 1
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!
    if (!(value >= low && value <= high)) continue
    const bin = Math.floor(((forward(curve, value) / 2 - start) / span) * bins)
    counts[Math.min(bin, most)]!++
  }
  return counts
}
