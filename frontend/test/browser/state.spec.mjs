// The view in the address, files that are saved, and the Python that draws the same.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'

const LAYER = '_blocks.2._project_conv'

async function download(shown, button) {
  const [file] = await Promise.all([shown.page.waitForEvent('download'), shown.page.click(button)])
  return { name: file.suggestedFilename(), bytes: readFileSync(await file.path()) }
}

export default ({ check, stage }) => {
  const { facts } = stage
  check('a view is in the address, and the address opens it', () =>
    stage.with('cat', { layer: facts.cat.ids[LAYER] }, async shown => {
      await shown.choose('Scale', 'symlog')
      await shown.choose('Sort', 'deviation')
      await shown.fill('.find input', 'mean > 0.1')
      await shown.press('Escape', 'ArrowRight', 'Shift+ArrowDown', ' ', 'ArrowRight', ' ', 'o')
      const view = await shown.view()
      assert.equal(view.norm, 'symlog')
      assert.equal(view.selected.length, 2)
      assert.ok(view.overlay && view.unit)
      await shown.page.waitForFunction(() => /overlay=true/.test(location.hash) && /weights/.test(location.hash))
      const { hash, search } = new URL(shown.page.url())
      assert.equal(search, '', 'no token is in the address')
      await shown.page.reload()
      await shown.drawn()
      assert.deepEqual(await shown.view(), view)
      assert.equal(new URL(shown.page.url()).hash, hash)
      // A browser calls it an error that an address without its token is not answered at first.
      shown.seen.console = shown.seen.console.filter(each => !/403/.test(each))
    }),
  )

  for (const [name, paths] of [
    ['cat', [LAYER]],
    ['shapes', ['odd', 'volume', 'sequence', 'vector']],
  ]) {
    for (const path of paths) {
      check(`the statistics of ${path} are saved as to_csv writes them`, () =>
        stage.with(name, { layer: facts[name].ids[path] }, async shown => {
          await shown.press('Control+s')
          const { bytes, name: file } = await download(shown, 'dialog button:text-matches("CSV")')
          assert.match(file, /\.csv$/)
          assert.equal(bytes.toString(), facts[name].layers[path].csv)
        }),
      )
    }
  }

  check('pictures are saved as PNG', () =>
    stage.with('cat', { layer: facts.cat.ids[LAYER] }, async shown => {
      await shown.press('Control+s')
      for (const what of ['sheet', 'combined', 'overlay']) {
        await shown.page.selectOption('dialog select', what)
        const { bytes, name } = await download(shown, 'dialog button:text-is("PNG")')
        assert.match(name, /\.png$/)
        assert.equal(bytes.subarray(1, 4).toString(), 'PNG')
        assert.ok(bytes.readUInt32BE(16) > 300 && bytes.readUInt32BE(20) > 300)
      }
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
      stage.with('cat', { layer: facts.cat.ids[LAYER], ...view }, async shown => {
        const points = (await shown.scan(what, 400)).filter(point => point.y !== undefined)
        await shown.press('Control+s')
        await shown.page.selectOption('dialog select', what)
        const line = await shown.page.inputValue('textarea[aria-label="Python"]')
        stage.lines.push({ what, view, line, points: points.map(({ channel, y, x, rgb }) => [+channel, +y, +x, rgb]) })
      }),
    )
  }
}
