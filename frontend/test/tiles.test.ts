import { expect, test, vi } from 'vitest'
import type { App } from '../src/app/app'
import { grid, Tiles } from '../src/app/raster'
import type { Side } from '../src/app/side'
import { scaleOf } from '../src/core/scale'
import { paint } from '../src/panes/tiles'
import { layerFrom, written } from './fixtures'

/** A canvas that keeps what is written on it, with the alignment of each text. */
function board() {
  const texts: [text: string, align: string][] = []
  const drawn = {
    textAlign: 'left',
    clearRect() {},
    putImageData() {},
    fillRect() {},
    measureText: (text: string) => ({ width: 6 * text.length }),
    fillText: (text: string) => texts.push([text, drawn.textAlign]),
  }
  return { texts, canvas: { style: {}, getContext: () => drawn } as unknown as HTMLCanvasElement }
}

class Image {
  data: Uint8ClampedArray
  constructor(
    readonly width: number,
    readonly height: number,
  ) {
    this.data = new Uint8ClampedArray(4 * width * height)
  }
}

test('the numbers of channels begin at the left edge of their tiles, however often these are drawn', () => {
  vi.stubGlobal('ImageData', Image)
  const data = layerFrom(written['relu']!)
  const { count, rows, columns } = data
  const scale = scaleOf(data, { per: 'channel', clip: null, norm: 'linear' })
  const source = { count, rows, columns, plane: (each: number) => data.plane(each), layer: data, slice: 0 }
  const side = {
    data: { value: data },
    scale: { value: scale },
    table: { value: new Uint32Array(256) },
    tiles: { value: new Tiles(source, scale.limits, scale.curve) },
    range: (each: number) => [scale.limits[2 * each], scale.limits[2 * each + 1]],
  } as unknown as Side
  const app = { theme: { value: 'light' }, of: () => ({ value: [] }) } as unknown as App
  const size = { width: 100 * count, height: 200, ratio: 1 }
  const { texts, canvas } = board()
  for (let times = 0; times < 2; times++) {
    texts.length = 0
    paint(canvas, { app, side, order: [...data.channels.keys()], at: grid(source, size, null), size })
    expect(texts.slice(0, count)).toEqual(Array.from(data.channels, each => [String(each), 'left']))
  }
})

test('tiles keep their numbers where whole pixels for each unit would be too small for them', () => {
  const size = { width: 782, height: 586, ratio: 1 }
  const at = grid({ count: 240, rows: 28, columns: 28 }, size, null)
  expect(at.label).toBeGreaterThan(0)
  expect(at.down * at.pitchY).toBeGreaterThan(0.85 * size.height)
  expect(grid({ count: 32, rows: 14, columns: 14 }, size, null).width % 14).toBe(0)
})
