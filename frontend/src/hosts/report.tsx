/** The report: everything is in the file, packed; nothing is asked of anyone. */

import { App } from '../app/app'
import { compose } from '../app/compose'
import { fromBase64 } from '../core/paint'
import type { Host, Manifest, Reply } from '../core/types'
import { mount } from '../panes/viewer'
import { addressView } from './address'
import { systemGround } from './ground'

interface Data {
  manifest: Manifest
  /** base64 of gzip, by what it holds; behind `~` the even bytes come first, then the odd ones; behind `!` it is why there is none.
   *  Or the name of such a part. */
  parts: Record<string, string>
}

class ReportHost implements Host {
  readonly kind = 'report'
  readonly view = addressView(() => this.data.manifest)
  readonly caps = { request: false, upload: false, exact: false }

  constructor(private readonly data: Data) {}

  manifest = async () => this.data.manifest

  async request<Result>(op: string, params: Record<string, unknown> = {}): Promise<Reply<Result>> {
    const { input, layer, name, target } = params
    const key = [op, input, layer, name, target].filter(each => each != null).join(':')
    const { parts } = this.data
    const named = parts[key]
    const part = parts[named ?? key] ?? named
    if (part === undefined) {
      throw new Error('Only layerscope view has that.')
    }
    if (part[0] === '!') throw new Error(part.slice(1))
    const apart = part[0] === '~'
    const packed = new Blob([fromBase64(apart ? part.slice(1) : part) as BlobPart])
    const stream = packed.stream().pipeThrough(new DecompressionStream('gzip'))
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer())
    return { result: {} as Result, buffers: [apart ? joined(bytes) : bytes] }
  }
}

/** Bytes whose even and odd ones were apart. */
function joined(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length)
  const half = bytes.length >> 1
  for (let i = 0; i < half; i++) {
    out[2 * i] = bytes[i]!
    out[2 * i + 1] = bytes[half + i]!
  }
  return out
}

const data = JSON.parse(document.getElementById('layerscope-data')!.textContent!) as Data
const host = new ReportHost(data)
const app = new App(host, data.manifest, systemGround())
app.compose = compose
mount(app, document.getElementById('layerscope')!)
