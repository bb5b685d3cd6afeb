import { signal } from '@preact/signals'
import { expect, test } from 'vitest'
import { App } from '../src/app/app'
import type { Host, Manifest } from '../src/core/types'
import { initial, known } from '../src/core/view'
import { viewState } from './fixtures'

const layers = ['map', 'attention'].map((kind_of, at) => ({ id: `l${at}`, path: `l${at}`, kind_of, channels: 64 }))
const combinations = [
  { name: 'pca', layers: 'all' },
  { name: 'cam', layers: 'spatial' },
]
const inputs = ['i0', 'i1'].map(id => ({ id, name: id, width: 0, height: 0, predictions: [] }))
const MANIFEST = { layers, inputs, combinations, first: { input: '', layer: '' }, view: null } as unknown as Manifest

/** One that never answers. */
const host = { caps: {}, request: () => new Promise(() => {}) } as unknown as Host

test('a view begins as it does in Python', () => {
  expect(initial(MANIFEST)).toEqual(viewState.start)
})

test.each(viewState.values)('the fields that hold a value are those of Python: %j', (value, fields) => {
  const given = Object.fromEntries(Object.keys(viewState.start).map(name => [name, value]))
  expect(Object.keys(known(given))).toEqual(fields)
})

test.each(viewState['another layer'])('another layer leaves of a view what Python leaves', (before, after) => {
  const app = new App(host, MANIFEST, signal('light'))
  app.set(before)
  app.open(app.layer(after.layer))
  expect(app.view.value).toEqual(after)
})
