/** Attention maps: `[head, query, key]`, where a query looks. */

import type { LayerData } from './layer'

/** One plane for each head: the weights of a query on the patches of the grid, or on all keys where there is none. */
export function row(layer: LayerData, query: number): Float32Array[] {
  const { prefix, grid } = layer.meta
  const at = Math.max(0, Math.min(layer.rows - 1, query))
  const front = grid ? Math.max(prefix.length, layer.columns - grid[0] * grid[1]) : 0
  const start = at * layer.columns
  return Array.from({ length: layer.count }, (_, head) =>
    layer.plane(head).subarray(start + front, start + layer.columns),
  )
}
