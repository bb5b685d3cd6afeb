/** The Python that makes the same picture. */

import type { InputInfo, LayerInfo, Manifest, ViewState } from './types'

export type Pictured = 'sheet' | 'combined' | 'overlay'

/** Lines that draw the sheet, the combined map, or that map on the photo. */
export function line(view: ViewState, manifest: Manifest, what: Pictured = 'sheet'): string {
  const layer = manifest.layers.find(each => each.id === view.layer) ?? manifest.layers[0]!
  const input = manifest.inputs.find(each => each.id === view.input) ?? manifest.inputs[0]!
  const { opening } = manifest.model
  const rule = manifest.combinations.find(({ name }) => name === view.mode.split(':')[0])
  const onPhoto = what === 'overlay'
  if (what !== 'sheet' && !OWN.includes(view.mode)) {
    const options = {
      combine: quoted(view.mode),
      target: rule?.needs === 'target' ? (view.target ?? input.predictions?.[0]?.index) : undefined,
      overlay: onPhoto ? 'True' : undefined,
      ...colors(view, onPhoto),
    }
    const given = ['scope', photo(input), quoted(layer.path), ...keywords(options)]
    return `${opening}\nls.show(${given.join(', ')})`
  }
  const path = quoted(layer.path)
  const lines = [opening, `fm = scope.capture(${photo(input)}, ${path})[${path}]`, ...part(view, layer)]
  return [...lines, ...(what === 'sheet' ? sheet(view) : combined(view, onPhoto))].join('\n')
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

function combined(view: ViewState, onPhoto: boolean): string[] {
  const weights = Object.entries(view.weights).map(([channel, weight]) => `${channel}: ${weight}`)
  const sums: Record<string, string> = {
    channel: `fm.select([${view.active}])`,
    mean: 'ls.mean(fm)',
    weights: `ls.weighted(fm, {${weights.join(', ')}})`,
  }
  const sum = sums[view.mode]!
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

function photo({ source, name }: InputInfo): string {
  return quoted(source ?? name)
}

/** A text as Python writes it, with nothing in it that could end it. */
export function quoted(text: string): string {
  const inner = text.replace(/[\\"]/g, '\\$&').replace(/\p{C}|[\u2028\u2029]/gu, escapedSign)
  return `"${inner}"`
}

function escapedSign(sign: string): string {
  return `\\U${sign.codePointAt(0)!.toString(16).padStart(8, '0')}`
}
