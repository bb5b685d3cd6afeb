/** Percentiles of the finite values, in linear proportion between two neighbours as `np.percentile`. */

import type { LayerData } from './layer'

/** Two percentiles of a channel, or of the whole layer (`null`); NaN, or 0 for the layer, where no value counts. */
export function percentiles(
  layer: LayerData,
  position: number | null,
  clip: readonly [number, number],
  positive = false,
): [number, number] {
  if (!positive && clip.every(Number.isInteger)) {
    const row = (position ?? layer.count) * 101
    return [layer.percentiles[row + clip[0]]!, layer.percentiles[row + clip[1]]!]
  }
  const { count, size, slices } = layer
  const units = size * slices
  const all = new Float32Array(position === null ? count * units : 0)
  for (let at = 0; at < all.length / units; at++) all.set(layer.channel(at), at * units)
  const values = position === null ? all : layer.channel(position)
  const kept = values.filter(value => value - value === 0 && (!positive || value > 0)).sort()
  const last = kept.length - 1
  if (last < 0) return position === null ? [0, 0] : [NaN, NaN]
  const share = (percentile: number) => {
    const rank = (percentile / 100) * last
    const before = Math.floor(rank)
    const value = kept[before]!
    return value + (kept[Math.min(before + 1, last)]! - value) * (rank - before)
  }
  return [share(clip[0]), share(clip[1])]
}
