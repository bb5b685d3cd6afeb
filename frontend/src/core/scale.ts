/** The limits of a scale, the same as `Scale.fit` of Python for one image. */

import type { LayerData } from './layer'
import { type Curve, curveOf } from './norms'
import { percentiles } from './percentiles'
import type { Norm, ScaleRule } from './types'

export interface Rule {
  per: ScaleRule
  clip?: [number, number] | null
  norm?: Norm
  /** The value in the middle of the colours, in place of 0. */
  center?: number | null
}

export interface Scale {
  /** `[2 · channel]`: low and high of each channel, NaN where it has no finite value. */
  readonly limits: Float64Array
  /** Whether one range holds for all, so that there is one colour bar. */
  readonly single: boolean
  readonly center: number | null
  /** The percentiles, where they left a range. */
  readonly clip: [number, number] | null
  readonly norm: Norm
  readonly curve: Curve
}

/** The scale of a layer by a rule. */
export function scaleOf(layer: LayerData, { per, clip = null, norm = 'linear', center = null }: Rule): Scale {
  const single = per !== 'channel'
  if (typeof per !== 'string') {
    const limits = repeated(per, layer.count)
    const middle = centred(limits, norm, center)
    return { limits, single, center: middle, clip: null, norm, curve: curveOf(norm, middle) }
  }
  let limits = extent(layer, norm)
  if (single) limits = repeated(union(limits, norm), layer.count)
  const whole = limits
  let clipped = null
  if (clip) {
    limits = limits.slice()
    for (let at = 0; at < layer.count; at++) {
      const cut = percentiles(layer, single ? null : at, clip, norm === 'log')
      if (cut[0] < cut[1]) {
        limits.set(cut, 2 * at)
        clipped = clip
      }
      if (single) {
        limits = repeated([limits[0]!, limits[1]!], layer.count)
        break
      }
    }
  }
  const middle = centred(limits, norm, center)
  if (clipped && !single && middle !== null) evenly(limits, whole, middle)
  return { limits, single, center: middle, clip: clipped, norm, curve: curveOf(norm, middle) }
}

/** The centre of a scale of these limits: 0 where they have both signs. */
export function centred(limits: ArrayLike<number>, norm: Norm, center: number | null = null): number | null {
  if (norm === 'log' || center !== null) return center
  let [below, above] = [false, false]
  for (let index = 0; index < limits.length; index += 2) {
    below ||= limits[index]! < 0
    above ||= limits[index + 1]! > 0
  }
  return below && above ? 0 : null
}

/** The scale of a combined map, which has one range: that of its finite values. */
export function scaleOfPlane(plane: Float32Array, { per, norm = 'linear', center = null }: Rule): Scale {
  let [low, high, least] = [Infinity, -Infinity, Infinity]
  for (let index = 0; index < plane.length; index++) {
    const value = plane[index]!
    if (value - value !== 0) continue
    if (value < low) low = value
    if (value > high) high = value
    if (value > 0 && value < least) least = value
  }
  const found = low <= high ? positive([low, high], least, norm) : [0, 0]
  const limits = Float64Array.from(typeof per === 'string' ? found : per)
  const middle = centred(limits, norm, center)
  return { limits, single: true, center: middle, clip: null, norm, curve: curveOf(norm, middle) }
}

function repeated([low, high]: [number, number], count: number): Float64Array {
  return Float64Array.from({ length: 2 * count }, (_, index) => (index % 2 ? high : low))
}

/** Minimum and maximum of each channel; by `log` of those values alone that have a logarithm. */
function extent({ count, figures, least }: LayerData, norm: Norm): Float64Array {
  const result = new Float64Array(2 * count)
  for (let at = 0; at < count; at++) {
    result.set(positive([figures['min']![at]!, figures['max']![at]!], least[at]!, norm), 2 * at)
  }
  return result
}

/** A channel of one value keeps it; (0, 0) where no value has a logarithm. */
function positive([low, high]: [number, number], least: number, norm: Norm): [number, number] {
  return norm === 'log' && low <= 0 && low < high ? [high > 0 ? least : 0, Math.max(high, 0)] : [low, high]
}

/** One range that holds all; (0, 0) where there is no finite value, or by `log` none above 0. */
function union(limits: Float64Array, norm: Norm): [number, number] {
  let [low, high] = [Infinity, -Infinity]
  for (let index = 0; index < limits.length; index += 2) {
    if (norm === 'log' ? !(limits[index]! > 0) : Number.isNaN(limits[index]!)) continue
    low = Math.min(low, limits[index]!)
    high = Math.max(high, limits[index + 1]!)
  }
  return low <= high ? [low, high] : [0, 0]
}

/** As far on both sides of the centre as on the farther one, but not beyond the `whole` extent. */
function evenly(limits: Float64Array, whole: Float64Array, center: number): void {
  for (let index = 0; index < limits.length; index += 2) {
    const reach = Math.max(Math.abs(limits[index]! - center), Math.abs(limits[index + 1]! - center))
    limits[index] = Math.min(limits[index]!, Math.max(whole[index]!, center - reach))
    limits[index + 1] = Math.max(limits[index + 1]!, Math.min(whole[index + 1]!, center + reach))
  }
}
