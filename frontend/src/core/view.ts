/** The state of a view: how it begins, and how it stands in an address. */

import type { Manifest, ViewState } from './types'

export function initial(manifest: Manifest): ViewState {
  return {
    input: manifest.first.input,
    layer: manifest.first.layer,
    beside: null,
    scale: 'channel',
    clip: null,
    norm: 'linear',
    colors: '',
    sort: 'index',
    find: '',
    active: 0,
    unit: null,
    selected: [],
    weights: {},
    mode: 'mean',
    target: null,
    post: 'none',
    overlay: false,
    opacity: 0.7,
    slice: 0,
    query: 0,
    zoom: null,
    single: false,
    table: false,
    theme: 'auto',
    ...known(manifest.view ?? {}),
  }
}

type Check = (value: unknown) => boolean

const text: Check = value => typeof value === 'string' && value.length <= 2000
const flag: Check = value => typeof value === 'boolean'
const finite: Check = value => Number.isFinite(value)
const count: Check = value => Number.isSafeInteger(value) && (value as number) >= 0
const pair =
  (each: Check): Check =>
  value =>
    Array.isArray(value) && value.length === 2 && value.every(each)
const rising: Check = value => pair(finite)(value) && (value as number[])[0]! < (value as number[])[1]!
const percentages: Check = value => rising(value) && (value as number[])[0]! >= 0 && (value as number[])[1]! <= 100
const among =
  (...names: string[]): Check =>
  value =>
    names.includes(value as string)
const absentOr =
  (check: Check): Check =>
  value =>
    value === null || check(value)
const record =
  (...checks: [keys: Check, values: Check]): Check =>
  value =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.entries(value).every(entry => checks.every((check, at) => check(entry[at])))

const CHECKS: Record<keyof ViewState, Check> = {
  input: text,
  layer: text,
  beside: absentOr(record(among('input', 'layer'), text)),
  scale: value => among('channel', 'layer')(value) || rising(value),
  clip: absentOr(percentages),
  norm: among('linear', 'log', 'symlog'),
  colors: text,
  sort: text,
  find: text,
  active: count,
  unit: absentOr(pair(count)),
  selected: value => Array.isArray(value) && value.every(count),
  weights: record(key => /^\d+$/.test(key as string), finite),
  mode: text,
  target: absentOr(count),
  post: among('none', 'relu'),
  overlay: flag,
  opacity: value => finite(value) && (value as number) >= 0 && (value as number) <= 1,
  slice: count,
  query: count,
  zoom: absentOr(
    value =>
      record(among('scale', 'x', 'y'), finite)(value) &&
      Object.keys(value as object).length === 3 &&
      (value as { scale: number }).scale > 0,
  ),
  single: flag,
  table: flag,
  theme: among('auto', 'light', 'dark'),
}

/** What of a view is one: fields that don't exist or hold what they can't are left out. */
export function known(view: Record<string, unknown>): Partial<ViewState> {
  return Object.fromEntries(
    Object.entries(view).filter(([key, value]) => Object.hasOwn(CHECKS, key) && CHECKS[key as keyof ViewState](value)),
  )
}

/** What differs from the beginning, for behind the `#` of an address: `layer=l3&norm=log&weights={"3":0.5}`. */
export function toAddress(view: ViewState, manifest: Manifest): string {
  const first = initial(manifest) as unknown as Record<string, unknown>
  const parts = Object.entries(view).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(first[key]))
  return parts
    .map(([key, value]) => `${key}=${escaped(typeof value === 'string' ? value : JSON.stringify(value))}`)
    .join('&')
}

/** The fields that an address holds; whoever wrote it, what isn't one is left out. */
export function fromAddress(text: string): Partial<ViewState> {
  const fields = new Map<string, unknown>()
  for (const part of text.replace(/^#/, '').split('&')) {
    const [key = '', ...rest] = part.split('=')
    const value = unescaped(rest.join('='))
    const check = Object.hasOwn(CHECKS, key) && CHECKS[key as keyof ViewState]
    if (check) fields.set(key, check(value) ? value : parsed(value))
  }
  return known(Object.fromEntries(fields))
}

function escaped(text: string): string {
  return encodeURIComponent(text).replace(/%(2C|3A|5B|5D|7B|7D|2F)/g, decodeURIComponent)
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return ''
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
