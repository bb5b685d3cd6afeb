/** What is said beside the pictures: titles, the rule of the scale, what a reader could get wrong. */

import type { App } from '../app/app'
import type { Side } from '../app/side'
import { ABOVE, BELOW, codeOf, NAN, NEG_INF, POS_INF } from '../core/codes'
import type { Scale } from '../core/scale'
import { number, reading } from '../core/ticks'
import type { Norm } from '../core/types'

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
  const { length } = side.seen.value
  const some = data && length < count ? `${length} of ` : ''
  return [
    `${layer.path || 'output'} · ${some}${counted(count, word)}${size}${depth}`,
    [layer.kind, model.name, [input.name, data?.meta.fed].filter(Boolean).join(', ')].filter(Boolean).join(' · '),
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
  return `${text}${cut}${curved(norm)}.`
}

export const curved = (norm: Norm) =>
  norm === 'linear' ? '' : norm === 'log' ? ', logarithmic' : ', logarithmic on both sides of 0'

/** What values below the limits are, in the words of Python's legends: by `log` mostly those without a logarithm. */
export const below = (app: App, { norm, clip }: Scale) => {
  const fixed = Array.isArray(app.of('scale').value)
  const others = clip ? ', or under the lower percentile' : fixed ? ', or below the limits' : ''
  return norm === 'log' ? `0 or below${others}` : 'below the limits'
}

/** What a reader of the tiles that are seen could get wrong without it, each with the codes that it explains. */
export function remarks(side: Side): [text: string, codes: number[]][] {
  const data = side.data.value!
  const { figures, channels, meta } = data
  const scale = side.scale.value!
  const { limits } = scale
  const seen = side.seen.value
  const those = (fits: (each: number) => unknown) => seen.filter(fits)
  const texts: [string, number[]][] = []
  // Such tiles have one colour, by one range for all not that of the mark.
  const flat = (found: number[], word: string) => {
    const listed = `: ${found.slice(0, 8).map(each => channels[each])}`.replaceAll(',', ', ')
    const codes = new Set(found.map(each => codeOf(figures['min']![each]!, ...side.range(each), scale.curve)))
    if (found.length)
      texts.push([
        found.length === seen.length
          ? `All ${word}`
          : `${found.length} ${word}${listed}${found.length > 8 ? ' …' : ''}`,
        codes.size > 1 ? [] : [...codes],
      ])
  }
  flat(
    those(each => figures['dead']![each]),
    'dead (0 everywhere)',
  )
  flat(
    those(each => data.size * data.slices > 1 && figures['constant']![each]),
    'constant',
  )
  for (const [name, codes] of [
    ['nan', [NAN]],
    ['inf', [POS_INF, NEG_INF]],
  ] as const) {
    const found = those(each => figures[name]![each])
    const total = found.reduce((sum, each) => sum + figures[name]![each]!, 0)
    if (total)
      texts.push([
        `${counted(total, 'value')} ${name === 'nan' ? 'NaN' : '±inf'} in ${counted(found.length, 'channel')}`,
        [...codes],
      ])
  }
  const under = those(each => figures['min']![each]! < limits[2 * each]!).length
  const over = those(each => figures['max']![each]! > limits[2 * each + 1]!).length
  if (under) texts.push([`${below(side.app, scale)}, in ${counted(under, 'channel')}`, [BELOW]])
  if (over) texts.push([`above the limits, in ${counted(over, 'channel')}`, [ABOVE]])
  return [...texts, ...meta.notes.map(text => [text, []] as [string, number[]])]
}

export const capital = (text: string) =>
  text.replace(/^[a-z-]+(?=[ ,:])/, word => word[0]!.toUpperCase() + word.slice(1))

export const percent = (share: number) => `${share > 0 && share < 0.001 ? '<0.1' : +(100 * share).toPrecision(3)} %`

export const span = (low: number, high: number) => `${reading(low, low, high)} – ${reading(high, low, high)}`

export { number, reading }
