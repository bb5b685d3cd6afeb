/** All channels of a layer as tiles: pan, zoom, hover, pin and pick. */

import { batch, useComputed, useSignalEffect } from '@preact/signals'
import { useRef } from 'preact/hooks'
import type { App } from '../app/app'
import { grid, type Plate, slotAt } from '../app/raster'
import type { Side } from '../app/side'
import { number, reading } from '../core/ticks'
import { Bar, Mark } from './bar'
import { Button, Choice, context, point, useSize } from './parts'
import { type Drawing, mark, paint } from './tiles'
import { headings, remarks, rule } from './words'

export function Sheet({ app, side }: { app: App; side: Side }) {
  const { ref, size } = useSize<HTMLDivElement>()
  const [below, above] = [useRef<HTMLCanvasElement>(null), useRef<HTMLCanvasElement>(null)]
  const kept = useRef<Plate | undefined>(undefined)
  const order = side.seen
  const zoom = app.of('zoom')
  const moving = useComputed(() => (zoom.value ? '' : undefined))
  const drawing = useComputed<Drawing | null>(() => {
    const source = side.source.value
    if (!source || !size.value.width || !size.value.height || !order.value.length) return null
    const shape = { count: order.value.length, rows: source.rows, columns: source.columns }
    const at = grid(shape, size.value, zoom.value)
    if (!side.index) app.across = at.across
    return { app, side, order: order.value, at, size: size.value }
  })
  useSignalEffect(() => {
    const now = drawing.value
    if (now) kept.current = paint(below.current!, now, kept.current)
    else if (below.current) context(below.current, size.value)
  })
  useSignalEffect(() => mark(above.current!, app, side, drawing.value, size.value))
  const hit = (event: MouseEvent) => {
    const now = drawing.value
    const slot = now && slotAt(now.at, ...point(event, ref.current!, now.size.ratio))
    if (!now || !slot || slot.place >= now.order.length) return null
    const { rows, columns } = side.source.value!
    const [y, x] = [Math.floor(slot.v * rows), Math.floor(slot.u * columns)]
    const inside = y >= 0 && y < rows && x >= 0 && x < columns
    return { channel: now.order[slot.place]!, unit: inside ? ([y, x] as [number, number]) : null }
  }
  const zoomBy = (by: number, event?: MouseEvent) => {
    const now = drawing.value
    if (!now) return
    const { width, height, ratio } = now.size
    const [px, py] = event ? point(event, ref.current!, ratio) : [width / 2, height / 2]
    const { at } = now
    const scale = Math.max(1, Math.min(64, (app.view.value.zoom?.scale ?? 1) * by))
    const next = grid({ ...side.source.value!, count: now.order.length }, now.size, { scale, x: 0, y: 0 })
    const [u, v] = [(px - at.left) / at.pitchX, (py - at.top) / at.pitchY]
    app.set({
      zoom:
        scale === 1 ? null : { scale, x: u + (width / 2 - px) / next.pitchX, y: v + (height / 2 - py) / next.pitchY },
    })
  }
  const drag = useRef<{ x: number; y: number; moved: boolean } | null>(null)
  const move = (event: PointerEvent) => {
    const now = drawing.value
    const held = drag.current
    if (held && now) {
      const [dx, dy] = [event.clientX - held.x, event.clientY - held.y]
      if (!held.moved && Math.hypot(dx, dy) < 4) return
      const { at, size } = now
      const middle = { x: (size.width / 2 - at.left) / at.pitchX, y: (size.height / 2 - at.top) / at.pitchY }
      app.set({
        zoom: {
          scale: app.view.value.zoom?.scale ?? 1,
          x: middle.x - (dx * size.ratio) / at.pitchX,
          y: middle.y - (dy * size.ratio) / at.pitchY,
        },
      })
      drag.current = { x: event.clientX, y: event.clientY, moved: true }
      return
    }
    const found = hit(event)
    app.hover.value = found && { side, ...found }
    if (found?.unit && side.data.value?.meta.kind === 'attention') app.query(side, found.unit)
  }
  const click = (event: MouseEvent) => {
    const found = hit(event)
    if (!found) return
    const channel = side.number(found.channel)
    if (event.ctrlKey || event.metaKey || event.shiftKey) return app.pick(channel)
    batch(() => app.set({ active: channel, unit: found.unit ?? app.view.value.unit }))
  }
  const info = side.data.value
  const [title, line] = headings(app, side)
  const active = side.active.value
  return (
    <section
      class="sheet"
      data-turn={app.turned === side || undefined}
      aria-label={`Sheet of ${side.layer.value.path}${side.index ? ', second' : ''}`}
      onPointerDown={() => (app.turn.value = side.index)}
    >
      <header>
        <div>
          <h2>{title}</h2>
          <p title={line}>{line}</p>
        </div>
        <div class="tools">
          {side.index ? <Beside app={app} side={side} /> : <GoTo app={app} side={side} />}
          <Button title="Smaller tiles" on={() => zoomBy(1 / 1.5)}>
            −
          </Button>
          <Button title="Fit (0)" on={() => app.set({ zoom: null, single: false })}>
            Fit
          </Button>
          <Button title="Larger tiles" on={() => zoomBy(1.5)}>
            +
          </Button>
        </div>
      </header>
      <div
        class="field"
        ref={ref}
        role="listbox"
        tabIndex={0}
        aria-label={`Channels of ${side.layer.value.path}`}
        aria-multiselectable="true"
        aria-activedescendant={`channel-${side.index}`}
        data-moving={moving}
        onPointerMove={move}
        onPointerLeave={() => (app.hover.value = null)}
        onPointerDown={event => {
          if (event.button) return
          drag.current = { x: event.clientX, y: event.clientY, moved: false }
          ref.current!.setPointerCapture(event.pointerId)
        }}
        onPointerUp={event => {
          const moved = drag.current?.moved
          drag.current = null
          if (!moved && event.button === 0) click(event)
        }}
        onPointerCancel={() => (drag.current = null)}
        onDblClick={() => app.set({ single: !app.view.value.single, zoom: null })}
        onWheel={event => {
          const free =
            event.ctrlKey ||
            event.altKey ||
            event.metaKey ||
            ref.current!.matches(':focus') ||
            app.host.kind !== 'widget'
          if (!free) return
          event.preventDefault()
          zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.06 : 0.002)), event)
        }}
      >
        <canvas ref={below} aria-hidden="true" />
        <canvas ref={above} aria-hidden="true" />
        {info && (
          <div
            class="unseen"
            role="option"
            id={`channel-${side.index}`}
            aria-selected={app.of('selected').value.includes(side.number(active))}
            aria-posinset={order.value.indexOf(active) + 1}
            aria-setsize={order.value.length}
          >
            {spoken(side, active)}
          </div>
        )}
        {side.wrong.value || (info && !order.value.length) ? (
          <p class="empty" key={app.of('find').value}>
            {side.wrong.value || 'No channel fits this condition.'}
          </p>
        ) : null}
      </div>
      {info && (
        <footer>
          <p>{rule(app, side)}</p>
          <Bar side={side} />
          {remarks(side).map(([text, codes]) => (
            <p key={text}>
              {codes.map(code => (
                <Mark key={code} pixel={() => side.table.value[code]!} />
              ))}
              {text}
            </p>
          ))}
          {!side.index && <Slice app={app} side={side} />}
        </footer>
      )}
    </section>
  )
}

function GoTo({ app, side }: { app: App; side: Side }) {
  return (
    <input
      class="goto"
      type="number"
      min={0}
      placeholder="Go to (g)"
      aria-label="Go to a channel by its number"
      onChange={event => {
        const field = event.currentTarget
        if ((side.data.value?.position(field.valueAsNumber) ?? -1) < 0)
          app.message.value = `There is no channel ${field.value} here.`
        else app.set({ active: field.valueAsNumber })
        field.value = ''
        app.root!.focus()
      }}
    />
  )
}

/** Which image and layer the second sheet shows. */
function Beside({ app, side }: { app: App; side: Side }) {
  const { inputs } = app.manifest.value
  return (
    <>
      {inputs.length > 1 && (
        <Choice
          label="Image"
          value={side.input.value.id}
          of={inputs.map(each => [each.id, each.name])}
          pick={input => app.set({ beside: { ...app.view.value.beside, input } })}
        />
      )}
      <Button
        title="Layer of this sheet"
        on={() => {
          app.turn.value = 1
          app.focus('.tree input')
        }}
      >
        Layer
      </Button>
    </>
  )
}

/** The slice of a volume, or the query of an attention map. */
function Slice({ app, side }: { app: App; side: Side }) {
  const { meta, slices, rows } = side.data.value!
  const asks = meta.kind === 'attention'
  const count = asks ? rows : slices
  if (count < 2) return null
  const at = Math.min(app.of(asks ? 'query' : 'slice').value, count - 1)
  const place = at - meta.prefix.length
  const name =
    meta.prefix[at] ??
    (meta.grid ? `row ${Math.floor(place / meta.grid[1])}, column ${place % meta.grid[1]}` : String(at))
  return (
    <label class="slice">
      {asks ? `Query: ${name}` : `Slice ${at + 1} of ${count}`}
      <input
        type="range"
        {...{ min: 0, max: count - 1 }}
        value={at}
        onInput={event => app.set({ [asks ? 'query' : 'slice']: event.currentTarget.valueAsNumber })}
      />
    </label>
  )
}

function spoken(side: Side, each: number): string {
  const { figures, channels } = side.data.value!
  const [low, high] = [figures['min']![each]!, figures['max']![each]!]
  return `channel ${channels[each]}, min ${reading(low, low, high)}, max ${reading(high, low, high)}, mean ${number(figures['mean']![each]!)}`
}
