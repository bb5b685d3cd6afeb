/** The colour bar, exact: its colours go through the codes of the map beside it, its ticks are round numbers and both limits. */

import { useLayoutEffect, useRef } from 'preact/hooks'
import type { Side } from '../app/side'
import { encode } from '../core/codes'
import { at, type Curve, place } from '../core/norms'
import { ticks } from '../core/ticks'
import { context, useSize } from './parts'
import { reading, span } from './words'

export interface Range {
  low: number
  high: number
  curve: Curve
}

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

/** `null` for tiles with ranges of their own: the bar then says what its ends mean. */
export function Ramp(props: { range: Range | null; table: Uint32Array; tall?: boolean; name: string }) {
  const { range, table, tall, name } = props
  const { ref, size } = useSize<HTMLDivElement>()
  const canvas = useRef<HTMLCanvasElement>(null)
  useLayoutEffect(() => {
    const { width, height } = size.value
    if (!width || !height) return
    const drawn = context(canvas.current!, size.value)
    const length = tall ? height : width
    const codes = range ? ramp(range, length) : Uint8Array.from({ length }, (_, step) => (step * 240) / (length - 1))
    const image = drawn.createImageData(width, height)
    const out = new Uint32Array(image.data.buffer)
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) out[y * width + x] = table[codes[tall ? height - 1 - y : x]!]!
    }
    drawn.putImageData(image, 0, 0)
  }, [range?.low, range?.high, range?.curve.norm, table, size.value])
  const share = (value: number) => place(value, range!.low, range!.high, range!.curve.norm)
  const room = (tall ? 13 : 56) / Math.max(1, (tall ? size.value.height : size.value.width) / size.value.ratio)
  const marks: number[] = []
  for (const value of range && range.low < range.high
    ? ticks(range.low, range.high, range.curve.norm, tall ? 7 : 3)
    : []) {
    if (marks.every(other => Math.abs(share(other) - share(value)) >= room)) marks.push(value)
  }
  const label = range
    ? `${name}: colours from ${span(range.low, range.high)}`
    : `${name}: each tile from its lowest to its highest value`
  return (
    <div class={tall ? 'ramp tall' : 'ramp'} role="img" aria-label={label}>
      <div ref={ref}>
        <canvas ref={canvas} />
      </div>
      {range
        ? marks.map(value => (
            <span key={value} style={{ [tall ? 'bottom' : 'left']: `${100 * share(value)}%` }}>
              {reading(value, range.low, range.high)}
            </span>
          ))
        : null}
    </div>
  )
}

/** A square in the colour of a code. */
export const Mark = ({ pixel }: { pixel: number }) => (
  <i class="mark" style={{ background: `rgb(${pixel & 255} ${(pixel >> 8) & 255} ${(pixel >> 16) & 255})` }} />
)

/** The bar of a sheet. */
export function Bar({ side }: { side: Side }) {
  const { single, center, limits, curve } = side.scale.value!
  const [low, high] =
    center === null ? ['lowest', 'highest value of each tile'] : ['−m', '+m, m = largest magnitude of each tile']
  const range = single ? { low: limits[0]!, high: limits[1]!, curve } : null
  return (
    <div class="key">
      {!single && <span>{low}</span>}
      <Ramp range={range} table={side.table.value} name="Sheet" />
      {!single && <span>{high}</span>}
    </div>
  )
}
