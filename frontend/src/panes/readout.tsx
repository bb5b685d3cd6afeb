/** What is under the pointer, in one line; what runs, and what went wrong. */

import { useSignal, useSignalEffect } from '@preact/signals'
import type { App, Probe } from '../app/app'
import { held } from '../core/numbers'
import { field } from '../core/regions'
import type { Probe as Exact } from '../core/types'
import { within } from './input'
import { Button } from './parts'
import { number, percent, reading } from './words'

/** An exact value, and the probe that it was read for: the line is drawn before another one is asked for. */
interface Read {
  probe: Probe
  text: string
}

export function Readout({ app }: { app: App }) {
  const exact = useSignal<Read | null>(null)
  useSignalEffect(() => {
    const probe = app.probe.value
    const slice = app.of('slice').value
    if (!probe?.unit || !app.host.caps.exact) return
    const data = probe.side.data.value
    if (!data || data.meta.kind === 'attention') return
    const { input, layer } = data.meta
    const channel = probe.side.number(probe.channel)
    const position = data.slices > 1 ? [slice, ...probe.unit] : data.meta.kind === 'map' ? probe.unit : [probe.unit[1]]
    // Asked for where the pointer rests, so that moving it costs nothing.
    let left = false
    const timer = setTimeout(() => {
      app.ask<Exact>('probe', { input, layer, channel, position }).then(
        ({ result }) => {
          if (!left) exact.value = { probe, text: result.text }
        },
        () => {},
      )
    }, 120)
    exact.value = null
    return () => {
      left = true
      clearTimeout(timer)
    }
  })
  useSignalEffect(() => {
    const { length } = app.message.value
    // Time enough to read it.
    const timer = length && setTimeout(() => (app.message.value = ''), 4000 + 60 * length)
    return () => clearTimeout(timer)
  })
  return (
    <div class="readout">
      <output aria-live="polite" aria-atomic="true">
        {parts(app, exact.value).map(([name, text]) => (
          <span key={name}>
            {name} <b>{text}</b>{' '}
          </span>
        ))}
      </output>
      {!app.dialog.value && <Says app={app} />}
    </div>
  )
}

/** What went wrong, and what runs: where a dialog is open within it, since what lies below isn't seen. */
export function Says({ app }: { app: App }) {
  const job = app.jobs.value.at(-1)
  const { progress } = job ?? {}
  return (
    <>
      {app.message.value && (
        <div class="problem" role="alert">
          <span>{app.message.value}</span>
          <Button title="Close" on={() => (app.message.value = '')}>
            ×
          </Button>
        </div>
      )}
      {job && (
        <div class="job" role="status">
          <span>
            {progress?.text || job.text}
            {progress?.whole ? ` ${Math.round((100 * progress.part) / progress.whole)} %` : ' …'}
          </span>
          <button type="button" onClick={job.stop}>
            Cancel
          </button>
        </div>
      )}
    </>
  )
}

/** Name and text of each part of the line. */
function parts(app: App, exact: Read | null): [string, string][] {
  const probe = app.probe.value
  const data = probe?.side.data.value
  if (!probe || !data) return []
  const { side, channel, unit } = probe
  const figure = (name: string) => data.figures[name]![channel]!
  const [low, high] = [figure('min'), figure('max')]
  const line: [string, string][] = [[data.meta.kind === 'attention' ? 'head' : 'channel', String(side.number(channel))]]
  if (unit) {
    const [row, column] = unit
    const source = side.source.value!
    const value = source.plane(channel)[row * source.columns + column]!
    if (source.rows > 1) line.push(['y', String(row)])
    if (source.columns > 1) line.push(['x', String(column)])
    line.push(['value', exact?.probe === probe ? exact.text : reading(value, low, high)])
  }
  const map = app.of('mode').value !== 'channel' && unit && side.combined.value
  if (map && map.source.rows === side.source.value!.rows) {
    const at = unit[0] * map.source.columns + unit[1]
    const values = Array.from({ length: map.source.count }, (_, k) =>
      held(map.source.plane(k)[at]!, map.off?.(k, at) ?? 0),
    )
    line.push(['combined', values.slice(0, 3).join(', ')])
  }
  line.push(['mean', number(figure('mean'))], ['range', `${reading(low, low, high)} – ${reading(high, low, high)}`])
  if (figure('sparsity')) line.push(['zeros', percent(figure('sparsity'))])
  for (const name of ['nan', 'inf'])
    if (figure(name)) line.push([name === 'nan' ? 'NaN' : '±inf', String(figure(name))])
  if (unit && data.meta.kind !== 'attention') line.push(['sees', region(data, unit)])
  if (app.of('unit').value) line.push(['pinned', 'Esc frees'])
  return line
}

function region(data: Parameters<typeof field>[0], unit: [number, number]): string {
  const { region: about, placement } = data.meta
  const box = within(field(data, ...unit), placement?.photo)
  if (!box) return about.unknown || about.text
  const [top, left, height, width] = box.map(Math.round) as typeof box
  const whole = placement && height >= placement.photo[0] && width >= placement.photo[1]
  return whole ? 'the whole image' : `x ${left}–${left + width}, y ${top}–${top + height} of the photo`
}
