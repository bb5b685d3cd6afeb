/** Where units lie on the photo. Boxes are top, left, height, width in photo pixels, and separable: a row's part and a column's. */

import type { LayerData } from './layer'
import { wide } from './payload'

export type Box = [top: number, left: number, height: number, width: number]

/** The part of the photo that a unit is drawn on; `null` where that isn't known, or nothing of it is on the photo. */
export function cell(layer: LayerData, row: number, column: number): Box | null {
  const [down, across] = axes(layer, 'cells')
  return down && across ? boxOf(span(down, row), span(across, column)) : null
}

/** What a unit can depend on, which may reach beyond the photo; `null` where that is all of it, or isn't known. */
export function field(layer: LayerData, row: number, column: number): Box | null {
  const [down, across] = axes(layer, 'fields')
  if (!down || !across) return null
  const [height, width] = layer.meta.placement?.photo ?? [Infinity, Infinity]
  const [rows, columns] = [span(down, row), span(across, column)]
  const bounded = [...rows, ...columns].map(Number.isFinite)
  if (!bounded.some(Boolean)) return null
  const within = ([first, stop]: Span, size: number): Span => [
    first === -Infinity ? 0 : first,
    stop === Infinity ? size : stop,
  ]
  return boxOf(within(rows, height), within(columns, width))
}

/** The unit that is drawn at a place of the photo; `null` beside the map. */
export function unitAt(layer: LayerData, y: number, x: number): [row: number, column: number] | null {
  const [down, across] = axes(layer, 'cells')
  if (!down || !across) return null
  const [row, column] = [holding(down, y), holding(across, x)]
  return row < 0 || column < 0 ? null : [row, column]
}

type Span = [first: number, stop: number]

function axes({ payload }: LayerData, what: 'cells' | 'fields'): [Float64Array | undefined, Float64Array | undefined] {
  return [wide(payload, `row_${what}`), wide(payload, `column_${what}`)]
}

function span(ends: Float64Array, unit: number): Span {
  return [ends[2 * unit] ?? NaN, ends[2 * unit + 1] ?? NaN]
}

function boxOf([top, bottom]: Span, [left, right]: Span): Box | null {
  return bottom > top && right > left ? [top, left, bottom - top, right - left] : null
}

/** Which unit holds a place; units may run backwards after a flip, so each is asked. */
function holding(ends: Float64Array, place: number): number {
  for (let unit = 0; 2 * unit < ends.length; unit++) {
    if (place >= ends[2 * unit]! && place < ends[2 * unit + 1]!) return unit
  }
  return -1
}
