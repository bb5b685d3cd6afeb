import { describe, expect, test } from 'vitest'
import { codeOf, decode, encode, TOP } from '../src/core/codes'
import { codesOfPlane } from '../src/core/index'
import type { LayerData } from '../src/core/layer'
import { type Curve, curveOf } from '../src/core/norms'
import { endCodes } from '../src/core/paint'
import { percentiles } from '../src/core/percentiles'
import { type Scale, scaleOf, scaleOfPlane } from '../src/core/scale'
import {
  bytesOf,
  decodedCodes,
  doubles,
  layerFrom,
  layerOf,
  numberOf,
  type WrittenLayer,
  type WrittenScale,
  written,
} from './fixtures'

function* cases(): Generator<[text: string, name: string, WrittenLayer, WrittenScale]> {
  for (const [name, layer] of Object.entries(written)) {
    for (const scale of layer.scales) yield [`${name}, ${scale.rule}, ${scale.clip}, ${scale.norm}`, name, layer, scale]
  }
}

/** The scale that Python made, whatever the page would make. */
function pythons({ limits, rule, center, kept, clip, norm }: WrittenScale): Scale {
  const numbers = Float64Array.from(limits.flat().map(numberOf))
  return {
    limits: numbers,
    single: rule !== 'channel',
    center,
    clip: kept ? clip : null,
    norm,
    curve: curveOf(norm, center),
  }
}

/** The codes of all channels, one behind the other. */
function codesOf(layer: LayerData, limits: Float64Array, curve: Curve): Uint8Array {
  const out = new Uint8Array(layer.count * layer.size)
  for (let at = 0; at < layer.count; at++) {
    const range = { low: limits[2 * at]!, high: limits[2 * at + 1]!, curve }
    codesOfPlane(layer, at, range, { out: out.subarray(at * layer.size, (at + 1) * layer.size) })
  }
  return out
}

describe.each([...cases()])('%s', (_, name, known, expected) => {
  const layer = layerFrom(known)
  const made = scaleOf(layer, { per: expected.rule, clip: expected.clip, norm: expected.norm })
  const theirs = pythons(expected)

  test('the limits are those of Python', () => {
    expect([...made.limits]).toEqual([...theirs.limits].map(each => closeTo(each)))
    expect([made.center, made.clip, made.single]).toEqual([theirs.center, theirs.clip, theirs.single])
  })

  test('every code of float32 is that of Scale.codes', () => {
    expect(codesOf(layer, theirs.limits, theirs.curve)).toEqual(bytesOf(expected.codes))
  })

  test('float16 gives the same code or one beside it, and no mark where there is none', () => {
    // The session stores what float16 can't hold in another way, and limits that cut values are crossed by rounding.
    if (['wide', 'far'].includes(name) || expected.clip || typeof expected.rule !== 'string') return
    const codes = codesOf(layerFrom(known, true), theirs.limits, theirs.curve)
    const exact = bytesOf(expected.codes)
    for (let index = 0; index < codes.length; index++) {
      if (exact[index]! > TOP) expect(codes[index]).toBe(exact[index])
      else expect(Math.abs(codes[index]! - exact[index]!)).toBeLessThanOrEqual(1)
    }
  })

  test('a sheet shows the same codes, but where float32 rounds a value to the other side of a step', () => {
    const sheet = bytesOf(expected.sheet ?? expected.codes)
    const exact = bytesOf(expected.codes)
    const beside = sheet.filter((code, index) => code !== exact[index])
    // All values of `steps` lie where two steps meet.
    if (name !== 'steps') expect(beside.length).toBeLessThanOrEqual(exact.length / 100)
    for (let index = 0; index < sheet.length; index++)
      expect(Math.abs(sheet[index]! - exact[index]!)).toBeLessThanOrEqual(1)
  })

  test('codes are decoded as by Scale.decode', () => {
    const [low, high] = [theirs.limits[0]!, theirs.limits[1]!]
    const values = decodedCodes.map(code => decode(code, low, high, theirs.curve))
    expect(values).toEqual(expected.decoded.map(word => closeTo(numberOf(word))))
  })

  test('what is beyond has the colours of the ends', () => {
    expect(endCodes(theirs)).toEqual(expected.ends)
  })

  test('percentiles are those of numpy', () => {
    if (!expected.clip || expected.norm === 'log') return
    const rows = expected.rule === 'channel' ? expected.percentiles!.flat(2) : expected.percentiles!
    const found = Array.from({ length: expected.rule === 'channel' ? layer.count : 1 }, (_, at) =>
      percentiles(layer, expected.rule === 'channel' ? at : null, expected.clip!),
    )
    expect(found.flat()).toEqual((rows as (number | string)[]).map(word => closeTo(numberOf(word))))
  })
})

function closeTo(value: number): unknown {
  if (!Number.isFinite(value)) return value
  return expect.toSatisfy((found: number) => Math.abs(found - value) <= 1e-12 * Math.abs(value), `close to ${value}`)
}

test('every norm gives each of 20,000 numbers the code that one number alone has', () => {
  const values = Float32Array.from({ length: 20000 }, (_, at) => Math.sin(at * 12.9898) * 10 ** ((at % 13) - 9))
  for (const norm of ['linear', 'log', 'symlog'] as const) {
    for (const [low, high] of [
      [1e-6, 900],
      [0.25, 0.2500001],
      [1e-40, 1e-38],
      [-3, 40],
      [-0.001, -0.0005],
    ] as const) {
      if (norm === 'log' && low <= 0) continue
      const curve = curveOf(norm, low < 0 && high > 0 ? 0 : null)
      const wide = values.map((value, at) => (at % 2 ? value : low + (high - low) * ((at % 997) / 997)))
      const codes = encode(wide, low, high, curve)
      expect(wide.filter((value, at) => codes[at] !== codeOf(value, low, high, curve))).toHaveLength(0)
    }
  }
})

test('where two steps meet, fast codes are on the side that one number alone is', () => {
  const powers = Float32Array.from({ length: 160 }, (_, power) => 2 ** (power - 80))
  const [low, high] = [2 ** -80, 2 ** 80]
  for (const norm of ['log', 'symlog'] as const) {
    const curve = curveOf(norm)
    expect([...encode(powers, low, high, curve)]).toEqual([...powers].map(value => codeOf(value, low, high, curve)))
  }
  for (const [start, end] of [
    [0.1, 0.7],
    [-0.3, 0.9],
    [1e-3, 3e-3],
    [0, 0.6],
  ] as const) {
    const edges = Float32Array.from({ length: 4810 }, (_, at) => start + (at / 4810) * (end - start))
    // Limits at which a number lies just where two steps meet.
    for (const edge of edges.subarray(1, 400)) {
      const limits = [edge - (end - start) * (40.5 / 240), edge + (end - start) * (199.5 / 240)] as const
      expect(encode(Float32Array.of(edge), ...limits)[0]).toBe(codeOf(edge, ...limits))
    }
  }
})

test('codes of large planes of float16, by table, are those of each value', () => {
  const values = Float32Array.from({ length: 2 * 96 * 96 }, (_, at) =>
    at % 53 ? Math.tan(at) : [NaN, Infinity, -Infinity][at % 3]!,
  )
  for (const offset of [0, 12.5]) {
    const layer = layerOf([2, 96, 96], values, { half: true, tensors: { offsets: doubles([2], [offset, 0]) } })
    for (const norm of ['linear', 'log', 'symlog'] as const) {
      const range = { low: norm === 'log' ? 0.01 : -3, high: 20, curve: curveOf(norm, norm === 'log' ? null : 0) }
      for (const position of [0, 1]) {
        const expected = encode(layer.plane(position), range.low, range.high, range.curve)
        expect(codesOfPlane(layer, position, range)).toEqual(expected)
      }
    }
  }
})

test('percentiles of float16 are those of float32, of positive values alone as well', () => {
  const values = Float32Array.from({ length: 3 * 40 }, (_, at) =>
    at % 11 === 5 ? NaN : Math.fround(Math.round(Math.sin(at) * 64) / 16),
  )
  const [halves, singles] = [layerOf([3, 5, 8], values, { half: true }), layerOf([3, 5, 8], values)]
  for (const position of [null, 0, 2]) {
    for (const clip of [
      [0.5, 99.5],
      [1.5, 98.5],
      [33.3, 66.6],
    ] as const) {
      for (const positive of [false, true]) {
        const found = percentiles(halves, position, clip, positive)
        expect(found).toEqual(percentiles(singles, position, clip, positive))
        expect(found[0]).toBeLessThanOrEqual(found[1])
      }
    }
  }
})

test.each(['linear', 'log', 'symlog'] as const)(
  'a large plane of float16 has no mark by its own limits, by %s',
  norm => {
    const values = Float32Array.from({ length: 80 * 80 }, (_, at) => Math.abs(Math.sin(at * 0.7)) / 3 + 0.1003)
    const [min, max] = [Math.min(...values), Math.max(...values)]
    const statistics = doubles([11, 1], [min, 0, max, 0, 0, 0, 0, 0, 0, 0, 0])
    const layer = layerOf([1, 80, 80], values, { half: true, tensors: { statistics, least: doubles([1], [min]) } })
    const { limits, curve } = scaleOf(layer, { per: 'channel', norm })
    const codes = codesOf(layer, limits, curve)
    expect([Math.min(...codes), Math.max(...codes)]).toEqual([norm === 'symlog' ? expect.any(Number) : 0, TOP])
    expect(codes).toEqual(encode(layer.plane(0), min, max, curve))
  },
)

test('the smallest value above 0 of a large plane is within a logarithmic scale, as it is rounded', () => {
  const values = Float32Array.from({ length: 80 * 80 }, (_, at) => (at % 3 ? 0.10007 + at / 1e4 : -(at % 2)))
  const [max, least] = [Math.max(...values), Math.fround(0.10007 + 1 / 1e4)]
  const tensors = { statistics: doubles([11, 1], [-1, 0, max, ...Array(8).fill(0)]), least: doubles([1], [least]) }
  const layer = layerOf([1, 80, 80], values, { half: true, tensors })
  const { limits, curve } = scaleOf(layer, { per: 'channel', norm: 'log' })
  expect([...limits]).toEqual([least, max])
  const codes = codesOf(layer, limits, curve)
  expect([codes[0], codes[1], Math.max(...codes.filter(code => code <= TOP))]).toEqual([246, 0, TOP])
  expect(codes).toEqual(encode(layer.plane(0), least, max, curve))
})

test('a layer without a positive value has no range by log', () => {
  const layer = layerOf([1, 1, 2], [-2, -1], {
    tensors: { statistics: doubles([11, 1], [-2, -1.5, -1, 0.5, 0, 0, 1, 0, 0, 0, 0]) },
  })
  expect([...scaleOf(layer, { per: 'layer', norm: 'log' }).limits]).toEqual([0, 0])
})

test('a combined map has the range of its finite values', () => {
  const plane = Float32Array.of(NaN, -1, 3, Infinity, 0.5)
  const { limits, center } = scaleOfPlane(plane, { per: 'layer' })
  expect([...limits, center]).toEqual([-1, 3, 0])
  expect([...scaleOfPlane(plane, { per: 'layer', norm: 'log' }).limits]).toEqual([0.5, 3])
  expect([...scaleOfPlane(Float32Array.of(NaN), { per: 'layer' }).limits]).toEqual([0, 0])
})
