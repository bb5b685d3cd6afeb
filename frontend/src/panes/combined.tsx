/** The map made of all channels, large, with its bar; the class it is for; the weights. */

import { type ReadonlySignal, useComputed, useSignal, useSignalEffect } from '@preact/signals'
import { useRef } from 'preact/hooks'
import type { App } from '../app/app'
import { type Combined as Map2, OWN, offered } from '../app/combined'
import { type Plate, plateOf } from '../app/raster'
import type { Side } from '../app/side'
import { BELOW, MARKS } from '../core/codes'
import { pixel } from '../core/paint'
import { Mark, Ramp } from './bar'
import { Button, Choice, context, point, useSize } from './parts'
import { outline, unitBox } from './tiles'
import { below, capital } from './words'

export function Combined({ app, side }: { app: App; side: Side }) {
  const { combinations, absent, model } = app.manifest.value
  const mode = app.of('mode')
  const rule = combinations.find(each => each.name === mode.value)
  const groups = useComputed(() => side.combined.value?.groups)
  const notes = useComputed(() => side.combined.value?.notes)

  if (side.source.value?.rows === 1 && side.source.value.columns === 1) return null
  return (
    <section class="combined" aria-label={`Combined map${side.index ? ', second' : ''}`}>
      {side.index === 0 && (
        <header>
          <Choice
            label="Combine"
            value={mode}
            of={[...OWN, ...offered(app, side.layer.value).map(each => [each.name, each.label] as const)]}
            absent={absent}
            pick={name => app.set({ mode: name })}
          />
          {rule?.needs === 'target' && model.classes > 0 && <Target app={app} side={side} />}
        </header>
      )}
      <MapCanvas app={app} side={side} />
      <Marks app={app} side={side} />
      {groups.value?.map(({ number, text, color }) => (
        <p key={number}>
          <Mark pixel={() => pixel(...color)} />
          {text}
        </p>
      ))}
      {notes.value?.map(text => (
        <p key={text} class="note">
          {capital(text)}
        </p>
      ))}
      {mode.value === 'weights' && side.index === 0 && <Weights app={app} side={side} />}
    </section>
  )
}

function MapCanvas({ app, side }: { app: App; side: Side }) {
  const { ref, size } = useSize<HTMLDivElement>()
  const kept = useRef<Plate | undefined>(undefined)
  const [below, above] = [useRef<HTMLCanvasElement>(null), useRef<HTMLCanvasElement>(null)]
  const box = useComputed(() => {
    const source = side.source.value
    const { width, height } = size.value
    if (!source || !width) return null
    const scale = Math.min(width / source.columns, height / source.rows)
    // Whole pixels for each unit, where that costs little.
    const whole = Math.floor(scale) >= 0.85 * scale ? Math.floor(scale) : scale
    const [wide, high] = [Math.max(1, Math.round(source.columns * whole)), Math.max(1, Math.round(source.rows * whole))]
    return [0, 0, wide, high] as [number, number, number, number]
  })
  useSignalEffect(() => {
    const drawn = context(below.current!, size.value)
    const [map, at] = [side.combined.value, box.value]
    if (!map || !at) return
    const plate = plateOf(kept.current, at[2], at[3])
    kept.current = plate
    draw(plate, map, at)
    drawn.putImageData(plate.image, 0, 0)
  })
  useSignalEffect(() => {
    const drawn = context(above.current!, size.value)
    const [source, at, unit] = [side.source.value, box.value, app.unit(side)]
    if (source && at && unit && side.combined.value)
      outline(drawn, unitBox(unit, source, at, 5 * size.value.ratio), size.value.ratio)
  })
  const hit = (event: MouseEvent): [number, number] | null => {
    const [source, at] = [side.source.value, box.value]
    if (!source || !at) return null
    const [px, py] = point(event, ref.current!, size.value.ratio)
    const [y, x] = [Math.floor((py / at[3]) * source.rows), Math.floor((px / at[2]) * source.columns)]
    return y >= 0 && y < source.rows && x >= 0 && x < source.columns ? [y, x] : null
  }
  const label = useComputed(() => side.combined.value?.label)
  const ramp = useComputed(() => {
    const map = side.combined.value
    return map && !map.pixels ? { low: map.scale.limits[0]!, high: map.scale.limits[1]!, curve: map.scale.curve } : null
  })
  const barred = useComputed(() => ramp.value !== null)
  const table = useComputed(() => side.combined.value?.table ?? side.table.value)
  const source = side.source.value
  return (
    <>
      {label.value ? (
        <h2>{label.value}</h2>
      ) : (
        <p>
          {side.failed.value ||
            (app.of('mode').value === 'weights'
              ? 'Ctrl-click tiles, or press Space, to pick channels.'
              : 'Computing … Esc ends it.')}
        </p>
      )}
      <div class="map">
        <div
          class="field"
          ref={ref}
          style={{ aspectRatio: source ? `${source.columns} / ${source.rows}` : '1' }}
          onPointerMove={event => {
            const unit = hit(event)
            app.hover.value = unit && { side, channel: side.active.value, unit }
          }}
          onPointerLeave={() => (app.hover.value = null)}
          onClick={event => {
            const unit = hit(event)
            if (unit) app.set({ unit })
          }}
        >
          <canvas ref={below} role="img" aria-label={label.value ?? 'nothing yet'} />
          <canvas ref={above} aria-hidden="true" />
        </div>
        {barred.value && <Ramp of={ramp} table={table} tall name="Combined map" />}
      </div>
    </>
  )
}

/** A combination in a box of a plate. */
export function draw(plate: Plate, { source, tiles, pixels, table }: Map2, box: [number, number, number, number]) {
  plate.block(pixels ?? tiles.codes(0, 1).codes, pixels ? null : table, source, box)
}

/** The class that a combination is for: by the model's own answers first, then by what is typed. */
function Target({ app, side }: { app: App; side: Side }) {
  const found = useSignal<{ index: number; label: string }[]>([])
  const target = app.of('target').value
  const own = side.input.value.predictions ?? []
  const known = [...own, ...found.value]
  const label =
    known.find(each => each.index === target)?.label ?? (target === null ? own[0]?.label : `class ${target}`) ?? ''
  const type = (text: string, one = false) => {
    const chosen = known.find(each => `${each.label} · ${each.index}` === text)
    if (chosen) return app.set({ target: chosen.index })
    const number = /^\d+$/.test(text)
    if (number) app.set({ target: Number(text) })
    if (one ? !number : text.length > 1 && app.host.caps.request) {
      app
        .ask<{ classes: { index: number; label: string }[] }>('classes', { text, one })
        .then(({ result: { classes } }) => {
          found.value = classes
          if (one) app.set({ target: classes[0]!.index })
        }, app.fail)
    }
  }
  const options = new Map(known.map(each => [each.index, each]))
  return (
    <label class="choice">
      <span>Class</span>
      <input
        list="layerscope-classes"
        placeholder={label}
        aria-label={`Class of the combination, now ${label}`}
        onFocus={event => (event.currentTarget.value = '')}
        onInput={event => type(event.currentTarget.value)}
        onChange={event => {
          const text = event.currentTarget.value.trim()
          event.currentTarget.value = ''
          app.root!.focus()
          if (text) type(text, true)
        }}
      />
      <datalist id="layerscope-classes">
        {[...options.values()].map(each => (
          <option key={each.index} value={`${each.label} · ${each.index}`} />
        ))}
      </datalist>
    </label>
  )
}

function Weights({ app, side }: { app: App; side: Side }) {
  const [selected, post, active] = [app.of('selected').value, app.of('post').value, app.of('active').value]
  const reach = useComputed(() => Math.max(2, ...Object.values(app.of('weights').value).map(Math.abs)))
  return (
    <div class="weights">
      {selected.map(channel => (
        <Weight key={channel} app={app} channel={channel} reach={reach} />
      ))}

      <footer>
        {!selected.includes(active) && side.data.value && (
          <button type="button" onClick={() => app.pick(side.number(side.active.value))}>
            Add channel {side.number(side.active.value)}
          </button>
        )}
        {selected.length > 0 && (
          <button type="button" onClick={() => app.set({ selected: [], weights: {} })}>
            Clear
          </button>
        )}
        <Button
          title="Only above 0"
          pressed={post === 'relu'}
          on={() => app.set({ post: post === 'relu' ? 'none' : 'relu' })}
        >
          Only above 0
        </Button>
      </footer>
    </div>
  )
}

function Weight({ app, channel, reach }: { app: App; channel: number; reach: ReadonlySignal<number> }) {
  const weight = useComputed(() => app.of('weights').value[channel] ?? 0)
  const set = (value: number) => {
    if (Number.isFinite(value)) app.set({ weights: { ...app.view.value.weights, [channel]: value } })
  }
  return (
    <div>
      <button type="button" title={`Show channel ${channel}`} onClick={() => app.set({ active: channel })}>
        {channel}
      </button>
      <input
        type="range"
        {...{ min: -reach.value, max: reach.value, step: 'any' }}
        value={weight}
        aria-label={`Weight of channel ${channel}`}
        onInput={event => set(Math.round(event.currentTarget.valueAsNumber * 100) / 100)}
      />
      <input
        type="number"
        step={0.1}
        value={weight}
        aria-label={`Weight of channel ${channel} as a number`}
        onChange={event => set(event.currentTarget.valueAsNumber)}
      />
      <Button title={`Leave channel ${channel} out`} on={() => app.pick(channel)}>
        ×
      </Button>
    </div>
  )
}

/** What the colours beside those of the bar mean, where they are seen. */
function Marks({ app, side }: { app: App; side: Side }) {
  const map = side.combined.value
  const codes = map && !map.pixels ? map.tiles.codes(0, 1).codes : new Uint8Array()
  return Object.entries(MARKS).map(
    ([code, text]) =>
      codes.includes(+code) && (
        <p key={code}>
          <Mark pixel={() => map!.table[+code]!} />
          {+code === BELOW ? below(app, map!.scale) : text}
        </p>
      ),
  )
}
