/** The state of one viewer: what is shown (`view`), what is pointed at (`hover`), what runs (`jobs`). */

import { batch, computed, effect, type ReadonlySignal, signal } from '@preact/signals'
import type { LayerData } from '../core/layer'
import { lut } from '../core/paint'
import { type Payload, parse } from '../core/payload'
import { cell, unitAt } from '../core/regions'
import type { Scale } from '../core/scale'
import type { Host, InputInfo, LayerInfo, Manifest, Op, Progress, Reply, ViewState } from '../core/types'
import { initial } from '../core/view'
import { OWN, offered } from './combined'
import type { What } from './export'
import { Side } from './side'

export interface Probe {
  side: Side
  /** Index of the channel in its layer. */
  channel: number
  unit: [number, number] | null
}

export interface Job {
  text: string
  progress: Progress | null
  stop: () => void
}

export type { Payload }

/** Bytes of payloads that are kept for coming back to a layer. */
const KEPT = 128 << 20

export class App {
  readonly manifest = signal<Manifest>(null!)
  readonly view = signal<ViewState>(null!)
  readonly hover = signal<Probe | null>(null)
  readonly jobs = signal<Job[]>([])
  readonly message = signal('')
  /** What lies over the panes. */
  readonly dialog = signal<'' | 'help' | 'save'>('')
  /** Of two sheets, that whose layer the list shows and chooses. */
  readonly turn = signal<0 | 1>(0)
  readonly sides: [Side, Side]
  readonly theme: ReadonlySignal<'light' | 'dark'>
  readonly probe: ReadonlySignal<Probe | null>
  /** The element of the viewer, and how many tiles lie in a row of its sheet. */
  root: HTMLElement | null = null
  across = 1
  /** Draws a picture where no Python does. */
  compose: ((app: App, what: What) => HTMLCanvasElement) | null = null
  private readonly ends: (() => void)[] = []
  private readonly kept = new Map<string, { reply: Promise<Payload>; size: number }>()
  private readonly fields: Partial<Record<keyof ViewState, ReadonlySignal<unknown>>> = {}
  private readonly asked = new Set<string>()
  private readonly tables = new Map<string, Uint32Array>()

  constructor(
    readonly host: Host,
    manifest: Manifest,
    readonly ground: ReadonlySignal<'light' | 'dark'>,
  ) {
    this.manifest.value = manifest
    this.view.value = { ...initial(manifest), ...manifest.view, ...host.view?.get() }
    this.theme = computed(() => (this.view.value.theme === 'auto' ? ground.value : this.view.value.theme))
    this.sides = [new Side(this, 0), new Side(this, 1)]
    this.probe = computed(() => {
      const [side] = this.sides
      const unit = this.of('unit').value
      if (this.hover.value && !unit) return this.hover.value
      const channel = side.active.value
      return channel < 0 ? null : { side, channel, unit }
    })
    const shared = host.view
    if (shared) {
      // What one side sets comes back from it as a change.
      let passing = false
      const pass = (act: () => void) => {
        if (passing) return
        passing = true
        act()
        passing = false
      }
      this.ends.push(
        shared.on(partial => pass(() => this.set(partial))),
        effect(() => {
          const view = this.view.value
          pass(() => shared.set(view))
        }),
      )
    }
  }

  /** Ends what listens, and what runs. */
  close() {
    for (const end of [...this.ends, ...this.sides.map(side => side.close)]) end()
    for (const job of this.jobs.value) job.stop()
    this.kept.clear()
  }

  /** Puts the cursor into a field. */
  focus(selector: string) {
    const field = this.root?.querySelector<HTMLInputElement>(selector)
    field?.focus()
    field?.select()
  }

  /** One field of the view, for what must not run when another one changes. */
  of<K extends keyof ViewState>(key: K): ReadonlySignal<ViewState[K]> {
    this.fields[key] ??= computed(() => this.view.value[key])
    return this.fields[key] as ReadonlySignal<ViewState[K]>
  }

  set(change: Partial<ViewState>) {
    this.view.value = { ...this.view.peek(), ...change }
  }

  /** Where on the photo the unit was that was pinned in the layer before. */
  private place: [number, number] | null = null

  /** Pins the unit of a layer that lies where that of the layer before was. */
  follow(data: LayerData) {
    const unit = this.place && unitAt(data, ...this.place)
    this.place = null
    if (unit) this.set({ unit })
  }

  /** Another layer, with what holds for one layer alone put back. */
  open(layer: LayerInfo | undefined) {
    if (!layer || layer.kind_of === 'none') return
    const view = this.view.value
    const { mode, find } = view
    batch(() => {
      this.hover.value = null
      if (this.turned.index) this.set({ beside: { ...view.beside, layer: layer.id } })
      else {
        const fixed = Array.isArray(view.scale)
        const data = this.sides[0].data.value
        const box = view.unit && data && cell(data, ...view.unit)
        if (box) this.place = [box[0] + box[2] / 2, box[1] + box[3] / 2]
        const known = [...OWN.map(([name]) => name as string), ...offered(this, layer).map(({ name }) => name)]

        this.set({
          ...{ layer: layer.id, active: 0, unit: null, zoom: null, slice: 0, query: 0, selected: [], weights: {} },
          ...{ scale: fixed ? 'channel' : view.scale, mode: known.includes(mode.split(':')[0]!) ? mode : 'mean' },
          // Numbers of channels mean others in another layer.
          find: /(^|and)\s*[\d:]/.test(find) ? '' : find,
        })
      }
    })
  }

  /** The sheet whose layer is chosen. */
  get turned(): Side {
    return this.sides[this.of('beside').value ? this.turn.value : 0]
  }

  /** A second sheet beside the first, whose layer is to be chosen; or the first alone again. */
  compare() {
    this.turn.value = 1
    this.set({ beside: this.view.value.beside ? null : {} })
  }

  step(by: number) {
    const shown = this.manifest.value.layers.filter(layer => layer.kind_of !== 'none')
    const at = shown.indexOf(this.turned.layer.value)
    this.open(shown[Math.max(0, Math.min(shown.length - 1, at + by))])
  }

  /** Picks a channel for the weighted sum, or leaves it out again. */
  pick(channel: number) {
    const { selected, weights } = this.view.value
    const { [channel]: known, ...others } = weights
    if (selected.includes(channel)) this.set({ selected: selected.filter(each => each !== channel), weights: others })
    else this.set({ selected: [...selected, channel], weights: { ...weights, [channel]: known ?? 1 }, mode: 'weights' })
  }

  /** The colours of all 256 codes, as pixels of a canvas. */
  colors(name: string, scale: Scale | null): Uint32Array {
    const dark = this.theme.value === 'dark'
    if (scale?.clip) return lut(this.manifest.value, name, { dark, scale })
    const key = `${name} ${dark}`
    const table = this.tables.get(key) ?? lut(this.manifest.value, name, { dark })
    this.tables.set(key, table)
    return table
  }

  /** A request that is shown while it runs and can be stopped. */
  async ask<Result>(
    op: Op,
    params: Record<string, unknown>,
    text = '',
    options: { buffers?: Uint8Array[]; signal?: AbortSignal } = {},
  ): Promise<Reply<Result>> {
    const control = new AbortController()
    options.signal?.addEventListener('abort', () => control.abort())
    let job: Job = { text, progress: null, stop: () => control.abort() }
    const swap = (next: Job | null) => {
      this.jobs.value = [...this.jobs.peek().filter(each => each !== job), ...(next ? [next] : [])]
      if (next) job = next
    }
    let done = false
    if (text) swap(job)
    try {
      return await this.host.request<Result>(op, params, {
        ...(options.buffers && { buffers: options.buffers }),
        signal: control.signal,
        // It may come behind the answer.
        progress: progress => text && !done && swap({ ...job, progress }),
      })
    } finally {
      done = true
      swap(null)
    }
  }

  /** A payload, kept while there is room for it. */
  payload(op: Op, params: Record<string, unknown>, text: string, signal?: AbortSignal): Promise<Payload> {
    const key = JSON.stringify([op, params])
    const known = this.kept.get(key)
    const forget = () => this.kept.get(key) === entry && this.kept.delete(key)
    const reply =
      known?.reply ?? this.ask(op, params, text, signal && { signal }).then(({ buffers }) => parse(buffers[0]!))
    const entry = known ?? { reply, size: 0 }
    this.kept.delete(key)
    this.kept.set(key, entry)
    if (!known) {
      signal?.addEventListener('abort', () => entry.size || forget())
      reply.then(({ tensors }) => {
        for (const each of Object.values(tensors)) entry.size += (each as { data: ArrayBufferView }).data.byteLength
        let room = KEPT
        for (const [other, { size }] of [...this.kept].reverse()) {
          room -= size
          if (room < 0 && other !== key) this.kept.delete(other)
        }
      }, forget)
    }
    return reply
  }

  /** Says what went wrong, but for what was stopped. */
  fail = (error: unknown) => {
    if ((error as Error).name !== 'AbortError' && (error as { kind?: string }).kind !== 'Cancelled') {
      this.message.value = (error as Error).message
    }
  }

  /** The classes of an image, which the manifest has for the first one alone. */
  predict(id: string) {
    if (this.asked.has(id)) return
    this.asked.add(id)
    this.ask<Pick<InputInfo, 'predictions'>>('predictions', { input: id }).then(({ result: { predictions } }) => {
      const manifest = this.manifest.value
      const inputs = manifest.inputs.map(each => (each.id === id ? { ...each, predictions } : each))
      this.manifest.value = { ...manifest, inputs }
    }, this.fail)
  }

  async add(files: Iterable<File>) {
    let wrong = ''
    // What an event gave is empty a moment later.
    for (const file of [...files]) {
      try {
        const buffers = [new Uint8Array(await file.arrayBuffer())]
        const { result } = await this.ask<Manifest['inputs'][number]>(
          'add',
          { name: file.name },
          `Running the model on ${file.name}`,
          {
            buffers,
          },
        )
        const manifest = this.manifest.value
        batch(() => {
          this.manifest.value = { ...manifest, inputs: [...manifest.inputs, result] }
          this.set({ input: result.id })
        })
      } catch (error) {
        this.message.value = ''
        this.fail(error)
        wrong = `${wrong} ${this.message.value}`.trim()
      }
      this.message.value = wrong
    }
  }

  /** The probed unit on the map of a side: where the same place of the photo is. */
  unit(side: Side): [number, number] | null {
    const probe = this.probe.value
    const [from, to] = [probe?.side.data.value, side.data.value]
    if (!probe?.unit || !from || !to) return null
    if (side === probe.side || (from.rows === to.rows && from.columns === to.columns)) return probe.unit
    const box = cell(from, ...probe.unit)
    if (!box) return null
    const [top, left, height, width] = box
    return unitAt(to, top + height / 2, left + width / 2)
  }

  /** Attention: the patch under the pointer asks where it looks. */
  query(side: Side, [row, column]: [number, number]) {
    const { meta } = side.data.value!
    const step = meta.prefix.length + row * (meta.grid?.[1] ?? 0) + column
    if (!this.view.value.unit && step !== this.view.value.query) this.set({ query: step })
  }

  layer = (id: string) => this.manifest.value.layers.find(layer => layer.id === id) ?? this.manifest.value.layers[0]!
  input = (id: string) => this.manifest.value.inputs.find(input => input.id === id) ?? this.manifest.value.inputs[0]!
}
