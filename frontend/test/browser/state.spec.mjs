// The view in the address, files that are saved, and the Python that draws the same.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { until } from './shown.mjs'

const LAYER = '_blocks.2._project_conv'

async function download(shown, button) {
  const [file] = await Promise.all([shown.page.waitForEvent('download'), shown.click(button)])
  return { name: file.suggestedFilename(), bytes: readFileSync(await file.path()) }
}

export default ({ check, stage }) => {
  const { facts } = stage
  check(
    'a view is in the address, and the address opens it',
    () =>
      stage.with('cat', { layer: LAYER }, async shown => {
        await shown.choose('Scale', 'symlog')
        await shown.choose('Sort', 'deviation')
        await shown.fill('.find input', 'mean > 0.1')
        await shown.press('Escape', 'ArrowRight', 'Shift+ArrowDown', ' ', 'ArrowRight', ' ', 'o')
        const view = await shown.view()
        assert.equal(view.norm, 'symlog')
        assert.equal(view.selected.length, 2)
        assert.ok(view.overlay && view.unit)
        await until(() => /overlay=true.*weights|weights.*overlay=true/.test(shown.page.url()))
        const { hash, search } = new URL(shown.page.url())
        assert.equal(search, '', 'no token is in the address')
        await shown.page.reload()
        await shown.drawn()
        assert.deepEqual(await shown.view(), view)
        assert.equal(new URL(shown.page.url()).hash, hash)
      }),
    { jupyter: 'a widget has no address' },
  )

  for (const [name, paths] of [
    ['cat', [LAYER]],
    ['shapes', ['odd', 'volume', 'sequence', 'vector']],
  ]) {
    for (const path of paths) {
      check(`the statistics of ${path} are saved as to_csv writes them`, () =>
        stage.with(name, { layer: path }, async shown => {
          await shown.press('Control+s')
          const { bytes, name: file } = await download(shown, 'dialog button:text-matches("CSV")')
          assert.match(file, /\.csv$/)
          assert.equal(bytes.toString(), facts[name].layers[path].csv)
        }),
      )
    }
  }

  check('pictures are saved as PNG', () =>
    stage.with('cat', { layer: LAYER }, async shown => {
      await shown.press('Control+s')
      for (const what of ['sheet', 'combined', 'overlay']) {
        await shown.find('dialog select').selectOption(what)
        const { bytes, name } = await download(shown, 'dialog button:text-is("PNG")')
        assert.match(name, /\.png$/)
        assert.equal(bytes.subarray(1, 4).toString(), 'PNG')
        assert.ok(bytes.readUInt32BE(16) > 300 && bytes.readUInt32BE(20) > 300)
      }
    }),
  )

  /** Notes the Python of what is seen, and the colours that are seen, which test_browser.py compares. */
  async function note(shown, what, view) {
    const points = (await shown.scan(what, 250)).filter(point => point.y !== undefined)
    await shown.press('Control+s')
    await shown.find('dialog select').selectOption(what)
    const line = await shown.find('textarea[aria-label="Python"]').inputValue()
    stage.lines.push({ what, view, line, points: points.map(({ channel, y, x, rgb }) => [+channel, +y, +x, rgb]) })
    await shown.press('Escape')
  }

  check('the handles of the histogram are dragged to the limits of the colours, and are moved by keys', () =>
    stage.with('cat', { layer: LAYER, active: 3, scale: 'layer' }, async shown => {
      const { mouse } = shown.page
      const { x, y, width, height } = await shown.box('.histogram')
      const handle = shown.find('.histogram .handle')
      const [low, high] = await handle
        .first()
        .evaluate(each => ['valuemin', 'valuemax'].map(name => Number(each.getAttribute(`aria-${name}`))))
      const shares = [0.4, 0.6]
      for (const [which, share] of shares.entries()) {
        const { x: left, width: wide } = await handle.nth(which).boundingBox()
        await mouse.move(left + wide / 2, y + height / 2)
        await mouse.down()
        await mouse.move(x + width / 2, y + height / 2)
        await mouse.move(x + share * width, y + height / 2)
        await mouse.up()
      }
      await shown.settled()
      const { scale, clip } = await shown.view()
      assert.equal(clip, null)
      for (const [which, share] of shares.entries()) {
        const meant = low + share * (high - low)
        assert.ok(Math.abs(scale[which] - meant) < (2 * (high - low)) / width, `${scale} of ${low} to ${high}`)
      }
      assert.match(await shown.text('.sheet footer'), /Fixed range.*below the limits.*above the limits/s)
      await note(shown, 'sheet', { scale })
      await handle.first().focus()
      await shown.press('ArrowLeft')
      const [moved] = (await shown.view()).scale
      assert.ok(Math.abs(scale[0] - moved - 0.01 * (high - low)) < 1e-6 * (high - low))
      await mouse.dblclick(x + width / 2, y + height / 2)
      assert.equal((await shown.view()).scale, 'channel')
    }),
  )

  const views = [
    {},
    { scale: 'layer', norm: 'symlog' },
    { scale: [-5, 7.5] },
    { clip: [1, 99], scale: 'layer' },
    { sort: 'energy', find: 'min < -2' },
    { single: true, active: 3 },
    { mode: 'mean' },
    { mode: 'weights', selected: [1, 5], weights: { 1: 1, 5: -0.5 } },
    { mode: 'weights', selected: [1, 5], weights: { 1: 1, 5: -0.5 }, post: 'relu' },
    { mode: 'channel', active: 2, norm: 'symlog' },
  ]
  for (const view of views) {
    const what = view.mode ? 'combined' : 'sheet'
    check(`Python for a ${what} with ${JSON.stringify(view)}`, () =>
      stage.with('cat', { layer: LAYER, ...view }, shown => note(shown, what, view)),
    )
  }

  check('Python for components as colours names neither the scale nor the colours of the sheet', () =>
    stage.with('cat', { layer: LAYER, mode: 'pca', norm: 'log', colors: 'magma' }, async shown => {
      await shown.press('Control+s')
      await shown.find('dialog select').selectOption('combined')
      const text = await shown.find('textarea[aria-label="Python"]').inputValue()
      assert.match(text, /combine="pca"\)/)
      assert.match(await shown.find('textarea[aria-label="Python: sheet"]').inputValue(), /norm="log", colors="magma"/)
      await shown.press('Escape')
    }),
  )
}
