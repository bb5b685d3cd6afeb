// `node notebook.mjs SETTING.json`: the widget in JupyterLab or marimo, which tests/viewer/test_notebooks.py starts. The checks follow
// each other on one notebook, whose cells are those of that file.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { chromium } from 'playwright-core'
import { floats, read } from './stage.mjs'

const setting = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const { shape, values: packed } = JSON.parse(readFileSync(setting.facts, 'utf8'))
const values = floats(packed)
const browser = await chromium.launch({ executablePath: setting.chromium, args: ['--no-sandbox'] })
const context = await browser.newContext({ viewport: { width: 1360, height: 1000 } })
const errors = []
let page
const STEM = '_conv_stem · 32 channels'
const WIDE = '_blocks.1._expand_conv · 96 channels'
after(() => browser.close())

async function open() {
  await page?.close()
  page = await context.newPage()
  page.setDefaultTimeout(30_000)
  page.on('console', message => message.type() === 'error' && errors.push(message.text()))
  page.on('pageerror', error => errors.push(String(error)))
  await page.goto(setting.url)
}

/** A widget of the page. Playwright looks into its shadow root. */
class Shown {
  constructor(place) {
    this.place = place
  }

  find = selector => this.place.locator(selector)
  drawn = () => this.find('.channel dl').waitFor()
  title = () => this.find('.sheet h2').textContent()
  titled = text => this.find(`.sheet h2:has-text("${text}")`).waitFor()

  /** The line at the bottom: `{channel, y, x, value, …}` as it is written. */
  readout = () =>
    this.find('.readout output').evaluate(line =>
      Object.fromEntries(
        [...line.querySelectorAll('span')].map(part => [
          part.firstChild.textContent.trim(),
          part.querySelector('b').textContent,
        ]),
      ),
    )

  /** Points with the mouse at places of the sheet: each says the channel, the unit and numpy's value of it. */
  async compare(across = 9, down = 7) {
    const field = this.find('.sheet .field canvas').first()
    await field.scrollIntoViewIfNeeded()
    const { x, y, width, height } = await field.boundingBox()
    const channels = new Set()
    let seen = 0
    for (let row = 0; row < down; row++) {
      for (let column = 0; column < across; column++) {
        await page.mouse.move(x + (width * (column + 0.43)) / across, y + (height * (row + 0.37)) / down)
        const line = await this.readout()
        if (line.value === undefined) continue
        const value = values[(Number(line.channel) * shape[1] + Number(line.y)) * shape[2] + Number(line.x)]
        assert.ok(
          Math.abs(read(line.value) - value) <= 6e-3 * Math.abs(value) + 1e-6,
          `${JSON.stringify(line)}: ${value}`,
        )
        channels.add(line.channel)
        seen++
      }
    }
    assert.ok(seen > 15 && channels.size > 8, `${seen} places on ${channels.size} tiles`)
  }
}

/** Waits for what comes a moment later. */
async function until(holds) {
  for (const end = Date.now() + 5000; !(await holds()); await page.waitForTimeout(50))
    assert.ok(Date.now() < end, `it never came: ${holds}`)
}

const check = (name, act) => test(`${setting.host}: ${name}`, { timeout: 90_000 }, act)

/** What there is in JupyterLab alone. */
function jupyter() {
  const command = (id, args = {}) =>
    page.evaluate(([id, args]) => window.jupyterapp.commands.execute(id, args), [id, args])
  const cell = number => page.locator('.jp-Notebook .jp-CodeCell').nth(number)
  const widget = number => new Shown(cell(number))
  const state = () =>
    page.evaluate(() => {
      const { content } = window.jupyterapp.shell.currentWidget
      return [
        content.widgets.length,
        content.mode,
        content.widgets.map(each => each.model.sharedModel.source).join('§'),
      ]
    })

  /** Runs a cell, and gives what it printed. */
  async function run(number) {
    await page.evaluate(number => {
      const { content } = window.jupyterapp.shell.currentWidget
      content.deselectAll()
      content.activeCellIndex = number
    }, number)
    await command('notebook:run-cell')
    return (await cell(number).locator('.jp-RenderedText').allTextContents()).join('')
  }
  const view = async () => JSON.parse(await run(2))
  const ready = async () => {
    await page.locator('.jp-Notebook .jp-CodeCell').first().waitFor()
    await page.locator('.jp-StatusBar-TextItem:has-text("| Idle")').waitFor()
  }
  const picture = number => cell(number).locator('.jp-RenderedImage img')

  before(async () => {
    await open()
    await ready()
  })

  check('a cell shows a layer, and under the pointer the values of numpy', async () => {
    await run(0)
    await widget(0).drawn()
    await widget(0).titled(STEM)
    await widget(0).compare()
    assert.equal(await picture(0).count(), 1)
    assert.ok(!(await picture(0).isVisible()))
  })

  check('keys belong to the widget that has the focus, and the notebook stays as it is', async () => {
    const shown = widget(0)
    await command('notebook:enter-command-mode')
    await shown
      .find('.sheet .field')
      .first()
      .click({ position: { x: 20, y: 40 } })
    const first = Number((await view()).active)
    await shown
      .find('.sheet .field')
      .first()
      .click({ position: { x: 20, y: 40 } })
    const before = await state()
    for (const key of ['a', 'b', 'b', 'd', 'd', 'x', 'y', 'Escape', 'Escape', 'ArrowRight', 'ArrowRight']) {
      await page.keyboard.press(key)
    }
    assert.deepEqual(await state(), before)
    // The view follows in Python a moment later.
    await until(async () => (await view()).active === first + 2)
  })

  check('what Python sets is shown, what is chosen is in Python', async () => {
    const shown = widget(0)
    await run(3)
    await shown.titled(WIDE)
    const norm = shown.find('.choice:has(> span:text-is("Scale")) select')
    assert.equal(await norm.inputValue(), 'symlog')
    assert.deepEqual((await view()).weights, { 3: 0.5, 7: -1 })
    await norm.selectOption('linear')
    const now = await view()
    assert.deepEqual([now.layer, now.norm, now.input], ['_blocks.1._expand_conv', 'linear', 'chelsea.png'])
  })

  check('a view that cannot be is refused by name, and the page stays', async () => {
    const title = await widget(0).title()
    assert.match(await run(4), /BadOption: view: there is no 'nowhere' here/)
    assert.equal(await widget(0).title(), title)
  })

  check('a second widget stands beside the first, and asks for text where its buffers get lost', async () => {
    await run(1)
    await widget(1).drawn()
    await widget(1).titled(STEM)
    await widget(1).compare()
    assert.match(await widget(0).title(), /_blocks\.1\._expand_conv/)
    assert.equal((await view()).layer, '_blocks.1._expand_conv')
  })

  check('an image is added', async () => {
    await widget(0).find('input[type=file]').setInputFiles(setting.added)
    await widget(0)
      .find('.choice:has(> span:text-is("Image")) option:has-text("added.png")')
      .waitFor({ state: 'attached' })
    await widget(0).drawn()
    await page.waitForTimeout(500)
    assert.equal((await view()).input, 'added.png')
  })

  check('the paper is that of the notebook', async () => {
    const theme = () => widget(0).find('.viewer').getAttribute('data-theme')
    assert.equal(await theme(), 'light')
    await command('apputils:change-theme', { theme: 'JupyterLab Dark' })
    await widget(0).find('.viewer[data-theme=dark]').waitFor()
    await page.screenshot({ path: `${setting.folder}/dark.png` })
    await command('apputils:change-theme', { theme: 'JupyterLab Light' })
    await widget(0).find('.viewer[data-theme=light]').waitFor()
  })

  check('a page that is loaded again finds the widgets', async () => {
    await command('docmanager:save')
    await open()
    await ready()
    await widget(1).drawn()
    await widget(0).titled(WIDE)
    await widget(1).compare()
    assert.ok(!(await picture(1).isVisible()))
  })

  check('a cell that runs again releases what it showed before', async () => {
    await run(0)
    await widget(0).titled(STEM)
    await widget(0).drawn()
    let held
    for (let times = 0; times < 20 && held !== '0 bytes, 0 threads\n'; times++) {
      await page.waitForTimeout(300)
      held = await run(5)
    }
    assert.equal(held, '0 bytes, 0 threads\n')
    await widget(0).compare()
    await command('docmanager:save')
    await page.screenshot({ path: `${setting.folder}/live.png` })
    assert.deepEqual(errors, [])
  })

  check('a notebook that is opened anew shows pictures', async () => {
    const headers = { Authorization: `token ${setting.token}` }
    const address = `${new URL(setting.url).origin}/api/sessions`
    for (const { id } of await (await context.request.get(address, { headers })).json()) {
      assert.equal((await context.request.delete(`${address}/${id}`, { headers })).status(), 204)
    }
    await open()
    await ready()
    for (const number of [0, 1]) {
      await picture(number).waitFor()
      assert.ok((await picture(number).evaluate(image => image.naturalWidth)) > 300)
    }
    await page.locator('text=Error displaying widget').nth(1).waitFor()
    await page.screenshot({ path: `${setting.folder}/reopened.png` })
    assert.deepEqual([...new Set(errors.map(each => each.split('\n')[0]))], ['Error: widget model not found'])
  })
}

/** What there is in marimo. */
function marimo() {
  const shown = () => new Shown(page.locator('body'))
  before(open)

  check('a cell shows a layer, and under the pointer the values of numpy', async () => {
    await shown().drawn()
    await shown().titled(STEM)
    await shown().compare()
    await page.screenshot({ path: `${setting.folder}/marimo.png` })
  })

  check('another layer is shown, and nothing is complained of', async () => {
    await shown()
      .find('.sheet .field')
      .first()
      .click({ position: { x: 20, y: 40 } })
    await page.keyboard.press(']')
    await shown().titled(WIDE)
    await shown().drawn()
    assert.deepEqual(errors, [])
  })
}

const hosts = { jupyter, marimo }
hosts[setting.host]()
