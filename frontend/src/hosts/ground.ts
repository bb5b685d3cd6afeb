/** Whether the paper around the viewer is light or dark: that of the system, or of the notebook where there is one. */

import { type ReadonlySignal, signal } from '@preact/signals'

export function systemGround(): ReadonlySignal<'light' | 'dark'> {
  const dark = matchMedia('(prefers-color-scheme: dark)')
  const ground = signal<'light' | 'dark'>(dark.matches ? 'dark' : 'light')
  dark.addEventListener('change', () => (ground.value = dark.matches ? 'dark' : 'light'))
  return ground
}

/** The lightness of what lies behind an element: a notebook's theme need not be the system's. */
export function groundOf(element: Element | null): 'light' | 'dark' {
  for (let each = element; each; each = each.parentElement) {
    const [red = 0, green = 0, blue = 0, alpha = 1] = (
      getComputedStyle(each).backgroundColor.match(/[\d.]+/g) ?? []
    ).map(Number)
    if (alpha > 0.5 && getComputedStyle(each).backgroundColor !== '')
      return 0.3 * red + 0.59 * green + 0.11 * blue < 128 ? 'dark' : 'light'
  }
  return 'light'
}
