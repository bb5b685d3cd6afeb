// `node notebook.mjs SETTING.json`: the widget in JupyterLab or marimo, which tests/viewer/test_notebooks.py starts. The checks follow
// each other on one notebook, whose cells are those of that file.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { chromium } from 'playwright-core'
import { Notebook } from './lab.mjs'
import { Shown, until } from './shown.mjs'
import { watched } from './stage.mjs'
import { choose, compare } from './values.spec.mjs'

const STEM = '_conv_stem'
const WIDE = '_blocks.1._expand_conv'
const setting = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const layer = JSON.parse(readFileSync(setting.facts, 'utf8'))
const facts = { layers: { [STEM]: layer } }
const browser = await chromium.launch({ executablePath: setting.chromium, args: ['--no-sandbox'] })
after(() => browser.close())

/** Values and order of a sheet as Python has them, and the colours where its tiles are not drawn smaller than they are. */
const same = (shown, sheet = layer.sheets[0], colors = false) => compare(shown, STEM, sheet, { most: 200, colors })

const check = (name, act) => test(`${setting.host}: ${name}`, { timeout: 90_000 }, act)

/** The page, in a window of its own. */
async function opened(before) {
  await before?.context().close()
  const { page, seen } = await watched(browser, { viewport: { width: 1360, height: 1000 } })
  windows.push(seen)
  await page.goto(setting.url)
  return page
}

const windows = []
const complaints = () => windows.flatMap(({ console, errors }) => [...console, ...errors])
const tile = shown =>
  shown
    .find('.sheet .field')
    .first()
    .click({ position: { x: 20, y: 40 } })

/** What there is in JupyterLab alone. */
function jupyter() {
  let page
  let book
  const open = async () => {
    page = await opened(page)
    book = new Notebook(page)
    await book.ready()
  }
  const widget = number => book.widget(number, { facts })
  const view = async () => JSON.parse(await book.run(2))

  before(open)

  check('a cell shows a layer, and under the pointer the values of numpy', async () => {
    await book.run(0)
    await widget(0).drawn()
    await widget(0).titled(STEM)
    await same(widget(0))
    assert.equal(await book.picture(0).count(), 1)
    assert.ok(!(await book.picture(0).isVisible()))
  })

  check('keys belong to the widget that has the focus, and the notebook stays as it is', async () => {
    const shown = widget(0)
    await book.command('notebook:enter-command-mode')
    await tile(shown)
    const first = Number((await view()).active)
    await tile(shown)
    const before = await book.state()
    for (const key of ['a', 'b', 'b', 'd', 'd', 'x', 'y', 'Escape', 'Escape', 'ArrowRight', 'ArrowRight']) {
      await page.keyboard.press(key)
    }
    assert.deepEqual(await book.state(), before)
    // The view follows in Python a moment later.
    await until(async () => (await view()).active === first + 2)
  })

  check('what Python sets is shown, what is chosen is in Python', async () => {
    const shown = widget(0)
    await book.run(3)
    await shown.titled(WIDE)
    const norm = shown.find('.choice:has(> span:text-is("Scale")) select')
    assert.equal(await norm.inputValue(), 'symlog')
    assert.deepEqual((await view()).weights, { 3: 0.5, 7: -1 })
    await norm.selectOption('linear')
    const now = await view()
    assert.deepEqual([now.layer, now.norm, now.input], ['_blocks.1._expand_conv', 'linear', 'chelsea.png'])
  })

  check('a view that cannot be is refused by name, and the page stays', async () => {
    const title = await widget(0).text('.sheet h2')
    assert.match(await book.run(4), /BadOption: view: there is no 'nowhere' here/)
    assert.equal(await widget(0).text('.sheet h2'), title)
  })

  check('a second widget stands beside the first, and asks for text where its buffers get lost', async () => {
    await book.run(1)
    await widget(1).drawn()
    await widget(1).titled(STEM)
    await same(widget(1))
    assert.match(await widget(0).text('.sheet h2'), /_blocks\.1\._expand_conv/)
    assert.equal((await view()).layer, '_blocks.1._expand_conv')
  })

  check('the paper is that of the notebook', async () => {
    const viewer = theme => book.cell(0).locator(`.viewer[data-theme=${theme}]`)
    await viewer('light').waitFor()
    await book.command('apputils:change-theme', { theme: 'JupyterLab Dark' })
    await viewer('dark').waitFor()
    await page.screenshot({ path: `${setting.folder}/dark.png` })
    await book.command('apputils:change-theme', { theme: 'JupyterLab Light' })
    await viewer('light').waitFor()
  })

  check('a page that is loaded again finds the widgets', async () => {
    await book.command('docmanager:save')
    await open()
    await widget(1).drawn()
    await widget(0).titled(WIDE)
    await same(widget(1))
    assert.ok(!(await book.picture(1).isVisible()))
  })

  check('a cell that runs again releases what it showed before', async () => {
    await book.run(0)
    await widget(0).titled(STEM)
    await widget(0).drawn()
    let held
    for (let times = 0; times < 20 && held !== '0 bytes, 0 threads\n'; times++) {
      await page.waitForTimeout(300)
      held = await book.run(5)
    }
    assert.equal(held, '0 bytes, 0 threads\n')
    await same(widget(0))
    await book.command('docmanager:save')
    await page.screenshot({ path: `${setting.folder}/live.png` })
    assert.deepEqual(complaints(), [])
  })

  check('a notebook that is opened anew shows pictures', async () => {
    const headers = { Authorization: `token ${setting.token}` }
    const address = `${new URL(setting.url).origin}/api/sessions`
    for (const { id } of await (await page.request.get(address, { headers })).json()) {
      assert.equal((await page.request.delete(`${address}/${id}`, { headers })).status(), 204)
    }
    await open()
    for (const number of [0, 1]) {
      await book.picture(number).waitFor()
      assert.ok((await book.picture(number).evaluate(image => image.naturalWidth)) > 300)
    }
    await page.locator('text=Error displaying widget').nth(1).waitFor()
    await page.screenshot({ path: `${setting.folder}/reopened.png` })
    assert.deepEqual([...new Set(complaints().map(each => each.split('\n')[0]))], ['Error: widget model not found'])
  })
}

/** What there is in marimo: what is seen of one layer, by its choices, and keys. */
function marimo() {
  let shown
  before(async () => {
    const page = await opened()
    shown = new Shown(page, page.locator('body'), { facts, focuses: true })
    await shown.drawn()
    await shown.titled(STEM)
  })

  for (const sheet of layer.sheets) {
    check(`a sheet with ${JSON.stringify(sheet.options)} has the values, colours and order of Python's`, async () => {
      await choose(shown, sheet.options)
      await same(shown, sheet, true)
    })
  }

  check('another layer is shown, and nothing is complained of', async () => {
    await shown.page.screenshot({ path: `${setting.folder}/marimo.png` })
    await tile(shown)
    await shown.press(']')
    await shown.titled(WIDE)
    await shown.drawn()
    assert.deepEqual(complaints(), [])
  })
}

const hosts = { jupyter, marimo }
hosts[setting.host]()
