/** The report: everything is in the file, packed; nothing is asked of anyone. */

import { App } from '../app/app'
import { compose } from '../app/compose'
import { fromBase64 } from '../core/paint'
import type { Host, Manifest, Reply } from '../core/types'
import { RequestError } from '../core/types'
import { mount } from '../panes/viewer'
import { addressView } from './address'
import { systemGround } from './ground'

interface Data {
  manifest: Manifest
  /** base64 of gzip, by what it holds. */
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
    const key = [op, input, layer, name, target].filter(each => each !== undefined && each !== null).join(':')
    const part = this.data.parts[key] ?? this.data.parts[key.replace(/:\d+$/, '')]
    if (part === undefined) {
      throw new RequestError({
        kind: 'NotInReport',
        message: 'This report does not hold that: only layerscope view can compute it.',
      })
    }
    const stream = new Blob([fromBase64(part) as BlobPart]).stream().pipeThrough(new DecompressionStream('gzip'))
    return { result: {} as Result, buffers: [new Uint8Array(await new Response(stream).arrayBuffer())] }
  }
}

const data = JSON.parse(document.getElementById('layerscope-data')!.textContent!) as Data
const host = new ReportHost(data)
const app = new App(host, data.manifest, systemGround())
app.compose = compose
mount(app, document.getElementById('layerscope')!)
