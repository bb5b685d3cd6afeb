// One probe in three panes, what is pinned, and maps that are made of channels.
import assert from 'node:assert/strict'
import { bytes, floats, near, read } from './stage.mjs'

const LAYER = '_blocks.2._project_conv'

/** The box of what is drawn above a pane, in its pixels: `[left, top, right, bottom]`. */
const marked = (shown, selector) =>
  shown.page.evaluate(selector => {
    const canvas = [...document.querySelectorAll(selector)][1]
    const { data, width } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
    const box = [Infinity, Infinity, -Infinity, -Infinity]
    for (let at = 0; at < data.length / 4; at++) {
      if (!data[4 * at + 3]) continue
      const [x, y] = [at % width, Math.floor(at / width)]
      box[0] = Math.min(box[0], x)
      box[1] = Math.min(box[1], y)
      box[2] = Math.max(box[2], x + 1)
      box[3] = Math.max(box[3], y + 1)
    }
    return [...box, canvas.width, canvas.height]
  }, selector)

const middle = ([left, top, right, bottom]) => [(left + right) / 2, (top + bottom) / 2]

export default ({ check, stage }) => {
  const { layers, ids, photo, combined, pca } = stage.facts.cat
  const [count, rows, columns] = layers[LAYER].shape
  const values = floats(layers[LAYER].values)
  const at = (channel, y, x) => values[(channel * rows + y) * columns + x]
  const open = act => stage.with('cat', { layer: ids[LAYER] }, act)

  /** That all panes mark a unit, and the photo the part that the line says it sees. */
  async function linked(shown, y, x) {
    const line = await shown.readout()
    assert.deepEqual([line.y, line.x], [String(y), String(x)])
    const map = await marked(shown, '.combined .map .field canvas')
    assert.deepEqual(await shown.under('combined', middle(map)), [y, x])
    const box = await marked(shown, '.input .field canvas')
    const scale = box[4] / photo[1]
    const [left, right, top, bottom] = line.sees.match(/\d+/g).map(each => Number(each) * scale)
    for (const [k, edge] of [left, top, right, bottom].entries()) {
      assert.ok(Math.abs(box[k] - edge) < 4, `photo: ${box} for ${line.sees}`)
    }
    return line
  }

  check('pointing at any of three panes marks the unit in all of them; a click pins it, Esc frees it', () =>
    open(async shown => {
      const onSheet = await shown.find('sheet', { channel: 5, y: 20, x: 40 })
      await shown.page.mouse.move(...onSheet)
      await shown.settled()
      const line = await linked(shown, 20, 40)
      assert.equal(line.channel, '5')
      const onMap = await shown.find('combined', { y: 30, x: 12 })
      await shown.page.mouse.move(...onMap)
      await shown.settled()
      await linked(shown, 30, 12)
      const onPhoto = await shown.find('input', { y: 11, x: 33 })
      await shown.page.mouse.move(...onPhoto)
      await shown.settled()
      await linked(shown, 11, 33)
      await shown.page.mouse.click(...onSheet)
      await shown.page.mouse.move(...onMap)
      await shown.settled()
      const pinned = await linked(shown, 20, 40)
      assert.ok(pinned.pinned)
      const strongest = await shown.page.$$eval('.channel .classes li span:first-child', all =>
        all.map(each => each.textContent),
      )
      const above = channel => {
        const plane = values.subarray(channel * rows * columns, (channel + 1) * rows * columns)
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
    open(async shown => {
      await shown.page.goto(`${shown.page.url().split('#')[0]}#layer=${ids[LAYER]}&active=7&unit=[13,25]`)
      await shown.page.waitForTimeout(400)
      await shown.settled()
      const { value, channel } = await shown.readout()
      assert.equal(channel, '7')
      const expected = at(7, 13, 25)
      if (stage.host === 'page') assert.equal(Math.fround(read(value)), expected)
      else assert.ok(Math.abs(read(value) - expected) < 6e-3 * Math.abs(expected))
    }),
  )

  /** The map's values and colours are those of `ls.heatmap`. */
  async function map(shown, { values: packed, codes: coded, palettes }) {
    const [sums, codes] = [floats(packed), bytes(coded)]
    const points = (await shown.scan('combined', 500)).filter(point => point.y !== undefined)
    assert.ok(points.length > 300)
    for (const point of points) {
      const unit = Number(point.y) * columns + Number(point.x)
      const said = `${JSON.stringify(point)}: ${sums[unit]}, code ${codes[unit]}`
      assert.ok(Math.abs(read(point.combined) - sums[unit]) < 2e-3 * Math.max(...sums.map(Math.abs)), said)
      assert.ok(near(point.rgb, palettes.light, codes[unit], 2), said)
    }
  }

  check('the mean, and a weighted sum of channels that are picked by Ctrl-click and by Space', () =>
    open(async shown => {
      await map(shown, combined.mean)
      const weights = Object.entries(combined.weights.weights)
      for (const [index, [channel]] of weights.entries()) {
        const [x, y] = await shown.find('sheet', { channel })
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
        await shown.page.fill(`[aria-label="Weight of channel ${channel} as a number"]`, String(weight))
        await shown.page.keyboard.press('Enter')
      }
      await shown.settled()
      await map(shown, combined.weights)
      const [[channel, weight]] = weights
      await shown.page.fill(`[aria-label="Weight of channel ${channel}"]`, '0')
      await shown.page.fill(`[aria-label="Weight of channel ${channel}"]`, String(weight))
      await shown.page.click('button:text-is("Only above 0")')
      await shown.settled()
      await map(shown, combined.relu)
    }),
  )

  check('principal components are the colours of ls.pca', () =>
    open(async shown => {
      await shown.choose('Combine', 'pca')
      await shown.page.waitForFunction(() => /princip|PCA/i.test(document.querySelector('.combined h2').textContent))
      await shown.settled()
      const colors = bytes(pca)
      const points = (await shown.scan('combined', 500)).filter(point => point.y !== undefined)
      for (const point of points) {
        const unit = Number(point.y) * columns + Number(point.x)
        const expected = [...colors.subarray(3 * unit, 3 * unit + 3)]
        const off = Math.max(...point.rgb.map((part, k) => Math.abs(part - expected[k])))
        assert.ok(off <= 3, `${JSON.stringify(point)}: ${expected}`)
      }
    }),
  )
}
