/** What one layer makes of one image: its values, decoded as they are needed, and the exact figures of its channels. */

import { decode } from './codes'
import { decodeHalves } from './half'
import { type Payload, parse, wide } from './payload'
import type { MapMeta } from './types'

export class LayerData {
  readonly meta: MapMeta
  /** The true numbers of the channels, by position. */
  readonly channels: Int32Array
  readonly count: number
  readonly rows: number
  readonly columns: number
  /** How many planes a channel has: the depth of a volume, else 1. */
  readonly slices: number
  /** By name, each `[channel]`. */
  readonly figures: Readonly<Record<string, Float64Array>>
  /** `[channel + 1, 101]`: 0 to 100 % of each channel, then of the whole layer. */
  readonly percentiles: Float64Array
  /** The smallest value above 0 of each channel. */
  readonly least: Float64Array
  /** `[channel, axis]`: the first position of the largest true value. */
  readonly peak: Float64Array
  /** What is added to the stored values of each channel; absent where it is 0. */
  readonly offsets: Float64Array | undefined
  /** `[channel, prefix]`: the values of the tokens before the grid, named in `meta.prefix`. */
  readonly tokens: Float64Array | undefined
  readonly payload: Payload<MapMeta>
  /** The bit patterns of float16 values. */
  readonly bits: Uint16Array | undefined

  #decoded: Float32Array | undefined
  #planes: Float32Array[] = []
  #positions: Map<number, number> | undefined

  static of(payload: ArrayBuffer | ArrayBufferView | Payload<MapMeta>): LayerData {
    return new LayerData('tensors' in payload ? payload : parse<MapMeta>(payload))
  }

  private constructor(payload: Payload<MapMeta>) {
    const values = payload.tensors['values']!
    const [count = 0, ...spatial] = values.shape
    this.payload = payload
    this.meta = payload.meta
    this.count = count
    this.columns = spatial.at(-1) ?? 1
    this.rows = spatial.at(-2) ?? 1
    this.slices = spatial.at(-3) ?? 1
    this.channels = payload.tensors['channels']!.data as Int32Array
    const statistics = wide(payload, 'statistics')!
    this.figures = Object.fromEntries(
      payload.meta.figures.map((name, row) => [name, statistics.subarray(row * count, (row + 1) * count)]),
    )
    this.percentiles = wide(payload, 'percentiles')!
    this.least = wide(payload, 'least')!
    this.peak = wide(payload, 'peak')!
    this.offsets = wide(payload, 'offsets')
    this.tokens = wide(payload, 'tokens')
    this.bits = values.data instanceof Uint16Array ? values.data : undefined
  }

  /** Units of one plane. */
  get size(): number {
    return this.rows * this.columns
  }

  get exponent(): number {
    return this.meta.exponent
  }

  /** The position of a channel by its true number; −1 where it isn't there. */
  position(channel: number): number {
    if (this.channels[channel] === channel) return channel
    this.#positions ??= new Map(Array.from(this.channels, (each, position) => [each, position]))
    return this.#positions.get(channel) ?? -1
  }

  /** The values of one plane, row by row, as a view of what stays decoded. */
  plane(position: number, slice = 0): Float32Array {
    const index = position * this.slices + slice
    const known = this.#planes[index]
    if (known) return known
    const { data } = this.payload.tensors['values']!
    const [from, to] = [index * this.size, (index + 1) * this.size]
    const offset = this.offsets?.[position] ?? 0
    if (data instanceof Float32Array && !this.exponent && !offset) {
      this.#planes[index] = data.subarray(from, to)
    } else {
      this.#decoded ??= new Float32Array(data.length)
      const out = this.#decoded.subarray(from, to)
      if (data instanceof Uint16Array) decodeHalves(data.subarray(from, to), out, this.exponent)
      else if (data instanceof Uint8Array) this.#decodeBytes(data.subarray(from, to), out, position)
      else for (let unit = 0; unit < out.length; unit++) out[unit] = data[from + unit]! * 2 ** this.exponent
      if (offset) for (let unit = 0; unit < out.length; unit++) out[unit]! += offset
      this.#settle(out, position)
      this.#planes[index] = out
    }
    return this.#planes[index]!
  }

  /** What rounding carried beyond the channel's true extremes goes back to them, so that none lies beyond its own limits. */
  #settle(out: Float32Array, position: number): void {
    const { min, max, least } = this.extremes(position)
    for (let unit = 0; unit < out.length; unit++) {
      const value = out[unit]!
      if (value > max) out[unit] = value === Infinity ? value : max
      else if (value < min) out[unit] = value === -Infinity ? value : min
      else if ((value - least) * (value - least / 2) < 0) out[unit] = least
    }
  }

  /** The true ones of a channel: its smallest and largest finite value, its smallest above 0. */
  extremes(position: number): { min: number; max: number; least: number } {
    const [min, max] = [this.figures['min']![position]!, this.figures['max']![position]!]
    return { min, max, least: this.least[position]! }
  }

  #decodeBytes(codes: Uint8Array, out: Float32Array, position: number): void {
    const limits = wide(this.payload, 'limits')!
    const [low, high] = [limits[2 * position]!, limits[2 * position + 1]!]
    const table = Float32Array.from({ length: 256 }, (_, code) => decode(code, low, high))
    for (let unit = 0; unit < out.length; unit++) out[unit] = table[codes[unit]!]!
  }

  /** By how much a value of a channel may be off as it is stored. */
  error(position: number, value: number): number {
    const { min, max } = this.extremes(position)
    return this.bits ? Math.abs(value) / 2048 : this.payload.tensors['limits'] ? (max - min) / 480 : 0
  }

  /** All values of a channel, slice after slice. */
  channel(position: number): Float32Array {
    const first = this.plane(position)
    for (let slice = 1; slice < this.slices; slice++) this.plane(position, slice)
    return new Float32Array(first.buffer, first.byteOffset, this.size * this.slices)
  }

  /** One value, rounded as it is stored. */
  value(position: number, row: number, column: number, slice = 0): number {
    return this.plane(position, slice)[row * this.columns + column]!
  }
}
