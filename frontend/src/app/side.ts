/** One layer of one image as it is shown; a viewer has a second one for comparison. Everything follows from the view. */

import { batch, computed, effect, type ReadonlySignal, signal } from '@preact/signals'
import { row as attended } from '../core/attention'
import { LayerData } from '../core/layer'
import { usualColors } from '../core/paint'
import type { Payload } from '../core/payload'
import { find } from '../core/query'
import { type Scale, scaleOf } from '../core/scale'
import { order as sorted } from '../core/sort'
import type { InputInfo, LayerInfo, MapMeta, PhotoMeta } from '../core/types'
import type { App } from './app'
import { type Combined, Combiner } from './combined'
import { type Source, Tiles } from './raster'

export interface Photo extends PhotoMeta {
  bitmap: ImageBitmap
  /** Its pixels at the size at which it was drawn last. */
  drawn?: ImageData
  input: string
}

export class Side {
  readonly shown: ReadonlySignal<boolean>
  readonly input: ReadonlySignal<InputInfo>
  readonly layer: ReadonlySignal<LayerInfo>
  readonly data = signal<LayerData | null>(null)
  readonly photo = signal<Photo | null>(null)
  /** The planes that are drawn: of the slice, or of the query of an attention map. */
  readonly source: ReadonlySignal<Source | null>
  readonly scale: ReadonlySignal<Scale | null>
  readonly colors: ReadonlySignal<string>
  readonly table: ReadonlySignal<Uint32Array>
  readonly tiles: ReadonlySignal<Tiles | null>
  /** What is wrong with the condition in `find`. */
  readonly wrong: ReadonlySignal<string>
  /** Indices of the channels of the sheet, in its order. */
  readonly order: ReadonlySignal<number[]>
  /** Those whose tiles are seen: of the order, or the active one alone. */
  readonly seen: ReadonlySignal<number[]>
  /** Index of the active channel, -1 without values. */
  readonly active: ReadonlySignal<number>
  readonly combined: ReadonlySignal<Combined | null>
  readonly failed: ReadonlySignal<string>
  readonly ends: (() => void)[] = []

  constructor(
    readonly app: App,
    readonly index: 0 | 1,
  ) {
    const second = app.of('beside')
    const beside = () => (index ? second.value : null)
    const [input, layer] = [app.of('input'), app.of('layer')]
    const [slice, query, scale, clip] = [app.of('slice'), app.of('query'), app.of('scale'), app.of('clip')]
    const [norm, name, sort, text, active] = [
      app.of('norm'),
      app.of('colors'),
      app.of('sort'),
      app.of('find'),
      app.of('active'),
    ]
    this.shown = computed(() => !index || second.value !== null)
    this.input = computed(() => app.input(beside()?.input ?? input.value))
    this.layer = computed(() => app.layer(beside()?.layer ?? layer.value))
    this.source = computed(() => {
      const data = this.data.value
      if (!data) return null
      const { count, rows, columns, meta } = data
      if (meta.kind === 'attention') {
        const planes = attended(data, query.value)
        const [down, across] = meta.grid ?? [1, planes[0]?.length ?? 1]
        return { count, rows: down, columns: across, plane: each => planes[each]! }
      }
      const at = Math.min(slice.value, data.slices - 1)
      return { count, rows, columns, plane: each => data.plane(each, at), layer: data, slice: at }
    })
    this.scale = computed(() => {
      const data = this.data.value
      if (!data) return null
      const rule = scale.value
      // One number for each channel has no range of its own.
      const alone = rule === 'channel' && data.size * data.slices === 1
      return scaleOf(data, { per: alone ? 'layer' : rule, clip: clip.value, norm: norm.value })
    })
    this.colors = computed(() => name.value || usualColors(app.manifest.value, this.scale.value?.center ?? null))
    this.table = computed(() => app.colors(this.colors.value, this.scale.value))
    this.tiles = computed(() => {
      const [source, shown] = [this.source.value, this.scale.value]
      return source && shown && new Tiles(source, shown.limits, shown.curve)
    })
    const found = computed(() => {
      const data = this.data.value
      return data && text.value.trim() ? find(data, text.value) : null
    })
    this.wrong = computed(() => (typeof found.value === 'string' ? found.value : ''))
    this.order = computed(() => {
      const data = this.data.value
      if (!data) return []
      const every = sort.value === 'index' ? [...data.channels.keys()] : [...sorted(data, sort.value)]
      if (!found.value || typeof found.value === 'string') return every
      if (sort.value === 'index') return [...found.value]
      const chosen = new Set(found.value)
      return every.filter(each => chosen.has(each))
    })
    this.active = computed(() => {
      const data = this.data.value
      return data ? Math.max(0, data.position(active.value)) : -1
    })
    const single = app.of('single')
    this.seen = computed(() => (single.value && this.active.value >= 0 ? [this.active.value] : this.order.value))
    const combiner = new Combiner(this)
    this.combined = combiner.combined
    this.failed = combiner.failed
    this.load()
  }

  /** Keeps values and photo those of the view; what is shown stays until the next is there. */
  private load() {
    const { app } = this
    let control: AbortController | null = null
    const values = effect(() => {
      control?.abort()
      if (!this.shown.value) return
      control = new AbortController()
      const { signal: stopped } = control
      const [input, layer] = [this.input.value.id, this.layer.value]
      if (layer.kind_of === 'none') return
      app.payload('map', { input, layer: layer.id }, `Running the model up to ${layer.path}`, stopped).then(
        payload => {
          if (stopped.aborted) return
          const data = LayerData.of(payload as unknown as Payload<MapMeta>)
          batch(() => {
            this.data.value = data
            if (!this.index) app.follow(data)
          })
        },
        error => {
          app.fail(error)
          const shown = this.data.peek()?.meta
          if (stopped.aborted || !shown) return
          // What is still shown keeps its name.
          const { input, layer } = shown
          app.set(this.index ? { beside: { input, layer } } : { input, layer })
        },
      )
    })
    const photos = effect(() => {
      const { id, width, predictions } = this.input.value
      if (!this.shown.value) return
      if (!predictions && app.host.caps.request) app.predict(id)
      if (!width) {
        this.photo.value = null
        return
      }
      app.payload('photo', { input: id }, '').then(async ({ meta, tensors }) => {
        const photo = meta as unknown as PhotoMeta
        const bitmap = await createImageBitmap(new Blob([tensors['image']!.data as BlobPart], { type: photo.media }))
        if (this.input.value.id === id) this.photo.value = { ...photo, bitmap, input: id }
      }, app.fail)
    })
    this.ends.push(values, photos)
  }

  close = () => {
    for (const end of this.ends) end()
    this.photo.value?.bitmap.close()
  }

  /** The limits of a channel. */
  range(index: number): [number, number] {
    const { limits } = this.scale.value!
    return [limits[2 * index]!, limits[2 * index + 1]!]
  }

  /** The true number of a channel. */
  number = (index: number) => this.data.value?.channels[index] ?? index
}
