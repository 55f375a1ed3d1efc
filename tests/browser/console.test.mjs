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
  assert.match(await page.locator(id('headline')).innerText(), /个没有数据/, 'most bases of the test have no gateway running')
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

test('switches a valve with a reason and a time limit, and tells who ordered what and what came of it', async () => {
  const page = await open(`/b/${BASE}`)
  const valve = page.locator(id('output-relay-1-relay_1'))
  await valve.waitFor()
  await waitFor('the state of the valve', 30, async () => (await valve.getAttribute('data-value')) === '0')
  await shot(page, 'outputs-1920')
  await waitFor('its conditions', 30, async () => (await valve.locator('[data-holds="yes"]').count()) === 2)
  assert.equal(await page.locator(id('operate-relay-1-relay_3')).count(), 0, 'only people on site may start the pump')
  await page.locator(id('operate-relay-1-relay_1')).click()
  const next = page.locator(id('switch-next'))
  assert.ok(await next.isDisabled(), 'nothing is switched without a name and a reason')
  await page.locator(id('switch-for')).selectOption('300')
  await page.locator(id('switch-reason')).fill('土壤偏干,浇五分钟')
  await page.locator(id('switch-by')).fill('王建国')
  await shot(page, 'switch-1920')
  await next.click()
  assert.match(await page.locator(id('switch-review')).innerText(), /灌溉阀.*开[^]*5 分钟/)
  await shot(page, 'switch-review-1920')
  await page.locator(id('switch-send')).click()
  await page.locator(`${id('switch-outcome')}[data-state="done"]`).waitFor()
  await shot(page, 'switch-done-1920')
  await page.locator(id('switch-close')).click()
  await waitFor('the valve being open', 30, async () => (await valve.getAttribute('data-away')) === 'true' && (await valve.getAttribute('data-value')) === '1')
  // Somebody else orders what the gateway does not let the centre do.
  const order = { id: 'refused-1', gateway: BASE, device: 'relay-1', point: 'relay_3', value: 1, by: '李四' }
  await fetch(`${network.url}/api/v1/commands`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(order) })
  const pump = page.locator(`${id('output-relay-1-relay_3')} ${id('last-command')}`)
  await waitFor('the refusal', 30, async () => (await pump.getAttribute('data-state')) === 'refused')
  await page.locator(id('command-history')).click()
  const [done, refused] = ['done', 'refused'].map((state) => page.locator(id(`command-${state}`)).first())
  await Promise.all([done.waitFor(), refused.waitFor()])
  assert.match(await done.innerText(), /王建国[^]*土壤偏干/)
  assert.match(await refused.innerText(), /李四[^]*没有开放给中心控制/)
  await page.locator(id('outputs')).scrollIntoViewIfNeeded()
  await shot(page, 'commands-1920')
  const { items } = await network.api(`commands?scope=${BASE}`)
  const ordered = items.find((item) => item.by === '王建国')
  assert.deepEqual([ordered.state, ordered.for_s, ordered.reason], ['done', 300, '土壤偏干,浇五分钟'])
  assert.deepEqual(page.faults, [])
  await page.close()
})

test('corrects readings with a reason, marks them in the chart, and tells who did it and what was sent', async () => {
  const page = await open(`/b/${BASE}`)
  await page.locator(id('point-soil-1-soil_moisture')).click()
  const chart = page.locator(id('chart'))
  await page.locator(id('range-1h')).click()
  const point = await chart.getAttribute('data-point')
  await waitFor('a reading', 30, async () => (await network.api(`points/${point}/readings?limit=1`)).items[0]?.value != null)
  await page.locator(id('correct')).click()
  const send = page.locator(id('correct-send'))
  assert.ok(await send.isDisabled(), 'nothing is corrected without a value, a name and a reason')
  await page.locator(id('correct-value')).fill('-0.5')
  await page.locator(id('correct-by')).fill('王建国')
  await page.locator(id('correct-note')).fill('用标准仪器比对，偏高 0.5')
  await shot(page, 'correct-1920')
  await send.click()
  await page.locator(id('correct-form')).waitFor({ state: 'detached' })
  await waitFor('the mark in the chart', 30, async () => Number(await chart.getAttribute('data-corrected')) > 0)
  const history = page.locator(id('corrections'))
  await history.locator('summary').click()
  assert.match(await history.innerText(), /→[^]*偏高 0\.5[^]*王建国/)
  await history.scrollIntoViewIfNeeded()
  await shot(page, 'corrected-1920')
  const { items } = await network.api(`points/${point}/corrections?limit=1`)
  assert.ok(Math.abs(items[0].before.value - 0.5 - items[0].after.value) < 1e-6, JSON.stringify(items[0]))
  assert.deepEqual(page.faults, [])
  await page.close()
})

test('repeats an order whose answer was lost, and takes a changed one for another order', async () => {
  const page = await open(`/b/${BASE}`)
  const sent = []
  await page.route('**/api/v1/commands', (route) => {
    sent.push(route.request().postDataJSON())
    return sent.length < 3 ? route.abort() : route.continue()
  })
  await page.locator(id('operate-relay-1-relay_2')).click()
  await page.locator(id('switch-reason')).fill('通风')
  await page.locator(id('switch-by')).fill('王建国')
  await page.locator(id('switch-next')).click()
  const send = page.locator(id('switch-send'))
  for (const attempt of [1, 2]) {
    await send.click()
    await waitFor('the failure', 10, async () => sent.length === attempt && (await send.isEnabled()))
  }
  await page.locator('dialog .failed').waitFor()
  await page.locator('dialog .quiet-button').click()
  await page.locator(id('switch-for')).selectOption('60')
  await page.locator(id('switch-next')).click()
  await send.click()
  await page.locator(`${id('switch-outcome')}[data-state="done"]`).waitFor()
  assert.equal(sent[0].id, sent[1].id)
  assert.notEqual(sent[1].id, sent[2].id)
  await page.close()
})

test('fades the time in which a sensor was silent and names the reason, in the chart and beside the figures', async () => {
  const [, , , base] = network.parts.gateways.keys()
  const page = await open(`/b/${base}?point=${base}/lost-1/air_temperature`)
  const chart = page.locator(id('chart'))
  await page.locator(id('range-1h')).click()
  await waitFor('a faded span with its reason', 60, async () => (await chart.getAttribute('data-gaps'))?.includes('设备无应答'))
  assert.match(await chart.locator('footer').innerText(), /完整率[^]*缺[^]*设备无应答/)
  assert.match(await page.locator(id('chart-empty')).innerText(), /不等于一切正常/)
  await shot(page, 'silent-1920')
  await page.locator(id('language-switch')).click()
  await waitFor('the reason in English', 10, async () => (await chart.getAttribute('data-gaps'))?.includes('device silent'))
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

test('says that the centre cannot store readings, and no longer when it can', async () => {
  const page = await open('/', 390, 844)
  await page.waitForSelector(id('headline'))
  assert.equal(await page.locator(id('centre')).count(), 0)
  let healthy = false
  await page.route('**/api/v1/health', async (route) => {
    const answer = await (await route.fetch()).json()
    await route.fulfill({ json: { ...answer, storage: { ...answer.storage, healthy } } })
  })
  const told = page.locator(id('centre'))
  await told.waitFor()
  assert.match(await told.innerText(), /中心暂时无法存储读数/)
  const width = await page.evaluate(() => document.documentElement.scrollWidth)
  assert.ok(width <= 390, `${width} px wide`)
  await shot(page, 'centre-390')
  healthy = true
  await told.waitFor({ state: 'detached' })
  assert.deepEqual(page.faults, [])
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
