/** What all panes are made of: a canvas as large as its place, a choice, and a button. */

import { type ReadonlySignal, useSignal } from '@preact/signals'
import { type ComponentChildren, options } from 'preact'
import { useLayoutEffect, useRef } from 'preact/hooks'
import type { App } from '../app/app'
import type { Manifest } from '../core/types'

// Canvases are drawn with what Preact renders, not a frame later.
options.requestAnimationFrame = draw => queueMicrotask(() => queueMicrotask(draw))

export interface Size {
  width: number
  height: number
  /** Device pixels for each pixel of the page. */
  ratio: number
}

/** The size of an element in device pixels, as it changes. */
export function useSize<E extends HTMLElement>() {
  const ref = useRef<E>(null)
  const size = useSignal<Size>({ width: 0, height: 0, ratio: 1 })
  useLayoutEffect(() => {
    const measure = () => {
      const { clientWidth, clientHeight } = ref.current!
      const ratio = devicePixelRatio || 1
      const next = { width: Math.round(clientWidth * ratio), height: Math.round(clientHeight * ratio), ratio }
      if (JSON.stringify(next) !== JSON.stringify(size.value)) size.value = next
    }
    const observer = new ResizeObserver(measure)
    observer.observe(ref.current!)
    measure()
    return () => observer.disconnect()
  }, [])
  return { ref, size }
}

/** A canvas in device pixels, cleared if it isn't written as a whole. Its place may be wider by less than one: it is not stretched. */
export function context(
  canvas: HTMLCanvasElement,
  { width, height, ratio }: Size,
  clear = true,
): CanvasRenderingContext2D {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height })
  Object.assign(canvas.style, { width: `${width / ratio}px`, height: `${height / ratio}px` })
  const drawn = canvas.getContext('2d')!
  if (clear) drawn.clearRect(0, 0, width, height)
  return drawn
}

export type Choices = readonly (readonly [value: string, label: string])[]

export function Choice(props: {
  label: string
  /** A signal renders nothing anew. */
  value: string | ReadonlySignal<string>
  of: Choices
  /** What can't be chosen, and why. */
  absent?: Manifest['absent']
  pick: (value: string) => void
}) {
  const { label, value, of, absent, pick } = props
  return (
    <label class="choice">
      <span>{label}</span>
      <select value={value} onChange={event => pick(event.currentTarget.value)}>
        {of.map(([each, text]) => (
          <option key={each} value={each}>
            {text}
          </option>
        ))}
        {absent?.map(({ reason, labels }) => (
          <optgroup key={reason} label={reason} disabled>
            {labels.map(each => (
              <option key={each}>{each}</option>
            ))}
          </optgroup>
        ))}
      </select>
    </label>
  )
}

export function Button(props: {
  on: () => void
  title: string
  children: ComponentChildren
  pressed?: boolean
  disabled?: boolean
}) {
  const { on, title, children, pressed, disabled } = props
  return (
    <button type="button" title={title} aria-label={title} aria-pressed={pressed} disabled={disabled} onClick={on}>
      {children}
    </button>
  )
}

/** The colours of paper and ink as the theme has them. */
export const inks = (app: App) =>
  app.theme.value === 'dark'
    ? { paper: '#16181c', ink: '#e8eaed', grey: '#9aa0a9', line: '#383c44' }
    : { paper: '#ffffff', ink: '#181b21', grey: '#646a73', line: '#d9dbdf' }

export const FONT = 'system-ui, sans-serif'

/** The pixel of a point of an event on a canvas, in device pixels. */
export function point(event: MouseEvent, element: Element, ratio: number): [number, number] {
  const box = element.getBoundingClientRect()
  return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio]
}

/** A pixel of a canvas as the style sheet writes it. */
export const css = (pixel: number) => `rgb(${pixel & 255} ${(pixel >> 8) & 255} ${(pixel >> 16) & 255})`
