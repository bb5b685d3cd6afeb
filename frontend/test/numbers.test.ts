import { expect, test } from 'vitest'
import { at, curveOf, place } from '../src/core/norms'
import { digitsFor, held, number, reading, repr } from '../src/core/numbers'
import { decades, placedTicks, roundNumbers, ticks } from '../src/core/ticks'
import { bars, numberOf, numbers } from './fixtures'

test.each(numbers)('%s is written as Python writes it', (word, short, full) => {
  expect([number(numberOf(word)), repr(Object.is(word, 0) && full.startsWith('-') ? -0 : numberOf(word))]).toEqual([
    short,
    full,
  ])
})

test.each(bars)('a bar over $limits, $norm', ({ limits: [low, high], norm, center, ...known }) => {
  expect(digitsFor(low, high)).toBe(known.digits)
  expect(ticks(low, high, norm, center)).toEqual(known.ticks)
  const shares = known.at.map((_, index) => index / (known.at.length - 1))
  expect(shares.map(share => at(share, low, high, norm))).toEqual(
    known.at.map(each => expect.closeTo(each, 12 - Math.log10(high))),
  )
  expect(known.at.map(each => place(each, low, high, norm))).toEqual(known.places.map(each => expect.closeTo(each, 9)))
  expect(known.at.map(value => reading(value, low, high))).toEqual(known.readings)
})

test('round numbers keep half a line to what is in front of them, the centre keeps none', () => {
  const range = { low: 0, high: 1, curve: curveOf() }
  expect(placedTicks(range, 0.1)).toEqual([1, 0, 0.2, 0.4, 0.6, 0.8].map(each => [each, each ? each.toFixed(1) : '0']))
  expect(placedTicks(range, 0.14).map(([, text]) => text)).toEqual(['1.0', '0', '0.4'])
  expect(placedTicks({ low: -1, high: 3, curve: curveOf('linear', 0) }, 0.25)).toEqual([
    [1, '3'],
    [0, '−1'],
    [0.25, '0'],
  ])
})

test('round numbers', () => {
  expect(roundNumbers(-0.3, 1.7)).toEqual([0, 0.5, 1, 1.5])
  expect(decades(0.002, 300)).toEqual([0.01, 0.1, 1, 10, 100])
  expect(ticks(2, 2)).toEqual([[2, '2']])
})

test('a bar of one norm there and back', () => {
  for (const norm of ['linear', 'log', 'symlog'] as const) {
    for (const share of [0, 0.2, 0.5, 1]) expect(place(at(share, 0.5, 80, norm), 0.5, 80, norm)).toBeCloseTo(share, 12)
  }
  expect([at(0.4, 3, 3, 'linear'), place(3, 3, 3, 'log')]).toEqual([3, 0])
})

test('a number that may be off has the digits that hold', () => {
  expect(held(8.558, 8.558 / 2048)).toBe('8.56')
  expect(held(-8.555, 0.05)).toBe('−8.6')
  expect(held(8.5583, 0)).toBe('8.558')
  expect(held(1234.5, 40)).toBe('1.2e3')
  expect([held(0.003, 0.01), held(0, 0), held(Number.NaN, 1), held(Infinity, Infinity)]).toEqual([
    '0',
    '0',
    'NaN',
    '+inf',
  ])
})
