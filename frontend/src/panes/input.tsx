/** The photo: what of it the model saw, the combined map laid over it, and the region of the probed unit. */

import { useComputed, useSignalEffect } from '@preact/signals'
import { useRef } from 'preact/hooks'
import type { App } from '../app/app'
import { aim, type Combined } from '../app/combined'
import type { Photo, Side } from '../app/side'
import { cell, field, unitAt } from '../core/regions'
import { Button, context, inks, point, type Size, useSize } from './parts'
import { outline } from './tiles'
import { number, percent } from './words'

type Box = [number, number, number, number]

export function Input({ app, side }: { app: App; side: Side }) {
  const { ref, size } = useSize<HTMLDivElement>()
  const [below, above] = [useRef<HTMLCanvasElement>(null), useRef<HTMLCanvasElement>(null)]
  const photo = side.photo.value
  /** Device pixels for each pixel of the photo. */
  const scale = useComputed(() => (side.photo.value ? size.value.width / side.photo.value.photo[1] : 0))
  useSignalEffect(() => {
    if (side.photo.value && size.value.width) paint(below.current!, app, side, side.photo.value, size.value)
  })
  useSignalEffect(() => {
    const drawn = context(above.current!, size.value)
    const [data, unit] = [side.data.value, app.unit(side)]
    const shown = (box: Box | null) => {
      if (!box) return
      const [top, left, high, wide] = box.map(each => each * scale.value) as Box
      outline(drawn, [left, top, Math.max(4, wide), Math.max(4, high)], size.value.ratio)
    }
    if (data?.meta.kind === 'attention' && data.meta.grid && !unit) {
      const at = app.of('query').value - data.meta.prefix.length
      const across = data.meta.grid[1]
      if (at >= 0) shown(cell(data, Math.floor(at / across), at % across))
    }
    if (!data || !unit) return
    const sees = within(field(data, ...unit), data.meta.placement?.photo)
    shown(sees)
    // Two boxes of a few pixels can't be told apart.
    if (!sees || sees[3] * scale.value > 16 * size.value.ratio) shown(cell(data, ...unit))
  })
  const hit = (event: MouseEvent): [number, number] | null => {
    const data = side.data.value
    if (!data || !scale.value) return null
    const [px, py] = point(event, ref.current!, size.value.ratio)
    return unitAt(data, py / scale.value, px / scale.value)
  }
  const [overlay, opacity, target] = [app.of('overlay').value, app.of('opacity').value, app.of('target').value]
  const input = side.input.value
  const shares = input.predictions?.every(
    ({ probability }) => probability !== null && probability >= 0 && probability <= 1,
  )
  return (
    <section class="input" aria-label="Input">
      <div
        class="field"
        ref={ref}
        style={{
          aspectRatio: photo ? `${photo.photo[1]} / ${photo.photo[0]}` : `${input.width || 1} / ${input.height || 1}`,
        }}
        onPointerMove={event => {
          const unit = hit(event)
          app.hover.value = unit && { side, channel: side.active.value, unit }
          if (unit && side.data.value?.meta.kind === 'attention') app.query(side, unit)
        }}
        onPointerLeave={() => (app.hover.value = null)}
        onClick={event => {
          const unit = hit(event)
          if (unit) app.set({ unit })
        }}
      >
        <canvas ref={below} role="img" aria-label={`The photo ${input.name}`} />
        <canvas ref={above} aria-hidden="true" />
      </div>
      {side.index === 0 && (
        <div class="row">
          <Button title="Overlay (o)" pressed={overlay} on={() => app.set({ overlay: !overlay })}>
            Overlay
          </Button>
          <input
            type="range"
            {...{ min: 0, max: 1, step: 0.05 }}
            value={opacity}
            disabled={!overlay}
            aria-label="Strength of the overlay"
            onInput={event => app.set({ opacity: event.currentTarget.valueAsNumber })}
          />
        </div>
      )}
      {side.index ? (
        <p class="note">{input.name}</p>
      ) : (
        <ol class="classes">
          {input.predictions?.slice(0, 3).map((each, at) => (
            <li key={each.index}>
              <button
                type="button"
                title={`Class ${each.index}${each.note && ` · ${each.note}`}`}
                disabled={at > 0 && !app.host.caps.request}
                aria-pressed={target === each.index}
                onClick={() => aim(app, each.index)}
              >
                <span>{each.label}</span>
                <span>{(shares ? percent : number)(each.probability ?? Number.NaN)}</span>
              </button>
            </li>
          ))}
        </ol>
      )}
    </section>
  )
}

/** The part of a box that lies on the photo; `null` for one without an end. */
export function within(box: Box | null, photo: [number, number] | undefined): Box | null {
  if (!box || !photo) return box
  const [top, left] = [Math.max(0, box[0]), Math.max(0, box[1])]
  const [bottom, right] = [Math.min(photo[0], box[0] + box[2]), Math.min(photo[1], box[1] + box[3])]
  return [top, left, bottom - top, right - left]
}

export function paint(canvas: HTMLCanvasElement, app: App, side: Side, photo: Photo, size: Size, always = false) {
  const { width, height } = size
  const drawn = context(canvas, size)
  const data = side.data.value
  const [overlay, opacity] = [app.of('overlay').value, app.of('opacity').value]
  const map = overlay || always ? side.combined.value : null
  const fits = data && data.meta.input === photo.input
  // Scaled once: that takes longer than all the rest.
  const image = pixels(photo, width, height)
  if (fits && map) blend(image, side, map, width / photo.photo[1], opacity)
  drawn.putImageData(image, 0, 0)
  const box = fits ? data.meta.placement?.box : null
  if (!box) return
  const scale = width / photo.photo[1]
  const [top, left, high, wide] = box.map(each => Math.round(each * scale)) as Box
  if (top > 0 || left > 0 || top + high < height - 1 || left + wide < width - 1) {
    // What the model didn't see is faded into the paper.
    drawn.fillStyle = inks(app).paper
    drawn.globalAlpha = 0.6
    drawn.fillRect(0, 0, width, top)
    drawn.fillRect(0, top + high, width, height)
    drawn.fillRect(0, top, left, high)
    drawn.fillRect(left + wide, top, width, high)
    drawn.globalAlpha = 1
  }
}

/** The photo at the size at which it is drawn, to be written over. */
function pixels(photo: Photo, width: number, height: number): ImageData {
  let { drawn } = photo
  if (drawn?.width !== width || drawn.height !== height) {
    const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true })!
    context.imageSmoothingQuality = 'high'
    context.drawImage(photo.bitmap, 0, 0, width, height)
    drawn = context.getImageData(0, 0, width, height)
    photo.drawn = drawn
  }
  return new ImageData(drawn.data.slice(), width, height)
}

/** How light a pixel is. */
const light = (pixel: number) => 0.3 * (pixel & 255) + 0.59 * ((pixel >> 8) & 255) + 0.11 * ((pixel >> 16) & 255)

/** The map over a greyed photo: opacity carries the strength, hue the value. Cells keep their edges. */
function blend({ data: rgba, width, height }: ImageData, side: Side, map: Combined, scale: number, opacity: number) {
  const layer = side.data.value!
  const { columns } = map.source
  const { table } = map
  const { codes } = map.tiles.codes(0, 1)
  // Of values below 0 the lowest is the strongest.
  const zero = map.scale.center !== null ? 120 : map.scale.limits[1]! <= 0 ? 240 : 0
  let lightness = 0
  const strengths = Float32Array.from({ length: 256 }, (_, code) => {
    if (code > 240) return code === 241 ? 0 : 1
    const strength = Math.abs(code - zero) / Math.max(zero, 240 - zero)
    lightness += strength * (light(table[code]!) - 127)
    return strength
  })
  // The levels of black and white: strong colours that are light stand out from a dark photo.
  const [black, white] = map.pixels ? [50, 220] : lightness < 0 ? [140, 255] : [0, 180]
  const along = (count: number, at: (pixel: number) => number | undefined) =>
    Int32Array.from({ length: count }, (_, pixel) => at((pixel + 0.5) / scale) ?? -1)
  const { placement } = layer.meta
  const [top, left, tall, wide] = placement?.box ?? [0, 0, height / scale, width / scale]
  const rows = along(height, y => unitAt(layer, y, left + wide / 2)?.[0])
  const across = along(width, x => unitAt(layer, top + tall / 2, x)?.[1])
  const under = new Uint32Array(rgba.buffer)
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      const [row, column] = [rows[y]!, across[x]!]
      const grey = black + (light(under[at >> 2]!) * (white - black)) / 255
      let [pixel, alpha] = [0, 0]
      if (row >= 0 && column >= 0) {
        const unit = row * columns + column
        const code = codes[unit]!
        pixel = map.pixels?.[unit] ?? table[code]!
        alpha = opacity * (map.pixels ? (map.cover?.[unit] ?? 1) : strengths[code]!)
      }
      const dim = grey * (1 - alpha)
      const own = map.cover ? opacity : alpha
      rgba[at] = dim + own * (pixel & 255)
      rgba[at + 1] = dim + own * ((pixel >> 8) & 255)
      rgba[at + 2] = dim + own * ((pixel >> 16) & 255)
    }
  }
}
