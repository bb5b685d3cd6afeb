/** The order of the channels by one of their figures, the same as Python sorts a sheet. */

import { correlationsTo } from './correlation'
import type { LayerData } from './layer'

/** Positions, the largest first; equal ones keep their own order, and channels without a figure come last. */
export function order(layer: LayerData, name: string): Int32Array {
  const positions = Int32Array.from({ length: layer.count }, (_, position) => position)
  const [by, other] = name.split(':')
  const known = by === 'similarity' && other ? layer.position(Number(other)) : -1
  const key = known >= 0 ? correlationsTo(layer, known) : layer.figures[name]
  if (!key) return positions
  const keyOf = (position: number) => (Number.isNaN(key[position]!) ? -Infinity : key[position]!)
  return positions.sort((one, next) => {
    const [first, second] = [keyOf(one), keyOf(next)]
    return first === second ? one - next : second > first ? 1 : -1
  })
}
