/** What scripts/write_core_fixtures.py wrote: the numbers that Python gives. */

import { readFileSync } from 'node:fs'
import { LayerData } from '../src/core/layer'
import type { Tensor } from '../src/core/payload'
import type { MapMeta, Norm, ScaleRule, ViewState } from '../src/core/types'

/** A number, or what JSON has no number for. */
export type Word = number | string

export interface WrittenScale {
  rule: ScaleRule
  clip: [number, number] | null
  norm: Norm
  kept: boolean
  center: number | null
  limits: [Word, Word][]
  codes: string
  sheet: string | null
  decoded: Word[]
  ends: [number, number]
  percentiles: Word[] | Word[][] | null
}

export interface WrittenLayer {
  shape: number[]
  values: string
  statistics: Word[][]
  percentiles: Word[][]
  least: Word[]
  peak: number[][]
  scales: WrittenScale[]
  queries: Record<string, number[] | string>
  orders: Record<string, number[] | string>
  csv: string[][]
}

export interface WrittenBar {
  limits: [number, number]
  norm: Norm
  center: number | null
  ticks: [value: number, text: string][]
  digits: number
  readings: string[]
  at: number[]
  places: number[]
}

const all = JSON.parse(readFileSync(new URL('fixtures/core.json', import.meta.url), 'utf8'))

export const written: Record<string, WrittenLayer> = Object.fromEntries(
  Object.entries(all).flatMap(([name, part]) =>
    name.startsWith('layer ') ? [[name.slice(6), part as WrittenLayer]] : [],
  ),
)
export const bars: WrittenBar[] = all.bars
export const numbers: [Word, string, string][] = all.numbers
export const colors: { values: string; limits: number[]; colors: string } = all.rgb
export const viewState: {
  start: Record<string, unknown>
  values: [unknown, string[]][]
  'another layer': [ViewState, ViewState][]
} = all.view
export const decodedCodes: number[] = all['decoded codes']

export function numberOf(word: Word): number {
  return typeof word === 'number' ? word : Number(word.replace('inf', 'Infinity'))
}

export function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(Buffer.from(base64, 'base64'))
}

export function floatsOf(base64: string): Float32Array {
  return new Float32Array(bytesOf(base64).buffer as ArrayBuffer)
}

/** The nearest float16 of a number, ties to even. */
export function halfOf(value: number): number {
  if (Number.isNaN(value)) return 0x7e00
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const size = Math.abs(value)
  if (size >= 65520) return sign | 0x7c00
  const power = Math.max(-14, Math.floor(Math.log2(size || 1)))
  const steps = (size / 2 ** power) * 1024
  const floor = Math.floor(steps)
  const up = steps - floor > 0.5 || (steps - floor === 0.5 && floor % 2 === 1)
  const units = floor + (up ? 1 : 0)
  return sign | (units < 1024 ? units : ((power + 15) << 10) + units - 1024)
}

const FIGURES = ['min', 'mean', 'max', 'deviation', 'sparsity', 'positive', 'energy', 'dead', 'constant', 'nan', 'inf']

const META = {
  protocol: 1,
  input: 'i0',
  layer: 'l0',
  kind: 'map',
  exponent: 0,
  axes: ['row', 'column'],
  figures: FIGURES,
  shape: [],
  dtype: 'float32',
  region: { measured: false, text: '', unknown: '' },
  placement: null,
  names: null,
  grid: null,
  prefix: [],
  fed: '',
  notes: [],
  bytes: 0,
} satisfies MapMeta

const tensor = (dtype: Tensor['dtype'], shape: number[], data: Tensor['data']): Tensor => ({ dtype, shape, data })

/** A layer of values `[channel, …]`, of whose channels only the numbers are known. */
export function layerOf(
  shape: number[],
  values: ArrayLike<number>,
  {
    meta = {},
    tensors = {},
    half = false,
  }: { meta?: Partial<MapMeta>; tensors?: Record<string, Tensor>; half?: boolean } = {},
): LayerData {
  const stored = half
    ? tensor('F16', shape, Uint16Array.from(values, halfOf))
    : tensor('F32', shape, Float32Array.from(values))
  const [count = 0, ...spatial] = shape
  const unknown = {
    channels: tensor(
      'I32',
      [count],
      Int32Array.from({ length: count }, (_, at) => at),
    ),
    statistics: doubles([FIGURES.length, count], new Float64Array(FIGURES.length * count).fill(NaN)),
    percentiles: doubles([count + 1, 101], new Float64Array((count + 1) * 101).fill(NaN)),
    least: doubles([count], new Float64Array(count)),
    peak: tensor('I32', [count, spatial.length], new Int32Array(count * spatial.length)),
  }
  return LayerData.of({ meta: { ...META, ...meta }, tensors: { ...unknown, values: stored, ...tensors } })
}

export function doubles(shape: number[], values: ArrayLike<number>): Tensor {
  return tensor('F64', shape, Float64Array.from(values))
}

/** A layer of the fixtures, in float32 or float16. */
export function layerFrom(known: WrittenLayer, half = false): LayerData {
  const count = known.shape[0]!
  const flat = (rows: Word[][]) => rows.flat().map(numberOf)
  return layerOf(known.shape, floatsOf(known.values), {
    half,
    tensors: {
      statistics: doubles([FIGURES.length, count], flat(known.statistics)),
      percentiles: doubles([count + 1, 101], flat(known.percentiles)),
      least: doubles([count], known.least.map(numberOf)),
      peak: tensor('I32', [count, known.peak[0]!.length], Int32Array.from(known.peak.flat())),
    },
  })
}
