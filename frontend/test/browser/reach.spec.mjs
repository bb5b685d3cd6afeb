// How one gets to a channel, a layer, a class and the Python of what is seen, and what is said where that isn't there.
import assert from 'node:assert/strict'

const LAYER = '_blocks.2._project_conv'

export default ({ check, stage }) => {
  const { layers } = stage.facts.cat
  const open = (view, act) => stage.with('cat', { layer: LAYER, ...view }, act)

  check('g goes to a channel; one that is not there is said above the foot, until the next key', () =>
    open({}, async shown => {
      await shown.press('g', '7', 'Enter')
      assert.equal((await shown.readout()).channel, '7')
      await shown.press('g', '9', '9', '9', 'Enter')
      assert.match(await shown.text('[role=alert]'), /no channel 999/)
      const [said, foot] = [await shown.box('[role=alert]'), await shown.box('.readout')]
      assert.ok(said.y + said.height <= foot.y)
      await shown.press('ArrowRight')
      assert.equal(await shown.count('[role=alert]'), 0)
    }),
  )

  check('the words on a condition that is wrong stand on paper', () =>
    open({ find: 'meen > 1' }, async shown => {
      const ground = await shown.find('.sheet .empty').evaluate(each => getComputedStyle(each).backgroundColor)
      assert.equal(ground, 'rgb(255, 255, 255)')
    }),
  )

  check('Enter in the search of layers opens the first hit, and the arrow goes to the list', () =>
    open({}, async shown => {
      const [path] = Object.keys(layers).filter(each => each !== LAYER && each.startsWith('_blocks'))
      await shown.press('l')
      await shown.fill('.tree input', path)
      await shown.press('Enter')
      await shown.titled(path)
      await shown.press('ArrowDown')
      assert.equal(await shown.root.evaluate(root => root.getRootNode().activeElement.getAttribute('role')), 'treeitem')
      await shown.fill('.tree input', '')
    }),
  )

  check('Save has the Python of the sheet and of the combined map', () =>
    open({ mode: 'weights', selected: [1, 5], weights: { 1: 1, 5: -0.5 } }, async shown => {
      await shown.press('Control+s')
      assert.match(await shown.find('textarea[aria-label="Python"]').inputValue(), /ls\.sheet\(fm\)$/)
      const line = await shown.find('textarea[aria-label="Python: combined map"]').inputValue()
      assert.match(line, /ls\.heatmap\(ls\.weighted\(fm, \{1: 1, 5: -0\.5\}\)\)$/)
    }),
  )

  check('a class that is clicked has a map, or it is said what one takes', () =>
    open({}, async shown => {
      const at = stage.host === 'report' ? 0 : 1
      assert.equal(await shown.find('.input .classes button').nth(1).isDisabled(), at === 0)
      await shown.find('.input .classes button').nth(at).click()
      await shown.settled()
      const offered = await shown.count('.combined option[value="cam"]')
      if (offered) assert.equal(await shown.find('.combined select').first().inputValue(), 'cam')
      else assert.match(await shown.text('[role=alert]'), /no map for a class/)
      const pressed = await shown.find('.input .classes button').nth(at).getAttribute('aria-pressed')
      assert.equal(pressed, 'true')
    }),
  )
}
