// What only the page can: more images, and what takes long.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { compare } from './values.spec.mjs'

const MODEL = { report: 'a report has no model that could be run' }

/** Makes in the page the event by which a file comes. */
const event = (shown, kind, { name, mimeType, buffer }) =>
  shown.root.evaluate(
    (root, [kind, name, type, text]) => {
      const given = new DataTransfer()
      given.items.add(new File([Uint8Array.from(atob(text), sign => sign.charCodeAt())], name, { type }))
      const options = { bubbles: true, composed: true, cancelable: true }
      const sent =
        kind === 'paste'
          ? new ClipboardEvent(kind, { ...options, clipboardData: given })
          : new DragEvent(kind, { ...options, dataTransfer: given })
      return !root.querySelector('.sheet .field').dispatchEvent(sent)
    },
    [kind, name, mimeType, buffer.toString('base64')],
  )

const WAYS = {
  picked: (shown, file) => shown.find('input[type=file]').setInputFiles(file),
  async dropped(shown, file) {
    assert.ok(await event(shown, 'dragover', file), 'a browser would open the file in place of the page')
    assert.ok(await event(shown, 'drop', file))
  },
  pasted: async (shown, file) => assert.ok(await event(shown, 'paste', file)),
}

export default ({ check, stage }) => {
  const { added } = stage.facts.shapes
  check(
    'an image that is picked, dropped or pasted is run through the model and shown',
    () =>
      stage.with('shapes', { layer: 'odd' }, async shown => {
        Object.assign(shown, { facts: { ...shown.facts, layers: { odd: added } } })
        for (const [way, act] of Object.entries(WAYS)) {
          await shown.choose('Image', 'i0')
          await act(shown, { name: `${way}.png`, mimeType: 'image/png', buffer: readFileSync(stage.added) })
          await shown.find(`.sheet header p:text-matches("${way}\\.png, 64 × 48")`).waitFor()
          await shown.settled()
          await compare(shown, 'odd', added.sheets[0], { most: 200 })
        }
      }),
    MODEL,
  )

  check(
    'a file that is no image is refused with a sentence, and what was shown stays',
    () =>
      stage.with('shapes', { layer: 'odd' }, async shown => {
        await shown.find('input[type=file]').setInputFiles({
          name: 'notes.png',
          mimeType: 'image/png',
          buffer: Buffer.from('no image'),
        })
        await shown.find('[role=alert]').waitFor()
        assert.match(await shown.text('[role=alert]'), /notes\.png/)
        assert.ok((await shown.text('.sheet h2')).startsWith('odd'))
      }),
    MODEL,
  )

  check(
    'a slow layer shows that it runs, is cancelled, and leaves the page as it was',
    () =>
      stage.with('shapes', { layer: 'odd' }, async shown => {
        await shown.open('slow')
        await shown.click('.job button')
        await shown.settled()
        assert.equal(await shown.count('[role=alert]'), 0)
        assert.ok((await shown.text('.sheet h2')).startsWith('odd'))
        assert.equal((await shown.view()).layer, shown.ids.odd)
        await shown.open('volume')
        await shown.titled('volume')
      }),
    MODEL,
  )
}
