/** What is said beside the pictures: titles, the rule of the scale, what a reader could get wrong. */

import type { App } from '../app/app'
import type { Side } from '../app/side'
import { ABOVE, BELOW, CONSTANT, NAN, NEG_INF, POS_INF } from '../core/codes'
import { number, reading } from '../core/ticks'

export const counted = (count: number, word: string) =>
  `${String(count).replace(/\B(?=(\d{3})+$)/g, ',')} ${word}${count === 1 ? '' : 's'}`

/** The title and the line below it. */
export function headings(app: App, side: Side): [string, string] {
  const data = side.data.value
  // Those of the values that are shown, while others are on their way.
  const [layer, input] = data
    ? [app.layer(data.meta.layer), app.input(data.meta.input)]
    : [side.layer.value, side.input.value]
  const { model } = app.manifest.value
  const source = side.source.value
  const word = layer.kind_of === 'attention' ? 'head' : 'channel'
  const count = data?.count ?? layer.channels
  const size = source && source.rows * source.columns > 1 ? ` of ${source.columns}\u00a0×\u00a0${source.rows}` : ''
  const depth =
    data && data.slices > 1 ? `, slice ${Math.min(app.of('slice').value, data.slices - 1) + 1} of ${data.slices}` : ''
  const some = data && side.order.value.length < count ? `${side.order.value.length} of ` : ''
  return [
    `${layer.path || 'output'} · ${some}${counted(count, word)}${size}${depth}`,
    [layer.kind, model.name, `${input.name}, ${input.width} × ${input.height}`, model.text].filter(Boolean).join(' · '),
  ]
}

/** The scale in words. */
export function rule(app: App, side: Side): string {
  const { single, clip, norm } = side.scale.value!
  const text = single
    ? Array.isArray(app.of('scale').value)
      ? 'Fixed range'
      : 'One range for the layer'
    : 'Each tile has its own range'
  const cut = clip ? `, clipped at the percentiles ${clip[0]} and ${clip[1]}` : ''
  return `${text}${cut}${norm === 'linear' ? '' : norm === 'log' ? ', logarithmic' : ', logarithmic on both sides of 0'}.`
}

/** What a reader could get wrong without it, each with the codes that it explains. */
export function remarks(side: Side): [text: string, codes: number[]][] {
  const data = side.data.value!
  const { figures, channels, count, meta } = data
  const { limits } = side.scale.value!
  const those = (fits: (each: number) => unknown) => {
    const found: number[] = []
    for (let each = 0; each < count; each++) if (fits(each)) found.push(channels[each]!)
    return found
  }
  const listed = (numbers: number[]) => numbers.slice(0, 8).join(', ') + (numbers.length > 8 ? ' …' : '')
  const texts: [string, number[]][] = []
  const dead = those(each => figures['dead']![each])
  const constant = those(each => data.size * data.slices > 1 && figures['constant']![each])
  if (dead.length)
    texts.push([
      dead.length === count ? 'All dead (0 everywhere)' : `${dead.length} dead (0 everywhere): ${listed(dead)}`,
      [CONSTANT],
    ])
  if (constant.length) texts.push([`${constant.length} constant: ${listed(constant)}`, [CONSTANT]])
  for (const [name, codes] of [
    ['nan', [NAN]],
    ['inf', [POS_INF, NEG_INF]],
  ] as const) {
    const total = figures[name]!.reduce((sum, each) => sum + each, 0)
    const among = counted(those(each => figures[name]![each]).length, 'channel')
    if (total) texts.push([`${counted(total, 'value')} ${name === 'nan' ? 'NaN' : '±inf'} in ${among}`, [...codes]])
  }
  const below = those(each => figures['min']![each]! < limits[2 * each]!).length
  const above = those(each => figures['max']![each]! > limits[2 * each + 1]!).length
  if (below) texts.push([`below the limits, in ${counted(below, 'channel')}`, [BELOW]])
  if (above) texts.push([`above the limits, in ${counted(above, 'channel')}`, [ABOVE]])
  return [...texts, ...meta.notes.map(text => [text, []] as [string, number[]])]
}

export const capital = (text: string) =>
  text.replace(/^[a-z-]+(?=[ ,:])/, word => word[0]!.toUpperCase() + word.slice(1))

export const percent = (share: number) => `${share > 0 && share < 0.001 ? '<0.1' : +(100 * share).toPrecision(3)} %`

export const span = (low: number, high: number) => `${reading(low, low, high)} – ${reading(high, low, high)}`

export { number, reading }
