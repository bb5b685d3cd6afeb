// One probe in three panes, what is pinned, and maps that are made of channels.
import assert from 'node:assert/strict'
import { PYTORCH } from './classes.spec.mjs'
import { bytes, close, floats, near, read, until } from './shown.mjs'

const LAYER = '_blocks.2._project_conv'
const SECOND = '_blocks.4._swish:1'

const middle = ([left, top, right, bottom]) => [(left + right) / 2, (top + bottom) / 2]

export default ({ check, stage }) => {
  const { layers, photo, combined, pca, regions, places } = stage.facts.cat
  const [count, rows, columns] = layers[LAYER].shape
  const own = floats(layers[LAYER].values)
  const at = (channel, y, x) => own[(channel * rows + y) * columns + x]
  const open = act => stage.with('cat', { layer: LAYER }, act)

  /** That all panes mark a unit, and the photo the part that the line says it sees. */
  async function linked(shown, y, x) {
    const line = await shown.readout()
    assert.deepEqual([line.y, line.x], [String(y), String(x)])
    const map = await shown.marked('combined')
    const there = await shown.under('combined', middle(map))
    assert.deepEqual([there.y, there.x], [String(y), String(x)])
    const box = await shown.marked('input')
    const scale = box[4] / photo[1]
    const [left, right, top, bottom] = line.sees.match(/\d+/g).map(each => Number(each) * scale)
    for (const [k, edge] of [left, top, right, bottom].entries()) {
      assert.ok(Math.abs(box[k] - edge) < 4, `photo: ${box} for ${line.sees}`)
    }
    return line
  }

  check('pointing at any of three panes marks the unit in all of them; a click pins it, Esc frees it', () =>
    open(async shown => {
      const onSheet = await shown.seek('sheet', { channel: 5, y: 20, x: 40 })
      await shown.page.mouse.move(...onSheet)
      await shown.settled()
      const line = await linked(shown, 20, 40)
      assert.equal(line.channel, '5')
      const onMap = await shown.seek('combined', { y: 30, x: 12 })
      await shown.page.mouse.move(...onMap)
      await shown.settled()
      await linked(shown, 30, 12)
      const onPhoto = await shown.seek('input', { y: 11, x: 33 })
      await shown.page.mouse.move(...onPhoto)
      await shown.settled()
      await linked(shown, 11, 33)
      await shown.page.mouse.click(...onSheet)
      await shown.page.mouse.move(...onMap)
      await shown.settled()
      const pinned = await linked(shown, 20, 40)
      assert.ok(pinned.pinned)
      const strongest = await shown.find('.channel .classes li span:first-child').allTextContents()
      const above = channel => {
        const plane = own.subarray(channel * rows * columns, (channel + 1) * rows * columns)
        return at(channel, 20, 40) - plane.reduce((sum, value) => sum + value, 0) / plane.length
      }
      const order = [...Array(count).keys()].sort((a, b) => above(b) - above(a)).slice(0, 3)
      assert.deepEqual(
        strongest.slice(0, 3),
        order.map(each => `channel ${each}`),
      )
      await shown.press('Escape')
      assert.equal((await shown.readout()).pinned, undefined)
    }),
  )

  check('the value at the pinned unit is that of numpy', () =>
    stage.with('cat', { layer: LAYER, active: 7, unit: [13, 25] }, async shown => {
      const { value, channel } = await shown.readout()
      assert.equal(channel, '7')
      const expected = at(7, 13, 25)
      const exact = async () => Math.fround(read((await shown.readout()).value)) === expected
      if (stage.host !== 'report') await until(exact, () => `exactly ${expected}`)
      else assert.ok(Math.abs(read(value) - expected) < 6e-3 * Math.abs(expected))
    }),
  )

  /** The map's values and colours are those of `ls.heatmap`. */
  async function map(shown, { values: packed, codes: coded, palettes }) {
    const [sums, codes] = [floats(packed), bytes(coded)]
    const points = (await shown.scan('combined', 250)).filter(point => point.y !== undefined)
    assert.ok(points.length > 120)
    for (const point of points) {
      const unit = Number(point.y) * columns + Number(point.x)
      const said = `${JSON.stringify(point)}: ${sums[unit]}, code ${codes[unit]}`
      const off = Math.abs(read(point.combined) - sums[unit])
      assert.ok(off < 2e-3 * Math.max(...sums.map(Math.abs)), said)
      // Every digit that is written holds, the last one within what rounding twice makes of it.
      const [, decimals = ''] = point.combined.split('.')
      if (!point.combined.includes('e')) assert.ok(off <= 1.5 * 10 ** -decimals.length, said)
      assert.ok(near(point.rgb, palettes.light, codes[unit], 2), said)
    }
  }

  check('the mean, and a weighted sum of channels that are picked by Ctrl-click and by Space', () =>
    open(async shown => {
      await map(shown, combined.mean)
      const weights = Object.entries(combined.weights.weights)
      for (const [index, [channel]] of weights.entries()) {
        const [x, y] = await shown.seek('sheet', { channel })
        if (index) {
          await shown.page.keyboard.down('Control')
          await shown.page.mouse.click(x, y)
          await shown.page.keyboard.up('Control')
        } else {
          await shown.page.mouse.click(x, y)
          await shown.press('Escape', ' ')
        }
      }
      for (const [channel, weight] of weights) {
        await shown.fill(`[aria-label="Weight of channel ${channel} as a number"]`, String(weight))
        await shown.page.keyboard.press('Enter')
      }
      await shown.settled()
      await map(shown, combined.weights)
      const [[channel, weight]] = weights
      await shown.fill(`[aria-label="Weight of channel ${channel}"]`, '0')
      await shown.fill(`[aria-label="Weight of channel ${channel}"]`, String(weight))
      await shown.click('button:text-is("Only above 0")')
      await shown.settled()
      await map(shown, combined.relu)
    }),
  )

  check('principal components are the colours of ls.pca', () =>
    open(async shown => {
      await shown.choose('Combine', 'pca')
      await shown.find('.combined h2:text-matches("princip|PCA", "i")').waitFor()
      await shown.settled()
      const colors = bytes(pca)
      const points = (await shown.scan('combined', 250)).filter(point => point.y !== undefined)
      for (const point of points) {
        const unit = Number(point.y) * columns + Number(point.x)
        const expected = [...colors.subarray(3 * unit, 3 * unit + 3)]
        const off = Math.max(...point.rgb.map((part, k) => Math.abs(part - expected[k])))
        assert.ok(off <= 3, `${JSON.stringify(point)}: ${expected}`)
      }
    }),
  )

  for (const [name, parts] of [
    ['cat', regions],
    ['classes', stage.facts.classes?.regions ?? {}],
  ]) {
    for (const [path, [rows, columns]] of Object.entries(parts)) {
      const sees = async shown => {
        const points = (await shown.scan('combined', 250)).filter(point => point.y !== undefined)
        assert.ok(points.length > 120)
        for (const point of points) {
          const [left, right, top, bottom] = point.sees.match(/\d+/g).map(Number)
          const [expected, found] = [
            [...columns[point.x], ...rows[point.y]],
            [left, right, top, bottom],
          ]
          for (const [k, edge] of expected.entries())
            assert.ok(Math.abs(found[k] - edge) <= 1, `${JSON.stringify(point)}: ${expected}`)
        }
      }
      check(
        `the part of the photo that a unit of ${path} sees is that of Python`,
        () => stage.with(name, { layer: path }, sees),
        name === 'classes' ? PYTORCH : {},
      )
    }
  }

  check('two layers side by side: one probe marks the same place in both, with the values of either', () =>
    stage.with('cat', { layer: LAYER, beside: { layer: SECOND } }, async shown => {
      await shown.titled(SECOND, 1)
      await shown.settled()
      await values(shown, 1, layers[SECOND])
      for (const [y, x, down, across] of places) {
        const onSheet = await shown.seek('sheet', { channel: 5, y, x })
        await shown.page.mouse.move(...onSheet)
        await shown.settled()
        const first = await shown.readout()
        assert.deepEqual([first.channel, first.y, first.x], ['5', String(y), String(x)])
        assert.ok(close(read(first.value), at(5, y, x)))
        const there = await shown.under('combined', middle(await shown.marked('combined', 1)), 1)
        assert.deepEqual([there.y, there.x], [String(down), String(across)])
      }
    }),
  )

  check('two images side by side have the values of either', () =>
    stage.with('shapes', { layer: 'odd', beside: { input: 'i1' } }, async shown => {
      const { layers, second } = stage.facts.shapes
      await shown.find('.sheet').nth(1).waitFor()
      await shown.settled()
      await values(shown, 0, layers.odd)
      await values(shown, 1, second)
      assert.equal(await shown.count('.input'), 2)
    }),
  )
}

/** Points of a sheet, each with numpy's value. */
async function values(shown, index, { shape, values: packed }) {
  const all = floats(packed)
  const points = (await shown.scan('sheet', 300, index)).filter(point => point.value !== undefined)
  assert.ok(points.length > 60, `only ${points.length} points lie on tiles`)
  for (const point of points) {
    const value = all[(Number(point.channel) * shape[1] + Number(point.y)) * shape[2] + Number(point.x)]
    assert.ok(close(read(point.value), value), `${JSON.stringify(point)}: ${value}`)
  }
}
