/** What is seen as a file: a picture, the statistics, the view. */

import { csv } from '../core/csv'
import { named } from '../core/python'
import type { App } from './app'

export type What = 'sheet' | 'combined' | 'overlay'

export const WHAT: readonly [What, string][] = [
  ['sheet', 'Sheet'],
  ['combined', 'Combined map'],
  ['overlay', 'Overlay on the photo'],
]

export function download(data: BlobPart, name: string, type: string) {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([data], { type }))
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 1000)
}

/** A name for files, of what is shown. */
export const fileName = (app: App, what: string, ending: string) => {
  const [side] = app.sides
  const stem = [side.input.value.name.replace(/\.\w+$/, ''), side.layer.value.path, what].filter(Boolean).join('-')
  return `${stem.replace(/[^\w.-]+/g, '_')}.${ending}`
}

/** The picture as Python draws it, or where there is no Python as the page does. */
export async function savePicture(app: App, what: What) {
  const name = fileName(app, what, 'png')
  if (app.host.caps.request) {
    const view = app.view.value
    const [, mode] = named(view, app.sides[0].layer.value, app.manifest.value.combinations)
    const params = { view: { ...view, mode }, what }
    const { result, buffers } = await app.ask<{ pages: number }>('picture', params, 'Drawing the picture')
    download(buffers[0] as BlobPart, name, 'image/png')
    if (result.pages > 1) app.message.value = `That is page 1 of ${result.pages}; Python draws the others: page=1 …`
    return
  }
  app.compose?.(app, what).toBlob(blob => blob && download(blob, name, 'image/png'))
}

export const saveCsv = (app: App) => {
  const data = app.sides[0].data.value
  if (data) download(csv(data), fileName(app, 'statistics', 'csv'), 'text/csv')
}
