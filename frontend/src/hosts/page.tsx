/** The local page: requests over HTTP to the server that it came from, the view in its address. */

import { App } from '../app/app'
import type { Host, Manifest, Progress, Reply, RequestOptions } from '../core/types'
import { RequestError } from '../core/types'
import { mount } from '../panes/viewer'
import { addressView } from './address'
import { frame, unframe } from './frames'
import { systemGround } from './ground'

const KEY = 'layerscope-token'

/** The token, out of the address at once. */
function tokenOf(): string {
  const given = new URLSearchParams(location.search).get('token')
  if (given) {
    sessionStorage.setItem(KEY, given)
    history.replaceState(null, '', `/${location.hash}`)
  }
  return given ?? sessionStorage.getItem(KEY) ?? ''
}

export class PageHost implements Host {
  readonly kind = 'page'
  readonly view = addressView(() => this.known!)
  private known?: Manifest
  caps = { request: true, upload: true, exact: true }
  private readonly prefix = crypto.getRandomValues(new Uint32Array(1))[0]!.toString(36)
  private count = 0

  constructor(private readonly token: string) {}

  async manifest(): Promise<Manifest> {
    const { result } = await this.request<Manifest>('manifest')
    this.known = result
    this.caps = result.caps
    return result
  }

  async request<Result>(
    op: string,
    params: Record<string, unknown> = {},
    options: RequestOptions = {},
  ): Promise<Reply<Result>> {
    const id = `${this.prefix}-${++this.count}`
    const { buffers, signal, progress } = options
    const answer = this.post({ id, op, params }, buffers, signal)
    const asking = progress && setInterval(() => this.follow(id, progress), 400)
    try {
      const { head, buffers: parts } = unframe(await answer)
      if (!head.ok) throw new RequestError(head.error!)
      return { result: head.result as Result, buffers: parts }
    } finally {
      clearInterval(asking)
    }
  }

  private follow(of: string, progress: (progress: Progress) => void) {
    this.request<Progress>('progress', { of }).then(
      ({ result }) => progress(result),
      () => {},
    )
  }

  private async post(message: object, buffers?: Uint8Array[], signal?: AbortSignal): Promise<ArrayBuffer> {
    const response = await fetch('/api', {
      method: 'POST',
      headers: {
        'Content-Type': buffers ? 'application/octet-stream' : 'application/json',
        'X-Layerscope-Token': this.token,
      },
      body: buffers ? (frame(message, buffers) as BodyInit) : JSON.stringify(message),
      ...(signal && { signal }),
    }).catch((error: Error) => {
      if (error.name === 'AbortError') throw error
      throw new Error('The server of this page has stopped: start layerscope view again.')
    })
    if (!response.ok) throw new Error((await response.text()) || `The server answered ${response.status}.`)
    return response.arrayBuffer()
  }
}

const root = document.getElementById('layerscope')!
const host = new PageHost(tokenOf())
host.manifest().then(
  manifest => {
    document.title = manifest.title || 'layerscope'
    mount(new App(host, manifest, systemGround()), root)
  },
  (error: Error) => (root.textContent = error.message),
)
