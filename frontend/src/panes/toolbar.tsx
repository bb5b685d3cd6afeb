/** The line above all panes: which image, in which colours and order, which channels. */

import { useComputed } from '@preact/signals'
import { useRef } from 'preact/hooks'
import type { App } from '../app/app'
import { usualColors } from '../core/paint'
import type { Norm } from '../core/types'
import { Button, Choice, type Choices } from './parts'

const NORMS: Record<string, string> = { linear: 'Linear', log: 'Log', symlog: 'Symlog' }
const SORTS: Record<string, string> = {
  index: 'Number',
  deviation: 'Deviation',
  energy: 'Energy',
  sparsity: 'Zeros',
  mean: 'Mean',
  max: 'Max',
}

/** The scale as one choice: what shares a range, and the percentiles at which it is clipped. */
export const SCALES: Choices = [
  ['channel', 'Each channel'],
  ['channel 1 99', 'Each channel, 1–99 %'],
  ['layer', 'Whole layer'],
  ['layer 1 99', 'Whole layer, 1–99 %'],
]

export const scaleName = (app: App) => {
  const [scale, clip] = [app.of('scale').value, app.of('clip').value]
  return Array.isArray(scale) ? 'fixed' : [scale, ...(clip ?? [])].join(' ')
}

export function setScale(app: App, name: string) {
  const [per, ...clip] = name.split(' ')
  if (per !== 'fixed') {
    app.set({ scale: per as 'channel' | 'layer', clip: clip.length ? (clip.map(Number) as [number, number]) : null })
  }
}

export function Toolbar({ app }: { app: App }) {
  const { inputs, colours, choices, caps, model } = app.manifest.value
  const files = useRef<HTMLInputElement>(null)
  const [side] = app.sides
  const [beside, table] = [app.of('beside').value, app.of('table').value]
  const range = useComputed(() => scaleName(app))
  const usual = useComputed(() => usualColors(app.manifest.value, side.scale.value?.center ?? null))
  const fixed = useComputed(() => range.value === 'fixed')
  const sort = app.of('sort').value
  const like = sort.startsWith('similarity') ? sort : `similarity:${app.of('active').value}`
  const sorts: Choices = [
    ...choices.sorts.flatMap(each => (SORTS[each] ? [[each, SORTS[each]] as const] : [])),
    [like, `Like channel ${like.slice(11)}`] as const,
  ]
  return (
    <div class="toolbar" role="toolbar" aria-label="What is shown">
      <h1 title={model.text}>{model.name || 'layerscope'}</h1>
      <Choice
        label="Image"
        value={app.of('input')}
        of={inputs.map(each => [each.id, each.name])}
        pick={input => app.set({ input })}
      />
      {caps.upload && (
        <>
          <Button title="Add images, or drop or paste them" on={() => files.current!.click()}>
            +
          </Button>
          <input
            ref={files}
            type="file"
            accept="image/*"
            multiple
            hidden
            onChange={event => {
              app.add(event.currentTarget.files!)
              event.currentTarget.value = ''
            }}
          />
        </>
      )}
      <Choice
        label="Colours"
        value={app.of('colors')}
        of={[['', `Auto: ${usual.value}`], ...colours.map(each => [each.name, each.name.replace(/^.*:/, '')] as const)]}
        pick={colors => app.set({ colors })}
      />
      <Choice
        label="Range"
        value={range}
        of={fixed.value ? [...SCALES, ['fixed', 'Fixed range']] : SCALES}
        pick={name => setScale(app, name)}
      />
      <Choice
        label="Scale"
        value={app.of('norm')}
        of={choices.norms.map(each => [each, NORMS[each] ?? each])}
        pick={norm => app.set({ norm: norm as Norm })}
      />
      <Choice label="Sort" value={sort} of={sorts} pick={sort => app.set({ sort })} />
      <label class="choice find">
        <span>Find</span>
        <input
          type="search"
          placeholder="mean > 0.1 and not dead"
          value={app.of('find').value}
          aria-invalid={side.wrong.value !== ''}
          title={side.wrong.value || 'Channels by number (0:16,40) or by a condition'}
          onInput={event => app.set({ find: event.currentTarget.value, zoom: null })}
        />
      </label>
      <div class="end">
        <Button title="Compare: a second sheet beside the first (b)" pressed={beside !== null} on={() => app.compare()}>
          Compare
        </Button>
        <Button title="Table of statistics (t)" pressed={table} on={() => app.set({ table: !table })}>
          Table
        </Button>
        <Button title="Save (Ctrl S)" on={() => (app.dialog.value = 'save')}>
          Save
        </Button>
        <Button
          title={app.theme.value === 'dark' ? 'Light paper' : 'Dark paper'}
          on={() => app.set({ theme: app.theme.value === 'dark' ? 'light' : 'dark' })}
        >
          {app.theme.value === 'dark' ? '☀' : '☾'}
        </Button>
        <Button title="Keys and help (?)" on={() => (app.dialog.value = 'help')}>
          ?
        </Button>
      </div>
    </div>
  )
}
