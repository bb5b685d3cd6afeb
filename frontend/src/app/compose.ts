/** A picture with its title and its notes, as the page draws it where there is no Python. */

import { placedTicks } from '../core/ticks'
import type { ViewState } from '../core/types'
import { ramp } from '../panes/bar'
import { draw } from '../panes/combined'
import { paint as paintInput } from '../panes/input'
import { css, FONT, inks } from '../panes/parts'
import { paint } from '../panes/tiles'
import { capital, curved, headings, number, remarks, rule } from '../panes/words'
import type { App } from './app'
import type { What } from './export'
import { grid, Plate } from './raster'
import type { Side } from './side'

/** What is seen of one layer, or of two beside each other. */
export function compose(app: App, what: What): HTMLCanvasElement {
  const [one, other] = app.sides
  const same = one.layer.value === other.layer.value && one.input.value === other.input.value
  const left = single(app, one, what)
  if (!other.shown.value || !other.source.value || same) return left
  const right = single(app, other, what)
  const both = document.createElement('canvas')
  Object.assign(both, { width: left.width + right.width, height: Math.max(left.height, right.height) })
  const canvas = both.getContext('2d')!
  canvas.fillStyle = inks(app).paper
  canvas.fillRect(0, 0, both.width, both.height)
  canvas.drawImage(left, 0, 0)
  canvas.drawImage(right, left.width, 0)
  return both
}

/** A weighted sum in words. */
function weighing({ weights }: ViewState): string {
  const terms = Object.entries(weights).map(([channel, weight]) => `${number(weight)} × channel ${channel}`)
  return `The weighted sum is ${terms.join(' + ')}.`
}

/** Title, what it is, the picture at twice its size, and notes below. */
function single(app: App, side: Side, what: What): HTMLCanvasElement {
  const ratio = 2
  const [title, line] = headings(app, side)
  const map = side.combined.value
  const body = document.createElement('canvas')
  const source = side.source.value!
  if (what === 'sheet') {
    const order = side.seen.value
    const size = { width: 960 * ratio, height: 720 * ratio, ratio }
    const at = grid({ count: order.length, rows: source.rows, columns: source.columns }, size, null)
    const height = at.down * at.pitchY
    paint(body, { app, side, order, at, size: { ...size, height } })
  } else if (what === 'overlay' && side.photo.value) {
    const [high, wide] = side.photo.value.photo
    paintInput(
      body,
      app,
      side,
      side.photo.value,
      { width: 960 * ratio, height: Math.round((960 * ratio * high) / wide), ratio },
      true,
    )
  } else if (map) {
    const scale = Math.max(1, Math.floor((640 * ratio) / Math.max(source.rows, source.columns)))
    const plate = new Plate(source.columns * scale, source.rows * scale)
    draw(plate, map, [0, 0, plate.width, plate.height])
    Object.assign(body, { width: plate.width, height: plate.height })
    body.getContext('2d')!.putImageData(plate.image, 0, 0)
  }
  const heading = what === 'sheet' ? title : `${map?.label ?? ''} · ${side.layer.value.path}`
  // The bar has its ends.
  const scale = map && !map.pixels && map.scale.norm !== 'linear' ? [`${curved(map.scale.norm).slice(2)}.`] : []
  const view = app.view.value
  const weights = view.mode === 'weights' ? [weighing(view)] : []
  const notes: [string, number[]][] =
    what === 'sheet'
      ? [[rule(app, side), []], ...remarks(side)]
      : [...weights, ...scale, ...(map?.notes ?? [])].map(text => [capital(text), []])
  const canvas = document.createElement('canvas')
  const [margin, step] = [24 * ratio, 18 * ratio]
  canvas.width = Math.max(body.width + 2 * margin + 80 * ratio, 720 * ratio)
  canvas.height = 3 * margin + 48 * ratio + body.height + notes.length * step
  const drawn = canvas.getContext('2d')!
  const { paper, ink, grey } = inks(app)
  drawn.fillStyle = paper
  drawn.fillRect(0, 0, canvas.width, canvas.height)
  const write = (text: string, y: number, size: number, color: string, weight = 400, inset = 0) => {
    drawn.fillStyle = color
    drawn.font = `${weight} ${size * ratio}px ${FONT}`
    drawn.fillText(text, margin + inset, y, canvas.width - 2 * margin)
  }
  write(heading, margin + 18 * ratio, 20, ink, 600)
  drawn.font = `${13 * ratio}px ${FONT}`
  let about = line
  while (drawn.measureText(about).width > canvas.width - 2 * margin) about = `${about.slice(0, -2)}…`
  write(about, margin + 38 * ratio, 13, grey)
  drawn.drawImage(body, margin, margin + 52 * ratio)
  const table = (what !== 'sheet' && map?.table) || side.table.value
  const shown =
    what === 'sheet' ? (side.scale.value!.single ? side.scale.value : null) : map?.pixels ? null : map?.scale
  if (shown) {
    const [low, high] = [shown.limits[0]!, shown.limits[1]!]
    const [x, y, height] = [margin + body.width + 16 * ratio, margin + 52 * ratio, body.height]
    const plate = new Plate(16 * ratio, height)
    const range = { low, high, curve: shown.curve }
    const codes = ramp(range, height).reverse()
    plate.block(codes, table, { rows: height, columns: 1 }, [0, 0, plate.width, height])
    drawn.putImageData(plate.image, x, y)
    drawn.fillStyle = ink
    for (const [share, text] of placedTicks(range, (16 * ratio) / height))
      drawn.fillText(text, x + 22 * ratio, y + 4 * ratio + (1 - share) * height)
  }
  for (const [index, [text, codes]] of notes.entries()) {
    const y = 2 * margin + 58 * ratio + body.height + index * step
    write(text, y, 12, grey, 400, codes.length * step)
    for (const [at, code] of codes.entries()) {
      drawn.fillStyle = css(table[code]!)
      drawn.fillRect(margin + at * step, y - 10 * ratio, 12 * ratio, 12 * ratio)
    }
  }
  return canvas
}
