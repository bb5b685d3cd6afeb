/** The view in the part of the address behind `#`, which no server is told. */

import type { Manifest, SharedView, ViewState } from '../core/types'
import { fromAddress, toAddress } from '../core/view'

export function addressView(manifest: () => Manifest): SharedView {
  let [timer, written] = [0, location.hash.slice(1)]
  return {
    get: () => fromAddress(location.hash.slice(1)),
    set: partial => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        written = toAddress(partial as ViewState, manifest())
        history.replaceState(null, '', written ? `#${written}` : location.pathname)
      }, 250) as unknown as number
    },
    on: callback => {
      const changed = () => {
        clearTimeout(timer)
        const text = location.hash.slice(1)
        if (text !== written) callback(fromAddress(text))
      }
      addEventListener('hashchange', changed)
      return () => removeEventListener('hashchange', changed)
    },
  }
}
