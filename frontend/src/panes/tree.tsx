/** The layers of the model as a tree with a search. */

import { useComputed, useSignal, useSignalEffect } from '@preact/signals'
import { useRef } from 'preact/hooks'
import type { App } from '../app/app'
import type { LayerInfo } from '../core/types'
import { counted } from './words'

interface Row {
  key: string
  name: string
  depth: number
  layer?: LayerInfo
  /** How many layers are in a group. */
  count?: number
}

interface Node {
  name: string
  key: string
  layers: LayerInfo[]
  parts: Map<string, Node>
  own?: LayerInfo
}

/** The rows of the tree; a group with one part is part of its name. */
function rowsOf(layers: LayerInfo[], closed: ReadonlySet<string>): Row[] {
  const root: Node = { name: '', key: '', layers: [], parts: new Map() }
  for (const layer of layers) {
    let node = root
    for (const part of (layer.path || 'output').split(/(?<=[./])/)) {
      const next: Node = node.parts.get(part) ?? { name: part, key: node.key + part, layers: [], parts: new Map() }
      node.parts.set(part, next)
      next.layers.push(layer)
      node = next
    }
    node.own = layer
  }
  const rows: Row[] = []
  const walk = (node: Node, depth: number, before: string) => {
    for (let part of node.parts.values()) {
      let name = before + part.name
      while (!part.own && part.parts.size === 1) {
        const [only] = part.parts.values()
        name += only!.name
        part = only!
      }
      const group = part.parts.size > 0
      rows.push({
        key: part.key,
        name,
        depth,
        ...(part.own && { layer: part.own }),
        ...(group && { count: part.layers.length }),
      })
      if (group && !closed.has(part.key)) walk(part, depth + 1, '')
    }
  }
  walk(root, 0, '')
  return rows
}

export function Tree({ app }: { app: App }) {
  const search = useSignal('')
  const closed = useSignal<ReadonlySet<string>>(new Set())
  const focus = useSignal<string | null>(null)
  const list = useRef<HTMLUListElement>(null)
  const rows = useComputed<Row[]>(() => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean)
    const { layers } = app.manifest.value
    if (!words.length) return rowsOf(layers, closed.value)
    return layers
      .filter(each => words.every(word => `${each.path} ${each.kind} ${each.own ?? ''}`.toLowerCase().includes(word)))
      .map(layer => ({ key: layer.id, name: layer.path || 'output', depth: 0, layer }))
  })
  const two = app.of('beside').value && (app.turn.value ? 'right' : 'left')
  const current = app.turned.layer.value
  useSignalEffect(() => {
    const { id } = app.turned.layer.value
    rows.value
    requestAnimationFrame(() => {
      const field = list.current
      const item = field?.querySelector<HTMLElement>(`[data-layer="${CSS.escape(id)}"]`)
      if (!field || !item) return
      // The list alone is moved, not what it lies in.
      const { offsetTop: top } = item
      if (top < field.scrollTop || top + 24 > field.scrollTop + field.clientHeight) {
        field.scrollTop = top - field.clientHeight / 2
      }
    })
  })
  const toggle = (key: string) => {
    const next = new Set(closed.value)
    if (!next.delete(key)) next.add(key)
    closed.value = next
  }
  const choose = ({ layer, count, key }: Row) => {
    if (layer && layer.kind_of !== 'none') {
      app.open(layer)
      // Where the list lies over the sheet, it goes.
      if (getComputedStyle(list.current!).position === 'absolute') app.root!.focus()
    } else if (count) toggle(key)
  }
  const at = Math.max(
    0,
    rows.value.findIndex(row => (focus.value === null ? row.layer?.id === current.id : row.key === focus.value)),
  )
  const go = (index: number) => {
    const row = rows.value[Math.max(0, Math.min(rows.value.length - 1, index))]
    if (!row) return
    focus.value = row.key
    requestAnimationFrame(() => list.current?.querySelector<HTMLElement>('[tabindex="0"]')?.focus())
  }
  const key = (event: KeyboardEvent) => {
    const row = rows.value[at]!
    const open = row.count && !closed.value.has(row.key)
    const moves: Record<string, () => void> = {
      ArrowDown: () => go(at + 1),
      ArrowUp: () => go(at - 1),
      Home: () => go(0),
      End: () => go(rows.value.length),
      ArrowRight: () => (open ? go(at + 1) : row.count && toggle(row.key)),
      ArrowLeft: () =>
        open ? toggle(row.key) : go(rows.value.findLastIndex((each, index) => index < at && each.depth < row.depth)),
      Enter: () => choose(row),
      ' ': () => choose(row),
    }
    const move = moves[event.key]
    if (!move || event.ctrlKey || event.metaKey) return
    event.preventDefault()
    event.stopPropagation()
    move()
  }
  return (
    <nav class="tree" aria-label="Layers">
      <header>
        <input
          type="search"
          placeholder={
            two ? `Layer of the ${two} sheet` : `Search ${counted(app.manifest.value.layers.length, 'layer')}`
          }
          aria-label="Search the layers"
          value={search.value}
          onInput={event => (search.value = event.currentTarget.value)}
          onKeyDown={event => {
            const named = search.value.trim() !== ''
            const hit = rows.value.find(row => row.layer && row.layer.kind_of !== 'none')
            if (event.key === 'ArrowDown') go(named ? 0 : at)
            else if (event.key === 'Enter' && named && hit) choose(hit)
            else return
            event.preventDefault()
          }}
        />
      </header>
      <ul role="tree" ref={list} tabIndex={-1} aria-label="Layers" onKeyDown={key}>
        {rows.value.map((row, index) => {
          const { layer } = row
          const none = layer?.kind_of === 'none'
          return (
            <li
              key={row.key}
              role="treeitem"
              tabIndex={index === at ? 0 : -1}
              aria-level={row.depth + 1}
              aria-selected={layer?.id === current.id}
              aria-expanded={row.count ? !closed.value.has(row.key) : undefined}
              aria-disabled={none || undefined}
              data-layer={layer?.id}
              title={[layer?.path ?? row.key, layer?.kind, layer?.note].filter(Boolean).join(' · ')}
              style={{ paddingLeft: `${8 + 12 * row.depth}px` }}
              onClick={() => {
                focus.value = row.key
                choose(row)
              }}
            >
              <i
                data-mark={row.count ? (closed.value.has(row.key) ? 'closed' : 'open') : layer!.mark}
                onClick={event => {
                  if (!row.count) return
                  event.stopPropagation()
                  toggle(row.key)
                }}
              />
              <span>{row.name}</span>
              <small>
                {layer ? (none ? '' : [...layer.spatial].reverse().concat(layer.channels).join('×')) : row.count}
              </small>
            </li>
          )
        })}
      </ul>
      {!rows.value.length && <p class="note">No layer has this in its name or kind.</p>}
    </nav>
  )
}
