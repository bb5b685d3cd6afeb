import { describe, expect, test } from 'vitest'
import { csv } from '../src/core/csv'
import { histogram } from '../src/core/histogram'
import { find } from '../src/core/query'
import { order } from '../src/core/sort'
import { doubles, layerFrom, layerOf, written } from './fixtures'

describe.each(Object.entries(written))('%s', (_, known) => {
  const layer = layerFrom(known)

  test.each(Object.entries(known.queries))('finds what Python finds for "%s"', (query, expected) => {
    const found = find(layer, query)
    if (typeof expected === 'string') expect(found).toBeTypeOf('string')
    else expect([...(found as Int32Array)]).toEqual(expected)
  })

  test.each(Object.entries(known.orders))('is in the order of Python by %s', (name, expected) => {
    if (typeof expected !== 'string') expect([...order(layer, name)]).toEqual(expected)
  })

  test('has the CSV of statistics()', () => {
    expect(
      csv(layer)
        .trimEnd()
        .split('\n')
        .map(line => line.split(',')),
    ).toEqual(known.csv)
  })
})

const sparse = layerOf([3, 1, 2], [1, 2, 3, 4, 5, 6], {
  tensors: {
    channels: { dtype: 'I32', shape: [3], data: Int32Array.of(4, 17, 9) },
    statistics: doubles(
      [11, 3],
      Array.from({ length: 33 }, (_, at) => at / 10),
    ),
  },
})

test('numbers are the true ones of channels that were chosen', () => {
  expect([...(find(sparse, '17,4') as Int32Array)]).toEqual([1, 0])
  expect([...(find(sparse, '5: and channel < 17') as Int32Array)]).toEqual([2])
  expect(find(sparse, '4:6')).toBe("'4:6': there is no channel 5; its channels are 4, 17, 9")
})

test('what is wrong is said, with the figure that was meant', () => {
  expect(find(sparse, 'meen > 1')).toContain("'meen > 1' in 'meen > 1' can't be read")
  expect(find(sparse, 'meen > 1')).toMatch(/Did you mean 'mean'\?$/)
  expect(find(sparse, 'mean > much')).toContain("'much' in 'mean > much' is not a number")
  expect(find(sparse, '1;2')).toBe("'1;2' in '1;2': give channel numbers as 0:16,40")
})

test('a histogram counts what lies within, at both ends as well', () => {
  const values = Float32Array.of(0, 0.1, 0.5, 1, 1.1, -0.1, NaN, Infinity)
  expect([...histogram(values, 0, 1, 4)]).toEqual([2, 0, 1, 1])
  expect([...histogram(Float32Array.of(1, 9, 11, 100), 1, 100, 2, 'log')]).toEqual([2, 2])
  expect([...histogram(Float32Array.of(-1, 0, 1), -1, 1, 3, 'symlog')]).toEqual([1, 1, 1])
  expect([...histogram(values, 1, 1, 2)]).toEqual([0, 0])
})
