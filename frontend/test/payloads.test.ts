/** Bytes that Python packed are read as what Python put in. */

import { readFileSync } from 'node:fs'
import { inflateSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { matrix } from '../src/core/combine'
import { LayerData } from '../src/core/layer'
import { parse } from '../src/core/payload'
import { field, unitAt } from '../src/core/regions'
import type { CombineMeta, MapMeta } from '../src/core/types'
import { bytesOf } from './fixtures'

type Box = [number, number, number, number]

interface Packed {
  bytes: string
  meta: MapMeta
  dtype: string
  values?: string
  true: string
  photo?: { boxes: [number, number, Box | null][]; 'unit at': [number, number, [number, number] | null][] }
}

const all = JSON.parse(readFileSync(new URL('fixtures/payloads.json', import.meta.url), 'utf8'))
const maps = Object.entries(all.maps as Record<string, Packed>)
const [{ of }, ...combinations] = all.combinations

const unpacked = (text: string) => Uint8Array.from(inflateSync(bytesOf(text)))
const floats = (text: string) => new Float32Array(unpacked(text).buffer)

const planes = (layer: LayerData) =>
  Array.from({ length: layer.count * layer.slices }, (_, at) => [
    ...layer.plane(Math.floor(at / layer.slices), at % layer.slices),
  ]).flat()

describe.each(maps)('%s', (_, { bytes, meta, values, true: given, photo }) => {
  const layer = LayerData.of(unpacked(bytes))

  test('says what it is', () => {
    expect(layer.meta).toEqual(meta)
  })

  test('has the values that were packed, within the true extremes of their channel', () => {
    const read = planes(layer)
    const each = read.length / layer.count
    const { min, max } = layer.figures
    const truth = floats(given)
    const expected = values === undefined ? undefined : floats(values)
    for (const [at, value] of read.entries()) {
      const channel = Math.floor(at / each)
      const [low, high] = [min![channel]!, max![channel]!]
      const least = truth[at]! > 0 ? layer.least![channel]! : low
      if (!Number.isFinite(truth[at]!)) expect(value).toEqual(truth[at])
      else if (expected) expect(value).toBe(Math.min(high, Math.max(low, least, expected[at]!)))
      else expect(Math.abs(value - truth[at]!)).toBeLessThanOrEqual((high - low) / 479)
    }
  })

  test.runIf(photo)('lies on the photo where Python draws it', () => {
    for (const [y, x, unit] of photo!['unit at']) expect(unitAt(layer, y + 0.5, x + 0.5)).toEqual(unit)
    const whole = meta.region.text === 'whole image'
    for (const [row, column, box] of photo!.boxes) {
      const found = field(layer, row, column)
      if (whole || !box) expect(found).toBeNull()
      else for (const [at, side] of box.entries()) expect(found![at]).toBeCloseTo(side, 6)
    }
  })
})

const layer = LayerData.of(unpacked(of))

test.each(combinations as { name: string; bytes: string; values: string; limits: [number, number][] | null }[])(
  'combination $name',
  ({ bytes, values, limits }) => {
    const { meta, tensors } = parse<CombineMeta>(unpacked(bytes))
    const data = (name: string) => tensors[name]!.data as Float32Array
    const found = meta.linear
      ? matrix(layer, data('weights'), data('bias'), meta.post).flatMap(plane => [...plane])
      : data('values')
    const expected = floats(values)
    expect(found.length).toBe(expected.length)
    for (const [at, value] of expected.entries()) expect(found[at]).toBeCloseTo(value, 2)
    if (limits) expect([...data('limits')]).toEqual(limits.flat().map(limit => expect.closeTo(limit, 4)))
  },
)
