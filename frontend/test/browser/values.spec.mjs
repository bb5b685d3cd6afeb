// What is read and what is seen on a sheet is what numpy has.
import assert from 'node:assert/strict'
import { PYTORCH } from './classes.spec.mjs'
import { bytes, close, floats, near, read } from './shown.mjs'

/** Every point of a sheet says the channel, the unit and the value that its colour stands for, and tiles lie in their order. */
export async function compare(shown, path, sheet, { theme = 'light', most = 250, colors = true } = {}) {
  const { shape, values: packed } = shown.facts.layers[path]
  const [values, codes, palette] = [floats(packed), bytes(sheet.codes), sheet.palettes[theme]]
  const [, rows, columns] = shape
  const points = (await shown.scan('sheet', most)).filter(point => point.value !== undefined)
  assert.ok(points.length > most / 4, `only ${points.length} of ${most} points lie on tiles`)
  const flat = channel => {
    const plane = values.subarray(channel * rows * columns, (Number(channel) + 1) * rows * columns)
    return plane.every(value => value === plane[0])
  }
  let same = 0
  for (const point of points) {
    const unit = (Number(point.channel) * rows + Number(point.y)) * columns + Number(point.x)
    const said = `${JSON.stringify(point)}: ${values[unit]}, code ${codes[unit]} in ${palette[codes[unit]]}`
    assert.ok(close(read(point.value), values[unit]), said)
    // On a tile of one value stands a word.
    if (colors) assert.ok(flat(point.channel) || near(point.rgb, palette, codes[unit]), said)
    if (near(point.rgb, palette, codes[unit], 0)) same++
  }
  if (colors) assert.ok(same > 0.9 * points.length, `${same} of ${points.length} points have the very colour`)
  const order = [...new Set(points.map(point => Number(point.channel)))]
  assert.deepEqual(
    order,
    sheet.order.filter(each => order.includes(each)),
  )
  assert.ok(order.length >= Math.min(sheet.order.length, 20), `only ${order.length} tiles are seen`)
}

/** What is chosen above the sheet for the options of `ls.sheet`. */
export async function choose(
  shown,
  { scale = 'channel', clip, norm = 'linear', colors = '', sort = 'index', channels = '' },
) {
  await shown.choose('Range', [scale, ...(clip ?? [])].join(' '))
  await shown.choose('Scale', norm)
  await shown.choose('Colours', colors)
  await shown.choose('Sort', sort)
  await shown.fill('.find input', channels)
}

export default ({ check, stage }) => {
  for (const [name, { layers }] of Object.entries(stage.facts)) {
    for (const [path, { sheets }] of Object.entries(layers)) {
      if (!sheets.length) continue
      check(`sheets of ${path} have the values, the colours and the order of Python's`, () =>
        stage.with(name, { layer: path }, async shown => {
          for (const sheet of sheets) {
            await choose(shown, sheet.options)
            await compare(shown, path, sheet).catch(error => {
              throw Object.assign(error, { message: `${JSON.stringify(sheet.options)}: ${error.message}` })
            })
          }
        }),
      )
    }
  }

  check('on dark paper the marks are those of dark paper', () => {
    const { layers } = stage.facts.shapes
    const { odd } = layers
    return stage.with(
      'shapes',
      { layer: 'odd' },
      async shown => {
        await compare(shown, 'odd', odd.sheets[0], { theme: 'dark' })
        const notes = await shown.text('.sheet footer')
        for (const text of [
          /2 values NaN in 1 channel/,
          /2 values ±inf in 2 channels/,
          /1 dead .*: 5/,
          /1 constant: 4/,
        ])
          assert.match(notes, text)
      },
      { dark: true },
    )
  })

  check('a condition that is none says so, and shows all channels', () =>
    stage.with('cat', { layer: '_fc' }, async shown => {
      await shown.fill('.find input', 'mean >')
      assert.equal(await shown.find('.find input').getAttribute('aria-invalid'), 'true')
      assert.ok((await shown.text('.sheet .empty')).length > 10)
    }),
  )

  check(
    'a large layer drawn small shows means of its values',
    () =>
      stage.with('classes', { layer: 'wide', input: 'i1' }, async shown => {
        const { pooled, palette, side } = stage.facts.classes.wide
        const points = (await shown.scan('sheet', 1200)).filter(point => point.y !== undefined)
        assert.ok(points.length > 600)
        const row = points.filter(({ channel, at: [, y] }) => channel === '0' && y === points[0].at[1])
        const [first, last] = [row[0], row.at(-1)]
        const width = (side * (last.at[0] - first.at[0])) / (last.x - first.x)
        const factor = 2 ** Math.floor(Math.log2(side / width))
        assert.ok(factor >= 4, `tiles are ${width} wide`)
        const [codes, across] = [bytes(pooled[factor]), side / factor]
        for (const point of points) {
          const cell = [point.channel, ...[point.y, point.x].map(each => Math.floor(each / factor))].map(Number)
          const code = codes[(cell[0] * across + cell[1]) * across + cell[2]]
          assert.ok(near(point.rgb, palette, code), `${JSON.stringify(point)}: ${palette[code]}`)
        }
      }),
    { ...PYTORCH, report: 'a report has no room for such a layer' },
  )
}
