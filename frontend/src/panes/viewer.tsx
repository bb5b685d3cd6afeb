/** The whole of a viewer, in an element of any size. */

import { useSignal } from '@preact/signals'
import { render } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import type { App } from '../app/app'
import { press } from '../app/commands'
import { Combined } from './combined'
import { Help, Save } from './dialogs'
import { Histogram } from './histogram'
import { Input } from './input'
import { Readout } from './readout'
import { Sheet } from './sheet'
import { Table } from './table'
import { Toolbar } from './toolbar'
import { Tree } from './tree'

export function Viewer({ app }: { app: App }) {
  const root = useRef<HTMLDivElement>(null)
  const over = useSignal(false)
  const [first, second] = app.sides
  const [beside, table] = [app.of('beside').value, app.of('table').value]
  const { upload } = app.host.caps
  const dialog = app.dialog.value
  app.root = root.current
  useEffect(() => {
    app.root = root.current
    // In a notebook keys belong to the viewer only while it has the focus.
    const target: EventTarget = app.host.kind === 'widget' ? root.current! : document
    const down = (event: Event) => press(app, event as KeyboardEvent) && event.stopPropagation()
    const paste = (event: Event) => {
      const files = (event as ClipboardEvent).clipboardData?.files
      if (files?.length && upload) {
        event.preventDefault()
        app.add(files)
      }
    }
    target.addEventListener('keydown', down)
    target.addEventListener('paste', paste)
    return () => {
      target.removeEventListener('keydown', down)
      target.removeEventListener('paste', paste)
    }
  }, [])
  const two = beside !== null
  const other = two && (beside.input ?? first.input.value.id) !== first.input.value.id
  return (
    <div
      class="viewer"
      role={app.host.kind === 'widget' ? 'region' : 'main'}
      aria-label="layerscope"
      ref={root}
      tabIndex={-1}
      data-theme={app.theme.value}
      data-two={two || undefined}
      data-over={over.value || undefined}
      onPointerDown={event => {
        if (!(event.target as Element).closest('.problem')) app.message.value = ''
      }}
      onDragOver={event => {
        if (!upload || !event.dataTransfer?.types.includes('Files')) return
        event.preventDefault()
        over.value = true
      }}
      onDragLeave={event => (over.value = event.currentTarget.contains(event.relatedTarget as Node | null))}
      onDrop={event => {
        over.value = false
        if (!upload) return
        event.preventDefault()
        app.add(event.dataTransfer!.files)
      }}
    >
      <div class="panes">
        <Toolbar app={app} />
        <div class="left">
          <Input app={app} side={first} />
          {other && <Input app={app} side={second} />}
        </div>
        <Tree app={app} />
        <div class="middle">
          <Sheet app={app} side={first} />
          {two && <Sheet app={app} side={second} />}
          {table && first.data.value && <Table app={app} />}
        </div>
        <div class="right">
          <Combined app={app} side={first} />
          {two && <Combined app={app} side={second} />}
          {first.data.value && <Histogram app={app} side={first} />}
        </div>
        <Readout app={app} />
      </div>
      {dialog === 'help' && <Help app={app} />}
      {dialog === 'save' && <Save app={app} />}
    </div>
  )
}

/** Shows a viewer in an element, until the function that comes back is called. */
export function mount(app: App, element: Element): () => void {
  render(<Viewer app={app} />, element)
  return () => {
    render(null, element)
    app.close()
  }
}
