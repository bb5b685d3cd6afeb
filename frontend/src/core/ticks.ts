/** Round numbers along a bar, the same as Python draws. */

import { curveOf, over } from './norms'
import { digitsFor } from './numbers'
import type { Norm } from './types'

export { number, reading } from './numbers'

/** Both limits, the centre where it lies between them, and about so many round numbers; the most important first. */
export function ticks(
  low: number,
  high: number,
  norm: Norm = 'linear',
  most = 5,
  center: number | null = null,
): number[] {
  if (!(low < high)) return [low]
  const inner = roundValues(low, high, norm, most).filter(value => low < value && value < high)
  if (center !== null && low < center && center < high) inner.unshift(center)
  return [...new Set([high, low, ...inner])]
}

function roundValues(low: number, high: number, norm: Norm, most: number): number[] {
  if (norm === 'linear') return roundNumbers(low, high, most)
  if (norm === 'log') return high > 10 * low ? decades(low, high, most + 2) : roundNumbers(low, high, most)
  // The same for both signs, from the larger one's decades.
  const every = decades(over(curveOf(norm), low, high).within, Math.max(-low, high), most - 2)
  return [...every.map(value => -value).reverse(), 0, ...every]
}

/** Multiples of 1, 2 or 5 times a power of ten, about that many. */
export function roundNumbers(low: number, high: number, about = 5): number[] {
  const rough = high / about - low / about
  if (!Number.isFinite(rough) || rough < 1e-300) return []
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map(factor => factor * power).find(each => each >= rough * 0.999)!
  const [first, last] = [Math.ceil(low / step - 1e-9), Math.floor(high / step + 1e-9)]
  if (last - first > 4 * about) return []
  const digits = Math.min(17, Math.max(12, digitsFor(low, high) + 1))
  // `+ 0` makes 0 of −0.
  return Array.from(
    { length: Math.max(0, last - first + 1) },
    (_, at) => Number(((first + at) * step).toPrecision(digits)) + 0,
  )
}

/** Powers of ten between two numbers above 0; where they are few, 2 and 5 times them as well. */
export function decades(low: number, high: number, most = 7): number[] {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))]
  const span = Math.log10(high) - Math.log10(low)
  const every = Math.max(1, Math.ceil(span / most))
  const factors = span <= 2 ? [1, 2, 5] : [1]
  const found: number[] = []
  for (let power = first; power <= last; power++) {
    if (power % every === 0) found.push(...factors.map(factor => Number(`${factor}e${power}`)))
  }
  return found.filter(value => low <= value && value <= high)
}
