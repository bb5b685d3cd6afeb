// `node pictures.mjs SETTING.json`: the pictures of the viewer in README and docs, taken in Chromium; scripts/draw_viewer.py starts what
// is seen, and says which view of it at which size.
import { readFileSync } from 'node:fs'
import { Stage } from './test/browser/stage.mjs'

const { pictures, ...setting } = JSON.parse(readFileSync(process.argv[2], 'utf8'))
for (const { name, view, size, dark, path, scale, point } of pictures) {
  const [width, height] = size
  const window = { viewport: { width, height }, deviceScaleFactor: scale }
  const stage = await Stage.open({ ...setting, window, facts: {} })
  await stage.with(
    name,
    view,
    async shown => {
      await shown.page.mouse.move(...(point ?? [width - 2, height - 2]))
      await shown.page.waitForTimeout(600)
      await shown.settled()
      await shown.page.screenshot({ path })
    },
    { dark },
  )
  await stage.close()
}
