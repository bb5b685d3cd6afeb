// Layers that are no pictures: slices of a volume, steps of a sequence, one number for each channel, attention.
import assert from 'node:assert/strict'
import { close, floats, read } from './shown.mjs'

/** Points of a sheet, each with the value that numpy has there. */
async function values(shown, expected, most = 200) {
  const points = (await shown.scan('sheet', most)).filter(point => point.value !== undefined)
  assert.ok(points.length > 40, `only ${points.length} points lie on tiles`)
  for (const point of points) {
    const value = expected(Number(point.channel ?? point.head), Number(point.y ?? 0), Number(point.x ?? 0))
    assert.ok(close(read(point.value), value), `${JSON.stringify(point)}: ${value}`)
  }
}

export default ({ check, stage }) => {
  const { layers } = stage.facts.shapes
  check('the slices of a volume', () =>
    stage.with('shapes', { layer: 'volume' }, async shown => {
      const [, slices, rows, columns] = layers.volume.shape
      const all = floats(layers.volume.values)
      for (let slice = 0; slice < slices; slice++) {
        assert.match(await shown.text('.slice'), new RegExp(`Slice ${slice + 1} of ${slices}`))
        await values(shown, (channel, y, x) => all[((channel * slices + slice) * rows + y) * columns + x], 200)
        await shown.press('.')
      }
      await shown.fill('.slice input', '2')
      await values(shown, (channel, y, x) => all[((channel * slices + 2) * rows + y) * columns + x], 200)
    }),
  )

  check('the steps of a sequence, and one number for each channel', () =>
    stage.with('shapes', { layer: 'sequence' }, async shown => {
      const [, steps] = layers.sequence.shape
      const all = floats(layers.sequence.values)
      await values(shown, (channel, _, x) => all[channel * steps + x], 1500)
      await shown.open('vector')
      await shown.titled('vector')
      await shown.settled()
      const numbers = floats(layers.vector.values)
      await values(shown, channel => numbers[channel])
    }),
  )

  check('attention: the patch under the pointer asks where it looks', () =>
    stage.with('shapes', { layer: 'attention' }, async shown => {
      const all = floats(layers.attention.values)
      const tokens = layers.attention.shape[2]
      await shown.fill('.slice input', '6')
      // Pinned, so that pointing reads and doesn't ask.
      await shown.press('Escape', 'Shift+ArrowRight')
      const looks = await shown.scan('sheet', 200)
      assert.ok(looks.some(point => point.pinned))
      await shown.press('Escape')
      const [x, y] = await shown.seek('sheet', { y: 2, x: 3 })
      await shown.page.mouse.move(x, y)
      await shown.settled()
      assert.match(await shown.text('.slice'), /row 2, column 3/)
      const query = 1 + 2 * 4 + 3
      const { head, value } = await shown.readout()
      assert.ok(close(read(value), all[(Number(head) * tokens + query) * tokens + query]), value)
    }),
  )
}
