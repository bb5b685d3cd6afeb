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
  /** Sizes of the buffers, and where they did not come through themselves their base64. */
  sizes?: number[]
  base64?: string[]
}

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
    const receive = (message: Message, buffers: DataView[]) => this.waiting.get(message.id)?.(message, buffers)
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
      this.waiting.set(id, (message, views) => {
        if (message.progress) return progress?.(message.progress)
        end()
        if (!message.ok) return failed(new RequestError(message.error!))
        const parts = message.base64
          ? message.base64.map(fromBase64)
          : views.map(each => new Uint8Array(each.buffer, each.byteOffset, each.byteLength))
        // Some notebooks lose or cut buffers: the same is asked for as text.
        const short = message.sizes?.some((size, index) => parts[index]?.length !== size)
        if (short && !base64) return this.request<Result>(op, params, options, true).then(done, failed)
        done({ result: message.result as Result, buffers: parts })
      })
      this.model.send(
        { id, op, params, ...(base64 && { base64 }) },
        undefined,
        buffers.map(each => each.slice().buffer),
      )
    })
  }
}

async function render({ model, el, signal: gone }: { model: Model; el: HTMLElement; signal?: AbortSignal }) {
  const control = new AbortController()
  gone?.addEventListener('abort', () => control.abort())
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
  const app = new App(host, await host.manifest(), ground)
  const close = mount(app, place)
  const end = () => {
    watch.disconnect()
    close()
    control.abort()
  }
  gone?.addEventListener('abort', end)
  return end
}

export default { render }
