import { expect, test } from 'vitest'
import { row } from '../src/core/attention'
import { drag, matrix, rgb, weighted } from '../src/core/combine'
import { halves } from '../src/core/half'
import { pooled } from '../src/core/lod'
import { fromBase64, lut, pixel, usualColors } from '../src/core/paint'
import { parse } from '../src/core/payload'
import { cell, field, unitAt } from '../src/core/regions'
import { scaleOf } from '../src/core/scale'
import type { Manifest } from '../src/core/types'
import { bytesOf, colors, doubles, floatsOf, halfOf, layerOf } from './fixtures'

/** A payload as the session packs it, with the tensors from the byte `shift` of a buffer on. */
function packed(header: object, tensors: Uint8Array, shift = 0): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(header))
  const length = Math.ceil(json.length / 8) * 8
  const bytes = new Uint8Array(new ArrayBuffer(shift + 8 + length + tensors.length), shift)
  bytes.fill(32)
  new DataView(bytes.buffer, shift).setBigUint64(0, BigInt(length), true)
  bytes.set(json, 8)
  bytes.set(tensors, 8 + length)
  return bytes
}

const HEADER = {
  __metadata__: { layerscope: '{"kind": "map", "exponent": 0}' },
  values: { dtype: 'F16', shape: [1, 2, 2], data_offsets: [16, 24] },
  statistics: { dtype: 'F64', shape: [2], data_offsets: [0, 16] },
}
const BYTES = new Uint8Array(24)
new Float64Array(BYTES.buffer, 0, 2).set([0.5, -2])
new Uint16Array(BYTES.buffer, 16, 4).set([1, -0.5, 3, 65504].map(halfOf))

test.each([0, 3])('a payload is read wherever it begins in a buffer (%i)', shift => {
  const { meta, tensors } = parse(packed(HEADER, BYTES, shift))
  expect(meta).toEqual({ kind: 'map', exponent: 0 })
  expect([...tensors['statistics']!.data]).toEqual([0.5, -2])
  expect([...tensors['values']!.data].map(bits => halves()[bits])).toEqual([1, -0.5, 3, 65504])
})

test('aligned tensors are views, so that no byte is copied', () => {
  const bytes = packed(HEADER, BYTES)
  expect(parse(bytes).tensors['values']!.data.buffer).toBe(bytes.buffer)
  expect(parse(bytes.buffer as ArrayBuffer).tensors['values']!.data.buffer).toBe(bytes.buffer)
})

test('a damaged payload is refused', () => {
  const bytes = packed(HEADER, BYTES)
  expect(() => parse(bytes.subarray(0, 4))).toThrow(RangeError)
  expect(() => parse(bytes.subarray(0, 40))).toThrow(RangeError)
  expect(() => parse(bytes.slice(0, -1))).toThrow(/lies outside/)
  expect(() => parse(packed({ values: { ...HEADER.values, shape: [3] } }, BYTES))).toThrow(/size of its shape/)
  expect(() => parse(packed({ values: { ...HEADER.values, dtype: 'BF16' } }, BYTES))).toThrow(/unknown type BF16/)
})

test('a tensor may have any name', () => {
  expect(Object.keys(parse(packed({ __proto__name: HEADER.values }, BYTES)).tensors)).toEqual(['__proto__name'])
})

test('every float16 there and back', () => {
  const values = halves()
  const changed = Array.from(values.keys()).filter(
    bits => !Number.isNaN(values[bits]) && halfOf(values[bits]!) !== bits,
  )
  expect(changed).toEqual([])
  expect([values[0x0001], values[0x03ff], values[0x7c00], values[0xfc00]]).toEqual([
    2 ** -24,
    1023 * 2 ** -24,
    Infinity,
    -Infinity,
  ])
})

test('values are stored times a power of two, from an offset, and stay within the true extremes', () => {
  const statistics = doubles([11, 2], [0.25, 100, ...Array(2).fill(0), 8, 104, ...Array(16).fill(0)])
  const tensors = { statistics, offsets: doubles([2], [0, 100]), least: doubles([2], [0.25, 100]) }
  const layer = layerOf([2, 1, 3], [0.0624, 1, 2.001, 0, 0.5, 1.01], { half: true, tensors, meta: { exponent: 2 } })
  expect([...layer.plane(0)]).toEqual([0.25, 4, 8])
  expect([...layer.plane(1)]).toEqual([100, 102, 104])
  expect(layer.value(1, 0, 1)).toBe(102)
})

test('bytes are codes within the limits of their channel', () => {
  const data = Uint8Array.of(0, 120, 240, 242, 243, 245)
  const layer = layerOf([1, 2, 3], [], {
    tensors: { values: { dtype: 'U8', shape: [1, 2, 3], data }, limits: doubles([1, 2], [-1, 3]) },
  })
  expect([...layer.plane(0)]).toEqual([-1, 1, 3, NaN, Infinity, -1])
})

test('what is rounded to a little above 0 is no small value where the smallest above 0 is far from it', () => {
  const tensors = { statistics: doubles([11, 1], [0, 0, 8, ...Array(8).fill(0)]), least: doubles([1], [2]) }
  const layer = layerOf([1, 1, 4], [0.001, 1.999, 2, 8], { half: true, tensors })
  expect([...layer.plane(0)]).toEqual([expect.closeTo(0.001, 5), 2, 2, 8])
})

test('a volume has a plane for each slice', () => {
  const layer = layerOf(
    [2, 3, 1, 2],
    Array.from({ length: 12 }, (_, at) => at),
    { half: true },
  )
  expect([layer.slices, ...layer.plane(1, 2)]).toEqual([3, 10, 11])
  expect([...layer.channel(1)]).toEqual([6, 7, 8, 9, 10, 11])
  expect(layer.plane(1, 2)).toBe(layer.plane(1, 2))
})

test('a vector is a plane of one unit for each channel', () => {
  const layer = layerOf([3], [4, 5, 6])
  expect([layer.count, layer.rows, layer.columns, layer.plane(1)[0]]).toEqual([3, 1, 1, 5])
})

test('level of detail: means of cells, at the edge of what is there', () => {
  expect([...pooled(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9), 3, 3, 2)]).toEqual([3, 4.5, 7.5, 9])
  expect([...pooled(Float32Array.of(1, NaN, NaN, NaN, Infinity, -Infinity), 1, 6, 2)]).toEqual([1, NaN, NaN])
  expect([...pooled(Float32Array.of(Infinity, Infinity, 3, -Infinity), 2, 2, 2)]).toEqual([3])
  expect([...pooled(Float32Array.of(1, 2), 1, 2, 1)]).toEqual([1, 2])
})

const LAYER = layerOf([3, 2, 2], [1, 2, 3, 4, 10, 20, 30, 40, NaN, 0, 0, 0])

test('a weighted sum looks at no value of weight 0', () => {
  const sum = weighted(
    LAYER,
    new Map([
      [0, 1],
      [1, -0.5],
      [2, 0],
    ]),
    1,
  )
  expect([...sum]).toEqual([-3, -7, -11, -15])
  expect(weighted(LAYER, [[2, 1]])[0]).toBeNaN()
})

test('a drag adds the difference of one weight', () => {
  const sum = weighted(LAYER, [[0, 1]])
  drag(sum, LAYER.plane(1), 0.25)
  expect(sum).toEqual(
    weighted(LAYER, [
      [0, 1],
      [1, 0.25],
    ]),
  )
})

test('a matrix of weights gives as many planes', () => {
  const weights = Float32Array.of(1, 0, 0, -1, 0.1, 0)
  const planes = matrix(LAYER, weights, [0, 1]).map(plane => [...plane])
  expect(planes).toEqual([[1, 2, 3, 4], Array(4).fill(expect.closeTo(1, 6))])
  expect([...matrix(LAYER, weights, [-2, 1], 'relu')[0]!]).toEqual([0, 0, 1, 2])
})

test('three planes are colours as Python draws them', () => {
  const table = Uint32Array.from({ length: 256 }, () => pixel(255, 0, 255))
  table[241] = pixel(255, 255, 255)
  const values = floatsOf(colors.values)
  const planes = [0, 1, 2].map(each => values.subarray((each * values.length) / 3, ((each + 1) * values.length) / 3))
  const found = new Uint8Array(rgb(planes, colors.limits, table).buffer)
  expect([...found].filter((_, at) => at % 4 < 3)).toEqual([...bytesOf(colors.colors)])
})

const [INFINITE] = [[-Infinity, Infinity]]
const PLACED = layerOf([1, 2, 3], Array(6).fill(0), {
  meta: { placement: { photo: [20, 30], input: [8, 8], box: [0, 0, 20, 30] } },
  tensors: {
    row_cells: doubles([2, 2], [0, 10, 10, 20]),
    column_cells: doubles([3, 2], [20, 30, 10, 20, 0, 10]),
    row_fields: doubles([2, 2], [-4, 14, 6, 24]),
    column_fields: doubles([3, 2], [...INFINITE!, ...INFINITE!, ...INFINITE!]),
  },
})

test('units lie on the photo, also where they run backwards', () => {
  expect(cell(PLACED, 1, 0)).toEqual([10, 20, 10, 10])
  expect(unitAt(PLACED, 12, 25)).toEqual([1, 0])
  expect(unitAt(PLACED, 12, 30)).toBeNull()
  expect(field(PLACED, 1, 0)).toEqual([6, 0, 18, 30])
})

test('where nothing is known, and where a unit sees all, there is no box', () => {
  expect([cell(LAYER, 0, 0), field(LAYER, 0, 0), unitAt(LAYER, 0, 0)]).toEqual([null, null, null])
  const all = {
    row_fields: doubles([2, 2], [...INFINITE!, ...INFINITE!]),
    column_fields: doubles([2, 2], [...INFINITE!, ...INFINITE!]),
  }
  expect(field(layerOf([1, 2, 2], [0, 0, 0, 0], { tensors: all }), 0, 0)).toBeNull()
})

test('a query of an attention map looks at the patches of the grid, or at all keys where there is none', () => {
  const values = Array.from({ length: 2 * 5 * 5 }, (_, at) => at)
  const layer = layerOf([2, 5, 5], values, { meta: { kind: 'attention', grid: [2, 2], prefix: ['cls'] } })
  expect(row(layer, 2).map(plane => [...plane])).toEqual([
    [11, 12, 13, 14],
    [36, 37, 38, 39],
  ])
  const flat = layerOf([1, 2, 3], [1, 2, 3, 4, 5, 6], { meta: { kind: 'attention', prefix: [] } })
  expect(row(flat, 1).map(plane => [...plane])).toEqual([[4, 5, 6]])
})

const table = (sign: number) =>
  btoa(String.fromCharCode(...Uint8Array.from({ length: 768 }, (_, at) => (Math.floor(at / 3) + sign) % 256)))
const MANIFEST = {
  colours: [
    { name: 'cividis', kind: 'sequential', table: table(0) },
    { name: 'viridis', kind: 'sequential', table: table(1) },
    { name: 'berlin', kind: 'diverging', table: table(2) },
  ],
  dark: { viridis: btoa(String.fromCharCode(...Array(45).fill(7))), berlin: table(9) },
} as unknown as Manifest

test('colours of codes, on dark paper with other marks', () => {
  expect(lut(MANIFEST, 'viridis')[240]).toBe(pixel(241, 241, 241))
  expect(lut(MANIFEST, 'viridis')[241]).toBe(pixel(242, 242, 242, 0))
  const dark = lut(MANIFEST, 'viridis', { dark: true })
  expect([dark[240], dark[242]]).toEqual([pixel(241, 241, 241), pixel(7, 7, 7)])
  expect(lut(MANIFEST, 'berlin', { dark: true })[0]).toBe(pixel(9, 9, 9))
  expect(fromBase64(btoa('ab'))).toEqual(Uint8Array.of(97, 98))
})

test('clipped scales give what is beyond the colours of their ends', () => {
  const scale = { ...scaleOf(LAYER, { per: [1, 2] }), clip: [1, 99] as [number, number] }
  const colors = lut(MANIFEST, 'viridis', { scale })
  expect([colors[246], colors[247]]).toEqual([colors[0], colors[240]])
})

test('the usual colours diverge where a scale has a centre', () => {
  expect([usualColors(MANIFEST, null), usualColors(MANIFEST, 0)]).toEqual(['viridis', 'berlin'])
})
