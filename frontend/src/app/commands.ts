/** Everything that keys do; the help lists the same rows. */

import { SCALES, scaleName, setScale } from '../panes/toolbar'
import type { App } from './app'
import { OWN } from './combined'

interface Command {
  keys: string[]
  /** How the help writes the keys, where that isn't their names. */
  shown?: string
  text: string
  run: (app: App, key: string) => void
}

/** The one behind (or before) a value in a list, around its end. */
const after = <T>(list: readonly T[], value: T, by = 1) => list[(list.indexOf(value) + by + list.length) % list.length]!

function channel(app: App, by: number, end?: 'first' | 'last') {
  const [side] = app.sides
  const order = side.order.value
  const place = order.indexOf(side.active.value)
  const next =
    end === 'first' ? 0 : end === 'last' ? order.length - 1 : Math.max(0, Math.min(order.length - 1, place + by))
  if (order.length) app.set({ active: side.number(order[next]!) })
}

function unit(app: App, down: number, across: number) {
  const source = app.sides[0].source.value
  if (!source) return
  const [row, column] = app.unit(app.sides[0]) ?? [source.rows >> 1, source.columns >> 1]
  const within = (value: number, count: number) => Math.max(0, Math.min(count - 1, value))
  app.set({ unit: [within(row + down, source.rows), within(column + across, source.columns)] })
}

function slice(app: App, by: number) {
  const data = app.sides[0].data.value
  if (data?.meta.kind === 'attention') app.set({ query: Math.max(0, app.view.value.query + by) })
  else if (data) app.set({ slice: Math.max(0, Math.min(data.slices - 1, app.view.value.slice + by)) })
}

export const COMMANDS: Command[] = [
  {
    keys: ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'],
    shown: '← → ↑ ↓',
    text: 'channel before, after, above, below',
    run: (app, key) =>
      channel(app, { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -app.across, ArrowDown: app.across }[key]!),
  },
  {
    keys: ['Shift+ArrowLeft', 'Shift+ArrowRight', 'Shift+ArrowUp', 'Shift+ArrowDown'],
    shown: 'Shift + ← → ↑ ↓',
    text: 'unit within the map',
    run: (app, key) =>
      unit(
        app,
        ...(({ ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] } as const)[
          key.slice(6)
        ] as [number, number]),
      ),
  },
  {
    keys: ['Home', 'End'],
    text: 'first, last channel',
    run: (app, key) => channel(app, 0, key === 'Home' ? 'first' : 'last'),
  },
  { keys: ['[', ']'], text: 'layer before, after', run: (app, key) => app.step(key === '[' ? -1 : 1) },
  {
    keys: ['i'],
    text: 'next image',
    run: app =>
      app.set({
        input: after(
          app.manifest.value.inputs.map(each => each.id),
          app.view.value.input,
        ),
      }),
  },
  { keys: [',', '.'], text: 'slice, step or query before, after', run: (app, key) => slice(app, key === ',' ? -1 : 1) },
  {
    keys: [' '],
    shown: 'Space',
    text: 'pick the channel for the weighted sum',
    run: app => app.pick(app.sides[0].number(app.sides[0].active.value)),
  },
  {
    keys: ['Enter'],
    text: 'one channel large, and back',
    run: app => app.set({ single: !app.view.value.single, zoom: null }),
  },
  {
    keys: ['Escape'],
    shown: 'Esc',
    text: 'free the pinned unit; all channels; end what runs',
    run: app => {
      const { unit: pinned, single } = app.view.value
      if (app.dialog.value) app.dialog.value = ''
      else if (pinned) app.set({ unit: null })
      else if (single) app.set({ single: false })
      else app.jobs.value.at(-1)?.stop()
    },
  },
  { keys: ['g'], text: 'go to a channel', run: app => app.focus('.goto') },
  { keys: ['/'], text: 'find channels', run: app => app.focus('.find input') },
  { keys: ['l'], text: 'search layers', run: app => app.focus('.tree input') },
  {
    keys: ['c', 'C'],
    text: 'next colours, those before',
    run: (app, key) =>
      app.set({
        colors: after(
          ['', ...app.manifest.value.colours.map(each => each.name)],
          app.view.value.colors,
          key === 'c' ? 1 : -1,
        ),
      }),
  },
  {
    keys: ['n'],
    text: 'range: each channel, whole layer, clipped',
    run: app =>
      setScale(
        app,
        after(
          SCALES.map(([name]) => name),
          scaleName(app),
        ),
      ),
  },
  {
    keys: ['e'],
    text: 'scale: linear, log, symlog',
    run: app => app.set({ norm: after(app.manifest.value.choices.norms, app.view.value.norm) }),
  },
  {
    keys: ['s'],
    text: 'next order',
    run: app =>
      app.set({
        sort: after(
          app.manifest.value.choices.sorts.filter(each => each !== 'similarity'),
          app.view.value.sort,
        ),
      }),
  },
  {
    keys: ['m', 'M'],
    text: 'next combination, the one before',
    run: (app, key) => {
      const names = [...OWN.map(([name]) => name as string), ...app.manifest.value.combinations.map(each => each.name)]
      app.set({ mode: after([...new Set(names)], app.view.value.mode, key === 'm' ? 1 : -1) })
    },
  },
  { keys: ['o'], text: 'overlay on the photo', run: app => app.set({ overlay: !app.view.value.overlay }) },
  {
    keys: ['b'],
    text: 'second sheet beside the first',
    run: app => app.compare(),
  },
  { keys: ['t'], text: 'table of statistics', run: app => app.set({ table: !app.view.value.table }) },
  { keys: ['0'], text: 'fit all tiles', run: app => app.set({ zoom: null, single: false }) },
  { keys: ['Ctrl+s'], shown: 'Ctrl S', text: 'save', run: app => (app.dialog.value = 'save') },
  { keys: ['?'], text: 'this help', run: app => (app.dialog.value = app.dialog.value ? '' : 'help') },
]

const byKey = new Map(COMMANDS.flatMap(command => command.keys.map(key => [key, command] as const)))

/** Whether a key did something; one that is typed into a field, or moves a slider, belongs to that. */
export function press(app: App, event: KeyboardEvent): boolean {
  const target = event.composedPath()[0] as Element
  const leaves = event.key === 'Escape'
  const control = event.ctrlKey || event.metaKey
  if (target.matches?.('input, textarea, select') && !leaves && !control) return false
  if (app.dialog.value && !leaves) return false
  if (target.matches?.('button, a') && (event.key === ' ' || event.key === 'Enter')) return false
  if (target.matches?.('[role=slider]') && /^(Arrow|Home|End)/.test(event.key)) return false
  if (event.altKey) return false
  const arrow = event.key.startsWith('Arrow')
  const name = `${control ? 'Ctrl+' : ''}${event.shiftKey && arrow ? 'Shift+' : ''}${event.key}`
  const command = byKey.get(name)
  if (!command) return false
  if (leaves && target.matches?.('input, select, textarea, li')) app.root!.focus()
  event.preventDefault()
  // What the pointer rests on may be something else now.
  app.hover.value = null
  app.message.value = ''
  command.run(app, name)
  return true
}
