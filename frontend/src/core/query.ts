/** Which channels a condition chooses, by the grammar of Python's `find_channels`: `mean > 0.1 and not dead`, `0:16,40`. */

import type { LayerData } from './layer'

const FLAGS = ['dead', 'constant']
const FIGURES = ['channel', 'min', 'mean', 'max', 'deviation', 'sparsity', 'positive', 'energy', 'nan', 'inf']
const KNOWN = [...FIGURES, ...FLAGS]
const FORM = 'channels are chosen by numbers, such as "0:16,40", or by a condition, such as "mean > 0.1 and not dead"'

const COMPARISONS: Record<string, (one: number, other: number) => boolean> = {
  '<=': (one, other) => one <= other,
  '>=': (one, other) => one >= other,
  '==': (one, other) => one === other,
  '!=': (one, other) => one !== other,
  '<': (one, other) => one < other,
  '>': (one, other) => one > other,
}

/** The first number of a run, and the one behind its last: `null` for all that follow. */
type Run = [first: number, stop: number | null]
type Test = (layer: LayerData, position: number) => boolean

interface Query {
  lists: Run[][]
  tests: Test[]
}

class Wrong extends Error {}

/** The positions of the channels chosen, in the order of the list of numbers if there is one; or what is wrong in words. */
export function find(layer: LayerData, text: string): Int32Array | string {
  try {
    const { lists, tests } = parseQuery(text)
    const numbered = lists.map(runs => expand(layer, runs, text))
    const chosen = numbered[0] ?? layer.channels.keys()
    const others = numbered.slice(1).map(list => new Set(list))
    return Int32Array.from(new Set(chosen)).filter(
      position => others.every(list => list.has(position)) && tests.every(test => test(layer, position)),
    )
  } catch (error) {
    if (error instanceof Wrong) return error.message
    throw error
  }
}

function parseQuery(text: string): Query {
  const query: Query = { lists: [], tests: [] }
  for (const term of text.split(/\band\b/).map(each => each.trim())) {
    if (/^[0-9:]/.test(term)) query.lists.push(term.split(',').map(part => runOf(part.trim(), text)))
    else query.tests.push(testOf(term, text))
  }
  return query
}

function runOf(part: string, text: string): Run {
  const match = /^(?:([0-9]{1,18})|([0-9]{0,18})\s*:\s*([0-9]{0,18}))$/.exec(part)
  if (!match) throw new Wrong(`'${part}' in '${text}': give channel numbers as 0:16,40`)
  const [, one, first, stop] = match
  return one ? [Number(one), Number(one) + 1] : [Number(first || 0), stop ? Number(stop) : null]
}

function testOf(term: string, text: string): Test {
  const flag = /^(not\s+)?(\w+)$/.exec(term)
  if (flag && FLAGS.includes(flag[2]!)) {
    const [wanted, name] = [flag[1] ? 0 : 1, flag[2]!]
    return ({ figures }, position) => figures[name]![position] === wanted
  }
  const match = /^(\w+)\s*(<=|>=|==|!=|<|>)\s*([^\s%]+)\s*(%?)$/.exec(term)
  const [, name = '', sign = '', limit = '', share] = match ?? []
  if (!FIGURES.includes(name)) {
    const unknown = (term.match(/[A-Za-z_]\w*/g) ?? []).find(word => word !== 'not' && !KNOWN.includes(word))
    throw new Wrong(
      `'${term}' in '${text}' can't be read: ${FORM}; the figures are ${KNOWN.join(', ')}${near(unknown)}`,
    )
  }
  if (!/^(?:[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?inf(inity)?|nan)$/i.test(limit)) {
    throw new Wrong(`'${limit}' in '${text}' is not a number: ${FORM}`)
  }
  const [holds, bound] = [COMPARISONS[sign]!, floatOf(limit) / (share ? 100 : 1)]
  return ({ figures, channels }, at) => holds(name === 'channel' ? channels[at]! : figures[name]![at]!, bound)
}

function floatOf(text: string): number {
  const size = text.toLowerCase().replace(/^[+-]/, '')
  const value = size.startsWith('inf') ? Infinity : size === 'nan' ? NaN : Number(size)
  return text.startsWith('-') ? -value : value
}

/** The positions of the channels of runs; each of a run with an end must be there, and at least one. */
function expand(layer: LayerData, runs: Run[], text: string): number[] {
  const positions: number[] = []
  const count = Math.max(...layer.channels) + 1
  for (const [first, stop] of runs) {
    for (let channel = first; channel < (stop ?? count); channel++) {
      const position = layer.position(channel)
      if (position >= 0) positions.push(position)
      else if (stop !== null) throw new Wrong(`'${text}': there is no channel ${channel}; ${held(layer.channels)}`)
    }
  }
  if (!positions.length) throw new Wrong(`'${text}' selects no channel; ${held(layer.channels)}`)
  return positions
}

function held(channels: Int32Array): string {
  const [first, last] = [channels[0]!, channels.at(-1)!]
  if (channels.every((channel, at) => channel === first + at)) return `its channels are ${first} to ${last}`
  return `its channels are ${channels.slice(0, 12).join(', ')}${channels.length > 12 ? ', …' : ''}`
}

/** The figure that was meant: one that can be typed by two slips at most. */
function near(word = ''): string {
  const slips = KNOWN.map(each => [distance(word, each), each] as const).sort(([one], [other]) => one - other)
  const [best, name] = slips[0]!
  return word && best <= Math.min(2, word.length / 2) ? `. Did you mean '${name}'?` : ''
}

function distance(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at)
  for (let at = 0; at < one.length; at++) {
    const next = [at + 1]
    for (let to = 0; to < other.length; to++) {
      next.push(Math.min(next[to]! + 1, row[to + 1]! + 1, row[to]! + (one[at] === other[to] ? 0 : 1)))
    }
    row = next
  }
  return row.at(-1)!
}
