/** The values of the active channel, in their colours; its handles are the limits of the scale. */

import { useComputed, useSignalEffect } from '@preact/signals'
import { useRef } from 'preact/hooks'
import type { App } from '../app/app'
import type { Side } from '../app/side'
import { encode } from '../core/codes'
import { histogram } from '../core/histogram'
import { at, place } from '../core/norms'
import { Button, context, css, inks, point, useSize } from './parts'
import { number, percent, reading } from './words'

const BINS = 96

export function Histogram({ app, side }: { app: App; side: Side }) {
  const { ref, size } = useSize<HTMLDivElement>()
  const canvas = useRef<HTMLCanvasElement>(null)
  const held = useRef(-1)
  /** The values that the picture spans: those of the channel, the layer's with one range, and the limits. */
  const reach = useComputed<[number, number] | null>(() => {
    const data = side.data.value
    const each = side.active.value
    if (!data || each < 0) return null
    const norm = app.of('norm').value
    const [least, most] = [data.figures['min']!, data.figures['max']!]
    const own = !side.scale.value!.single
    const finite = (values: Float64Array) => [...values].filter(Number.isFinite)
    let low = own ? least[each]! : Math.min(...finite(least))
    let high = own ? most[each]! : Math.max(...finite(most))
    const [first, last] = side.range(each)
    if (norm === 'log') low = Math.min(first, data.least?.[each] ?? first)
    low = Math.min(low, first)
    high = Math.max(high, last)
    return low < high ? [low, high] : null
  })
  const limits = useComputed(() => (side.scale.value ? side.range(side.active.value) : ([0, 0] as [number, number])))
  useSignalEffect(() => {
    const drawn = context(canvas.current!, size.value)
    const [source, range] = [side.source.value, reach.value]
    if (!source || !range || !size.value.width) return
    const { width, height, ratio } = size.value
    const plane = source.plane(side.active.value)
    const values =
      plane.length > 1 ? plane : Float32Array.from({ length: source.count }, (_, each) => source.plane(each)[0]!)
    const norm = app.of('norm').value
    const [low, high] = range
    const counts = [...histogram(values, low, high, BINS, norm)]
    // One bar that towers over all others, such as the zeros of a ReLU, is cut and says so by a gap.
    const [most = 0, second = 0] = [...counts].sort((a, b) => b - a)
    const top = most > 3 * second && second > 0 ? 1.25 * second : most
    const middles = Float32Array.from(counts, (_, bin) => at((bin + 0.5) / BINS, low, high, norm))
    const codes = new Uint8Array(BINS)
    encode(middles, ...limits.value, side.scale.value!.curve, codes)
    const table = side.table.value
    for (let bin = 0; bin < BINS; bin++) {
      if (!counts[bin]) continue
      const tall = Math.max(ratio, Math.round((Math.min(counts[bin]!, top) / top) * (height - 2 * ratio)))
      const [x, next] = [Math.round((bin * width) / BINS), Math.round(((bin + 1) * width) / BINS)]
      drawn.fillStyle = css(table[codes[bin]!]!)
      drawn.fillRect(x, height - tall, Math.max(1, next - x - (ratio > 1 ? 1 : 0)), tall)
      if (counts[bin]! > top) {
        drawn.fillStyle = inks(app).paper
        drawn.fillRect(x, height - tall + 6 * ratio, next - x, 3 * ratio)
      }
    }
  })
  const set = (which: number, value: number) => {
    const next: [number, number] = [...limits.value]
    next[which] = value
    const [low, high] = reach.value!
    const least = (high - low) / 1000
    if (next[1] - next[0] >= least) app.set({ scale: next, clip: null })
  }
  const valueAt = (event: PointerEvent) => {
    const [px] = point(event, ref.current!, 1)
    const share = Math.max(0, Math.min(1, px / ref.current!.clientWidth))
    const [low, high] = reach.value!
    return at(share, low, high, app.of('norm').value)
  }
  const data = side.data.value!
  const range = reach.value
  const each = side.active.value
  const figure = (name: string) => data.figures[name]![each]!
  const [norm, scale] = [app.of('norm').value, app.of('scale').value]
  const picked = app.of('selected').value.includes(side.number(each))
  const handle = (which: number) => {
    const value = limits.value[which]!
    const [low, high] = range!
    const share = place(value, low, high, norm)
    return (
      <div
        class="handle"
        role="slider"
        tabIndex={0}
        aria-label={which ? 'Upper limit of the colours' : 'Lower limit of the colours'}
        aria-valuemin={low}
        aria-valuemax={high}
        aria-valuenow={value}
        aria-valuetext={reading(value, low, high)}
        style={{ left: `${100 * share}%` }}
        onKeyDown={event => {
          const by = { ArrowLeft: -0.01, ArrowDown: -0.01, ArrowRight: 0.01, ArrowUp: 0.01 }[event.key]
          const end = { Home: 0, End: 1 }[event.key]
          if (by === undefined && end === undefined) return
          event.preventDefault()
          set(which, at(Math.max(0, Math.min(1, end ?? share + by!)), low, high, norm))
        }}
      />
    )
  }
  return (
    <section class="channel" aria-label="Active channel">
      <header>
        <h2>
          {data.size * data.slices === 1 ? 'All channels, now' : data.meta.kind === 'attention' ? 'Head' : 'Channel'}{' '}
          {side.number(each)}
          {data.meta.names ? ` · ${data.meta.names[each]}` : ''}
        </h2>
        <div class="tools">
          {Array.isArray(scale) && (
            <Button title="Reset the range" on={() => app.set({ scale: 'channel' })}>
              Reset
            </Button>
          )}
          <Button
            title={`${picked ? 'Picked' : 'Pick'} for the weighted sum (Space)`}
            pressed={picked}
            on={() => app.pick(side.number(each))}
          >
            {picked ? 'Picked' : 'Pick'}
          </Button>
        </div>
      </header>
      <div
        class="histogram"
        ref={ref}
        onPointerDown={event => {
          if (!range || event.button) return
          const value = valueAt(event)
          const [first, last] = limits.value
          held.current = Math.abs(value - first) < Math.abs(value - last) ? 0 : 1
          ref.current!.setPointerCapture(event.pointerId)
          set(held.current, value)
        }}
        onPointerMove={event => held.current >= 0 && set(held.current, valueAt(event))}
        onPointerUp={() => (held.current = -1)}
        onPointerCancel={() => (held.current = -1)}
        onDblClick={() => app.set({ scale: 'channel' })}
      >
        <canvas ref={canvas} aria-hidden="true" />
        {range && handle(0)}
        {range && handle(1)}
      </div>
      {range && (
        <p class="ends">
          <span>{reading(range[0], ...range)}</span>
          <span>{reading(range[1], ...range)}</span>
        </p>
      )}
      <dl>
        {(
          [
            ['mean', number(figure('mean'))],
            ['deviation', number(figure('deviation'))],
            ['zeros', percent(figure('sparsity'))],
            ['energy', percent(figure('energy'))],
          ] as const
        ).map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <Strongest app={app} side={side} />
    </section>
  )
}

/** The channels that tell the pinned unit from the rest of the map, as `ls.strongest(by="contrast")` ranks them. */
function Strongest({ app, side }: { app: App; side: Side }) {
  const unit = app.of('unit').value
  const source = side.source.value
  if (!unit || !source || source.rows * source.columns === 1) return null
  const at = unit[0] * source.columns + unit[1]
  const mean = side.data.value!.figures['mean']!
  const values = Array.from({ length: source.count }, (_, each) => {
    const value = source.plane(each)[at]!
    return { each, value, above: value - mean[each]! }
  })
  const top = values
    .filter(({ above }) => above > 0 && above < Infinity)
    .sort((a, b) => b.above - a.above)
    .slice(0, 6)
  return (
    <>
      <h3>Strongest at this place</h3>
      <p class="note">by how far the value is above the channel’s mean</p>
      <ol class="classes">
        {top.map(({ each, value, above }) => (
          <li key={each}>
            <button
              type="button"
              aria-pressed={each === side.active.value}
              onClick={() => app.set({ active: side.number(each) })}
            >
              <span>channel {side.number(each)}</span>
              <span>
                {number(value)} (+{number(above)})
              </span>
            </button>
          </li>
        ))}
      </ol>
    </>
  )
}
