import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import type { Box } from '../../src/scan/axes.ts'
import { Api } from '../../src/server/api.ts'
import { ApiError } from '../../src/server/errors.ts'
import type { Done, RoundEvent } from '../../src/server/types.ts'
import { eventsIn } from '../../src/server/wire.ts'

interface Asked {
  path: string
  method: string
  headers: Headers
  body: string | null
}

type Answer = (asked: Asked, signal: AbortSignal | null) => Response | Promise<Response>

const real = globalThis.fetch
afterEach(() => {
  globalThis.fetch = real
})

/** The server: what is asked of it is noted, and answered in turn; /healthz is well unless `health` says otherwise. */
function serving(answers: Answer[], health: () => Response = () => new Response('{"ok": true}')): Asked[] {
  const asked: Asked[] = []
  globalThis.fetch = async (path, request = {}) => {
    const { method = 'GET', headers, body = null, signal = null } = request
    if (String(path).endsWith('healthz')) return health()
    const now = { path: String(path), method, headers: new Headers(headers), body: body === null ? null : String(body) }
    asked.push(now)
    const answer = answers.shift()
    assert.ok(answer, `nobody expected ${method} ${path}`)
    return answer(now, signal)
  }
  return asked
}

/** An API whose seconds are short, and what it says of its connection. */
function impatient(): { api: Api; states: string[] } {
  const api = new Api('', 1)
  const states: string[] = []
  api.onconnection = (state) => states.push(state)
  return { api, states }
}

const json = (value: unknown, status = 200, headers: Record<string, string> = {}): Answer => {
  return () =>
    new Response(JSON.stringify(value), { status, headers: { 'Content-Type': 'application/json', ...headers } })
}
const broken: Answer = () => {
  throw new TypeError('Failed to fetch')
}

function event(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}

function streamOf(pieces: Uint8Array[], ending: 'ends' | 'breaks' | 'hangs' = 'ends'): ReadableStream<Uint8Array> {
  const waiting = [...pieces]
  return new ReadableStream({
    pull(to) {
      const piece = waiting.shift()
      if (piece) to.enqueue(piece)
      else if (ending === 'ends') to.close()
      else if (ending === 'breaks') to.error(new TypeError('network error'))
      else return new Promise(() => {})
    },
  })
}

const stream = (text: string, ending: 'ends' | 'breaks' | 'hangs' = 'ends'): Answer => {
  const bytes = new TextEncoder().encode(text)
  return () =>
    new Response(streamOf([bytes], ending), { headers: { 'Content-Type': 'text/event-stream; charset=utf-8' } })
}

const ROUND = { round: 0, last: false, energy: 12.5, foreground: 7, milliseconds: { cut: 1.5 } }
const DONE: Done = {
  kind: 'scribble',
  changed: true,
  repeated: false,
  seconds: 0.2,
  milliseconds: {},
  rounds: [],
  number: 2,
  objects: [],
  current: null,
  can_undo: true,
  can_redo: false,
  undoes: 1,
}

// ---- server-sent events

const SAID = [
  { name: 'queued', data: '{"queued": 3}' },
  { name: 'round', data: '{"name": "größe 日本 🙂"}' },
  { name: 'message', data: 'two\nlines' },
]
const WRITTEN = [
  'event: queued\ndata: {"queued": 3}\n\n',
  ': still here\n\n',
  'event: round\r\ndata: {"name": "größe 日本 🙂"}\r\n\r\n',
  'data: two\ndata: lines\n\n',
  'event: done\ndata: {"cut": "off',
].join('')

async function heard(pieces: Uint8Array[]): Promise<unknown[]> {
  const events = []
  for await (const event of eventsIn(streamOf(pieces), 1000)) events.push(event)
  return events
}

test('events are heard wherever their bytes are split; comments and a cut-off end are none', async () => {
  const bytes = new TextEncoder().encode(WRITTEN)
  for (let at = 0; at <= bytes.length; at++) {
    assert.deepEqual(await heard([bytes.slice(0, at), bytes.slice(at)]), SAID, `split at ${at}`)
  }
  for (const size of [1, 2, 3, 7]) {
    const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, k) =>
      bytes.slice(k * size, (k + 1) * size),
    )
    assert.deepEqual(await heard(pieces), SAID, `pieces of ${size}`)
  }
})

// ---- interactions

test('an interaction tells its place in the queue and its rounds, and is asked for once', async () => {
  const asked = serving([stream(event('queued', { queued: 1 }) + event('round', ROUND) + event('done', DONE))])
  const rounds: RoundEvent[] = []
  const queue: number[] = []
  const options = { round: (told: RoundEvent) => rounds.push(told), queued: (n: number) => queue.push(n) }
  const done = await new Api('/on').act('se ss', 'scribble', { scribbles: { strokes: [] } }, options)
  assert.deepEqual(done, DONE)
  assert.deepEqual([rounds, queue], [[ROUND], [1]])
  assert.equal(asked.length, 1)
  const { path, method, headers, body } = asked[0] as Asked
  assert.deepEqual([path, method], ['/on/api/v1/sessions/se%20ss/scribble', 'POST'])
  assert.equal(headers.get('Accept'), 'text/event-stream')
  assert.match(headers.get('Idempotency-Key') ?? '', /^[0-9a-f]{32}$/)
  assert.equal(body, '{"scribbles":{"strokes":[]}}')
})

test('an answer without a stream will do, and needs no body', async () => {
  const asked = serving([json({ ...DONE, kind: 'undo' })])
  assert.equal((await new Api().act('s', 'undo', null)).kind, 'undo')
  assert.equal(asked[0]?.body, null)
})

test('where the connection breaks, the same request goes out again under the same key', async () => {
  const round = event('round', ROUND)
  const repeated = { ...DONE, changed: false, repeated: true }
  const asked = serving([
    broken,
    stream(round, 'breaks'),
    stream(round, 'ends'), // without done
    stream(round, 'hangs'),
    () => new Response('<html>Bad gateway</html>', { status: 502 }),
    stream(round + event('done', repeated)),
  ])
  const { api, states } = impatient()
  assert.deepEqual(await api.act('s', 'scribble', { a: 1 }), repeated)
  assert.equal(asked.length, 6)
  assert.equal(new Set(asked.map(({ headers }) => headers.get('Idempotency-Key'))).size, 1)
  assert.deepEqual([...new Set(asked.map(({ body }) => body))], ['{"a":1}'])
  assert.deepEqual(states, Array(5).fill(['lost', 'back']).flat())
  const next = serving([json(DONE)])
  await api.act('s', 'scribble', {})
  assert.notEqual(next[0]?.headers.get('Idempotency-Key'), asked[0]?.headers.get('Idempotency-Key'))
})

test('a server that is away is asked for until it is well, by one question for all who wait', async () => {
  let polls = 0
  const health = () => {
    polls += 1
    if (polls < 3) throw new TypeError('Failed to fetch')
    return new Response('', { status: polls < 4 ? 502 : 200 })
  }
  serving([broken, broken, json([]), json([])], health)
  const { api, states } = impatient()
  assert.deepEqual(await Promise.all([api.images(), api.sessions()]), [[], []])
  assert.deepEqual([states, polls], [['lost', 'back'], 4])
})

test('a request over which every connection breaks is given up', async () => {
  const asked = serving(Array(6).fill(broken))
  await assert.rejects(impatient().api.images(), { name: 'ApiError', status: 0, message: /broke 6 times/ })
  assert.equal(asked.length, 6)
})

test('a busy server is asked again after the time it names, but not for ever, and not where that is long', async () => {
  const busy = json({ detail: 'The server ends.' }, 503, { 'Retry-After': '5' })
  const stopped = stream(event('error', { status: 503, detail: 'The server stopped; nothing was changed.' }))
  const asked = serving([busy, stopped, json(DONE)])
  const { api, states } = impatient()
  assert.equal((await api.act('s', 'box', {})).number, 2)
  assert.equal(new Set(asked.map(({ headers }) => headers.get('Idempotency-Key'))).size, 1)
  assert.deepEqual(states, [])
  serving(Array(7).fill(busy))
  await assert.rejects(api.act('s', 'box', {}), { status: 503, message: 'The server ends.' })
  serving([json({ detail: 'Too many wrong tokens.' }, 429, { 'Retry-After': '60' })])
  await assert.rejects(api.sessions(), { status: 429 })
})

test('errors are the sentences of the server, before the stream and in it', async () => {
  const { api, states } = impatient()
  serving([json({ detail: 'The box is empty.' }, 400)])
  await assert.rejects(api.act('s', 'box', {}), new ApiError(400, 'The box is empty.'))
  serving([stream(event('error', { status: 409, detail: 'The interaction was cancelled.' }))])
  await assert.rejects(api.act('s', 'box', {}), { status: 409, message: 'The interaction was cancelled.' })
  serving([() => new Response('<html>', { status: 418 })])
  await assert.rejects(api.images(), { status: 418, message: 'The server answered 418.' })
  assert.deepEqual(states, [])
})

test('one whom the server does not know is denied, but for a wrong token at the door', async () => {
  const { api, states } = impatient()
  const unknown = json({ detail: 'This server asks for a token.' }, 401)
  serving([unknown, unknown])
  await assert.rejects(api.enter('wrong'), { status: 401 })
  assert.deepEqual(states, [])
  await assert.rejects(api.images(), { status: 401 })
  assert.deepEqual(states, ['denied'])
})

test('one who aborts hears so: while it runs, and while the server is away', async () => {
  const { api } = impatient()
  const running = new AbortController()
  serving([
    (_, signal) =>
      new Promise((_, reject) => signal?.addEventListener('abort', () => reject(new DOMException('', 'AbortError')))),
  ])
  const first = api.act('s', 'box', {}, { signal: running.signal })
  running.abort()
  await assert.rejects(first, { name: 'AbortError' })
  const waiting = new AbortController()
  let well = false
  const asked = serving([broken], () => new Response('', { status: well ? 200 : 502 }))
  api.onconnection = (state) => state === 'lost' && setTimeout(() => waiting.abort(), 2)
  await assert.rejects(api.act('s', 'box', {}, { signal: waiting.signal }), { name: 'AbortError' })
  assert.equal(asked.length, 1)
  well = true
})

test('an error of the page is no lost connection', async () => {
  const asked = serving([stream(event('round', ROUND) + event('done', DONE))])
  const wrong = () => {
    throw new TypeError('a mistake in the page')
  }
  await assert.rejects(impatient().api.act('s', 'box', {}, { round: wrong }), { message: 'a mistake in the page' })
  assert.equal(asked.length, 1)
})

test('what would be done twice is not asked for twice', async () => {
  const { api, states } = impatient()
  const asked = serving([broken])
  await assert.rejects(api.createSession('key', 'title'), { status: 0, message: /cannot be reached/ })
  assert.equal(asked.length, 1)
  assert.deepEqual(states, ['lost'])
})

// ---- arrays and files

test('an array comes with its box and its number', async () => {
  const values = Float32Array.from([0.5, 1, 0, 0.25])
  const headers = { 'X-Box': '4:6,2:4,7', 'X-Dtype': 'float32', 'X-Number': '12' }
  const asked = serving([() => new Response(values, { headers }), () => new Response(values.slice(1), { headers })])
  const { api } = impatient()
  const result = await api.result('s', 'probability', 'liver & co')
  assert.deepEqual(result, { data: values, box: { start: [4, 2, 7], stop: [6, 4, 8] }, number: 12 })
  assert.equal(asked[0]?.path, 'api/v1/sessions/s/probability?object=liver+%26+co')
  await assert.rejects(api.result('s', 'probability'), { message: 'The probability arrived damaged.' })
})

test('a part of the scan comes whole, and again where it broke off or was refused for a while', async () => {
  const file = new Uint8Array([1, 2, 3, 4])
  const asked = serving([
    () => new Response(streamOf([file.slice(0, 2)], 'breaks')),
    json({ detail: 'Later.' }, 503, { 'Retry-After': '1' }),
    () => new Response(streamOf([file.slice(0, 2), file.slice(2)])),
    json({ detail: 'There is no image.' }, 404),
  ])
  const { api } = impatient()
  const box: Box = { start: [0, 2, 5], stop: [4, 3, 9] }
  assert.deepEqual(new Uint8Array(await api.canonical('k', box)), file)
  assert.match(asked[0]?.path ?? '', /images\/k\/canonical\?box=0%3A4%2C2%2C5%3A9$/)
  await assert.rejects(api.canonical('k', box), { status: 404, message: 'There is no image.' })
})

test('a file to save comes whole, or as an error', async () => {
  serving([() => new Response('bytes'), json({ detail: 'There is no object yet: draw a box first.' }, 404)])
  const { api } = impatient()
  assert.equal(await (await api.file('sessions/s/export')).text(), 'bytes')
  await assert.rejects(api.file('sessions/s/labels?format=dcm'), { status: 404, message: /no object yet/ })
})

test('what a refusal tells programs is kept beside its sentence', async () => {
  const { api } = impatient()
  const series = [{ uid: '1.2', shape: [5, 6, 4], modality: 'CT', number: null, description: null }]
  const detail = 'The upload holds several DICOM series.'
  serving([json({ detail, code: 'several_series', series }, 400), stream(event('error', { status: 400, detail }))])
  await assert.rejects(api.openFile('d'), { message: detail, code: 'several_series', series })
  await assert.rejects(api.act('s', 'box', {}), { message: detail, code: null, series: [] })
})
