// A stranger's test: somebody puts back an old card, copies a gateway, restores the centre from a backup, and a county officer who
// knows nothing of that opens the console. It says in plain Chinese what happened, where, and what to do.
import assert from 'node:assert/strict'
import { copyFileSync, cpSync, existsSync, lstatSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { start, waitFor } from './network.mjs'

const SHOTS = process.env.SHOTS ?? '../../target/shots'
const STORE = ['centre.db', 'centre.db-wal', 'centre.db-shm']
/** A running gateway's socket is no part of a card. */
const CARD = { recursive: true, filter: (path) => !lstatSync(path).isSocket() }
let network, browser, carded, cloned

/** Copies the store, which nobody has open, with its companions. */
function copyStore(from, to) {
  mkdirSync(to, { recursive: true })
  for (const name of STORE) {
    rmSync(join(to, name), { force: true })
    if (existsSync(join(from, name))) copyFileSync(join(from, name), join(to, name))
  }
}

const newest = async (base) => Math.max(...(await network.api(`bases/${base}/latest`)).items.map((item) => Date.parse(item.at)))
const incident = (kind, gateway) =>
  waitFor(`an incident: ${kind} of ${gateway}`, 120, async () =>
    (await network.api('incidents?limit=500')).items.find((item) => item.kind === kind && item.gateway === gateway))

/** Waits until a base has readings of a later moment than now. */
async function goOn(base) {
  const at = Date.now() + 4000
  await waitFor(`fresh readings of ${base}`, 60, async () => (await newest(base)) > at)
}

async function restoreCentre() {
  const { folder, parts } = network
  await network.kill(parts.ingestor)
  copyStore(folder, join(folder, 'backup'))
  parts.ingestor = network.startIngestor()
  await waitFor('the ingestor', 30, () => network.api('health'))
  for (const base of [carded, cloned]) await goOn(base)
  await network.kill(parts.ingestor)
  copyStore(join(folder, 'backup'), folder)
  parts.ingestor = network.startIngestor()
  await waitFor('the ingestor', 30, () => network.api('health'))
}

async function putOldCardBack() {
  const { fieldFolder, parts } = network
  const [spool, image, config] = [`spool-${carded}`, `image-${carded}`, `${carded}.toml`].map((name) => join(fieldFolder, name))
  await network.kill(parts.gateways.get(carded))
  cpSync(spool, image, CARD)
  parts.gateways.set(carded, network.startGateway(config))
  await goOn(carded)
  return async () => {
    await network.kill(parts.gateways.get(carded))
    rmSync(spool, { recursive: true })
    cpSync(image, spool, CARD)
    parts.gateways.set(carded, network.startGateway(config))
  }
}

async function cloneGateway() {
  const { fieldFolder, parts } = network
  const folder = join(network.folder, 'clone')
  mkdirSync(folder)
  await network.kill(parts.gateways.get(cloned))
  cpSync(join(fieldFolder, `spool-${cloned}`), join(folder, `spool-${cloned}`), CARD)
  parts.gateways.set(cloned, network.startGateway(join(fieldFolder, `${cloned}.toml`)))
  writeFileSync(join(folder, 'gateway.toml'), readFileSync(join(network.fieldFolder, `${cloned}.toml`)))
  network.startGateway(join(folder, 'gateway.toml'))
}

before(async () => {
  mkdirSync(SHOTS, { recursive: true })
  network = await start(4)
  ;[cloned, , carded] = [...network.parts.gateways.keys()]
  const swap = await putOldCardBack()
  // The gateways connect anew to the restored centre, and announce what they hold.
  await restoreCentre()
  await Promise.all([incident('server_restored', carded), incident('server_restored', cloned)])
  await goOn(carded)
  await swap()
  await cloneGateway()
  await Promise.all([incident('possible_loss', carded), incident('clone', cloned)])
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  })
})
after(async () => {
  await browser?.close()
  await network?.stop()
})

async function open(path, width, height) {
  const page = await browser.newPage({ viewport: { width, height }, locale: 'zh-CN', timezoneId: 'Asia/Shanghai' })
  page.faults = []
  page.on('pageerror', (error) => page.faults.push(error.message))
  page.on('console', (message) => message.type() === 'error' && page.faults.push(message.text()))
  await page.goto(network.url + path)
  return page
}

test('tells in words what was put back, copied and restored, and what to do', async () => {
  const rows = [
    // The city's list begins with what wants a person; this one does not, and may stand behind its fold.
    [() => `/b/${cloned}`, 'server_restored', 'restored'],
    ['/', 'clone', 'restored'],
    [() => `/b/${carded}`, 'possible_loss', 'card'],
    [() => `/b/${cloned}`, 'clone', 'clone'],
  ]
  for (const [width, height] of [[1920, 1080], [390, 844]]) {
    for (const [path, kind, name] of rows) {
      const page = await open(typeof path === 'string' ? path : path(), width, height)
      const row = page.locator(`[data-testid="incident-${kind}"]`).first()
      await row.waitFor()
      assert.match(await row.innerText(), /[一-鿿]{8,}/, `${kind} is told in Chinese`)
      assert.equal(await row.locator('.advice').count(), 1, `${kind} says what to do`)
      const wide = await page.evaluate(() => document.documentElement.scrollWidth)
      assert.ok(wide <= width, `${kind} is ${wide} px wide`)
      await page.screenshot({ path: `${SHOTS}/incident-${name}-${width}.png` })
      await page.locator('[data-testid="incidents-jump"] button').click()
      let before = -1
      await waitFor('the end of scrolling', 10, async () => {
        const [at, top] = await page.locator('#incidents').evaluate((list) => [scrollY, list.getBoundingClientRect().top / innerHeight])
        const rests = at === before && top < 1
        before = at
        return rests
      })
      await page.screenshot({ path: `${SHOTS}/incident-${name}-${width}-there.png` })
      assert.deepEqual(page.faults, [])
      await page.close()
    }
  }
})
