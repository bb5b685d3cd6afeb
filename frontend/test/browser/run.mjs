// `node run.mjs SETTING.json`: the checks of one host, its page or its report, in one browser. tests/viewer/test_browser.py
// starts the pages, and writes the setting and what Python says of the layers.
import { readFileSync, writeFileSync } from 'node:fs'
import { after, test } from 'node:test'
import access from './access.spec.mjs'
import kinds from './kinds.spec.mjs'
import linked from './linked.spec.mjs'
import page from './page.spec.mjs'
import reach from './reach.spec.mjs'
import { Stage } from './stage.mjs'
import state from './state.spec.mjs'
import values from './values.spec.mjs'

const setting = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const stage = await Stage.open({ ...setting, facts: JSON.parse(readFileSync(setting.facts, 'utf8')) })
const only = process.env.ONLY && new RegExp(process.env.ONLY)
/** A check on every host, or on those that are named. */
const check = (name, act, hosts = ['page', 'report']) => {
  if (hosts.includes(stage.host) && (!only || only.test(name))) test(`${stage.host}: ${name}`, { timeout: 60_000 }, act)
}
for (const spec of [values, kinds, linked, state, reach, access, page]) spec({ check, stage })
after(async () => {
  await stage.close()
  writeFileSync(setting.lines, JSON.stringify(stage.lines))
})
