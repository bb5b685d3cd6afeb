import { expect, test } from 'vitest'
import { line, quoted } from '../src/core/python'
import type { Manifest, ViewState } from '../src/core/types'
import { fromAddress, initial, known, toAddress } from '../src/core/view'

const OPENING = 'import layerscope as ls\n\nscope = ls.open("demo", size=224)'

const MANIFEST = {
  model: { name: 'net', framework: 'onnx', text: '', classes: 1000, gradients: true, opening: OPENING },
  inputs: [
    { id: 'i0', name: 'cat.jpg', width: 4, height: 4, source: 'photos/cat.jpg', predictions: null },
    { id: 'i1', name: 'a "b"\\\n.png', width: 4, height: 4, predictions: null },
  ],
  layers: [
    { id: 'l0', path: 'conv1', kind_of: 'map', channels: 32, spatial: [7, 9] },
    { id: 'l1', path: 'attn', kind_of: 'attention', channels: 4, spatial: [17, 17] },
    { id: 'l2', path: 'conv3d', kind_of: 'volume', channels: 3, spatial: [5, 4, 6] },
    { id: 'l3', path: 'few', kind_of: 'map', channels: 4, spatial: [2, 2] },
  ],
  combinations: [
    { name: 'pca', label: 'PCA', needs: 'none', linear: true, layers: 'spatial' },
    { name: 'nmf', label: 'NMF', needs: 'none', linear: false, layers: 'spatial', argument: 'count' },
    { name: 'grad-cam', label: 'Grad-CAM', needs: 'target', linear: true, layers: 'spatial' },
    { name: 'similarity', label: 'Similarity', needs: 'none', linear: false, layers: 'spatial', argument: 'unit' },
  ],
  first: { input: 'i0', layer: 'l0' },
  view: null,
} as unknown as Manifest

const view = (change: Partial<ViewState> = {}): ViewState => ({ ...initial(MANIFEST), ...change })

const SHOWN: Partial<ViewState> = {
  layer: 'l1',
  beside: { layer: 'l0' },
  scale: [-1.5, 2],
  clip: [1, 99],
  norm: 'symlog',
  find: 'mean > 0.1 and not dead & 50%',
  active: 17,
  unit: [3, 4],
  selected: [3, 17],
  weights: { 3: 0.5, 17: -1 },
  mode: 'nmf:6',
  target: 281,
  zoom: { scale: 2, x: 0.5, y: -1 },
  overlay: true,
}

test('an address holds what differs from the beginning, and gives it back', () => {
  expect(toAddress(view(), MANIFEST)).toBe('')
  const address = toAddress(view(SHOWN), MANIFEST)
  expect(address).not.toMatch(/[ "<>&]\w+ /)
  expect(fromAddress(`#${address}`)).toEqual(SHOWN)
  expect(fromAddress(new URL(`http://localhost/#${address}`).hash)).toEqual(SHOWN)
})

test('a text that looks like a number or a list stays a text', () => {
  expect(fromAddress(toAddress(view({ find: '17' }), MANIFEST))).toEqual({ find: '17' })
  expect(fromAddress(toAddress(view({ find: 'null', colors: 'true' }), MANIFEST))).toEqual({
    find: 'null',
    colors: 'true',
  })
})

test.each([
  'norm=cubic&opacity=2&active=-1&active2=3',
  'weights=[1]&weights={"x":1}&weights={"1":"a"}',
  'clip=[99,1]&scale=[1]&scale=[2,1]&zoom={"scale":0,"x":0,"y":0}&zoom={"scale":1}',
  '__proto__={"a":1}&constructor=x&toString=1&%E0%A4%A&norm=%E0%A4%A&=&',
  'beside={"url":"x"}&unit=[1.5,2]&selected=3&theme=blue&table=1',
])('what is no field of a view is left out of an address: %s', address => {
  expect(fromAddress(address)).toEqual({})
})

test('a view that the manifest brings is the beginning, as far as it is one', () => {
  const given = { ...MANIFEST, view: { norm: 'log', sort: 'mean', opacity: 'no' } } as unknown as Manifest
  expect(initial(given)).toEqual(view({ norm: 'log', sort: 'mean' }))
  expect(known({ active: 3, other: 1 })).toEqual({ active: 3 })
})

const OPENED = `${OPENING}\nfm = scope.capture("photos/cat.jpg", "conv1")["conv1"]\n`

test('the Python line of a sheet', () => {
  expect(line(view(), MANIFEST)).toBe(`${OPENED}ls.sheet(fm)`)
  expect(line(view({ sort: 'mean', scale: 'layer', colors: 'magma', find: 'mean > 0.1' }), MANIFEST)).toBe(
    `${OPENED}ls.sheet(fm, channels="mean > 0.1", sort="mean", scale="layer", colors="magma")`,
  )
  expect(line(view({ clip: [1, 99], norm: 'log', single: true, active: 7, sort: 'max' }), MANIFEST)).toBe(
    `${OPENED}ls.sheet(fm, channels=[7], clip=(1, 99), norm="log")`,
  )
  expect(line(view({ scale: [-1, 2.5], clip: [1, 99] }), MANIFEST)).toBe(`${OPENED}ls.sheet(fm, scale=(-1, 2.5))`)
  expect(line(view({ layer: 'l1', query: 5 }), MANIFEST)).toContain('["attn"]\nfm = ls.attention(fm, 5)\nls.sheet(fm)')
})

test('the Python line of a combined map', () => {
  const weights = { 3: 0.5, 17: -1 }
  expect(line(view({ colors: 'magma' }), MANIFEST, 'combined')).toBe(`${OPENED}ls.heatmap(ls.mean(fm), colors="magma")`)
  expect(line(view({ mode: 'channel', active: 4 }), MANIFEST, 'overlay')).toBe(
    `${OPENED}ls.overlay(fm.select([4]), alpha=0.7)`,
  )
  expect(line(view({ mode: 'weights', weights }), MANIFEST, 'overlay')).toBe(
    `${OPENED}ls.overlay(ls.weighted(fm, {3: 0.5, 17: -1}), alpha=0.7)`,
  )
  expect(
    line(view({ mode: 'weights', weights, post: 'relu' }), MANIFEST, 'combined')
      .split('\n')
      .slice(4),
  ).toEqual([
    'total = ls.weighted(fm, {3: 0.5, 17: -1})',
    'total = total.combined(total.values.clip(min=0), "positive part")',
    'ls.heatmap(total)',
  ])
  expect(line(view({ mode: 'nmf:4', target: 3 }), MANIFEST, 'combined')).toBe(
    `${OPENING}\nls.show(scope, "photos/cat.jpg", "conv1", combine="nmf:4")`,
  )
  expect(line(view({ mode: 'grad-cam', target: 281 }), MANIFEST, 'overlay')).toBe(
    `${OPENING}\nls.show(scope, "photos/cat.jpg", "conv1", combine="grad-cam", target=281, overlay=True, alpha=0.7)`,
  )
})

test('a single channel has the scale of its tile, a volume shows one slice, and the first class is aimed at without another', () => {
  const channel = { mode: 'channel', active: 4, clip: [1, 99] as [number, number] }
  expect(line(view(channel), MANIFEST, 'combined')).toBe(`${OPENED}ls.heatmap(fm.select([4]), clip=(1, 99))`)
  expect(line(view({ ...channel, scale: [0, 2] }), MANIFEST, 'combined')).toBe(
    `${OPENED}ls.heatmap(fm.select([4]), scale=(0, 2))`,
  )
  expect(line(view({ layer: 'l2', slice: 3 }), MANIFEST, 'combined')).toContain(
    '\nfm = ls.FeatureMap.of_array(fm.values[:, 3], "bhwc")\nls.heatmap(ls.mean(fm))',
  )
  const inputs = [{ ...MANIFEST.inputs[0]!, predictions: [{ index: 285, label: 'cat', probability: 1 }] }]
  expect(line(view({ mode: 'grad-cam' }), { ...MANIFEST, inputs }, 'combined')).toContain(
    'combine="grad-cam", target=285)',
  )
  expect(line(view({ mode: 'grad-cam' }), MANIFEST, 'combined')).toContain('combine="grad-cam")')
})

test('the Python of two sides draws both', () => {
  const second = 'fm = scope.capture("photos/cat.jpg", "few")["few"]\n'
  expect(line(view({ beside: { layer: 'l3' }, sort: 'mean' }), MANIFEST)).toBe(
    `${OPENED}ls.sheet(fm, sort="mean").show()\n${second}ls.sheet(fm, sort="mean").show()`,
  )
  expect(line(view({ beside: { input: 'i1' } }), MANIFEST, 'combined')).toContain(
    '.png", "conv1")["conv1"]\nls.heatmap(',
  )
  const weights = { mode: 'weights', weights: { 3: 0.5, 17: -1 }, beside: { layer: 'l3' } }
  expect(line(view(weights), MANIFEST, 'combined').split('\n').slice(-2).join('\n')).toBe(
    `${second}ls.heatmap(ls.weighted(fm, {3: 0.5})).show()`,
  )
  for (const beside of [{}, { layer: 'l0' }]) expect(line(view({ beside }), MANIFEST)).toBe(`${OPENED}ls.sheet(fm)`)
})

test('similarity is that to the unit that is pinned, or to the middle', () => {
  const at = (unit: [number, number] | null) => line(view({ mode: 'similarity', unit }), MANIFEST, 'combined')
  expect(at([1, 2])).toContain('combine="similarity:1,2")')
  expect(at(null)).toContain('combine="similarity:3,4")')
})

test('the Python of a store reads it', () => {
  const opening = 'import layerscope as ls\n\nstore = ls.open_store("kept")'
  const combinations = MANIFEST.combinations.map(each => ({ ...each, call: `ls.${each.name}(fm{})` }))
  const store = { ...MANIFEST, combinations, model: { ...MANIFEST.model, opening, store: true } }
  const opened = `${opening}\nfm = store.feature_map("conv1", "photos/cat.jpg", photos=True)\n`
  expect(line(view(), store)).toBe(`${opened}ls.sheet(fm)`)
  expect(line(view({ mode: 'pca' }), store, 'overlay')).toBe(`${opened}ls.overlay(ls.pca(fm), alpha=0.7)`)
  expect(line(view({ mode: 'nmf:4' }), store, 'combined')).toBe(`${opened}ls.heatmap(ls.nmf(fm, (4)))`)
  expect(line(view({ mode: 'similarity' }), store, 'combined')).toBe(`${opened}ls.heatmap(ls.similarity(fm, (3,4)))`)
})

test('names are texts of Python, whoever wrote them', () => {
  expect(line(view({ input: 'i1' }), MANIFEST)).toContain('scope.capture("a \\"b\\"\\\\\\U0000000a.png", "conv1")')
  expect(quoted('\u2028\u202e"); import os #')).toBe('"\\U00002028\\U0000202e\\"); import os #"')
})
