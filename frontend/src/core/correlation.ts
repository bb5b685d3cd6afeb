/** How alike channels are. */

import type { LayerData } from './layer'

/** Pearson's correlation of each channel with one of them; NaN for a constant one. NaN and ±inf count as the channel's mean. */
export function correlationsTo(layer: LayerData, position: number): Float64Array {
  const { count, figures } = layer
  const [mean, deviation] = [figures['mean']!, figures['deviation']!]
  const standard = (value: number, at: number) => (value - value === 0 ? (value - mean[at]!) / deviation[at]! : 0)
  const wanted = Float64Array.from(layer.channel(position), value => standard(value, position))
  const found = new Float64Array(count).fill(NaN)
  for (let at = 0; at < count; at++) {
    if (!(deviation[at]! > 0 && deviation[position]! > 0)) continue
    const values = layer.channel(at)
    let sum = 0
    for (let unit = 0; unit < values.length; unit++) sum += wanted[unit]! * standard(values[unit]!, at)
    // In float32, so that channels that are alike but for rounding keep their order.
    found[at] = Math.fround(sum / values.length)
  }
  return found
}
