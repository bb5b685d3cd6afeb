// What holds wherever a viewer is: the same checks on the page, on the report and in a notebook. A check that a host can't hold says
// why, in place of being left out.
import { test } from 'node:test'
import access from './access.spec.mjs'
import added from './added.spec.mjs'
import classes from './classes.spec.mjs'
import kinds from './kinds.spec.mjs'
import linked from './linked.spec.mjs'
import look from './look.spec.mjs'
import reach from './reach.spec.mjs'
import state from './state.spec.mjs'
import values from './values.spec.mjs'

const only = process.env.ONLY && new RegExp(process.env.ONLY)

export function specify(stage) {
  /** `without`: by a host on which it isn't made, the reason. */
  const check = (name, act, without = {}) => {
    if (only && !only.test(name)) return
    const late = !only && stage.usual && !new RegExp(stage.usual).test(name) && 'takes long here: ONLY=. makes it'
    test(`${stage.host}: ${name}`, { timeout: 60_000, skip: without[stage.host] ?? (late || false) }, act)
  }
  for (const spec of [values, kinds, linked, classes, state, reach, look, access, added]) spec({ check, stage })
}
