// That the page says what is seen, keeps what still holds, and stands still.
import assert from 'node:assert/strict'
import { until } from './shown.mjs'

const LAYER = '_blocks.2._project_conv'
const SECOND = '_blocks.4._swish:1'

/** The colours of the squares before a text, and those of the pixels of a canvas. */
const squares = (shown, place) =>
  shown.find(`${place} .mark`).evaluateAll(found => found.map(each => getComputedStyle(each).backgroundColor))
const seen = (shown, canvas) =>
  shown
    .find(canvas)
    .first()
    .evaluate(each => {
      const { data } = each.getContext('2d').getImageData(0, 0, each.width, each.height)
      const colors = new Set()
      for (let at = 0; at < data.length; at += 4) colors.add(`rgb(${data[at]}, ${data[at + 1]}, ${data[at + 2]})`)
      return [...colors]
    })

export default ({ check, stage }) => {
  check(
    'what has no logarithm is named beside the sheet and beside the map, in the colour that it has, and counted',
    () =>
      stage.with('cat', { layer: LAYER, norm: 'log', scale: 'layer', find: '0:4' }, async shown => {
        for (const [place, canvas] of [
          ['.sheet footer', '.sheet .field canvas'],
          ['.combined', '.combined .map canvas'],
        ]) {
          assert.match(await shown.text(place), /0 or below/)
          const [color] = await squares(shown, place)
          assert.ok((await seen(shown, canvas)).includes(color), `${color} isn't on ${canvas}`)
        }
        assert.match(await shown.text('.sheet footer'), /0 or below, in 4 channels/)
      }),
  )

  check('the square of dead channels has the colour of their tiles, whatever the range', () =>
    stage.with('shapes', { layer: 'odd' }, async shown => {
      for (const [scale, norm] of [
        ['channel', 'linear'],
        ['layer', 'linear'],
        ['layer', 'log'],
      ]) {
        await shown.choose('Range', scale)
        await shown.choose('Scale', norm)
        await shown.fill('.find input', 'dead')
        assert.match(await shown.text('.sheet footer'), /All dead/)
        const [color] = await squares(shown, '.sheet footer p:has-text("dead")')
        assert.ok((await seen(shown, '.sheet .field canvas')).includes(color), `${color} by ${scale} and ${norm}`)
        await shown.fill('.find input', '')
      }
    }),
  )

  check('a condition that is being typed is not complained of before a pause', () =>
    stage.with('cat', { layer: LAYER }, async shown => {
      const said = () => shown.find('.sheet .empty').isVisible()
      await shown.press('/')
      await shown.page.keyboard.type('mean > ')
      assert.equal(await said(), false)
      await until(said, () => 'the words on a condition that has no end')
      await shown.page.keyboard.type('0')
      assert.equal(await said(), false)
      assert.match(await shown.text('.sheet h2'), / of \d+ channels/)
    }),
  )

  check('another layer keeps the condition and the way to combine, not the numbers of channels', () =>
    stage.with('cat', { layer: LAYER, find: 'mean > 0', mode: 'pca' }, async shown => {
      await shown.open(SECOND)
      await shown.titled(SECOND)
      const { find, mode } = await shown.view()
      assert.deepEqual([find, mode], ['mean > 0', 'pca'])
      await shown.fill('.find input', '0:4')
      await shown.open(LAYER)
      await shown.titled(LAYER)
      assert.equal((await shown.view()).find, '')
    }),
  )

  check('the list with its search chooses the layer of either sheet', () =>
    stage.with('cat', { layer: LAYER, beside: {} }, async shown => {
      await shown.find('.sheet').nth(1).locator('button:text-is("Layer")').click()
      await shown.fill('.tree input', SECOND)
      await shown.press('Enter')
      await shown.titled(SECOND, 1)
      await shown.titled(LAYER)
      await shown.fill('.tree input', '')
      await shown.click('.sheet h2')
      await shown.open('_fc')
      await shown.titled('_fc')
      await shown.titled(SECOND, 1)
    }),
  )

  check('the line above stands still, whatever is chosen', () =>
    stage.with('cat', { layer: LAYER }, async shown => {
      const places = () =>
        shown.find('.toolbar > *').evaluateAll(all => all.map(each => each.getBoundingClientRect().x))
      const before = await places()
      for (const keys of [['End'], ['m'], ['e'], ['n'], ['s'], ['o']]) {
        await shown.press(...keys)
        assert.deepEqual(await places(), before, `after ${keys}`)
      }
    }),
  )

  check(
    'what goes wrong while a dialog is open is said within it',
    () =>
      stage.with('cat', { layer: LAYER, mode: 'weights' }, async shown => {
        await shown.press('Control+s')
        await shown.find('dialog select').selectOption('combined')
        await shown.click('dialog button:text-is("PNG")')
        await shown.find('dialog [role=alert]').waitFor()
        assert.equal(await shown.count('[role=alert]'), 1)
      }),
    { report: 'a report draws its pictures itself' },
  )

  check(
    'on a narrow window the list of layers is above the sheet, and goes once a layer is chosen',
    () =>
      stage.with('cat', { layer: LAYER }, async shown => {
        const before = shown.page.viewportSize()
        await shown.page.setViewportSize({ width: 760, height: 800 })
        try {
          const open = () => shown.find('.tree [data-layer]').first().isVisible()
          assert.equal(await open(), false)
          const [list, sheet] = [await shown.box('.tree input'), await shown.box('.sheet')]
          assert.ok(list.y + list.height <= sheet.y)
          await shown.press('l')
          assert.equal(await open(), true)
          await shown.open(SECOND)
          await shown.titled(SECOND)
          assert.equal(await open(), false)
          await until(() => shown.page.url().includes(`layer=${shown.ids[SECOND]}`))
        } finally {
          await shown.page.setViewportSize(before)
        }
      }),
    { jupyter: 'a cell has the width of its notebook' },
  )
}
