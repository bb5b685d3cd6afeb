/** The figures of the channels as CSV, as `statistics(fm, image).to_csv()` writes them. */

import type { LayerData } from './layer'
import { repr } from './numbers'

const FLAGS = ['dead', 'constant']
const COUNTS = ['nan', 'inf']
const AXES: Record<number, string[]> = { 0: [], 1: ['n'], 2: ['y', 'x'], 3: ['d', 'y', 'x'] }

/** `image` is the number of the image among those of the session. */
export function csv(layer: LayerData, image = 0): string {
  const { channels, figures, count, meta } = layer
  const shape = layer.payload.tensors['values']!.shape.slice(1)
  const names = AXES[shape.length] ?? []
  const lines = [['channel', ...meta.figures, 'peak_image', ...names.map(axis => `peak_${axis}`)]]
  for (let at = 0; at < count; at++) {
    const cells = meta.figures.map(name => cellOf(name, figures[name]![at]!))
    const peak = layer.peak.subarray(at * shape.length, (at + 1) * shape.length)
    lines.push([String(channels[at]), ...cells, String(image), ...Array.from(peak, String)])
  }
  return lines.map(cells => `${cells.join(',')}\n`).join('')
}

function cellOf(name: string, value: number): string {
  if (FLAGS.includes(name)) return value ? 'True' : 'False'
  return COUNTS.includes(name) ? String(value) : repr(value)
}
