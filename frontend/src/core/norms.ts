/** The curve between a value and its place on a scale: straight, logarithmic, or logarithmic on both sides of 0. */

import type { Norm } from './types'

// Symlog shows the largest three decades of either sign as such: with the straight part that is 30 steps a decade.
export const WITHIN = 1e-3
export const SLOPE = Math.log(10) / 0.9

export interface Curve {
  readonly norm: Norm
  /** The value in the middle of the colours. */
  readonly center: number | null
  /** Where `symlog` is straight. */
  readonly within: number
}

export const STRAIGHT: Curve = { norm: 'linear', center: null, within: 1 }

export function curveOf(norm: Norm = 'linear', center: number | null = null): Curve {
  return { norm, center, within: 1 }
}

/** The curve for limits. */
export function over(curve: Curve, low: number, high: number): Curve {
  if (curve.norm !== 'symlog') return curve
  const reach = Math.max(Math.abs(low), Math.abs(high))
  return { ...curve, within: reach > 0 ? reach * WITHIN : 1 }
}

/** Where a value lies on the curve; for `log` it is above 0. */
export function forward({ norm, within }: Curve, value: number): number {
  if (norm === 'linear') return value
  if (norm === 'log') return Math.log(value)
  const size = Math.abs(value / within)
  const place = SLOPE * Math.min(size, 1) + Math.log(Math.max(size, 1))
  return value < 0 ? -place : place
}

/** The value at a place on the curve. */
export function inverse({ norm, within }: Curve, place: number): number {
  if (norm === 'linear') return place
  if (norm === 'log') return Math.exp(place)
  const size = Math.abs(place)
  const value = Math.min(size / SLOPE, 1) * Math.exp(Math.max(size - SLOPE, 0)) * within
  return place < 0 ? -value : value
}

/** The values of code 0 and code 240: the limits, or evenly around the centre far enough to reach both. */
export function ends(low: number, high: number, center: number | null): [number, number] {
  if (center === null) return [low, high]
  const reach = Math.max(Math.abs(low - center), Math.abs(high - center))
  return [center - reach, center + reach]
}

/** How far along a bar a value lies: 0 at its lower limit, 1 at its upper one. */
export function place(value: number, low: number, high: number, norm: Norm): number {
  if (low === high) return 0
  const curve = over(curveOf(norm), low, high)
  const first = forward(curve, low) / 2
  return (forward(curve, value) / 2 - first) / (forward(curve, high) / 2 - first)
}

/** The value so far along a bar; the inverse of `place`. */
export function at(share: number, low: number, high: number, norm: Norm): number {
  if (low === high) return low
  const curve = over(curveOf(norm), low, high)
  const value = inverse(curve, forward(curve, low) * (1 - share) + forward(curve, high) * share)
  return norm === 'linear' ? value : Math.min(high, Math.max(low, value))
}
