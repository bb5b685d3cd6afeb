/** The map that is made of all channels: `post(W·A + b)` in the page, or what the session computed. */

import { computed, effect, type ReadonlySignal, signal } from '@preact/signals'
import { drag, matrix, rectified, rgb, weighted } from '../core/combine'
import { halves } from '../core/half'
import { pixel, usualColors } from '../core/paint'
import { named } from '../core/python'
import { type Scale, scaleOfPlane } from '../core/scale'
import type { CombineMeta, LayerInfo, ScaleRule } from '../core/types'
import type { App, Payload } from './app'
import { type Source, Tiles } from './raster'
import type { Side } from './side'

/** What the page itself makes, beside the manifest's combinations. */
export const OWN = [
  ['channel', 'Active channel'],
  ['mean', 'Mean of all'],
  ['weights', 'Weighted sum'],
] as const

/** The manifest's combinations that a layer has, beside the page's own. */
export const offered = ({ manifest }: App, { kind_of: kind }: LayerInfo) =>
  manifest.value.combinations.filter(
    ({ name, layers }) => name !== 'mean' && (layers === 'all' || (layers === 'attention') === (kind === 'attention')),
  )

/** Aims at a class; where what is shown is for none, with the first map that is for one. */
export function aim(app: App, target: number) {
  const [side] = app.sides
  const { rows = 1, columns = 1 } = side.source.value ?? {}
  const maps = offered(app, side.layer.value).filter(each => each.needs === 'target' && rows * columns > 1)
  const rule = maps.find(each => each.name === app.view.value.mode) ?? maps[0]
  app.set({ target, ...(rule && { mode: rule.name }) })
  if (!rule)
    app.message.value = 'There is no map for a class: that takes gradients, or the layer before the classifier.'
}

/** The same for all, so that nothing is rendered anew for it. */
const NONE: string[] = []

type Group = NonNullable<CombineMeta['groups']>[number]

export interface Combined {
  source: Source
  /** Colours of its own: of three channels that are red, green and blue, or of groups. */
  pixels: Uint32Array | null
  /** How much of a photo they cover. */
  cover?: Float32Array
  groups?: Group[]
  tiles: Tiles
  scale: Scale
  colors: string
  /** The colours of its codes. */
  table: Uint32Array
  label: string
  notes: string[]
  /** By how much a unit of a plane may be off; absent where it is exact. */
  off?: ((plane: number, unit: number) => number) | undefined
}

export class Combiner {
  readonly combined: ReadonlySignal<Combined | null>
  /** Why there is none. */
  readonly failed = signal('')
  private readonly answer = signal<{ payload: Payload; layer: string; input: string } | null>(null)
  /** The weighted sum as it is, so that a weight that changes costs one plane. */
  private sum: { source: Source; weights: Map<number, number>; plane: Float32Array } | null = null

  constructor(readonly side: Side) {
    const { app } = side
    const [mode, weights, post, target] = [app.of('mode'), app.of('weights'), app.of('post'), app.of('target')]
    const unit = computed(() => (mode.value === 'similarity' ? app.of('unit').value : null))
    const own = computed(() => OWN.some(([name]) => name === mode.value))
    let control: AbortController | null = null
    const asked = effect(() => {
      control?.abort()
      this.answer.value = null
      this.failed.value = ''
      const data = side.data.value
      if (!side.shown.value || own.value || !data) return
      control = new AbortController()
      const { signal: stopped } = control
      const { input, layer } = data.meta
      const view = { ...app.view.peek(), mode: mode.value, unit: unit.value }
      const [rule, name] = named(view, app.layer(layer), app.manifest.value.combinations)
      const params = { input, layer, name, ...(rule?.needs === 'target' && { target: target.value }) }
      app.payload('combine', params, `Computing ${rule?.label ?? mode.value}`, stopped).then(
        payload => {
          if (!stopped.aborted) this.answer.value = { payload, layer, input }
        },
        (error: Error) => {
          if (!stopped.aborted) this.failed.value = error.name === 'AbortError' ? 'Cancelled.' : error.message
        },
      )
    })
    side.ends.push(asked)
    this.combined = computed(() => {
      const [data, source] = [side.data.value, side.source.value]
      if (!data || !source) return null
      const { count } = source
      const name = mode.value
      if (name === 'channel') {
        const [low, high] = side.range(side.active.value)
        const plane = source.plane(side.active.value)
        return this.shown([plane], `Channel ${side.number(side.active.value)}`, NONE, [low, high])
      }
      if (name === 'mean' || name === 'weights') {
        const all = name === 'mean'
        const given = all ? Array.from({ length: count }, (_, each) => [each, 1 / count] as const) : []
        if (!all) {
          for (const [channel, weight] of Object.entries(weights.value)) {
            const each = data.position(Number(channel))
            if (each >= 0) given.push([each, weight])
          }
        }
        if (!given.length) return null
        let plane = this.weighted(source, new Map(given))
        if (!all && post.value === 'relu') plane = rectified(plane.slice())
        const label = all ? `Mean of ${count} channels` : `Weighted sum of ${given.length} channels`
        return { ...this.shown([plane], label), off: (_, unit) => this.off(source, given, unit) }
      }
      const answer = this.answer.value
      if (!answer || answer.layer !== data.meta.layer || answer.input !== data.meta.input) return null
      return this.answered(source, answer.payload)
    })
  }

  private answered(source: Source, { meta, tensors }: Payload): Combined {
    const about = meta as unknown as CombineMeta
    let planes: Float32Array[] = []
    let off: Combined['off']
    if (about.linear) {
      const weights = tensors['weights']!.data as Float32Array
      planes = matrix(source, weights, tensors['bias']!.data, about.post)
      off = (k, unit) => this.off(source, weights.subarray(k * source.count, (k + 1) * source.count).entries(), unit)
    } else {
      const { data: numbers, dtype, shape } = tensors['values']!
      const data = dtype === 'F16' ? Float32Array.from(numbers, bits => halves()[bits]!) : (numbers as Float32Array)
      const size = source.rows * source.columns
      for (let k = 0; k < shape[0]!; k++) planes.push(data.subarray(k * size, (k + 1) * size))
      if (dtype === 'F16') off = (k, unit) => Math.abs(planes[k]![unit]!) / 2048
    }
    const text = about.rule || about.label
    const label = text[0]!.toUpperCase() + text.slice(1)
    const shown = this.shown(planes, label, about.notes, /cam/.test(about.name) ? 'evidence' : 'layer')
    const combined = { ...shown, off }
    if (about.groups?.length) return { ...combined, ...grouped(planes, about.groups), groups: about.groups }
    if (!about.rgb) return combined
    const given = tensors['limits']?.data as Float32Array | undefined
    const limits = given ?? planes.flatMap(plane => [...scaleOfPlane(plane, { per: 'layer' }).limits])
    return { ...combined, pixels: rgb(planes, limits, this.side.table.value) }
  }

  /** Evidence speaks for a class or against it: where it has one sign, in the colours of that side of 0. */
  private shown(
    planes: Float32Array[],
    label: string,
    notes = NONE,
    range: ScaleRule | 'evidence' = 'layer',
  ): Combined {
    const { side } = this
    const { rows, columns } = side.source.value!
    const source = { count: planes.length, rows, columns, plane: (each: number) => planes[each]! }
    const { app } = side
    const [norm, chosen] = [app.of('norm').value, app.of('colors').value]
    const evidence = range === 'evidence'
    const center = evidence && !chosen && norm !== 'log' ? 0 : null
    const found = scaleOfPlane(planes[0]!, { per: evidence ? 'layer' : range, norm, center })
    // A channel has the colours that its tile has.
    const scale = { ...found, clip: Array.isArray(range) ? side.scale.value!.clip : null }
    const colors = chosen || usualColors(app.manifest.value, scale.center)
    const limits = Float64Array.from({ length: 2 * planes.length }, (_, at) => scale.limits[at % 2]!)
    return {
      ...{ source, scale, colors, label, notes },
      table: app.colors(colors, scale),
      pixels: null,
      tiles: new Tiles(source, limits, scale.curve),
    }
  }

  /** By how much a sum of channels as they are stored may be off at a unit. */
  private off(source: Source, terms: Iterable<readonly [number, number]>, unit: number): number {
    let sum = 0
    for (const [each, weight] of terms)
      sum += Math.abs(weight) * this.side.data.value!.error(each, source.plane(each)[unit]!)
    return sum
  }

  private weighted(source: Source, weights: Map<number, number>): Float32Array {
    const known = this.sum
    const changes: [number, number][] = []
    if (known?.source === source) {
      for (const [each, weight] of weights) {
        const by = weight - (known.weights.get(each) ?? 0)
        if (by) changes.push([each, by])
      }
      for (const [each, weight] of known.weights) if (!weights.has(each)) changes.push([each, -weight])
    }
    const { figures } = this.side.data.value!
    // What was infinite stays so, whatever is taken off again.
    const lasting = changes.some(([each]) => figures['nan']![each]! + figures['inf']![each]!)
    const anew = known?.source !== source || lasting || changes.length >= weights.size
    const plane = anew ? weighted(source, weights) : known!.plane.slice()
    if (!anew) for (const [each, by] of changes) drag(plane, source.plane(each), by)
    this.sum = { source, weights, plane }
    return plane
  }
}

/** Each unit in the colour of its strongest factor, darker where that is weaker, or in that of its cluster. */
function grouped(planes: Float32Array[], groups: Group[]): { pixels: Uint32Array; cover: Float32Array } {
  const labels = planes.length === 1
  const top = planes.reduce((most, plane) => plane.reduce((high, value) => Math.max(high, value || 0), most), 0)
  const cover = new Float32Array(planes[0]!.length)
  const pixels = Uint32Array.from(cover, (_, unit) => {
    let strongest = 0
    for (let k = 1; k < planes.length; k++) if (planes[k]![unit]! > planes[strongest]![unit]!) strongest = k
    const value = planes[strongest]![unit]!
    const group = labels ? groups.find(each => each.number === value) : groups[strongest]
    cover[unit] = !(value - value === 0) || labels ? 1 : Math.max(0, value / (top || 1))
    const [red, green, blue] = (group?.color ?? [255, 0, 255]).map(each => Math.round(each * cover[unit]!))
    return pixel(red!, green!, blue!)
  })
  return { pixels, cover }
}
