// The models on one host, page or report, each in a window that is kept: what was asked and complained of while a check ran.
import assert from 'node:assert/strict'
import { chromium } from 'playwright-core'
import { SCRIPT, Shown } from './shown.mjs'

export class Stage {
  window = { viewport: { width: 1360, height: 800 } }

  static async open({ chromium: executablePath, ...setting }) {
    const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
    return Object.assign(new this(), { browser, ...setting, lines: [], windows: {} })
  }

  close = () => this.browser.close()

  /** `act` on a model with a view as in an address: it has complained of nothing and asked nobody else. */
  async with(name, view, act, { dark = false } = {}) {
    // Opening a window takes a second, so that each model keeps one.
    this.windows[name] ??= await watched(this.browser, this.window)
    const kept = this.windows[name]
    kept.seen = nothing()
    const { page } = kept
    const shown = new Shown(page, page.locator('body'), { stage: this, facts: this.facts[name] })
    if (kept.dark !== dark) await page.emulateMedia({ colorScheme: dark ? 'dark' : 'light' })
    kept.dark = dark
    if (!kept.first) {
      await page.goto('about:blank')
      await page.goto(this.urls[name].url)
      await shown.drawn()
      kept.ids = await shown.identify()
      kept.first = await shown.view()
    }
    shown.ids = kept.ids
    try {
      await go(shown, { ...kept.first, ...view })
      await act(shown)
      const own = new URL(this.urls[name].url)
      const allowed = this.host === 'page' ? [`${own.origin}/api`, `${own.origin}/`] : [own.href.split(/[?#]/)[0]]
      quiet(kept.seen, address => allowed.includes(address.split(/[?#]/)[0]))
    } catch (error) {
      kept.first = null
      throw error
    }
  }
}

/** Another view, by the address. */
async function go(shown, view) {
  await shown.press('Escape', 'Escape', 'Escape')
  const fields = Object.entries(shown.byId(view)).map(([key, value]) => {
    return `${key}=${encodeURIComponent(typeof value === 'string' ? value : JSON.stringify(value))}`
  })
  await shown.page.evaluate(hash => (location.hash = hash), fields.join('&'))
  await shown.titled(view.layer)
  await shown.drawn()
}

const nothing = () => ({ console: [], errors: [], requests: [], dialogs: [] })

/** A page in a window of its own, which notes what happens in it. */
export async function watched(browser, options) {
  const context = await browser.newContext({ acceptDownloads: true, ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  await page.addInitScript(SCRIPT)
  const kept = { page, seen: nothing() }
  page.on('console', message => message.type() === 'error' && kept.seen.console.push(message.text()))
  page.on('pageerror', error => kept.seen.errors.push(String(error)))
  page.on('request', request => kept.seen.requests.push(request.url()))
  page.on('dialog', dialog => {
    kept.seen.dialogs.push(dialog.message())
    dialog.dismiss()
  })
  return kept
}

/** That nothing was complained of, and nobody else asked. */
export function quiet({ console, errors, requests, dialogs }, allowed) {
  assert.deepEqual({ console, errors, dialogs }, { console: [], errors: [], dialogs: [] })
  const others = requests.filter(each => !/^(blob|data):/.test(each) && !allowed(each))
  assert.deepEqual([...new Set(others)], [])
}
