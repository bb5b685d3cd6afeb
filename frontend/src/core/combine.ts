/** Combinations of channels that the page makes itself: `post(W · A + b)`. */

import { GAP, NAN } from './codes'
import { pixel } from './paint'
import type { Post } from './types'

/** Planes of one size, such as those of a layer. */
export interface Planes {
  readonly count: number
  readonly rows: number
  readonly columns: number
  plane(position: number): Float32Array
}

/** `sum += by · plane`. A thousand steps of a drag stay within a part in ten thousand; NaN and ±inf stay for good. */
export function drag(sum: Float32Array, plane: Float32Array, by: number): void {
  for (let unit = 0; unit < sum.length; unit++) sum[unit]! += by * plane[unit]!
}

/** The sum of planes by position and weight. A weight of 0 looks at no value, so NaN there stays out. */
export function weighted(planes: Planes, weights: Iterable<readonly [number, number]>, bias = 0): Float32Array {
  const sum = new Float64Array(planes.rows * planes.columns).fill(bias)
  for (const [position, weight] of weights) {
    if (!weight) continue
    const plane = planes.plane(position)
    for (let unit = 0; unit < sum.length; unit++) sum[unit]! += weight * plane[unit]!
  }
  return Float32Array.from(sum)
}

/** `post(W · A + b)` for weights `[k, channel]`: k planes. */
export function matrix(
  planes: Planes,
  weights: Float32Array,
  bias: ArrayLike<number>,
  post: Post = 'none',
): Float32Array[] {
  return Array.from(bias, (each, row) => {
    const plane = weighted(planes, weights.subarray(row * planes.count, (row + 1) * planes.count).entries(), each)
    return post === 'relu' ? rectified(plane) : plane
  })
}

/** Values below 0 become 0, NaN stays, in place. */
export function rectified(values: Float32Array): Float32Array {
  for (let unit = 0; unit < values.length; unit++) if (values[unit]! < 0) values[unit] = 0
  return values
}

/** Three planes as red, green and blue, each within its limits `[3, 2]`; what isn't finite is marked. */
export function rgb(planes: Float32Array[], limits: ArrayLike<number>, lut: Uint32Array): Uint32Array {
  const [reds, greens, blues] = planes as [Float32Array, Float32Array, Float32Array]
  const out = new Uint32Array(reds.length)
  const share = (value: number, low: number, high: number) =>
    high > low ? Math.round(Math.min(1, Math.max(0, (value - low) / (high - low))) * 255) : 128
  for (let unit = 0; unit < out.length; unit++) {
    const [red, green, blue] = [reds[unit]!, greens[unit]!, blues[unit]!]
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
