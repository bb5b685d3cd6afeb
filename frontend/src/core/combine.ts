/** Combinations of channels that the page makes itself: `post(W · A + b)`. */

import { GAP, NAN } from './codes'
import type { LayerData } from './layer'
import { pixel } from './paint'
import type { Post } from './types'

/** `sum += by · plane`. A thousand steps of a drag stay within a part in ten thousand; NaN and ±inf stay for good. */
export function drag(sum: Float32Array, plane: Float32Array, by: number): void {
  for (let unit = 0; unit < sum.length; unit++) sum[unit]! += by * plane[unit]!
}

/** Equal weights: the mean. */
export function even(layer: LayerData): Map<number, number> {
  return new Map(Array.from(layer.channels, channel => [channel, 1 / layer.count]))
}

/** The weighted sum by true numbers of channels. A weight of 0 looks at no value, so NaN there stays out. */
export function weighted(
  layer: LayerData,
  weights: Iterable<readonly [number, number]>,
  bias = 0,
  slice = 0,
): Float32Array {
  const sum = new Float64Array(layer.size).fill(bias)
  for (const [channel, weight] of weights) {
    const position = layer.position(channel)
    if (position >= 0 && weight) add(sum, layer.plane(position, slice), weight)
  }
  return Float32Array.from(sum)
}

/** `post(W · A + b)` for weights `[k, channel]`: k planes, one behind the other. */
export function matrix(
  layer: LayerData,
  weights: ArrayLike<number>,
  bias: ArrayLike<number>,
  post: Post = 'none',
  slice = 0,
): Float32Array {
  const { count, size } = layer
  const out = new Float32Array(bias.length * size)
  const sum = new Float64Array(size)
  for (let each = 0; each < bias.length; each++) {
    sum.fill(bias[each]!)
    for (let position = 0; position < count; position++) {
      const weight = weights[each * count + position]!
      if (weight) add(sum, layer.plane(position, slice), weight)
    }
    out.set(sum, each * size)
  }
  return post === 'relu' ? rectified(out) : out
}

function add(sum: Float64Array, plane: Float32Array, weight: number): void {
  for (let unit = 0; unit < sum.length; unit++) sum[unit]! += weight * plane[unit]!
}

/** Values below 0 become 0, NaN stays, in place. */
export function rectified(values: Float32Array): Float32Array {
  for (let unit = 0; unit < values.length; unit++) if (values[unit]! < 0) values[unit] = 0
  return values
}

/** Three planes, one behind the other, as red, green and blue, each within its limits `[3, 2]`; what isn't finite is marked. */
export function rgb(
  planes: Float32Array,
  limits: ArrayLike<number>,
  lut: Uint32Array,
  out: Uint32Array = new Uint32Array(planes.length / 3),
): Uint32Array {
  const size = planes.length / 3
  const share = (value: number, low: number, high: number) =>
    high > low ? Math.round(Math.min(1, Math.max(0, (value - low) / (high - low))) * 255) : 128
  for (let unit = 0; unit < size; unit++) {
    const [red, green, blue] = [planes[unit]!, planes[size + unit]!, planes[2 * size + unit]!]
    const finite = red - red === 0 && green - green === 0 && blue - blue === 0
    const background = red === -Infinity && green === -Infinity && blue === -Infinity
    out[unit] = finite
      ? pixel(
          share(red, limits[0]!, limits[1]!),
          share(green, limits[2]!, limits[3]!),
          share(blue, limits[4]!, limits[5]!),
        )
      : lut[background ? GAP : NAN]!
  }
  return out
}
