/** All channels of a layer as tiles: pan, zoom, hover, pin and pick. */

import { batch, useComputed, useSignalEffect } from '@preact/signals'
import { useRef } from 'preact/hooks'
import type { App } from '../app/app'
import { corner, detail, type Grid, grid, Plate, seen, slotAt } from '../app/raster'
import type { Side } from '../app/side'
import { number, reading } from '../core/ticks'
import { Bar, Mark } from './bar'
import { Button, Choice, context, FONT, inks, point, type Size, useSize } from './parts'
import { headings, remarks, rule } from './words'

/** What one paint of a sheet takes; the export draws with it as well. */
export interface Drawing {
  app: App
  side: Side
  order: number[]
  at: Grid
  size: Size
}

export function paint(canvas: HTMLCanvasElement, { app, side, order, at, size }: Drawing, kept?: Plate): Plate {
  const drawn = context(canvas, size)
  const { paper } = inks(app)
  const plate = kept?.width === size.width && kept.height === size.height ? kept : new Plate(size.width, size.height)
  const [table, tiles] = [side.table.value, side.tiles.value!]
  const { rows, columns } = tiles.source
  const ground = Number.parseInt(paper.slice(1), 16)
  plate.out.fill((0xff000000 | ((ground & 255) << 16) | (ground & 0xff00) | (ground >> 16)) >>> 0)
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

/** Numbers, ranges and the words on tiles without a range. */
function letters(drawn: CanvasRenderingContext2D, { app, side, order, at, size }: Drawing, places: number[]) {
  const { ink, grey, paper } = inks(app)
  const { ratio } = size
  const data = side.data.value!
  const { selected } = app.view.value
  const wide = at.width / ratio
  const own = !side.scale.value!.single
  const text = wide >= 60 ? 12 : 11
  drawn.textBaseline = 'alphabetic'
  for (const place of places) {
    const each = order[place]!
    const [x, y] = corner(at, place)
    const channel = data.channels[each]!
    const picked = selected.includes(channel)
    if (at.label) {
      const name = String(channel)
      drawn.font = `600 ${text * ratio}px ${FONT}`
      const used = drawn.measureText(name).width
      if (picked) {
        drawn.fillStyle = ink
        drawn.fillRect(x, y - 16 * ratio, used + 8 * ratio, 15 * ratio)
      }
      drawn.fillStyle = picked ? paper : ink
      drawn.textAlign = 'left'
      drawn.fillText(name, x + (picked ? 4 * ratio : 0), y - 5 * ratio)
      if (wide >= 72) {
        const [low, high] = own ? side.range(each) : [data.figures['min']![each]!, data.figures['max']![each]!]
        const range = `${number(low)} – ${number(high)}`
        drawn.font = `${11 * ratio}px ${FONT}`
        drawn.fillStyle = grey
        drawn.textAlign = 'right'
        const room = at.width - used - 8 * ratio
        if (low < high && drawn.measureText(range).width < room) drawn.fillText(range, x + at.width, y - 5 * ratio)
      }
    } else if (picked) {
      drawn.fillStyle = ink
      drawn.fillRect(x, y, Math.max(4, at.width / 3), Math.max(4, at.width / 3))
    }
    const word = data.figures['dead']![each] ? 'dead' : data.figures['constant']![each] ? 'constant' : ''
    if (word && wide >= 44 && at.height >= 16 * ratio) {
      drawn.font = `${11 * ratio}px ${FONT}`
      drawn.textAlign = 'center'
      drawn.fillStyle = grey
      drawn.fillText(word, x + at.width / 2, y + at.height / 2 + 4 * ratio)
    }
  }
}

/** A frame that can be seen on any colour. */
export function outline(
  drawn: CanvasRenderingContext2D,
  box: [number, number, number, number],
  ratio: number,
  strong = true,
) {
  const [x, y, wide, high] = box.map(Math.round) as typeof box
  const thin = Math.max(1, Math.round(ratio))
  for (const [grow, color] of strong
    ? ([
        [2, '#181b21'],
        [1, '#fff'],
      ] as const)
    : ([[1, '#181b21']] as const)) {
    drawn.strokeStyle = color
    drawn.lineWidth = thin
    const by = (grow - 0.5) * thin
    drawn.strokeRect(x - by, y - by, wide + 2 * by, high + 2 * by)
  }
}

export function Sheet({ app, side }: { app: App; side: Side }) {
  const { ref, size } = useSize<HTMLDivElement>()
  const [below, above] = [useRef<HTMLCanvasElement>(null), useRef<HTMLCanvasElement>(null)]
  const kept = useRef<Plate | undefined>(undefined)
  const order = useComputed(() =>
    app.view.value.single && side.active.value >= 0 ? [side.active.value] : side.order.value,
  )
  const zoom = useComputed(() => app.view.value.zoom)
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
    <section class="sheet" aria-label={`Sheet of ${side.layer.value.path}`}>
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
          <Button title="Fit all tiles (0)" on={() => app.set({ zoom: null, single: false })}>
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
        data-moving={zoom.value ? '' : undefined}
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
            aria-selected={app.view.value.selected.includes(side.number(active))}
            aria-posinset={order.value.indexOf(active) + 1}
            aria-setsize={order.value.length}
          >
            {spoken(side, active)}
          </div>
        )}
        {side.wrong.value || (info && !order.value.length) ? (
          <p class="empty">{side.wrong.value || 'No channel fits this condition.'}</p>
        ) : null}
      </div>
      {info && (
        <footer>
          <p>{rule(app, side)}</p>
          <Bar side={side} />
          {remarks(side).map(([text, codes]) => (
            <p key={text}>
              {codes.map(code => (
                <Mark key={code} pixel={side.table.value[code]!} />
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
        field.blur()
      }}
    />
  )
}

/** Which image and layer the second sheet shows. */
function Beside({ app, side }: { app: App; side: Side }) {
  const { inputs, layers } = app.manifest.value
  const set = (change: { input?: string; layer?: string }) =>
    app.set({ beside: { ...app.view.value.beside, ...change } })
  const shown = layers.filter(each => each.kind_of !== 'none')
  return (
    <>
      {inputs.length > 1 && (
        <Choice
          label="Image"
          value={side.input.value.id}
          of={inputs.map(each => [each.id, each.name])}
          pick={input => set({ input })}
        />
      )}
      <Choice
        label="Layer"
        value={side.layer.value.id}
        of={shown.map(each => [each.id, each.path])}
        pick={layer => set({ layer })}
      />
    </>
  )
}

/** The slice of a volume, or the query of an attention map. */
function Slice({ app, side }: { app: App; side: Side }) {
  const { meta, slices, rows } = side.data.value!
  const asks = meta.kind === 'attention'
  const count = asks ? rows : slices
  if (count < 2) return null
  const at = Math.min(app.view.value[asks ? 'query' : 'slice'], count - 1)
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

/** The active tile and the probed unit, above the tiles so that pointing draws no tile anew. */
function mark(canvas: HTMLCanvasElement, app: App, side: Side, now: Drawing | null, size: Size) {
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
  if (place !== active) outline(drawn, [x, y, at.width, at.height], ratio, false)
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
