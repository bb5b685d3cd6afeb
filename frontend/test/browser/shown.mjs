// A viewer as it is shown, in a page or in the shadow root of a notebook's widget, and how it is read: by pointing at pixels.
import assert from 'node:assert/strict'

const CANVAS = {
  sheet: '.sheet .field canvas',
  combined: '.combined .map .field canvas',
  input: '.input .field canvas',
}

/** What runs inside the page: each function gets the element of the viewer first. */
const INSIDE = () => {
  const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)))
  const fieldOf = (root, selector, index) => root.querySelectorAll(selector)[2 * index].parentElement
  const at = async (field, clientX, clientY) => {
    field.dispatchEvent(new PointerEvent('pointermove', { clientX, clientY, bubbles: true }))
    await Promise.resolve()
    await Promise.resolve()
  }
  /** The line at the bottom: `{channel, y, x, value, …}` as it is written. */
  const readout = root =>
    Object.fromEntries(
      [...root.querySelectorAll('.readout output span')].map(part => [
        part.firstChild.textContent.trim(),
        part.querySelector('b').textContent,
      ]),
    )

  async function settled(root) {
    for (const end = Date.now() + 20_000; Date.now() < end; ) {
      if (!root.querySelector('.job')) {
        await frame()
        if (!root.querySelector('.job')) return
      } else await new Promise(done => setTimeout(done, 20))
    }
    throw new Error(`it still runs: ${root.querySelector('.job').textContent}`)
  }

  /** About so many points of a pane, one by one: what the line says, and the colour of the pixel. */
  async function scan(root, { selector, most, index }) {
    const field = fieldOf(root, selector, index)
    const canvas = field.querySelector('canvas')
    const box = field.getBoundingClientRect()
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
    const step = Math.max(1, Math.sqrt((canvas.width * canvas.height) / most))
    const found = []
    for (let v = step / 2; v < canvas.height; v += step) {
      for (let u = step / 2; u < canvas.width; u += step) {
        const [x, y] = [Math.floor(u), Math.floor(v)]
        // The middle of the pixel, and a trace more where the edge of a unit runs through it.
        await at(field, box.left + (x + 0.501) / devicePixelRatio, box.top + (y + 0.501) / devicePixelRatio)
        const start = 4 * (y * canvas.width + x)
        found.push({ ...readout(root), at: [x, y], rgb: [...data.subarray(start, start + 3)] })
      }
    }
    field.dispatchEvent(new PointerEvent('pointerleave'))
    return found
  }

  async function under(root, { selector, place, index }) {
    const field = fieldOf(root, selector, index)
    const box = field.getBoundingClientRect()
    await at(field, box.left + place[0], box.top + place[1])
    return readout(root)
  }

  async function seek(root, { selector, place, unit, index }) {
    const field = fieldOf(root, selector, index)
    const box = field.getBoundingClientRect()
    for (let steps = 0; steps < 2000; steps++) {
      const [clientX, clientY] = [box.left + place[0] + 0.5, box.top + place[1] + 0.5]
      await at(field, clientX, clientY)
      const line = readout(root)
      const off = ['x', 'y'].map(axis => (unit[axis] === undefined ? 0 : Math.sign(unit[axis] - Number(line[axis]))))
      if (!off[0] && !off[1]) return [clientX, clientY]
      place = [place[0] + off[0], place[1] + off[1]]
    }
    return null
  }

  /** The box of what is drawn above a pane, in its pixels: `[left, top, right, bottom, width, height]`. */
  function marked(root, { selector, index }) {
    const canvas = fieldOf(root, selector, index).querySelectorAll('canvas')[1]
    const { data, width } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
    const box = [Infinity, Infinity, -Infinity, -Infinity]
    for (let pixel = 0; pixel < data.length / 4; pixel++) {
      if (!data[4 * pixel + 3]) continue
      const [x, y] = [pixel % width, Math.floor(pixel / width)]
      box[0] = Math.min(box[0], x)
      box[1] = Math.min(box[1], y)
      box[2] = Math.max(box[2], x + 1)
      box[3] = Math.max(box[3], y + 1)
    }
    return [...box, canvas.width, canvas.height]
  }
  window.layerscopeTest = { readout, settled, scan, under, seek, marked }
}

/** Put into each page before all else. */
export const SCRIPT = `(${INSIDE})()`

export class Shown {
  /** @param place a locator of what the viewer is in: the page, or a cell of a notebook. */
  constructor(page, place, { stage = null, facts = null, focuses = false } = {}) {
    Object.assign(this, { page, stage, facts, focuses, root: place.locator('.viewer') })
  }

  find = selector => this.root.locator(selector)
  text = selector => this.find(selector).first().textContent()
  click = selector => this.find(selector).first().click()
  box = selector => this.find(selector).first().boundingBox()
  count = selector => this.find(selector).count()
  do = (name, given) => this.root.evaluate((root, [name, given]) => layerscopeTest[name](root, given), [name, given])

  /** Until nothing runs any more and what follows from it is drawn. */
  settled = () => this.do('settled')
  readout = () => this.do('readout')
  scan = async (pane, most = 250, index = 0) => {
    await this.page.mouse.move(2, 2)
    return this.do('scan', { selector: CANVAS[pane], most, index })
  }
  marked = (pane, index = 0) => this.do('marked', { selector: CANVAS[pane], index })

  /** The line for a place of a pane; what is pointed at stays. */
  under = (pane, place, index = 0) => this.do('under', { selector: CANVAS[pane], place, index })

  async drawn() {
    await this.find('.channel dl').waitFor()
    await this.settled()
  }

  /** Until the layer of this path is shown. */
  titled = (path, index = 0) =>
    this.find('.sheet h2')
      .nth(index)
      .filter({ hasText: new RegExp(`^${escaped(path)} ·`) })
      .waitFor()

  /** The id of each layer by its path, as the list has them. */
  async identify() {
    const all = await this.find('.tree [data-layer]').evaluateAll(found =>
      found.map(each => [each.title, each.dataset.layer]),
    )
    return Object.fromEntries(all.map(([title, id]) => [title.split(' · ')[0], id]))
  }

  open = path => this.click(`.tree li[data-layer="${this.ids[path]}"]`)

  /** A view with ids in the place of paths. */
  byId = ({ layer, beside, ...view }) => ({
    ...view,
    layer: this.ids[layer] ?? layer,
    beside: beside?.layer ? { ...beside, layer: this.ids[beside.layer] } : (beside ?? null),
  })

  /** Keys, which belong to a widget where it has the focus. */
  press = async (...keys) => {
    if (this.focuses) {
      await this.root.evaluate(root => {
        if (!root.contains(root.getRootNode().activeElement)) root.focus()
      })
    }
    for (const key of keys) await this.page.keyboard.press(key)
    await this.settled()
  }

  choose = async (label, value) => {
    const field = this.find(`.choice:has(> span:text-is("${label}")) select`).first()
    const values = await field.locator('option').evaluateAll(all => all.map(each => each.value))
    await field.selectOption(values.find(each => each === value || each.endsWith(`:${value}`)) ?? value)
    await this.settled()
  }

  fill = async (selector, text) => {
    await this.find(selector).first().fill(text)
    await this.settled()
  }

  view = async () => {
    await this.press('Control+s')
    const text = await this.find('textarea[aria-label="View"]').inputValue()
    await this.press('Escape')
    return JSON.parse(text)
  }

  /** A place of the page where the line says all that is wanted, found by pointing: `[x, y]`. */
  async seek(pane, { channel, ...unit }, index = 0) {
    const points = (await this.scan(pane, 300, index)).filter(point => !channel || point.channel === String(channel))
    const start = points.find(point => point.y !== undefined)
    assert.ok(start, `channel ${channel} is nowhere on the ${pane}`)
    const place = await this.do('seek', { selector: CANVAS[pane], place: start.at, unit, index })
    assert.ok(place, `${JSON.stringify(unit)} is nowhere on the ${pane}`)
    return place
  }
}

const escaped = text => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

/** A number as it is written. */
export const read = text => Number(text.replaceAll('−', '-').replace('inf', 'Infinity'))

/** Three digits are written, or NaN and infinities as such. */
export const close = (said, value) =>
  Number.isFinite(value) ? Math.abs(said - value) <= 6e-3 * Math.abs(value) + 1e-4 : Object.is(said, value)

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

/** Waits for what comes a moment later. */
export async function until(holds, what = holds) {
  for (const end = Date.now() + 5000; !(await holds()); await new Promise(done => setTimeout(done, 50)))
    assert.ok(Date.now() < end, `it never came: ${what === holds ? holds : what()}`)
}
