/** The figures of the channels as CSV, as `statistics(fm, image).to_csv()` writes them. */

import { FIGURES, type LayerData } from './layer'
import { repr } from './numbers'

const FLAGS = ['dead', 'constant']
const COUNTS = ['nan', 'inf']
const AXES: Record<number, string[]> = { 0: [], 1: ['n'], 2: ['y', 'x'], 3: ['d', 'y', 'x'] }

/** `image` is the number of the image among those of the session. */
export function csv(layer: LayerData, image = 0): string {
  const { channels, figures, count } = layer
  const shape = layer.payload.tensors['values']!.shape.slice(1)
  const names = AXES[shape.length] ?? []
  const lines = [['channel', ...FIGURES, 'peak_image', ...names.map(axis => `peak_${axis}`)]]
  for (let at = 0; at < count; at++) {
    const cells = FIGURES.map(name => cellOf(name, figures[name]![at]!))
    lines.push([String(channels[at]), ...cells, String(image), ...peakOf(layer, at, shape).map(String)])
  }
  return lines.map(cells => `${cells.join(',')}\n`).join('')
}

function cellOf(name: string, value: number): string {
  if (FLAGS.includes(name)) return value ? 'True' : 'False'
  return COUNTS.includes(name) ? String(value) : repr(value)
}

/** The first position of the largest value; where the session doesn't say, the largest of those that are stored. */
function peakOf(layer: LayerData, position: number, shape: number[]): number[] {
  if (layer.peak) return [...layer.peak.subarray(position * shape.length, (position + 1) * shape.length)]
  const values = layer.channel(position)
  let best = 0
  for (let unit = 0; unit < values.length; unit++) {
    const value = values[unit]!
    if (value - value === 0 && !(value <= values[best]!)) best = unit
  }
  const place: number[] = []
  for (const size of [...shape].reverse()) {
    place.unshift(best % size)
    best = Math.floor(best / size)
  }
  return place
}
