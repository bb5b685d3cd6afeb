// `node browser.bench.mjs CHROMIUM URL…`: medians of what a user waits for on pages of `layerscope view`, in headless Chromium,
// as JSON; bench/viewer.py starts the pages. The first page is that of the embedded model, whose opening is timed.
import { chromium } from 'playwright-core'

const [executablePath, first, url] = process.argv.slice(2)
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
const page = await browser.newPage({ viewport: { width: 1360, height: 800 } })
const times = {}

const opened = []
for (let round = 0; round < 5; round++) {
  await page.goto('about:blank')
  const start = performance.now()
  await page.goto(first)
  await page.waitForSelector('.channel dl')
  opened.push((performance.now() - start) / 1000)
}
times.open = opened

await page.goto(url)
await page.waitForSelector('.channel dl')
const layers = await page.$$eval('.tree [data-layer]', all =>
  all.map(each => [each.dataset.layer, each.title.split(' · ')[0]]),
)

/**
 * Seconds from an event until the page is laid out and its canvases are drawn, as JavaScript that makes the event of a round.
 * Putting the page together for the screen is the browser's own work, and not in it.
 */
const timed = (act, { until = 'true', rounds = 9 } = {}) =>
  page.evaluate(
    async ([act, until, rounds]) => {
      const [run, done] = [new Function('round', act), new Function(`return ${until}`)]
      const ofScreen = requestAnimationFrame
      const frame = () => new Promise(ofScreen)
      // A task behind those that wait, without the 4 ms that a timer may take.
      const { port1, port2 } = new MessageChannel()
      const task = () =>
        new Promise(next => {
          port1.onmessage = next
          port2.postMessage(0)
        })
      // What waits for a frame runs in the next task: work is timed, and not how far off the screen's next frame is.
      const waiting = []
      const found = []
      for (let round = 0; round < rounds; round++) {
        await frame()
        await frame()
        await task()
        window.requestAnimationFrame = act => waiting.push(act)
        const start = performance.now()
        run(round)
        let acts
        do {
          await task()
          acts = waiting.splice(0)
          for (const act of acts) act(performance.now())
        } while (acts.length || !done())
        document.body.getBoundingClientRect()
        // What was drawn is waited for: a canvas may else be timed by the list of its commands.
        for (const each of document.querySelectorAll('canvas')) each.getContext('2d').getImageData(0, 0, 1, 1)
        found.push((performance.now() - start) / 1000)
        window.requestAnimationFrame = ofScreen
      }
      return found
    },
    [act, until, rounds],
  )

const key = name => `document.dispatchEvent(new KeyboardEvent('keydown', { key: '${name}', bubbles: true }))`
const shown = path => `document.querySelector('.sheet h2').textContent.startsWith('${path} ')`
const at = `document.querySelector('.sheet .field')`
const pick = id => `document.querySelector('[data-layer="${id}"]').click()`

const [[small, smallPath]] = layers
for (const [id, path] of layers.slice(1)) {
  const found = {}
  found.switch = await timed(pick(id), { until: shown(path), rounds: 1 })
  found.first = []
  for (let round = 0; round < 7; round++) {
    await timed(pick(small), { until: shown(smallPath), rounds: 1 })
    found.first.push(...(await timed(pick(id), { until: shown(path), rounds: 1 })))
  }
  found.colours = await timed(key('c'))
  found.scale = await timed(key('n'))
  found.pan = await timed(
    `const [x, y] = [600 + 7 * (round % 2), 400]
    ${at}.dispatchEvent(new WheelEvent('wheel', { deltaY: round % 4 < 2 ? -120 : 120, clientX: x, clientY: y, bubbles: true, cancelable: true }))`,
  )
  await page.keyboard.press('0')
  for (const each of [' ', 'ArrowRight', ' ', 'ArrowRight', ' ']) await page.keyboard.press(each)
  await page.waitForSelector('.weights input[type=range]')
  found.weight = await timed(
    `const field = document.querySelector('.weights input[type=range]')
    field.value = round / 10
    field.dispatchEvent(new Event('input', { bubbles: true }))`,
  )
  times[path] = found
}
console.log(JSON.stringify(times))
await browser.close()
