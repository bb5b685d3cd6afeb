// Maps for a class, by a small network whose gradients are known without a framework, and the map on the photo.
import assert from 'node:assert/strict'
import { bytes, floats, near, read } from './shown.mjs'

/** Why a notebook is left out of what stands on this network. */
export const PYTORCH = { jupyter: 'its kernel would load PyTorch, and the bytes are those of the page' }

/** The map that is shown is the one that was worked out: in its numbers on every point, and in its colours. */
async function compare(shown, { values: packed, codes: coded, palette, shape: [, columns] }) {
  const [values, codes] = [floats(packed), bytes(coded)]
  const most = Math.max(...values.map(Math.abs))
  const points = (await shown.scan('combined', 250)).filter(point => point.y !== undefined)
  assert.ok(points.length > 120)
  for (const point of points) {
    const unit = Number(point.y) * columns + Number(point.x)
    const said = `${JSON.stringify(point)}: ${values[unit]}, ${palette[codes[unit]]}`
    // Of a sum from stored numbers maybe three digits are written, as many as hold.
    assert.ok(Math.abs(read(point.combined) - values[unit]) < 2e-3 * most + 5e-3 * Math.abs(values[unit]), said)
    assert.ok(near(point.rgb, palette, codes[unit], 2), said)
  }
}

export default ({ check, stage }) => {
  if (!stage.facts.classes) return check('maps for a class, and on the photo', () => {}, PYTORCH)
  const { maps, top, labels, overlays } = stage.facts.classes
  const aimed = async (shown, rule, target) => {
    await shown.find(`.combined h2:has-text("${labels[target]}")`).waitFor()
    await shown.settled()
    await compare(shown, maps[rule][target])
  }
  for (const rule of Object.keys(maps)) {
    check(
      `${rule} of the class that the model saw, of one that is typed, and of one that is clicked`,
      () =>
        stage.with('classes', { layer: 'act' }, async shown => {
          await shown.choose('Combine', rule)
          await aimed(shown, rule, top[0])
          const typed = top.at(-1)
          await shown.fill('.combined input[list]', String(typed))
          if (stage.host === 'report') {
            assert.match(await shown.text('.combined'), /Only layerscope view has that/)
            return
          }
          await aimed(shown, rule, typed)
          await shown.find('.input .classes button').nth(1).click()
          await aimed(shown, rule, top[1])
          await shown.fill('.combined input[list]', 'no such class')
          await shown.find('.combined input[list]').press('Enter')
          await shown.find('[role=alert]:has-text("No class \'no such class\'")').waitFor()
          await shown.fill('.combined input[list]', labels[top[0]].toUpperCase())
          await shown.find('.combined input[list]').press('Enter')
          await aimed(shown, rule, top[0])
        }),
      PYTORCH,
    )
  }

  for (const [
    name,
    {
      view,
      rgb: packed,
      size: [height, width],
    },
  ] of Object.entries(overlays)) {
    check(
      `the ${name} on the photo has the colours of ls.overlay`,
      () =>
        stage.with('classes', { layer: 'act', overlay: true, ...view }, async shown => {
          const expected = bytes(packed)
          const canvas = await shown.box('.input .field canvas')
          const points = await shown.scan('input', 600)
          const scale = width / canvas.width
          const off = points.map(({ at: [x, y], rgb }) => {
            const [left, right] = [x, x + 1].map(each => Math.floor(each * scale))
            const [top, bottom] = [y, y + 1].map(each => Math.min(height, Math.floor(each * scale)))
            const mean = [0, 0, 0]
            for (let row = top; row < bottom; row++)
              for (let column = left; column < right; column++)
                for (let part = 0; part < 3; part++)
                  mean[part] += expected[3 * (row * width + column) + part] / ((bottom - top) * (right - left))
            return Math.max(...rgb.map((part, k) => Math.abs(part - mean[k])))
          })
          off.sort((a, b) => a - b)
          // Pixels on the edge of a unit are of either.
          const [half, most] = [0.5, 0.8].map(share => off[Math.floor(share * off.length)])
          assert.ok(half <= 2 && most <= 6, `half of all points are off by ${half}, most by ${most}`)
        }),
      PYTORCH,
    )
  }
}
