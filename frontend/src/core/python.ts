/** The Python that makes the same picture. */

import type { CombinationInfo, LayerInfo, Manifest, ViewState } from './types'

export type Pictured = 'sheet' | 'combined' | 'overlay'

/** Lines that draw the sheet, the combined map, or that map on the photo; where two are beside each other, both. */
export function line(view: ViewState, manifest: Manifest, what: Pictured = 'sheet'): string {
  const other = { ...view, ...view.beside }
  const sides = other.layer === view.layer && other.input === view.input ? [view] : [view, other]
  const drawn = sides.map(each => lines(each, manifest, what).join('\n'))
  return [manifest.model.opening, ...(drawn[1] ? drawn.map(each => `${each}.show()`) : drawn)].join('\n')
}

function lines(given: ViewState, { inputs, layers, combinations, model }: Manifest, what: Pictured): string[] {
  const layer = layers.find(each => each.id === given.layer) ?? layers[0]!
  const input = inputs.find(each => each.id === given.input) ?? inputs[0]!
  const all = within(given, layer)
  const [rule, mode] = named(all, layer, combinations)
  // Groups and components have colours of their own, whatever the sheet has.
  const view =
    what !== 'sheet' && /^(pca|nmf|clusters)\b/.test(mode) ? { ...all, norm: 'linear' as const, colors: '' } : all
  const [path, image, onPhoto] = [quoted(layer.path), quoted(input.source ?? input.name), what === 'overlay']
  const made = what !== 'sheet' && !OWN.includes(mode)
  if (made && !model.store) {
    const options = {
      combine: quoted(mode),
      target: rule?.needs === 'target' ? (view.target ?? input.predictions?.[0]?.index) : undefined,
      overlay: onPhoto ? 'True' : undefined,
      ...colors(view, onPhoto),
    }
    return [`ls.show(${['scope', image, path, ...keywords(options)].join(', ')})`]
  }
  const map = model.store
    ? `store.feature_map(${path}, ${image}, photos=True)`
    : `scope.capture(${image}, ${path})[${path}]`
  const [, argument] = mode.split(':')
  const more = argument ? `, ${/^[\d,]+$/.test(argument) ? `(${argument})` : quoted(argument)}` : ''
  return [
    `fm = ${map}`,
    ...(made && layer.kind_of === 'attention' ? [] : part(view, layer)),
    ...(what === 'sheet'
      ? sheet(view)
      : combined(view, onPhoto, made ? rule?.call?.replace('{}', () => more) : undefined)),
  ]
}

/** A combination with the unit that it is for, the middle of the map without one, and its row. */
export function named(
  { mode, unit, slice }: ViewState,
  { spatial }: LayerInfo,
  combinations: CombinationInfo[],
): [CombinationInfo | undefined, string] {
  const rule = combinations.find(({ name }) => name === mode.split(':')[0])
  if (rule?.argument !== 'unit' || mode !== rule.name) return [rule, mode]
  const at = [slice, ...(unit ?? [0, ...spatial].slice(-2).map(size => size >> 1))]
  return [rule, `${mode}:${at.slice(-spatial.length)}`]
}

/** A view with what a layer has of its channels and slices. */
function within(view: ViewState, { channels, spatial }: LayerInfo): ViewState {
  const weights = Object.entries(view.weights).filter(([channel]) => Number(channel) < channels)
  return {
    ...view,
    active: view.active < channels ? view.active : 0,
    slice: Math.min(view.slice, spatial[0]! - 1),
    weights: Object.fromEntries(weights),
  }
}

const OWN = ['channel', 'mean', 'weights']

/** What is shown at once of attention maps and volumes. */
function part({ query, slice }: ViewState, { kind_of: kind }: LayerInfo): string[] {
  if (kind === 'attention') return [`fm = ls.attention(fm, ${query})`]
  return kind === 'volume' ? [`fm = ls.FeatureMap.of_array(fm.values[:, ${slice}], "bhwc")`] : []
}

function limits({ scale, clip }: ViewState): Record<string, string | undefined> {
  return {
    scale: scale === 'channel' ? undefined : value(scale),
    clip: clip && !Array.isArray(scale) ? value(clip) : undefined,
  }
}

function sheet(view: ViewState): string[] {
  const channels = view.single ? `[${view.active}]` : view.find.trim() && quoted(view.find.trim())
  const options = {
    channels: channels || undefined,
    sort: view.single || view.sort === 'index' ? undefined : quoted(view.sort),
    ...limits(view),
    ...colors(view),
  }
  return [`ls.sheet(${['fm', ...keywords(options)].join(', ')})`]
}

function combined(view: ViewState, onPhoto: boolean, made?: string): string[] {
  const weights = Object.entries(view.weights).map(([channel, weight]) => `${channel}: ${weight}`)
  const sums: Record<string, string> = {
    channel: `fm.select([${view.active}])`,
    mean: 'ls.mean(fm)',
    weights: `ls.weighted(fm, {${weights.join(', ')}})`,
  }
  const sum = made ?? sums[view.mode]!
  const { scale, clip } = limits(view)
  const own = view.mode === 'channel' ? { scale: Array.isArray(view.scale) ? scale : undefined, clip } : {}
  const draw = (map: string) =>
    `ls.${onPhoto ? 'overlay' : 'heatmap'}(${[map, ...keywords({ ...own, ...colors(view, onPhoto) })].join(', ')})`
  if (view.mode !== 'weights' || view.post === 'none') return [draw(sum)]
  return [`total = ${sum}`, 'total = total.combined(total.values.clip(min=0), "positive part")', draw('total')]
}

function colors({ norm, colors: name, opacity }: ViewState, onPhoto = false): Record<string, string | undefined> {
  return {
    norm: norm === 'linear' ? undefined : quoted(norm),
    colors: name ? quoted(name) : undefined,
    alpha: onPhoto ? String(opacity) : undefined,
  }
}

function keywords(options: Record<string, string | number | undefined>): string[] {
  return Object.entries(options).flatMap(([name, given]) => (given === undefined ? [] : `${name}=${given}`))
}

function value(given: string | readonly number[]): string {
  return typeof given === 'string' ? quoted(given) : `(${given.join(', ')})`
}

/** A text as Python writes it, with nothing in it that could end it. */
export function quoted(text: string): string {
  const inner = text.replace(/[\\"]/g, '\\$&').replace(/\p{C}|[\u2028\u2029]/gu, escapedSign)
  return `"${inner}"`
}

function escapedSign(sign: string): string {
  return `\\U${sign.codePointAt(0)!.toString(16).padStart(8, '0')}`
}
