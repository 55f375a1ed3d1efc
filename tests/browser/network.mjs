// A small network for the browser: simulated field, ingestor with embedded broker, gateways, all on loopback ports that were
// free a moment ago. Everything ends with stop().
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const bin = resolve(process.env.CARGO_TARGET_DIR ?? '../../target', 'debug')

// Fires at once at every base with a soil probe, so that there is something to acknowledge.
const RULES = `
[[rule]]
id = "test-soil-wet"
name = { zh = "测试:土壤湿润", en = "Test: soil is wet" }
kind = "above"
measurement = "soil_moisture"
for = "0s"
levels = [{ severity = "orange", threshold = 5.0, clear = 4.0 }]
source = "tests/browser"
verified = "U"
`

// Below the range from which the kernel serves outgoing connections, so that none of them takes the port in between.
async function freePort() {
  for (;;) {
    const port = 10000 + Math.floor(Math.random() * 20000)
    const server = createServer()
    const free = await new Promise((done) => server.once('error', () => done(false)).listen(port, '127.0.0.1', () => done(true)))
    await new Promise((done) => (free ? server.close(done) : done()))
    if (free) return port
  }
}

/** Position of the gateway that asks a device which is not there, so that there is something missing. */
export const SILENT = 3
function addSilentDevice(config) {
  const device = ['[[device]]', 'id = "lost-1"', 'name = "丢失的探头"', 'place = "1号棚"', 'bus = "line-1"', 'profile = "xy-md02"', 'unit = 99', 'interval_s = 2', '']
  const text = readFileSync(config, 'utf8')
  const at = text.indexOf('\n[[device]]')
  writeFileSync(config, [text.slice(0, at), ...device].join('\n') + text.slice(at))
}

export async function waitFor(what, seconds, question) {
  const until = Date.now() + seconds * 1000
  for (;;) {
    const answer = await question().catch(() => undefined)
    if (answer) return answer
    if (Date.now() > until) throw new Error(`waited ${seconds} s in vain for: ${what}`)
    await new Promise((next) => setTimeout(next, 100))
  }
}

export async function start(gatewaysWanted) {
  const folder = mkdtempSync(join(tmpdir(), 'sitian-browser-'))
  const running = []
  const run = (name, args) => {
    const log = openSync(join(folder, `${name}.log`), 'a')
    const child = spawn(join(bin, name), args, { stdio: ['ignore', log, log] })
    running.push(child)
    return child
  }
  /** As a power cut would. */
  const kill = async (child) => {
    running.splice(running.indexOf(child), 1)
    await new Promise((done) => child.on('exit', done) && child.kill('SIGKILL'))
  }
  const [http, mqtt] = [await freePort(), await freePort()]
  mkdirSync(join(folder, 'rules'))
  writeFileSync(join(folder, 'rules', 'test.toml'), RULES)
  const fieldFolder = join(folder, 'field')
  run('sitian-simulator', ['run', '--directory', fieldFolder, '--port', '0', '--mqtt', `127.0.0.1:${mqtt}`, '--season', '200'])
  await waitFor('the field', 20, async () => existsSync(join(fieldFolder, 'ready.json')))
  const settings = [`http.listen=127.0.0.1:${http}`, `broker.listen=127.0.0.1:${mqtt}`, `storage.path=${join(folder, 'centre.db')}`, `alert.rules=${join(folder, 'rules')}`]
  const startIngestor = () => run('sitian-ingestor', ['run', ...settings.flatMap((setting) => ['--set', setting])])
  const ingestor = startIngestor()
  const url = `http://127.0.0.1:${http}`
  const api = async (path) => (await fetch(`${url}/api/v1/${path}`)).json()
  await waitFor('the ingestor', 20, () => api('health'))
  const { gateways } = JSON.parse(readFileSync(join(fieldFolder, 'ready.json'), 'utf8'))
  const startGateway = (config) => run('sitian-gateway', ['run', '--config', config])
  addSilentDevice(join(fieldFolder, `${gateways[SILENT]}.toml`))
  const parts = { ingestor, gateways: new Map() }
  for (const gateway of gateways.slice(0, gatewaysWanted)) parts.gateways.set(gateway, startGateway(join(fieldFolder, `${gateway}.toml`)))
  await waitFor('online gateways', 30, async () => {
    const { items } = await api('rollups?scope=zhangye&depth=0')
    return items[0].gateways_online >= gatewaysWanted
  })
  await waitFor('an alert', 30, async () => (await api('alerts?phase=firing')).items.length > 0)
  const stop = async () => {
    const ended = running.reverse().map((child) => new Promise((done) => child.on('exit', done) && child.kill('SIGTERM')))
    await Promise.all(ended)
  }
  return { url, api, stop, folder, fieldFolder, parts, kill, startIngestor, startGateway }
}
