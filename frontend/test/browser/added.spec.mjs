// What only the page can: more images, and what takes long.
import assert from 'node:assert/strict'
import { compare } from './values.spec.mjs'

export default ({ check, stage }) => {
  const { ids, added } = stage.facts.shapes
  check(
    'an image that is picked is run through the model and shown',
    () =>
      stage.with('shapes', { layer: ids.odd }, async shown => {
        const before = await shown.page.locator('.toolbar .choice:has(> span:text-is("Image")) option').count()
        await shown.page.setInputFiles('input[type=file]', stage.added)
        await shown.page.waitForFunction(
          count => document.querySelectorAll('.toolbar .choice:first-of-type option').length > count,
          before,
        )
        await shown.settled()
        const facts = { ...shown.facts, layers: { odd: added } }
        await compare(Object.assign(shown, { facts }), 'odd', added.sheets[0])
        assert.match(await shown.text('.sheet header p'), /added\.png, 64 × 48/)
      }),
    ['page'],
  )

  check(
    'a file that is no image is refused with a sentence, and what was shown stays',
    () =>
      stage.with('shapes', { layer: ids.odd }, async shown => {
        await shown.page.setInputFiles('input[type=file]', {
          name: 'notes.png',
          mimeType: 'image/png',
          buffer: Buffer.from('no image'),
        })
        await shown.page.waitForSelector('[role=alert]')
        assert.match(await shown.text('[role=alert]'), /notes\.png/)
        assert.ok((await shown.text('.sheet h2')).startsWith('odd'))
      }),
    ['page'],
  )

  check(
    'a slow layer shows that it runs, is cancelled, and leaves the page as it was',
    () =>
      stage.with('shapes', { layer: ids.odd }, async shown => {
        await shown.page.click(`.tree li[data-layer="${ids.slow}"]`)
        await shown.page.waitForSelector('.job')
        await shown.page.click('.job button')
        await shown.page.waitForFunction(() => !document.querySelector('.job'))
        assert.equal(await shown.page.locator('[role=alert]').count(), 0)
        assert.ok((await shown.text('.sheet h2')).startsWith('odd'))
        assert.equal((await shown.view()).layer, ids.odd)
        await shown.page.click(`.tree li[data-layer="${ids.volume}"]`)
        await shown.page.waitForFunction(() =>
          /^volume · 3 channels/.test(document.querySelector('.sheet h2').textContent),
        )
      }),
    ['page'],
  )
}
