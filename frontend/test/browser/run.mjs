// `node run.mjs SETTING.json`: the checks of one host in one browser. tests/viewer/test_browser.py and test_notebooks.py start what is
// looked at, and write the setting and what Python says of the layers.
import { readFileSync, writeFileSync } from 'node:fs'
import { after } from 'node:test'
import { Lab } from './lab.mjs'
import { specify } from './specification.mjs'
import { Stage } from './stage.mjs'

const setting = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const hosts = { page: Stage, report: Stage, jupyter: Lab }
const stage = await hosts[setting.host].open({ ...setting, facts: JSON.parse(readFileSync(setting.facts, 'utf8')) })
specify(stage)
after(async () => {
  await stage.close()
  writeFileSync(setting.lines, JSON.stringify(stage.lines))
})
