/** What stands along a bar, the same as Python draws. */

import type { Range } from './index'
import { curveOf, over, place } from './norms'
import { digitsFor, number, reading } from './numbers'
import type { Norm } from './types'

export { number, reading } from './numbers'

/** Both limits and the centre between them, then round numbers, at equal steps all in as many decimals; the first matter most. */
export function ticks(
  low: number,
  high: number,
  norm: Norm = 'linear',
  center: number | null = null,
): [value: number, text: string][] {
  const equal = norm === 'linear' || low === high || (norm === 'log' && high <= 10 * low)
  const wide = norm !== 'linear' && ((low <= 0 && high >= 0) || Math.max(low / high, high / low) > 10)
  const values = [high, low]
  for (const value of [center, ...roundValues(low, high, norm, equal)])
    if (value !== null && low < value && value < high) values.push(value)
  const largest = Math.max(Math.abs(low), Math.abs(high))
  const aligned = equal && largest >= 1e-3 && largest < 1e5
  let decimals = aligned ? Math.max(0, digitsFor(low, high) - 1 - Math.floor(Math.log10(largest))) : 0
  while (decimals && values.every(value => value.toFixed(decimals).endsWith('0'))) decimals--
  const found = new Map<string, number>()
  for (const value of values) {
    const plain = value.toFixed(decimals)
    // A limit near 0 doesn't read as 0, and 0 itself needs no decimals.
    const text =
      wide || (aligned && !+plain) ? number(value) : aligned ? plain.replace('-', '−') : reading(value, low, high)
    if (!found.has(text)) found.set(text, value)
  }
  return Array.from(found, ([text, value]) => [value, text])
}

/** Those that have room, and where: a line of letters is `line` of the bar, and a round number keeps half of it as a gap. */
export function placedTicks(
  { low, high, curve: { norm, center } }: Range,
  line: number,
): [place: number, text: string][] {
  const taken: [number, string][] = []
  for (const [value, text] of ticks(low, high, norm, center)) {
    const at = place(value, low, high, norm)
    const apart = [low, high, center].includes(value) ? line : 1.5 * line
    if (taken.every(([other]) => Math.abs(other - at) >= apart)) taken.push([at, text])
  }
  return taken
}

function roundValues(low: number, high: number, norm: Norm, equal: boolean): number[] {
  if (equal) return roundNumbers(low, high)
  if (norm === 'log') return decades(low, high)
  // The same for both signs, from the larger one's decades.
  const every = decades(over(curveOf(norm), low, high).within, Math.max(-low, high), 3)
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
