/** Attention maps: `[head, query, key]`, where a query looks. */

import type { LayerData } from './layer'

/** One plane for each head: the weights of a query on the patches of the grid, or on all keys where there is none. */
export function row(layer: LayerData, query: number): Float32Array[] {
  const { prefix, grid } = layer.meta
  const at = Math.max(0, Math.min(layer.rows - 1, query))
  const front = grid ? Math.max(prefix.length, layer.columns - grid[0] * grid[1]) : 0
  return heads(layer, at, front, layer.columns)
}

/** The weights of a query on the tokens before the grid, for each head. */
export function prefixOf(layer: LayerData, query: number): Float32Array[] {
  return heads(layer, query, 0, layer.meta.prefix.length)
}

function heads(layer: LayerData, query: number, from: number, to: number): Float32Array[] {
  const start = query * layer.columns
  return Array.from({ length: layer.count }, (_, head) => layer.plane(head).subarray(start + from, start + to))
}
