/** How tiles are drawn: colours, letters, and the marks above them. */

import type { App } from '../app/app'
import { corner, detail, type Grid, type Plate, plateOf, seen } from '../app/raster'
import type { Side } from '../app/side'
import { number } from '../core/ticks'
import { context, FONT, inks, type Size } from './parts'

/** What one paint of a sheet takes; the export draws with it as well. */
export interface Drawing {
  app: App
  side: Side
  order: number[]
  at: Grid
  size: Size
}

export function paint(canvas: HTMLCanvasElement, { app, side, order, at, size }: Drawing, kept?: Plate): Plate {
  const drawn = context(canvas, size, false)
  const { paper } = inks(app)
  const plate = plateOf(kept, size.width, size.height)
  const [table, tiles] = [side.table.value, side.tiles.value!]
  const { rows, columns } = tiles.source
  const ground = Number.parseInt(paper.slice(1), 16)
  // Between tiles that lie where they lay nothing changes.
  if (plate.at !== at || plate.ground !== ground)
    plate.out.fill((0xff000000 | ((ground & 255) << 16) | (ground & 0xff00) | (ground >> 16)) >>> 0)
  Object.assign(plate, { at, ground })
  const places = [...seen(at, order.length, size.width, size.height)]
  const factor = Math.min(detail(rows, at.height), detail(columns, at.width))
  for (const place of places) {
    const [x, y] = corner(at, place)
    const tile = tiles.codes(order[place]!, factor)
    plate.block(tile.codes, table, tile, [x, y, at.width, at.height])
  }
  drawn.putImageData(plate.image, 0, 0)
  letters(drawn, { app, side, order, at, size }, places)
  return plate
}

/** Numbers, ranges, and the words on tiles without a range: font by font, since a change of font costs more than a text. */
function letters(drawn: CanvasRenderingContext2D, { app, side, order, at, size }: Drawing, places: number[]) {
  const { ink, grey, paper } = inks(app)
  const { ratio } = size
  const data = side.data.value!
  const { figures, channels } = data
  const picked = new Set(app.of('selected').value)
  const wide = at.width / ratio
  const own = !side.scale.value!.single
  const one = data.size * data.slices === 1
  const used: number[] = []
  drawn.textAlign = 'left'
  drawn.fillStyle = ink
  drawn.font = `600 ${(wide >= 60 ? 12 : 11) * ratio}px ${FONT}`
  for (const place of at.label || picked.size ? places : []) {
    const [x, y] = corner(at, place)
    const channel = channels[order[place]!]!
    const chosen = picked.has(channel)
    const inset = chosen ? 4 * ratio : 0
    if (at.label) {
      const width = wide >= 72 || chosen ? drawn.measureText(String(channel)).width : 0
      used[place] = width + 2 * inset
      if (chosen) drawn.fillRect(x, y - 17 * ratio, used[place], 15 * ratio)
      if (chosen) drawn.fillStyle = paper
      drawn.fillText(String(channel), x + inset, y - 5 * ratio)
      if (chosen) drawn.fillStyle = ink
    } else if (chosen) drawn.fillRect(x, y, Math.max(4, at.width / 3), Math.max(4, at.width / 3))
  }
  drawn.font = `${11 * ratio}px ${FONT}`
  drawn.fillStyle = grey
  drawn.textAlign = 'right'
  for (const place of wide >= 72 ? places : []) {
    const each = order[place]!
    const [x, y] = corner(at, place)
    const [low, high] = own ? side.range(each) : [figures['min']![each]!, figures['max']![each]!]
    const texts = one
      ? [number(low)]
      : low < high
        ? [3, 2].map(digits => `${number(low, digits)} – ${number(high, digits)}`)
        : []
    const text = texts.find(each => drawn.measureText(each).width < at.width - used[place]! - 8 * ratio)
    if (text) drawn.fillText(text, x + at.width, y - 5 * ratio)
  }
  drawn.textAlign = 'center'
  for (const place of wide >= 44 && at.height >= 16 * ratio && !one ? places : []) {
    const each = order[place]!
    const word = figures['dead']![each] ? 'dead' : figures['constant']![each] ? 'constant' : ''
    const [x, y] = corner(at, place)
    if (word) drawn.fillText(word, x + at.width / 2, y + at.height / 2 + 4 * ratio)
  }
}

/** A frame that can be seen on any colour. */
export function outline(drawn: CanvasRenderingContext2D, box: [number, number, number, number], ratio: number) {
  const [x, y, wide, high] = box.map(Math.round) as typeof box
  const thin = Math.max(1, Math.round(ratio))
  for (const [grow, color] of [
    [2, '#181b21'],
    [1, '#fff'],
  ] as const) {
    drawn.strokeStyle = color
    drawn.lineWidth = thin
    const by = (grow - 0.5) * thin
    drawn.strokeRect(x - by, y - by, wide + 2 * by, high + 2 * by)
  }
}

/** The active tile and the probed unit, above the tiles so that pointing draws no tile anew. */
export function mark(canvas: HTMLCanvasElement, app: App, side: Side, now: Drawing | null, size: Size) {
  const drawn = context(canvas, size)
  if (!now) return
  const { at, order } = now
  const { ratio } = size
  const probe = app.probe.value
  const active = order.indexOf(side.active.value)
  if (active >= 0 && order.length > 1) outline(drawn, [...corner(at, active), at.width, at.height], ratio)
  if (!probe) return
  const place = probe.side === side ? order.indexOf(probe.channel) : active
  const unit = app.unit(side)
  if (place < 0) return
  const [x, y] = corner(at, place)
  if (place !== active) outline(drawn, [x, y, at.width, at.height], ratio)
  if (!unit) return
  const { rows, columns } = side.source.value!
  outline(drawn, unitBox(unit, { rows, columns }, [x, y, at.width, at.height], 5 * ratio), ratio)
}

/** The box of one unit in that of its map, never too small to be seen. */
export function unitBox(
  [row, column]: [number, number],
  { rows, columns }: { rows: number; columns: number },
  [x, y, wide, high]: [number, number, number, number],
  least: number,
): [number, number, number, number] {
  const [w, h] = [wide / columns, high / rows]
  const [width, height] = [Math.max(w, least), Math.max(h, least)]
  return [x + (column + 0.5) * w - width / 2, y + (row + 0.5) * h - height / 2, width, height]
}
