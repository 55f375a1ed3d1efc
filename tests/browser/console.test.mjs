// The console in a real browser (Debian's Chromium) on a real network: drill down, live values, acknowledge, language, keyboard.
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { chromium } from 'playwright-core'
import { start, waitFor } from './network.mjs'

const SHOTS = process.env.SHOTS ?? '../../target/shots'
const BASE = 'dangzhai-01'
let network, browser

before(async () => {
  mkdirSync(SHOTS, { recursive: true })
  network = await start(4)
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  })
})
after(async () => {
  await browser?.close()
  await network?.stop()
})

async function open(path, width = 1920, height = 1080) {
  const page = await browser.newPage({ viewport: { width, height }, locale: 'zh-CN', timezoneId: 'Asia/Shanghai' })
  page.faults = []
  page.on('pageerror', (error) => page.faults.push(error.message))
  page.on('console', (message) => message.type() === 'error' && page.faults.push(message.text()))
  page.on('request', (request) => {
    const { protocol, host } = new URL(request.url())
    if (protocol.startsWith('http') && host !== new URL(network.url).host) page.faults.push(`external request ${request.url()}`)
  })
  await page.goto(network.url + path)
  return page
}

const id = (name) => `[data-testid="${name}"]`
const shot = (page, name) => page.screenshot({ path: `${SHOTS}/${name}.png` })

test('drills from the city to a base and sees live values change', async () => {
  const page = await open('/')
  await page.waitForSelector(id('headline'))
  await shot(page, 'city-1920')
  await page.locator(id('child-ganzhou')).click()
  await page.waitForURL('**/n/ganzhou')
  await shot(page, 'county-1920')
  await page.locator(id('child-dangzhai')).click()
  await page.waitForURL('**/n/dangzhai')
  await page.locator(id(`child-${BASE}`)).click()
  await page.waitForURL(`**/b/${BASE}`)
  const card = page.locator(id('point-air-1-air_temperature'))
  await card.waitFor()
  const values = () => page.locator('[data-testid^="point-"]').evaluateAll((cards) => cards.map((one) => one.dataset.value).join())
  const first = await values()
  await waitFor('a live value to change', 30, async () => (await values()) !== first)
  await shot(page, 'base-1920')
  for (const level of ['city', 'county', 'town', 'base']) assert.ok(await page.locator(id(`crumb-${level}`)).isVisible(), level)
  await card.click()
  await page.locator(`${id('chart')} canvas, ${id('chart')} svg`).first().waitFor()
  await shot(page, 'chart-1920')
  await page.locator(id('crumb-city')).click()
  await page.waitForURL((url) => url.pathname === '/' || url.pathname === '/n/zhangye')
  assert.deepEqual(page.faults, [])
  await page.close()
})

test('acknowledges an alert', async () => {
  const page = await open(`/b/${BASE}`)
  const { items } = await network.api(`alerts?scope=${BASE}&phase=firing`)
  const alert = items.find((item) => item.acknowledged === null)
  await page.locator(id(`ack-${alert.id}`)).click()
  await page.locator(id('ack-by')).fill('王建国')
  await page.locator(id('ack-note')).fill('已到场查看')
  await shot(page, 'acknowledge-1920')
  await page.locator(id('ack-send')).click()
  const stored = await waitFor('the acknowledgement in the store', 5, async () => {
    const open = await network.api(`alerts?scope=${BASE}&phase=firing`)
    return open.items.find((item) => `${item.id}` === `${alert.id}`)?.acknowledged
  })
  assert.equal(stored.by, '王建国')
  await page.locator(`${id(`alert-${alert.id}`)} ${id('acknowledged')}`).waitFor()
  assert.deepEqual(page.faults, [])
  await page.close()
})

test('switches the language and remembers it', async () => {
  const page = await open('/')
  const headline = page.locator(id('headline'))
  await waitFor('a Chinese headline', 5, async () => /[一-鿿]/.test(await headline.innerText()))
  await page.locator(id('language-switch')).click()
  await waitFor('an English headline', 5, async () => /bases?/.test(await headline.innerText()))
  assert.equal(await page.locator('html').getAttribute('lang'), 'en')
  await page.reload()
  await waitFor('still English', 5, async () => /bases?/.test(await headline.innerText()))
  await shot(page, 'city-en-1920')
  await page.close()
})

test('is usable on a phone without scrolling sideways', async () => {
  for (const [path, name] of [['/', 'city'], ['/n/dangzhai', 'town'], [`/b/${BASE}`, 'base']]) {
    const page = await open(path, 390, 844)
    await page.waitForSelector(id('headline'))
    await page.locator(id('live-status')).waitFor()
    const width = await page.evaluate(() => document.documentElement.scrollWidth)
    assert.ok(width <= 390, `${path} is ${width} px wide`)
    await shot(page, `${name}-390`)
    assert.deepEqual(page.faults, [])
    await page.close()
  }
})

test('can be drilled with the keyboard alone', async () => {
  const page = await open('/')
  const child = page.locator(id('child-ganzhou'))
  await child.waitFor()
  for (let presses = 0; presses < 200; presses++) {
    await page.keyboard.press('Tab')
    if (await child.evaluate((element) => element === document.activeElement || element.contains(document.activeElement))) break
  }
  await page.keyboard.press('Enter')
  await page.waitForURL('**/n/ganzhou')
  await page.close()
})

test('fits the wall without scrolling', async () => {
  const page = await open('/?wall=1')
  await page.waitForSelector(id('headline'))
  const overflow = await page.evaluate(() => document.documentElement.scrollHeight - window.innerHeight)
  assert.ok(overflow <= 0, `the wall scrolls by ${overflow} px`)
  await shot(page, 'wall-1920')
  await page.close()
})
