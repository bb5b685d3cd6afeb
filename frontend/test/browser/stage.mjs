// Pages of a browser for one host, what happened in them, and how they are read: by pointing at pixels, as a user does.
import assert from 'node:assert/strict'
import { chromium } from 'playwright-core'

export class Stage {
  static async open({ chromium: executablePath, ...setting }) {
    const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
    return Object.assign(new Stage(), { browser, ...setting, lines: [], windows: {} })
  }

  close = () => this.browser.close()

  /** A window on light or dark paper, which notes what happens in it. Opening one takes a second, so that it is kept. */
  async window(dark) {
    if (this.windows[dark]) return this.windows[dark]
    const context = await this.browser.newContext({
      viewport: { width: 1360, height: 800 },
      colorScheme: dark ? 'dark' : 'light',
      acceptDownloads: true,
    })
    const page = await context.newPage()
    page.setDefaultTimeout(20_000)
    await page.addInitScript(READOUT)
    const kept = { page, seen: null }
    page.on('console', message => message.type() === 'error' && kept.seen.console.push(message.text()))
    page.on('pageerror', error => kept.seen.errors.push(String(error)))
    page.on('request', request => kept.seen.requests.push(request.url()))
    page.on('dialog', dialog => {
      kept.seen.dialogs.push(dialog.message())
      dialog.dismiss()
    })
    this.windows[dark] = kept
    return kept
  }

  /** `act` on `cat` or `shapes` with a view as in an address: it has complained of nothing and asked nobody else. */
  async with(name, view, act, { dark = false } = {}) {
    const kept = await this.window(dark)
    kept.seen = { console: [], errors: [], requests: [], dialogs: [] }
    const shown = Object.assign(new Shown(), { ...kept, name, stage: this, facts: this.facts[name] })
    if (kept.name !== name) {
      kept.name = name
      await kept.page.goto('about:blank')
      await kept.page.goto(this.urls[name].url)
      await shown.drawn()
      kept.first = await shown.view()
    }
    try {
      await shown.go({ ...kept.first, ...view })
      await act(shown)
      shown.quiet()
    } catch (error) {
      kept.name = null
      throw error
    }
  }
}

const CANVAS = {
  sheet: '.sheet .field canvas',
  combined: '.combined .map .field canvas',
  input: '.input .field canvas',
}

class Shown {
  layer = path => this.facts.ids[path]

  async drawn() {
    await this.page.waitForSelector('.channel dl')
    await this.settled()
  }

  /** Another view, by the address. */
  async go(view) {
    await this.press('Escape', 'Escape', 'Escape')
    for (const button of await this.page.$$('[role=alert] button')) await button.click()
    const fields = Object.entries(view).map(([key, value]) => {
      return `${key}=${encodeURIComponent(typeof value === 'string' ? value : JSON.stringify(value))}`
    })
    await this.page.evaluate(hash => (location.hash = hash), fields.join('&'))
    const path = Object.keys(this.facts.ids).find(each => this.facts.ids[each] === view.layer)
    await this.page.waitForFunction(path => document.querySelector('.sheet h2').textContent.startsWith(path), path)
    await this.drawn()
  }

  /** Until nothing runs any more and what follows from it is drawn. */
  async settled() {
    await this.page.waitForFunction(() => !document.querySelector('.job'))
    await this.page.evaluate(() => new Promise(done => requestAnimationFrame(() => setTimeout(done))))
  }

  quiet() {
    const { console, errors, requests, dialogs } = this.seen
    assert.deepEqual({ console, errors, dialogs }, { console: [], errors: [], dialogs: [] })
    const own = new URL(this.stage.urls[this.name].url)
    const others = requests.filter(
      each => !/^(blob|data):/.test(each) && each.split(/[?#]/)[0] !== own.href.split(/[?#]/)[0],
    )
    const allowed = this.stage.host === 'page' ? [`${own.origin}/api`, `${own.origin}/`] : []
    assert.deepEqual(
      [...new Set(others)].filter(each => !allowed.includes(each)),
      [],
    )
  }

  /** The line at the bottom: `{channel, y, x, value, …}` as it is written. */
  readout = () => this.page.evaluate(() => window.readout())

  press = async (...keys) => {
    for (const key of keys) await this.page.keyboard.press(key)
    await this.settled()
  }

  choose = async (label, value) => {
    const field = this.page.locator(`.choice:has(> span:text-is("${label}")) select`).first()
    const values = await field.locator('option').evaluateAll(all => all.map(each => each.value))
    await field.selectOption(values.find(each => each === value || each.endsWith(`:${value}`)) ?? value)
    await this.settled()
  }

  fill = async (selector, text) => {
    await this.page.fill(selector, text)
    await this.settled()
  }

  text = selector => this.page.locator(selector).first().textContent()

  view = async () => {
    await this.press('Control+s')
    const text = await this.page.locator('textarea[aria-label="View"]').inputValue()
    await this.press('Escape')
    return JSON.parse(text)
  }

  /** Points at pixels of a pane, one by one: what the line says, and the colour of the pixel. */
  async scan(pane, most = 500) {
    await this.page.mouse.move(2, 2)
    return this.page.evaluate(
      async ([selector, most]) => {
        const canvas = document.querySelector(selector)
        const field = canvas.parentElement
        const box = field.getBoundingClientRect()
        const ratio = devicePixelRatio
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
        const step = Math.max(1, Math.sqrt((canvas.width * canvas.height) / most))
        const found = []
        for (let v = step / 2; v < canvas.height; v += step) {
          for (let u = step / 2; u < canvas.width; u += step) {
            const [x, y] = [Math.floor(u), Math.floor(v)]
            // The middle of the pixel, and a trace more where the edge of a unit runs through it.
            const [clientX, clientY] = [box.left + (x + 0.501) / ratio, box.top + (y + 0.501) / ratio]
            field.dispatchEvent(new PointerEvent('pointermove', { clientX, clientY, bubbles: true }))
            await Promise.resolve()
            await Promise.resolve()
            const at = 4 * (y * canvas.width + x)
            found.push({ ...window.readout(), at: [x, y], rgb: [...data.subarray(at, at + 3)] })
          }
        }
        field.dispatchEvent(new PointerEvent('pointerleave'))
        return found
      },
      [CANVAS[pane], most],
    )
  }

  /** The unit that lies under a place of a pane, `[y, x]`; what is pointed at stays. */
  under = (pane, at) =>
    this.page.evaluate(
      async ([selector, [left, top]]) => {
        const field = document.querySelector(selector).parentElement
        const box = field.getBoundingClientRect()
        const point = { clientX: box.left + left, clientY: box.top + top, bubbles: true }
        field.dispatchEvent(new PointerEvent('pointermove', point))
        await Promise.resolve()
        await Promise.resolve()
        const { y, x } = window.readout()
        return [Number(y), Number(x)]
      },
      [CANVAS[pane], at],
    )

  /** A place of the page where the line says all that is wanted, found by pointing: `[x, y]`. */
  async find(pane, { channel, ...unit }) {
    const points = (await this.scan(pane)).filter(point => !channel || point.channel === String(channel))
    const start = points.find(point => point.y !== undefined)
    assert.ok(start, `channel ${channel} is nowhere on the ${pane}`)
    const place = await this.page.evaluate(
      async ([selector, at, unit]) => {
        const field = document.querySelector(selector).parentElement
        const box = field.getBoundingClientRect()
        for (let steps = 0; steps < 2000; steps++) {
          const [clientX, clientY] = [box.left + at[0] + 0.5, box.top + at[1] + 0.5]
          field.dispatchEvent(new PointerEvent('pointermove', { clientX, clientY, bubbles: true }))
          await Promise.resolve()
          await Promise.resolve()
          const line = window.readout()
          const off = ['x', 'y'].map(axis =>
            unit[axis] === undefined ? 0 : Math.sign(unit[axis] - Number(line[axis])),
          )
          if (!off[0] && !off[1]) return [clientX, clientY]
          at = [at[0] + off[0], at[1] + off[1]]
        }
      },
      [CANVAS[pane], start.at, unit],
    )
    assert.ok(place, `${JSON.stringify(unit)} is nowhere on the ${pane}`)
    return place
  }
}

/** Put into each page: the line at the bottom as an object. */
export const READOUT = `window.readout = () => Object.fromEntries([...document.querySelectorAll('.readout output span')]
  .map(part => [part.firstChild.textContent.trim(), part.querySelector('b').textContent]))`

/** A number as it is written. */
export const read = text => Number(text.replaceAll('−', '-').replace('inf', 'Infinity'))

export const floats = text => {
  const bytes = Buffer.from(text, 'base64')
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
}

export const bytes = text => new Uint8Array(Buffer.from(text, 'base64'))

/** Whether a pixel has the colour of a code; float16 may move a value across the edge of one. */
export function near(rgb, palette, code, by = 1) {
  const codes = code <= 240 ? [...Array(2 * by + 1).keys()].map(each => code - by + each) : [code]
  return codes.some(each => palette[each]?.every((part, at) => part === rgb[at]))
}
