/** The colour of each code, as a table of 256 pixels by which the paint pass goes. */

import { ABOVE, BELOW, codeOf, GAP, TOP } from './codes'
import type { Scale } from './scale'
import type { Manifest } from './types'

const LITTLE = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1

/** A pixel as canvases keep it in memory. */
export function pixel(red: number, green: number, blue: number, alpha = 255): number {
  const [a, b, c, d] = LITTLE ? [alpha, blue, green, red] : [red, green, blue, alpha]
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
}

export function fromBase64(text: string): Uint8Array {
  const binary = atob(text)
  const bytes = new Uint8Array(binary.length)
  for (let index = 0; index < bytes.length; index++) bytes[index] = binary.charCodeAt(index)
  return bytes
}

/** The usual colours of a scale: those that diverge where it has a centre. */
export function usualColors(manifest: Manifest, center: number | null): string {
  const [kind, name] = center === null ? ['sequential', 'viridis'] : ['diverging', 'vik']
  const known = manifest.colours
  return (known.find(each => each.name === name) ?? known.find(each => each.kind === kind) ?? known[0])?.name ?? ''
}

/** The colour of each code. Paper is transparent; by a scale that is clipped, what lies beyond has the colours of the ends. */
export function lut(manifest: Manifest, name: string, options: { dark?: boolean; scale?: Scale } = {}): Uint32Array {
  const found = manifest.colours.find(each => each.name === name) ?? manifest.colours[0]
  const colors = found ? fromBase64(found.table) : new Uint8Array(768)
  const special = options.dark && found && manifest.dark[found.name]
  if (special) {
    const last = fromBase64(special)
    colors.set(last, colors.length - last.length)
  }
  const table = new Uint32Array(256)
  for (let code = 0; code < 256; code++) {
    table[code] = pixel(colors[3 * code]!, colors[3 * code + 1]!, colors[3 * code + 2]!, code === GAP ? 0 : 255)
  }
  if (options.scale?.clip) {
    const [below, above] = endCodes(options.scale)
    table[BELOW] = table[below]!
    table[ABOVE] = table[above]!
  }
  return table
}

/** The codes whose colours values beyond the limits have: those of the limits, where the bar ends. */
export function endCodes({ single, limits, curve }: Scale): [number, number] {
  const [low, high] = [limits[0]!, limits[1]!]
  return single && low < high ? [codeOf(low, low, high, curve), codeOf(high, low, high, curve)] : [0, TOP]
}
