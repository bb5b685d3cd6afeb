/** The statistics of all channels as a table: sorts the sheet, and only the rows that are seen exist. */

import { useComputed, useSignal, useSignalEffect } from '@preact/signals'
import { useRef } from 'preact/hooks'
import type { App } from '../app/app'
import { useSize } from './parts'
import { number, percent } from './words'

const ROW = 24
const SHARES = new Set(['sparsity', 'positive', 'energy'])
const FLAGS = new Set(['dead', 'constant'])

export function Table({ app }: { app: App }) {
  const [side] = app.sides
  const { ref, size } = useSize<HTMLDivElement>()
  const top = useSignal(0)
  const body = useRef<HTMLTableSectionElement>(null)
  const seen = useComputed(() => {
    const first = Math.max(0, Math.floor(top.value / ROW) - 4)
    return {
      first,
      last: Math.min(side.order.value.length, first + Math.ceil(size.value.height / size.value.ratio / ROW) + 8),
    }
  })
  useSignalEffect(() => {
    const place = side.order.value.indexOf(side.active.value)
    const field = ref.current
    if (!field || place < 0) return
    const [from, to] = [place * ROW, (place + 2) * ROW]
    if (from < field.scrollTop || to > field.scrollTop + field.clientHeight)
      field.scrollTop = from - field.clientHeight / 2
  })
  const data = side.data.value!
  const names = data.meta.figures
  const { sorts } = app.manifest.value.choices
  const sort = app.of('sort').value
  const { first, last } = seen.value
  const rows = side.order.value.slice(first, last)
  const text = (name: string, value: number) =>
    SHARES.has(name)
      ? percent(value)
      : FLAGS.has(name)
        ? value
          ? 'yes'
          : ''
        : name === 'nan' || name === 'inf'
          ? value
            ? String(value)
            : ''
          : number(value)
  const head = (name: string, by: string) => (
    <th key={name} scope="col" aria-sort={sort === by ? (by === 'index' ? 'ascending' : 'descending') : undefined}>
      {sorts.includes(by) ? (
        <button type="button" onClick={() => app.set({ sort: by })}>
          {name}
        </button>
      ) : (
        name
      )}
    </th>
  )
  return (
    <section class="table" aria-label="Statistics">
      <div
        ref={ref}
        tabIndex={0}
        role="group"
        aria-label="Statistics of the channels"
        onScroll={event => (top.value = event.currentTarget.scrollTop)}
      >
        <table aria-rowcount={side.order.value.length + 1}>
          <thead>
            <tr>{[head('channel', 'index'), ...names.map(name => head(name, name))]}</tr>
          </thead>
          <tbody ref={body}>
            {first > 0 && <tr style={{ height: `${first * ROW}px` }} />}
            {rows.map((each, index) => (
              <tr
                key={each}
                aria-rowindex={first + index + 2}
                aria-current={each === side.active.value || undefined}
                onClick={() => app.set({ active: side.number(each) })}
              >
                <th scope="row">{side.number(each)}</th>
                {names.map(name => (
                  <td key={name}>{text(name, data.figures[name]![each]!)}</td>
                ))}
              </tr>
            ))}
            {last < side.order.value.length && <tr style={{ height: `${(side.order.value.length - last) * ROW}px` }} />}
          </tbody>
        </table>
      </div>
    </section>
  )
}
