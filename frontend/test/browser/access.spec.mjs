// Without a pointer, for those who can't see, and for names that would be programs.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const LAYER = '_blocks.2._project_conv'
const HOSTILE = '<img src=x onerror=hacked=1>'

/** What axe-core finds, in words; put in past the page's policy, as an extension is. */
async function violations(shown) {
  if (!(await shown.page.evaluate(() => 'axe' in window))) {
    const session = await shown.page.context().newCDPSession(shown.page)
    await session.send('Runtime.evaluate', { expression: axe })
  }
  return shown.root.evaluate(async (root, alone) => {
    const { violations } = await window.axe.run(alone ? document : root)
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(node => `${id}: ${node.html.slice(0, 160)} ${node.failureSummary}`),
    )
  }, shown.stage.host !== 'jupyter')
}

export default ({ check, stage }) => {
  const { cat } = stage.facts
  for (const dark of [false, true]) {
    check(`axe finds nothing on ${dark ? 'dark' : 'light'} paper`, async () => {
      const busy = {
        table: true,
        beside: {},
        mode: 'weights',
        selected: [1, 2],
        weights: { 1: 1, 2: -0.5 },
        unit: [20, 20],
        scale: 'layer',
      }
      for (const [view, keys] of [
        [busy, []],
        [{}, ['?']],
        [{}, ['Control+s']],
      ]) {
        const act = async shown => {
          await shown.press(...keys)
          assert.deepEqual(await violations(shown), [])
        }
        await stage.with('cat', { layer: LAYER, ...view }, act, { dark })
      }
      for (const path of ['odd', 'attention']) {
        await stage.with('shapes', { layer: path }, async shown => assert.deepEqual(await violations(shown), []), {
          dark,
        })
      }
    })
  }

  check('Tab reaches everything that can be pressed, and shows where it is', () =>
    stage.with(
      'cat',
      { layer: LAYER, table: true, mode: 'weights', selected: [1, 2], weights: { 1: 1, 2: 1 }, unit: [3, 3] },
      async shown => {
        const { page } = shown
        const all = await shown.find(':is(button, select, input, a, [tabindex="0"])').evaluateAll(found => {
          const seen = found.filter(each => !each.disabled && each.getClientRects().length)
          for (const [index, each] of seen.entries()) each.dataset.walk = index
          return seen.map(each => each.outerHTML.slice(0, 90))
        })
        assert.ok(all.length > 30)
        const reached = new Set()
        for (let step = 0; step < all.length + 5; step++) {
          await page.keyboard.press('Tab')
          const [index, ring] = await shown.root.evaluate(root => {
            const at = root.getRootNode().activeElement
            if (!at) return []
            const style = getComputedStyle(at)
            const near = getComputedStyle(at.parentElement)
            const ring = each => each.outlineStyle !== 'none' && Number.parseFloat(each.outlineWidth) > 0
            return [at.dataset.walk, ring(style) || ring(near) || style.boxShadow !== 'none']
          })
          if (index === undefined) continue
          assert.ok(ring, `no ring around ${all[index]}`)
          reached.add(Number(index))
        }
        assert.deepEqual(
          all.filter((_, index) => !reached.has(index)),
          [],
        )
        const small = await shown
          .find(':is(button, select, input, [role=slider], [role=treeitem])')
          .evaluateAll(found =>
            found
              .filter(each => !each.hidden && each.getClientRects().length)
              .flatMap(each => {
                const { width, height } = each.getBoundingClientRect()
                return width >= 24 && height >= 24 ? [] : [`${each.outerHTML.slice(0, 90)} ${width} × ${height}`]
              }),
          )
        assert.deepEqual(small, [])
      },
    ),
  )

  check('everything is done by keys alone', () =>
    stage.with('cat', { layer: LAYER }, async shown => {
      const { page } = shown
      const view = async (...keys) => {
        await shown.press(...keys)
        return shown.view()
      }
      assert.equal((await view('ArrowRight', 'ArrowRight')).active, 2)
      assert.equal((await view('End')).active, cat.layers[LAYER].shape[0] - 1)
      assert.equal((await view('Home')).active, 0)
      assert.ok((await view('ArrowDown')).active > 1)
      const first = await view('Shift+ArrowRight')
      const second = await view('Shift+ArrowDown')
      assert.deepEqual(second.unit, [first.unit[0] + 1, first.unit[1]])
      assert.equal((await view('Escape')).unit, null)
      assert.deepEqual((await view('Home', ' ', 'ArrowRight', ' ')).selected, [0, 1])
      assert.equal((await view('n')).clip?.length, 2)
      assert.equal((await view('e')).norm, 'log')
      assert.notEqual((await view('c')).colors, '')
      assert.notEqual((await view('s')).sort, 'index')
      assert.notEqual((await view('m')).mode, 'weights')
      assert.equal((await view('o')).overlay, true)
      assert.equal((await view('t')).table, true)
      assert.deepEqual((await view('b')).beside, {})
      assert.equal((await view('Enter')).single, true)
      assert.equal((await view('Escape')).single, false)
      await page.keyboard.press('g')
      await page.keyboard.type('17')
      assert.equal((await view('Enter')).active, 17)
      await page.keyboard.press('/')
      await page.keyboard.type('mean > 1')
      assert.equal((await view('Escape')).find, 'mean > 1')
      await shown.press('?')
      assert.ok(await shown.find('dialog').isVisible())
      await shown.press('Escape')
      assert.ok(!(await shown.find('dialog').isVisible()))
      // Of two sheets the one that came last.
      await shown.press(']')
      await shown.titled('_blocks.4._swish:1', 1)
      await shown.press('[', 'b', ']')
      await shown.titled('_blocks.4._swish:1')
      await page.keyboard.press('l')
      await page.keyboard.type('fc')
      for (const key of ['Tab', 'Enter']) await page.keyboard.press(key)
      await shown.titled('_fc')
    }),
  )

  check('names of layers, kinds, classes and files are text', () =>
    stage.with('shapes', { layer: HOSTILE, input: 'i1', table: true, beside: {} }, async shown => {
      await shown.press('Control+s')
      assert.equal(await shown.root.evaluate(root => [window.hacked, root.querySelector('img')].some(Boolean)), false)
      assert.ok((await shown.text('.sheet h2')).startsWith(HOSTILE))
      assert.ok((await shown.text('.tree')).includes(HOSTILE))
      assert.ok((await shown.find('.toolbar option').allInnerTexts()).includes(`${HOSTILE}.png`))
      assert.ok((await shown.page.title()).length > 0)
    }),
  )
}
