/** The Python that makes the same picture. */

import type { InputInfo, LayerInfo, Manifest, ViewState } from './types'

export type Pictured = 'sheet' | 'combined' | 'overlay'

/** Lines that draw the sheet, the combined map, or that map on the photo. `model` stands for a model object. */
export function line(view: ViewState, manifest: Manifest, what: Pictured = 'sheet'): string {
  const layer = manifest.layers.find(each => each.id === view.layer) ?? manifest.layers[0]!
  const input = manifest.inputs.find(each => each.id === view.input) ?? manifest.inputs[0]!
  const { source } = manifest.model
  const model = source === undefined ? 'model' : quoted(source)
  const rule = manifest.combinations.find(({ name }) => name === view.mode.split(':')[0])
  const own = ['channel', 'mean', 'weights'].includes(view.mode)
  if (what !== 'sheet' && !own) {
    const given = rule?.needs === 'target' && view.target !== null ? view.target : undefined
    const options = {
      combine: quoted(view.mode),
      target: given,
      overlay: what === 'overlay' ? 'True' : undefined,
      ...colors(view),
    }
    return `import layerscope as ls\n\nls.show(${[model, photo(input), quoted(layer.path), ...keywords(options)].join(', ')})`
  }
  const lines = ['import layerscope as ls', '', captured(model, input, layer)]
  if (what === 'sheet') lines.push(...sheet(view, layer))
  else lines.push(...combined(view, what === 'overlay' ? 'overlay' : 'heatmap'))
  return lines.join('\n')
}

function captured(model: string, input: InputInfo, layer: LayerInfo): string {
  const path = quoted(layer.path)
  return `fm = ls.open(${model}).capture(${photo(input)}, ${path})[${path}]`
}

function sheet(view: ViewState, layer: LayerInfo): string[] {
  const map = layer.kind_of === 'attention' ? `ls.attention(fm, ${view.query})` : 'fm'
  const channels = view.single ? `[${view.active}]` : view.find.trim() && quoted(view.find.trim())
  const options = {
    channels: channels || undefined,
    sort: view.single || view.sort === 'index' ? undefined : quoted(view.sort),
    scale: view.scale === 'channel' ? undefined : value(view.scale),
    clip: view.clip && !Array.isArray(view.scale) ? value(view.clip) : undefined,
    ...colors(view),
  }
  return [`ls.sheet(${[map, ...keywords(options)].join(', ')})`]
}

function combined(view: ViewState, draw: string): string[] {
  const weights = Object.entries(view.weights).map(([channel, weight]) => `${channel}: ${weight}`)
  const sums: Record<string, string> = {
    channel: `fm.select([${view.active}])`,
    mean: 'ls.mean(fm)',
    weights: `ls.weighted(fm, {${weights.join(', ')}})`,
  }
  const sum = sums[view.mode]!
  if (view.mode === 'weights' && view.post === 'relu') {
    return [
      `total = ${sum}`,
      'total = total.combined(total.values.clip(min=0), "positive part")',
      `ls.${draw}(${['total', ...keywords(colors(view))].join(', ')})`,
    ]
  }
  return [`ls.${draw}(${[sum, ...keywords(colors(view))].join(', ')})`]
}

function colors({ norm, colors: name }: ViewState): Record<string, string | undefined> {
  return { norm: norm === 'linear' ? undefined : quoted(norm), colors: name ? quoted(name) : undefined }
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
