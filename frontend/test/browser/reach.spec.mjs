// How one gets to a channel, a layer, a class and the Python of what is seen, and what is said where that isn't there.
import assert from 'node:assert/strict'

const LAYER = '_blocks.2._project_conv'

export default ({ check, stage }) => {
  const { ids } = stage.facts.cat
  const open = (view, act) => stage.with('cat', { layer: ids[LAYER], ...view }, act)
  const box = (shown, selector) => shown.page.locator(selector).first().boundingBox()

  check('g goes to a channel; one that is not there is said above the foot, until the next key', () =>
    open({}, async shown => {
      await shown.press('g', '7', 'Enter')
      assert.equal((await shown.readout()).channel, '7')
      await shown.press('g', '9', '9', '9', 'Enter')
      assert.match(await shown.text('[role=alert]'), /no channel 999/)
      const [said, foot] = [await box(shown, '[role=alert]'), await box(shown, '.readout')]
      assert.ok(said.y + said.height <= foot.y)
      await shown.press('ArrowRight')
      assert.equal(await shown.page.locator('[role=alert]').count(), 0)
    }),
  )

  check('the words on a condition that is wrong stand on paper', () =>
    open({ find: 'meen > 1' }, async shown => {
      const ground = await shown.page.$eval('.sheet .empty', each => getComputedStyle(each).backgroundColor)
      assert.equal(ground, 'rgb(255, 255, 255)')
    }),
  )

  check('Enter in the search of layers opens the first hit, and the arrow goes to the list', () =>
    open({}, async shown => {
      const [path] = Object.keys(ids).filter(each => each !== LAYER && each.startsWith('_blocks'))
      await shown.press('l')
      await shown.fill('.tree input', path)
      await shown.press('Enter')
      await shown.page.waitForFunction(path => document.querySelector('.sheet h2').textContent.startsWith(path), path)
      await shown.press('ArrowDown')
      assert.equal(await shown.page.evaluate(() => document.activeElement.getAttribute('role')), 'treeitem')
      await shown.fill('.tree input', '')
    }),
  )

  check('Save has the Python of the sheet and of the combined map', () =>
    open({ mode: 'weights', selected: [1, 5], weights: { 1: 1, 5: -0.5 } }, async shown => {
      await shown.press('Control+s')
      assert.match(await shown.page.inputValue('textarea[aria-label="Python"]'), /ls\.sheet\(fm\)$/)
      const line = await shown.page.inputValue('textarea[aria-label="Python: combined map"]')
      assert.match(line, /ls\.heatmap\(ls\.weighted\(fm, \{1: 1, 5: -0\.5\}\)\)$/)
    }),
  )

  check('a class that is clicked has a map, or it is said what one takes', () =>
    open({}, async shown => {
      await shown.page.locator('.input .classes button').nth(1).click()
      await shown.settled()
      const offered = await shown.page.locator('.combined option[value="cam"]').count()
      if (offered) assert.equal(await shown.page.locator('.combined select').first().inputValue(), 'cam')
      else assert.match(await shown.text('[role=alert]'), /no map for a class/)
      const pressed = await shown.page.locator('.input .classes button').nth(1).getAttribute('aria-pressed')
      assert.equal(pressed, 'true')
    }),
  )
}
