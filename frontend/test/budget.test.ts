import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'

const STATIC = fileURLToPath(new URL('../../src/layerscope/viewer/static/', import.meta.url))
const HOSTS = fileURLToPath(new URL('../src/hosts/', import.meta.url))
const names = (folder: string, ending: RegExp) =>
  existsSync(folder) ? readdirSync(folder).flatMap(name => ending.exec(name)?.[1] ?? []) : []

test('each host has a bundle', () => {
  expect(names(STATIC, /^(\w+)\.js$/)).toEqual(expect.arrayContaining(names(HOSTS, /^(page|report|widget)\.tsx$/)))
})

test.each(names(STATIC, /^(\w+\.(?:js|css))$/))('%s is within the budget, and can stand in a page', name => {
  const code = readFileSync(STATIC + name)
  expect(code.length).toBeLessThanOrEqual(120 * 1024)
  expect(gzipSync(code, { level: 9 }).length).toBeLessThanOrEqual(40 * 1024)
  expect(code.toString()).not.toMatch(/<\/script|<!--/i)
  // Names that build.mjs has put in the place of others, and nobody has given.
  expect(code.toString()).not.toMatch(/\b(Math|Array|Object|Number|JSON)_/)
})
