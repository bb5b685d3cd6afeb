/** The colour bar, exact: its colours go through the codes of the map beside it, its ticks are round numbers and both limits. */

import { type ReadonlySignal, useComputed, useSignalEffect } from '@preact/signals'
import { useRef } from 'preact/hooks'
import { Plate } from '../app/raster'
import type { Side } from '../app/side'
import { encode } from '../core/codes'
import type { Range } from '../core/index'
import { at } from '../core/norms'
import { placedTicks } from '../core/ticks'
import { context, css, useSize } from './parts'
import { span } from './words'

/** The codes of a bar of so many pixels, from its lower end. */
export function ramp({ low, high, curve }: Range, length: number): Uint8Array {
  const values = Float32Array.from({ length }, (_, step) => {
    const value = at((step + 0.5) / length, low, high, curve.norm)
    return Math.min(high, Math.max(low, value))
  })
  const codes = new Uint8Array(length)
  encode(values, low, high, curve, codes)
  return codes
}

/** Without a range it is that of tiles with ranges of their own, and says nothing of what its ends mean. */
export function Ramp(props: {
  of: ReadonlySignal<Range | null>
  table: ReadonlySignal<Uint32Array>
  tall?: boolean
  name: string
}) {
  const { of, table, tall, name } = props
  const { ref, size } = useSize<HTMLDivElement>()
  const canvas = useRef<HTMLCanvasElement>(null)
  useSignalEffect(() => {
    const [range, colors] = [of.value, table.value]
    const { width, height } = size.value
    if (!width || !height) return
    const drawn = context(canvas.current!, size.value)
    const length = tall ? height : width
    const codes = range ? ramp(range, length) : Uint8Array.from({ length }, (_, step) => (step * 240) / (length - 1))
    const plate = new Plate(width, height)
    const shape = tall ? { rows: length, columns: 1 } : { rows: 1, columns: length }
    plate.block(tall ? codes.reverse() : codes, colors, shape, [0, 0, width, height])
    drawn.putImageData(plate.image, 0, 0)
  })
  const range = of.value
  const { width, height, ratio } = size.value
  const line = tall ? 13 / (height / ratio) : 38 / (width / ratio)
  const texts = range && range.low < range.high && line < 1 ? placedTicks(range, line) : []
  const longest = Math.max(4, ...texts.map(([, text]) => text.length))
  const label = range
    ? `${name}: colours from ${span(range.low, range.high)}`
    : `${name}: each tile from its lowest to its highest value`
  return (
    <div
      class={tall ? 'ramp tall' : 'ramp'}
      role="img"
      aria-label={label}
      style={tall ? { width: `calc(24px + ${longest}ch)` } : {}}
    >
      <div ref={ref}>
        <canvas ref={canvas} />
      </div>
      {texts.map(([share, text]) => (
        <span key={text} style={{ [tall ? 'bottom' : 'left']: `${100 * share}%` }}>
          {text}
        </span>
      ))}
    </div>
  )
}

/** A square in the colour of a code. */
export const Mark = ({ pixel }: { pixel: () => number }) => <i class="mark" style={{ background: css(pixel()) }} />

/** The bar of a sheet. */
export function Bar({ side }: { side: Side }) {
  const { single, center } = side.scale.value!
  const [low, high] =
    center === null ? ['lowest', 'highest value of each tile'] : ['−m', '+m, m = largest magnitude of each tile']
  const range = useComputed(() => {
    const { single, limits, curve } = side.scale.value!
    return single ? { low: limits[0]!, high: limits[1]!, curve } : null
  })
  return (
    <div class="key">
      {!single && <span>{low}</span>}
      <Ramp of={range} table={side.table} name="Sheet" />
      {!single && <span>{high}</span>}
    </div>
  )
}
