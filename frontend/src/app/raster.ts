/** Tiles on a canvas, in device pixels: where they lie, their codes at the drawn level of detail, and the copy into an image. */

import { encode } from '../core/codes'
import { codesOfPlane } from '../core/index'
import type { LayerData } from '../core/layer'
import { pooled } from '../core/lod'
import type { Curve } from '../core/norms'

/** Planes of one size: the channels of a slice, the heads of an attention map for one query, or a combination. */
export interface Source {
  count: number
  rows: number
  columns: number
  plane(index: number): Float32Array
  /** Where they are those of a layer. */
  layer?: LayerData
  slice?: number
}

/** The sheet on a canvas of so many device pixels; `left` and `top` are where its first slot begins. */
export interface Grid {
  across: number
  down: number
  width: number
  height: number
  /** Above each tile, for its label. */
  label: number
  pitchX: number
  pitchY: number
  left: number
  top: number
}

interface Shape {
  count: number
  rows: number
  columns: number
}

// Tiles of so many pixels have a label; where none is that large, they may grow somewhat more without one.
const [LABELLED, BARE] = [30, 44]

const around = (width: number, ratio: number, least: number) => {
  const css = width / ratio
  return {
    label: css >= least ? Math.round(18 * ratio) : 0,
    gap: Math.round(Math.min(12, Math.max(1, css >= least ? css / 9 : css / 12)) * ratio),
  }
}

const slot = (width: number, shape: Shape, ratio: number, least: number) => {
  const tile = Math.max(1, Math.round(width))
  const height = Math.max(
    1,
    Math.round((tile * shape.rows) / shape.columns),
    shape.rows === 1 && shape.columns > 1 ? Math.round(12 * ratio) : 1,
  )
  const { label, gap } = around(tile, ratio, least)
  return { width: tile, height, label, pitchX: tile + gap, pitchY: height + label + gap }
}

/** The largest tiles with which all of them are seen, and how many lie in a row. */
function largest(shape: Shape, width: number, height: number, ratio: number, least: number) {
  let best = { across: 1, width: 1 }
  for (let across = 1; across <= shape.count; across++) {
    const down = Math.ceil(shape.count / across)
    let wide = Math.floor(width / across)
    if (wide <= best.width) break
    // Labels and gaps follow from the size, so it is lowered until both sides hold.
    for (; wide > best.width; wide--) {
      const { pitchX, pitchY } = slot(wide, shape, ratio, least)
      const over = Math.max(
        (across * pitchX - width) / across,
        ((down * pitchY - height) / down) * (shape.columns / shape.rows),
      )
      if (over <= 0) break
      wide -= Math.max(0, Math.floor(over / 2))
    }
    if (wide > best.width) best = { across, width: wide }
  }
  // Whole pixels for each unit, where that costs little, and not the label.
  const whole = Math.floor(best.width / shape.columns) * shape.columns
  const named = best.width >= least * ratio
  return whole >= 0.9 * best.width && (!named || whole >= least * ratio) ? { across: best.across, width: whole } : best
}

/** The grid at a zoom: `x` and `y` are the slots, with fractions, in the middle of the canvas; `null` shows all. */
export function grid(
  shape: Shape,
  size: { width: number; height: number; ratio: number },
  zoom: { scale: number; x: number; y: number } | null,
): Grid {
  // Room for the frame of a tile at the edge.
  const inset = Math.round(3 * size.ratio)
  const sized = (least: number) => largest(shape, size.width - 2 * inset, size.height - inset, size.ratio, least)
  const labelled = sized(LABELLED)
  const least = labelled.width < LABELLED * size.ratio ? BARE : LABELLED
  const { across, width } = least === BARE ? sized(BARE) : labelled
  const down = Math.ceil(shape.count / across)
  const tile = slot(width * (zoom?.scale ?? 1), shape, size.ratio, least)
  const left = zoom ? Math.round(size.width / 2 - zoom.x * tile.pitchX) : inset
  const top = zoom ? Math.round(size.height / 2 - zoom.y * tile.pitchY) : tile.label ? 0 : inset
  return { ...tile, across, down, left, top }
}

/** The place in the order under a point and the share of its tile, below 0 or above 1 beside it. */
export function slotAt(g: Grid, x: number, y: number): { place: number; u: number; v: number } | null {
  const column = Math.floor((x - g.left) / g.pitchX)
  const row = Math.floor((y - g.top) / g.pitchY)
  if (column < 0 || column >= g.across || row < 0 || row >= g.down) return null
  return {
    place: row * g.across + column,
    u: (x - g.left - column * g.pitchX) / g.width,
    v: (y - g.top - row * g.pitchY - g.label) / g.height,
  }
}

/** The upper left corner of a tile. */
export const corner = (g: Grid, place: number): [number, number] => [
  g.left + (place % g.across) * g.pitchX,
  g.top + Math.floor(place / g.across) * g.pitchY + g.label,
]

/** The places of the order that are seen on a canvas. */
export function* seen(g: Grid, count: number, width: number, height: number): Generator<number> {
  const first = Math.max(0, Math.floor(-g.left / g.pitchX))
  const last = Math.min(g.across - 1, Math.floor((width - g.left) / g.pitchX))
  const stop = Math.min(g.down - 1, Math.floor((height - g.top) / g.pitchY))
  for (let row = Math.max(0, Math.floor(-g.top / g.pitchY)); row <= stop; row++) {
    for (let column = first; column <= last; column++) {
      const place = row * g.across + column
      if (place < count) yield place
    }
  }
}

/** The power of two by which planes are pooled where they are drawn smaller than they are. */
export const detail = (rows: number, drawn: number) => 2 ** Math.max(0, Math.floor(Math.log2(rows / drawn)))

interface Level {
  planes: Float32Array[]
  /** The codes of each plane, and whose they are: others write over them. */
  codes: Uint8Array[]
  owners: Tiles[]
}

const levels = new WeakMap<Source, Level[]>()

/** The codes of planes by their limits, made when a tile is first drawn; those of another scale make room for them. */
export class Tiles {
  constructor(
    readonly source: Source,
    readonly limits: Float64Array,
    readonly curve: Curve,
  ) {}

  codes(index: number, factor: number): { codes: Uint8Array; rows: number; columns: number } {
    const { source, limits } = this
    const known = levels.get(source) ?? []
    levels.set(source, known)
    const [rows, columns] = [Math.ceil(source.rows / factor), Math.ceil(source.columns / factor)]
    known[factor] ??= { planes: [], codes: [], owners: [] }
    const { planes, codes, owners } = known[factor]
    codes[index] ??= new Uint8Array(rows * columns)
    const out = codes[index]
    if (owners[index] !== this) {
      owners[index] = this
      const [low, high] = [limits[2 * index]!, limits[2 * index + 1]!]
      // Of few values each is coded sooner than a table is looked for.
      if (factor === 1 && source.layer && out.length > 256) {
        codesOfPlane(source.layer, index, { low, high, curve: this.curve }, { slice: source.slice ?? 0, out })
      } else {
        planes[index] ??=
          factor > 1 ? pooled(source.plane(index), source.rows, source.columns, factor) : source.plane(index)
        encode(planes[index], low, high, this.curve, out)
      }
    }
    return { codes: out, rows, columns }
  }
}

/** A plate of a size, which may be the one that was drawn before. */
export const plateOf = (kept: Plate | undefined, width: number, height: number) =>
  kept?.width === width && kept.height === height ? kept : new Plate(width, height)

/** An image of device pixels that is written and put on a canvas as a whole. */
export class Plate {
  readonly image: ImageData
  readonly out: Uint32Array
  /** How its tiles lie, and on what. */
  at?: Grid
  ground?: number
  /** Which column is seen at each pixel of a row, kept for blocks of the same size. */
  private across = new Int32Array(0)
  private columns = 0
  constructor(
    readonly width: number,
    readonly height: number,
  ) {
    this.image = new ImageData(width, height)
    this.out = new Uint32Array(this.image.data.buffer)
  }

  /** Codes, or colours where there is no `table`, `[rows, columns]` in a box, each as a block with sharp edges. */
  block(
    pixels: Uint8Array | Uint32Array,
    table: Uint32Array | null,
    size: { rows: number; columns: number },
    [x, y, wide, high]: [number, number, number, number],
  ) {
    const { out, width, height } = this
    const left = Math.max(0, x)
    const count = Math.min(width, x + wide) - left
    if (count <= 0) return
    if (this.across.length !== wide || this.columns !== size.columns) {
      this.columns = size.columns
      this.across = new Int32Array(wide)
      for (let i = 0; i < wide; i++) this.across[i] = Math.floor(((i + 0.5) * size.columns) / wide)
    }
    const map = left > x ? this.across.subarray(left - x) : this.across
    let before = -1
    for (let line = Math.max(0, y); line < Math.min(height, y + high); line++) {
      const row = Math.floor(((line - y + 0.5) * size.rows) / high)
      const start = line * width + left
      const base = row * size.columns
      // A call costs more than to write a few pixels.
      if (row === before && count > 32) out.copyWithin(start, start - width, start - width + count)
      else if (table) for (let i = 0; i < count; i++) out[start + i] = table[pixels[base + map[i]!]!]!
      else for (let i = 0; i < count; i++) out[start + i] = pixels[base + map[i]!]!
      before = row
    }
  }
}
