/** A message and its buffers as one run of bytes: 8 bytes of length, JSON padded to 8, buffers padded to 8. */

import type { ErrorInfo } from '../core/types'

export interface Head {
  ok?: boolean
  result?: unknown
  error?: ErrorInfo
  buffers: number[]
}

const up = (size: number) => (size + 7) & ~7

export function frame(message: object, buffers: Uint8Array[]): Uint8Array {
  const head = new TextEncoder().encode(JSON.stringify({ ...message, buffers: buffers.map(each => each.length) }))
  const start = 8 + up(head.length)
  const out = new Uint8Array(start + buffers.reduce((sum, each) => sum + up(each.length), 0))
  out.fill(32, 8 + head.length, start)
  new DataView(out.buffer).setBigUint64(0, BigInt(start - 8), true)
  out.set(head, 8)
  let at = start
  for (const each of buffers) {
    out.set(each, at)
    at += up(each.length)
  }
  return out
}

export function unframe(bytes: ArrayBuffer): { head: Head; buffers: Uint8Array[] } {
  const length = Number(new DataView(bytes).getBigUint64(0, true))
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, length))) as Head
  let at = 8 + up(length)
  const buffers = (head.buffers ?? []).map(size => {
    const part = new Uint8Array(bytes, at, size)
    at += up(size)
    return part
  })
  return { head, buffers }
}
