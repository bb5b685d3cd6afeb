// JupyterLab: a notebook that is driven by its commands, and the models as widgets of one, for the checks that hold everywhere.
import { isDeepStrictEqual } from 'node:util'
import { chromium } from 'playwright-core'
import { Shown, until } from './shown.mjs'
import { quiet, watched } from './stage.mjs'

/** An open notebook. Its server must show the page its `jupyterapp`. */
export class Notebook {
  constructor(page) {
    this.page = page
  }

  async ready() {
    await this.cell(0).waitFor()
    await this.page.waitForFunction(
      () => window.jupyterapp.shell.currentWidget?.sessionContext.session?.kernel?.status === 'idle',
    )
  }

  cell = number => this.page.locator('.jp-Notebook .jp-CodeCell').nth(number)
  picture = number => this.cell(number).locator('.jp-RenderedImage img')
  widget = (number, options) => new Shown(this.page, this.cell(number), { focuses: true, ...options })

  command = (id, args = {}) =>
    this.page.evaluate(([id, args]) => window.jupyterapp.commands.execute(id, args), [id, args])

  /** How many cells there are, the mode, and what is written in them. */
  state = () =>
    this.page.evaluate(() => {
      const { widgets, mode } = window.jupyterapp.shell.currentWidget.content
      return [widgets.length, mode, widgets.map(each => each.model.sharedModel.source).join('§')]
    })

  /** Brings a cell into sight, and makes it the active one. */
  select = number =>
    this.page.evaluate(async number => {
      const { content } = window.jupyterapp.shell.currentWidget
      content.deselectAll()
      content.activeCellIndex = number
      await content.scrollToItem(number, 'start')
    }, number)

  /** Runs a cell, and gives what it printed. */
  async run(number) {
    await this.select(number)
    await this.command('notebook:run-cell')
    return (await this.cell(number).locator('.jp-RenderedText').allTextContents()).join('')
  }

  /** Runs a line in the kernel that no cell has. */
  async execute(code) {
    const status = await this.page.evaluate(async code => {
      const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session
      const { content } = await kernel.requestExecute({ code, store_history: false }).done
      return content.status === 'ok' ? '' : `${content.ename}: ${content.evalue}`
    }, code)
    if (status) throw new Error(status)
  }
}

/** The models as widgets, each in the cell whose variable has its name. */
export class Lab {
  static async open({ chromium: executablePath, ...setting }) {
    const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
    const kept = await watched(browser, { viewport: { width: 1920, height: 1100 } })
    await kept.page.goto(setting.url)
    const notebook = new Notebook(kept.page)
    await notebook.ready()
    return Object.assign(new this(), { browser, kept, notebook, ...setting, lines: [], opened: {} })
  }

  close = () => this.browser.close()

  async with(name, view, act, { dark = false } = {}) {
    const { kept, notebook } = this
    for (const each of Object.values(kept.seen)) each.length = 0
    const number = Object.keys(this.facts).indexOf(name)
    const shown = notebook.widget(number, { stage: this, facts: this.facts[name] })
    if (!this.opened[name]) {
      await notebook.run(number)
      await shown.drawn()
      this.opened[name] = [await shown.identify(), await shown.view()]
    }
    const [ids, first] = this.opened[name]
    shown.ids = ids
    await notebook.select(number)
    await go(shown, name, { ...first, theme: dark ? 'dark' : 'light', ...view })
    await act(shown)
    quiet(kept.seen, address => new URL(address).host === new URL(this.url).host)
  }
}

/** Another view, set in Python; it is on the page a moment later. */
async function go(shown, name, given) {
  const view = shown.byId(given)
  const text = JSON.stringify(JSON.stringify(view))
  await shown.press('Escape', 'Escape', 'Escape')
  await shown.stage.notebook.execute(`${name}.view = ${name}._names.of_page(__import__("json").loads(${text}))`)
  const seen = []
  const there = async () => isDeepStrictEqual(seen[seen.push(await shown.view()) - 1], view)
  await until(there, () => JSON.stringify([seen.pop(), view]))
  await shown.titled(given.layer)
  await shown.drawn()
}
