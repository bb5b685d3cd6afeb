/** What lies over the panes: the keys, and what can be saved. */

import { useSignal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import type { App } from '../app/app'
import { COMMANDS } from '../app/commands'
import { download, fileName, saveCsv, savePicture, WHAT, type What } from '../app/export'
import { line } from '../core/python'
import { Button, Choice } from './parts'
import { Says } from './readout'

function Dialog({ app, title, children }: { app: App; title: string; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    ref.current!.showModal()
    // In a notebook keys would else go to its cells.
    return () => app.root!.focus()
  }, [])
  return (
    <dialog
      ref={ref}
      aria-label={title}
      onClose={() => (app.dialog.value = '')}
      onClick={event => event.target === ref.current && ref.current!.close()}
    >
      <div class="head">
        <h2>{title}</h2>
        <Button title="Close" on={() => ref.current!.close()}>
          ×
        </Button>
      </div>
      <Says app={app} />
      {children}
    </dialog>
  )
}

export function Help({ app }: { app: App }) {
  return (
    <Dialog app={app} title="Keys">
      <dl class="keys">
        {COMMANDS.map(({ keys, shown, text }) => (
          <div key={text}>
            <dt>
              <kbd>{shown ?? keys.join(' ')}</kbd>
            </dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      <p class="note">
        Point at a tile, a map or the photo: the unit is marked in all, with the part of the photo that it sees. Click
        pins it, Ctrl-click picks a channel, double-click shows it large. The wheel zooms, dragging moves. The histogram
        sets limits.
      </p>
      <p class="note">layerscope {app.manifest.value.version}</p>
    </Dialog>
  )
}

/** One word of a shell, whatever a file is called. */
const word = (text: string) => (/^[\w./][\w./:-]*$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`)

export function Save({ app }: { app: App }) {
  const copied = useSignal('')
  const what = useSignal<What>('sheet')
  const copy = (name: string, text: string) =>
    navigator.clipboard.writeText(text).then(() => {
      copied.value = name
      setTimeout(() => (copied.value = ''), 2000)
    }, app.fail)
  const { command } = app.manifest.value.model
  const { input, layer, combined } = app.sides[0]
  const view = JSON.stringify(app.view.value)
  const other = what.value !== 'sheet' ? 'sheet' : app.view.value.overlay ? 'overlay' : 'combined'
  const named = new Map(WHAT)
  const texts = [
    ['Python', line(app.view.value, app.manifest.value, what.value)],
    ...(combined.value
      ? [[`Python: ${named.get(other)!.toLowerCase()}`, line(app.view.value, app.manifest.value, other)] as const]
      : []),
    ['View', view],
    ...(command
      ? [
          [
            'All in one file to send',
            `${command} ${word(input.value.source ?? input.value.name)} -l ${word(layer.value.path)} -o report.html`,
          ] as const,
        ]
      : []),
  ] as const
  return (
    <Dialog app={app} title="Save what is seen">
      <div class="files">
        <Choice
          label="Picture"
          value={what.value}
          of={WHAT}
          pick={each => {
            what.value = each as What
          }}
        />
        <button type="button" onClick={() => savePicture(app, what.value).catch(app.fail)}>
          PNG
        </button>
        <button type="button" onClick={() => saveCsv(app)}>
          Statistics as CSV
        </button>
        <button type="button" onClick={() => download(view, fileName(app, 'view', 'json'), 'application/json')}>
          View as JSON
        </button>
      </div>
      {texts.map(([name, text]) => (
        <section key={name}>
          <div class="head">
            <h3>{name}</h3>
            <button type="button" onClick={() => copy(name, text)}>
              {copied.value === name ? 'Copied' : 'Copy'}
            </button>
          </div>
          <textarea readOnly rows={name.startsWith('Python') ? 5 : 2} value={text} aria-label={name} />
        </section>
      ))}
    </Dialog>
  )
}
