/** The widget of a notebook (anywidget): requests over its own messages, the view in its trait. */

import { signal } from '@preact/signals'
import { App } from '../app/app'
import { fromBase64 } from '../core/paint'
import type { Host, Manifest, Reply, RequestOptions, SharedView, ViewState } from '../core/types'
import { RequestError } from '../core/types'
import { mount } from '../panes/viewer'
import { groundOf } from './ground'

interface Message {
  id: string
  ok?: boolean
  result?: unknown
  error?: { kind: string; message: string }
  progress?: { part: number; whole: number; text: string }
  /** More of the same answer follows: large ones come in pieces. */
  more?: boolean
  /** Sizes of the buffers that all pieces are together, and where they did not come through themselves their base64. */
  sizes?: number[]
  base64?: string[]
}

/** Bytes of a message to Python, as text. */
const PIECE = 3 << 20

interface Model {
  get(name: string): unknown
  set(name: string, value: unknown): void
  save_changes(): void
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void
  on(event: string, callback: (...args: never[]) => void): void
  off(event: string, callback: (...args: never[]) => void): void
}

class WidgetHost implements Host {
  readonly kind = 'widget'
  caps = { request: true, upload: true, exact: true }
  readonly view: SharedView
  private readonly prefix = crypto.getRandomValues(new Uint32Array(1))[0]!.toString(36)
  private readonly waiting = new Map<string, (message: Message, buffers: DataView[]) => void>()
  private count = 0

  constructor(
    private readonly model: Model,
    signal: AbortSignal,
  ) {
    const receive = (message: Message, buffers: DataView[]) => {
      if (message.id === 'who') this.tell('here')
      this.waiting.get(message.id)?.(message, buffers)
    }
    model.on('msg:custom', receive)
    signal.addEventListener('abort', () => model.off('msg:custom', receive))
    this.view = {
      get: () => (model.get('view') as Partial<ViewState>) ?? {},
      set: partial => {
        model.set('view', partial)
        model.save_changes()
      },
      on: callback => {
        const changed = () => callback((model.get('view') as Partial<ViewState>) ?? {})
        model.on('change:view', changed)
        return () => model.off('change:view', changed)
      },
    }
  }

  async manifest(): Promise<Manifest> {
    const { result } = await this.request<Manifest>('manifest')
    this.caps = result.caps
    return result
  }

  request<Result>(
    op: string,
    params: Record<string, unknown> = {},
    options: RequestOptions = {},
    base64 = false,
  ): Promise<Reply<Result>> {
    const id = `${this.prefix}-${++this.count}`
    const { signal, progress, buffers = [] } = options
    return new Promise((done, failed) => {
      const end = () => {
        this.waiting.delete(id)
        signal?.removeEventListener('abort', stop)
      }
      const stop = () => {
        end()
        this.model.send({ id: `${id}c`, op: 'cancel', params: { of: id } })
        failed(new DOMException('cancelled', 'AbortError'))
      }
      if (signal?.aborted) return stop()
      signal?.addEventListener('abort', stop)
      const pieces: Uint8Array[] = []
      this.waiting.set(id, (message, views) => {
        if (message.progress) return progress?.(message.progress)
        for (const each of message.base64 ?? []) pieces.push(fromBase64(each))
        for (const each of views ?? []) pieces.push(new Uint8Array(each.buffer, each.byteOffset, each.byteLength))
        if (message.more) return
        end()
        if (!message.ok) return failed(new RequestError(message.error!))
        const parts = joined(pieces, message.sizes ?? [])
        if (parts) return done({ result: message.result as Result, buffers: parts })
        // Some notebooks lose or cut buffers: the same is asked for as text.
        if (base64) return failed(new Error('The notebook lost a part of the answer.'))
        this.request<Result>(op, params, options, true).then(done, failed)
      })
      // Not every notebook takes buffers from the page.
      for (const each of buffers) {
        for (let at = 0; at < each.length; at += PIECE) {
          this.model.send({ id, piece: toBase64(each.subarray(at, at + PIECE)) })
        }
      }
      this.model.send({ id, op, params, ...(base64 && { base64 }) })
    })
  }

  /** That this view has gone, so that Python frees what it holds for it; or that it is still here. */
  tell(op: 'gone' | 'here') {
    this.model.send({ id: `${this.prefix}-${op}`, op })
  }
}

/** Buffers of these sizes that the pieces are together, `null` where bytes are missing. */
function joined(pieces: Uint8Array[], sizes: number[]): Uint8Array[] | null {
  const short = sizes.some((size, index) => pieces[index]?.length !== size)
  if (!short) return pieces.slice(0, sizes.length)
  const all = new Uint8Array(pieces.reduce((sum, each) => sum + each.length, 0))
  let at = 0
  for (const each of pieces) {
    all.set(each, at)
    at += each.length
  }
  if (at !== sizes.reduce((sum, size) => sum + size, 0)) return null
  let end = 0
  return sizes.map(size => {
    end += size
    return all.slice(end - size, end)
  })
}

function toBase64(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 1 << 15) text += String.fromCharCode(...bytes.subarray(at, at + (1 << 15)))
  return btoa(text)
}

/** The pictures that a saved notebook shows where no kernel runs, with the mark of this widget in their first bytes. */
function pictures(mark: string): HTMLElement[] {
  const start = 'data:image/png;base64,'
  return [...document.images]
    .filter(({ src }) => src.startsWith(start) && atob(src.slice(start.length, start.length + 160)).includes(mark))
    .map(image => image.closest<HTMLElement>('.jp-OutputArea-child') ?? image)
}

function render({ model, el, signal: gone }: { model: Model; el: HTMLElement; signal?: AbortSignal }) {
  const control = new AbortController()
  const root = el.attachShadow({ mode: 'open' })
  const sheet = new CSSStyleSheet()
  sheet.replaceSync(String(model.get('_style') ?? ''))
  root.adoptedStyleSheets = [sheet]
  const place = document.createElement('div')
  place.className = 'notebook'
  place.dataset['lmSuppressShortcuts'] = 'true'
  el.dataset['lmSuppressShortcuts'] = 'true'
  root.append(place)
  for (const name of ['keydown', 'keyup', 'keypress', 'paste'])
    el.addEventListener(name, event => event.stopPropagation())
  const host = new WidgetHost(model, control.signal)
  const ground = signal(groundOf(el))
  const watch = new MutationObserver(() => (ground.value = groundOf(el)))
  for (const each of [document.documentElement, document.body]) watch.observe(each, { attributes: true })
  place.textContent = 'Waiting for the kernel. In a notebook that was opened anew, run the cell again.'
  let close = () => {}
  let ended = false
  let hidden: HTMLElement[] = []
  const end = () => {
    if (ended) return
    ended = true
    watch.disconnect()
    close()
    control.abort()
    host.tell('gone')
    for (const each of hidden) each.style.display = ''
  }
  gone?.addEventListener('abort', end)
  host.manifest().then(
    manifest => {
      if (ended) return
      place.textContent = ''
      hidden = pictures(String(model.get('_mark')))
      for (const each of hidden) each.style.display = 'none'
      close = mount(new App(host, manifest, ground), place)
    },
    (error: Error) => (place.textContent = error.message),
  )
  return end
}

export default { render }
